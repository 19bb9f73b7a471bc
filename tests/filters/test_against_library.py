"""Structure against smartmoneyconcepts, wherever that library is settled. docs/smc.md has the mapping."""

from __future__ import annotations

import contextlib
import io
from functools import cache

import numpy as np
import pandas as pd
import pytest

from bot.kernel import Record, specialise, template
from bot.record import new_records
from bot.rollup import BAR
from filters.smc import SmcParameters
from filters.structure import FACT, STRUCTURE, Fact, structure_update
from tests.conftest import real, walk

with contextlib.redirect_stdout(io.StringIO()):  # it greets whoever imports it
    from smartmoneyconcepts import smc


@template
def record_facts(params: Record, structures: Record, length: int, bars: Record, facts: Record, known: Record) -> int:
    """Everything said about (n,) bars, with the bar on which it was said; returns how many."""
    count = 0
    for i in range(len(bars)):
        structure_update(params[0], structures[0], length, bars[i])
        for k in range(structures[0].says):
            facts[count] = structures[0].said[k]
            known[count] = i
            count += 1
    return count


@cache
def _compiled():
    return specialise(record_facts, "facts", inlined=False)


def said(bars, length, **changes):
    """Facts and the bar that made each known."""
    values = {"fvg_min_pct": 0.0, **changes}
    section = SmcParameters(**values)
    params = new_records(SmcParameters.dtype(), 1)
    params[0] = section.record()
    facts, known = new_records(FACT, 12 * len(bars) + 64), np.zeros(12 * len(bars) + 64, np.int64)
    count = _compiled()(params, new_records(STRUCTURE, 1), length, bars, facts, known)
    return facts[:count], known[:count]


def bars_of(candles, count=None):
    part = candles.rows(slice(-count, None)) if count else candles
    bars = new_records(BAR, len(part))
    for name in BAR.names:
        bars[name] = getattr(part, name)
    return bars


def frame(bars):
    return pd.DataFrame({name: bars[name] for name in ("open", "high", "low", "close", "volume")})


SOURCES = {
    "ETH 1h": lambda: bars_of(real("binance/linear/ETHUSDT/1h.parquet"), 6000),
    "BNB 1h": lambda: bars_of(real("binance/linear/BNBUSDT/1h.parquet"), 6000),
    "BTC 1h": lambda: bars_of(real("binance/spot/BTCUSDT/1h.parquet"), 6000),
    "walk": lambda: bars_of(walk(6000, 3)),
}


@pytest.fixture(params=list(SOURCES), scope="module")
def bars(request):
    return SOURCES[request.param]()


def library_swings(bars, length):
    swings = smc.swing_highs_lows(frame(bars), swing_length=length)
    sides = swings["HighLow"].to_numpy().copy()
    # It labels the first and the last bar as swings, to close its picture: nothing says that they are.
    sides[0] = sides[-1] = np.nan
    return sides


@pytest.mark.parametrize("length", [5, 10, 50])
def test_swings_agree(bars, length):
    facts, _ = said(bars, length)
    ours = {(int(one["index"]), int(one["direction"])) for one in facts[facts["kind"] == Fact.SWING]}
    sides = library_swings(bars, length)
    theirs = [(int(i), int(sides[i])) for i in np.flatnonzero(~np.isnan(sides))]
    settled = set(theirs[:-1])  # the last of them may still be replaced
    assert len(settled) > 20
    assert ours == settled


def test_gaps_and_the_start_of_their_filling_agree(bars):
    facts, known = said(bars, 10)
    gaps = facts[facts["kind"] == Fact.GAP]
    theirs = smc.fvg(frame(bars))
    at = np.flatnonzero(~np.isnan(theirs["FVG"].to_numpy()))
    at = at[at < len(bars) - 1]
    assert len(at) > 200
    assert gaps["index"].tolist() == at.tolist()
    assert gaps["direction"].tolist() == theirs["FVG"].to_numpy()[at].astype(int).tolist()
    assert gaps["top"].tolist() == theirs["Top"].to_numpy()[at].tolist()
    assert gaps["bottom"].tolist() == theirs["Bottom"].to_numpy()[at].tolist()
    assert (known[facts["kind"] == Fact.GAP] == at + 1).all(), "known when the third candle closes"


@pytest.mark.parametrize("length", [5, 10])
@pytest.mark.parametrize("close_break", [True, False])
def test_breaks_of_structure_agree_but_for_what_the_library_takes_back(bars, length, close_break):
    facts, known = said(bars, length, close_break=close_break)
    labels = np.isin(facts["kind"], [Fact.BOS, Fact.CHOCH])
    ours = {
        (int(f["index"]), int(f["kind"]), int(f["direction"])): int(k) for f, k in zip(facts[labels], known[labels])
    }
    swings = smc.swing_highs_lows(frame(bars), swing_length=length)
    swings.iloc[0] = swings.iloc[-1] = np.nan
    theirs = smc.bos_choch(frame(bars), swings, close_break=close_break)
    found = {}
    for kind, column in ((Fact.BOS, "BOS"), (Fact.CHOCH, "CHOCH")):
        values = theirs[column].to_numpy()
        for i in np.flatnonzero(~np.isnan(values)):
            found[(int(i), int(kind), int(values[i]))] = int(theirs["BrokenIndex"][i])
    assert len(found) > 20
    late = max(index for index, _, _ in ours)
    missing = {key for key in found if key not in ours and key[0] < late - 4 * length}
    assert not missing, "the library has a label that ours never said"
    for key in ours.keys() & found.keys():
        assert ours[key] >= found[key], "said before the level was broken"
    # What is ours alone was voided by the library when a later label broke first or at the same bar, known only later.
    alone = [key for key in ours if key not in found]
    for index, _, _ in alone:
        voided = any(
            other > index and found[(other, k, w)] <= ours[(index, kk, ww)]
            for other, k, w in found
            for i, kk, ww in alone
            if i == index
        )
        assert voided, f"{index} is ours alone without a later label that voided it"


@pytest.mark.parametrize("length", [5, 10])
def test_order_blocks_come_from_the_same_breaks(bars, length):
    """The candle differs by definition (last opposite one, not the extreme one); the break behind it is the same."""
    facts, known = said(bars, length)
    breaks = facts["kind"] == Fact.BREAK
    ours = {(int(f["index"]), int(f["direction"])): int(k) for f, k in zip(facts[breaks], known[breaks])}
    sides = library_swings(bars, length)
    close, volume = bars["close"], bars["volume"]
    swings = smc.swing_highs_lows(frame(bars), swing_length=length)
    swings.iloc[0] = swings.iloc[-1] = np.nan
    blocks = smc.ob(frame(bars), swings)
    theirs = blocks["OBVolume"].dropna().to_numpy()
    compared = 0
    settled = np.flatnonzero(~np.isnan(sides))[:-1]
    for i in settled:
        direction = int(sides[i])
        level = bars["high"][i] if direction > 0 else bars["low"][i]
        later = np.flatnonzero(direction * (close[i + 1 :] - level) > 0)
        following = next((int(j) for j in settled if j > i and sides[j] == direction), len(bars))
        if not len(later) or i + 1 + later[0] > following:
            continue  # a newer swing of its side took over before it broke
        broke = int(i + 1 + later[0])
        replaced = any(
            i < int(f["index"]) < broke and int(f["direction"]) == direction and k < broke
            for f, k in zip(facts[facts["kind"] == Fact.CANDIDATE], known[facts["kind"] == Fact.CANDIDATE])
        )
        if replaced:
            continue  # ours had taken a later candidate of the run for the last swing, as one had to at the time
        compared += 1
        assert ours.get((int(i), direction)) == broke
    assert compared > 15
    # A block of the library carries the volume of the bar that broke and of the two before: it names the break.
    sums = np.array([volume[k] + volume[k - 1] + volume[k - 2] for k in ours.values()], np.float32)
    explained = [bool(np.isclose(sums, one, rtol=1e-6).any()) for one in theirs]
    # The rest stand on swings that only later bars made the last of their run.
    assert np.mean(explained) > 0.85


@pytest.mark.parametrize("length", [5, 10])
def test_liquidity_agrees(bars, length):
    """With the library's own reach (a share of the whole range, which needs the future) both find the same groups."""
    reach = float((bars["high"].max() - bars["low"].min()) * 0.01)
    facts, known = said(bars, length, liquidity_points=reach)
    chosen = facts[facts["kind"] == Fact.LIQUIDITY]
    ours = {(int(f["index"]), int(f["direction"])) for f in chosen}
    swings = smc.swing_highs_lows(frame(bars), swing_length=length)
    swings.iloc[0] = swings.iloc[-1] = np.nan
    theirs = smc.liquidity(frame(bars), swings)
    values = theirs["Liquidity"].to_numpy()
    found = {(int(i), int(values[i])) for i in np.flatnonzero(~np.isnan(values))}
    assert len(found) > 10
    ends = {(i, w): (int(theirs["End"][i]), int(theirs["Swept"][i])) for i, w in found}
    settled = facts["kind"] == Fact.SWING
    settles = {int(f["index"]): int(k) for f, k in zip(facts[settled], known[settled])}
    swings_at = facts[settled]["index"]
    for index, direction in found - ours:
        # A group that is swept before its second swing has settled is of no use to who trades: ours never says it.
        end, swept = ends[(index, direction)]
        late = end not in settles or (swept and settles[end] >= swept - 1)
        # Ours remembers the last 32 groups, and knows of an older group's sweep only when that has happened.
        forgotten = np.count_nonzero((swings_at > index) & (swings_at < end)) >= 24
        level = float(theirs["Level"][index])
        older = bool(
            (
                (chosen["direction"] == direction)
                & (chosen["index"] < index)
                & (abs(chosen["top"] - level) <= 2 * reach)
            ).any()
        )
        assert late or forgotten or older, f"{index} is the library's alone"
    for key in ours - found:
        assert key[0] in settles
    assert len(ours & found) > 0.75 * len(found)


def test_what_was_said_about_the_past_never_changes(bars):
    """Family 1: F-31."""
    facts, known = said(bars, 10)
    for cut in (500, 1777, 4000):
        part, part_known = said(bars[:cut], 10)
        for name in FACT.names:
            assert part[name].tolist() == facts[known < cut][name].tolist(), name
        assert part_known.tolist() == known[known < cut].tolist()


def test_all_prices_times_k_say_the_same(bars):
    """Family 2."""
    scaled = bars.copy()
    for name in ("open", "high", "low", "close"):
        scaled[name] = bars[name] * 4.0
    facts, _ = said(bars, 10)
    other, _ = said(scaled, 10)
    assert other["index"].tolist() == facts["index"].tolist()
    assert other["top"].tolist() == (facts["top"] * 4.0).tolist()


def test_a_mirrored_market_says_the_mirror_image():
    """Family 3, on whole prices, where the mirror is exact."""
    bars = bars_of(walk(3000, 5))
    for name in ("open", "high", "low", "close"):
        bars[name] = np.rint(bars[name] * 100.0)
    mirrored, pole = bars.copy(), 1e6
    mirrored["open"], mirrored["close"] = pole - bars["open"], pole - bars["close"]
    mirrored["high"], mirrored["low"] = pole - bars["low"], pole - bars["high"]
    facts, known = said(bars, 10, liquidity_points=50.0)
    other, other_known = said(mirrored, 10, liquidity_points=50.0)
    # A bar that is both a high and a low counts as the high, so compare what does not hang on such bars.
    kinds = np.isin(facts["kind"], [Fact.GAP])
    assert facts[kinds]["index"].tolist() == other[np.isin(other["kind"], [Fact.GAP])]["index"].tolist()
    assert (facts[kinds]["direction"] == -other[np.isin(other["kind"], [Fact.GAP])]["direction"]).all()
    swings, mirror = facts[facts["kind"] == Fact.SWING], other[other["kind"] == Fact.SWING]
    assert len(swings) > 50
    assert swings["index"].tolist() == mirror["index"].tolist()
    assert (swings["direction"] == -mirror["direction"]).all()
    assert len(known) and len(other_known)
