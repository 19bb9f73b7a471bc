"""The test families of failures seen elsewhere, for every strategy: truncation, scale, mirror, degenerate data,
configuration, reproducibility; and what a strategy may never do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backtesting.exchange import Outcome
from backtesting.run import simulate
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.candles import Candles
from bot.order import OrderKind, Signal
from bot.record import new_record, new_records, to_dict
from bot.strategy import PAIR
from coordinator.config import load_config
from strategies.grid.cells import set_range
from strategies.grid.state import STATE
from tests.conftest import bars, instrument, walk

EXAMPLE = "tests/examples/ema_cross.py:EMA_CROSS"
PARAMETERS = {
    "grid": {"timeframe": "15m", "warmup_bars": 20},
    "dca": {"timeframe": "15m", "warmup_bars": 20, "confluence": 0.3, "take_profit": 0.004},
    "dca with options": {
        "timeframe": "15m",
        "warmup_bars": 20,
        "confluence": 0.3,
        "max_active_safety_orders": 2,
        "targets": [{"at": 0.002, "share": 0.5}, {"at": 0.004, "share": 0.3}, {"at": 0.008, "share": 0.2}],
        "break_even": True,
        "take_profit_from": "base",
        "max_deal_days": 0.3,
        "max_deals_per_day": 20,
        "reinvest_pct": 50.0,
        "risk_reduction_pct": 50.0,
    },
    "trend": {"timeframe": "15m", "warmup_bars": 20, "sideways": 0.002},
    "trend channel": {
        "preset": "channel",
        "timeframe": "15m",
        "warmup_bars": 20,
        "direction": "both",
        "exit_channel_bars": 8,
        "min_stop_costs": 0.0,
        "trail_distance": 4.0,
        "max_days": 0.3,
    },
    "ema_cross": {"timeframe": "15m", "warmup_bars": 20},
}
NAMES = list(PARAMETERS)


def config_of(name, **more):
    name, variant = name.split()[0], name
    strategy = EXAMPLE if name == "ema_cross" else name
    section = {**PARAMETERS[variant], **more.pop("parameters", {})}
    return load_config({"strategy": strategy, "pair": "BTCUSDT", name: section, **more})


def play(name, candles, traded=None, *, every_bar=False, **more):
    return UniversalSimulator(config_of(name, **more), every_bar=every_bar).run(
        PreparedCandles.of(candles, traded or instrument())
    )


def rows(fills, upto=None):
    names = ("ts", "slot", "generation", "side", "price", "quantity", "signal", "liquidity", "position")
    chosen = fills if upto is None else fills[fills["ts"] < upto]
    return [tuple(int(f[n]) for n in names) for f in chosen]


def scaled(candles: Candles, k: float) -> Candles:
    prices = (getattr(candles, n) * k for n in ("open", "high", "low", "close"))
    return Candles(candles.ts, *prices, candles.volume / k, candles.bar_ms)


@pytest.mark.parametrize("name", NAMES)
def test_f24_every_strategy_trades_on_an_ordinary_market(name):
    assert len(play(name, walk(6000, seed=1)).fills) >= 4


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(cut=st.integers(500, 5900), policy=st.sampled_from(["next_open", "close"]))
def test_f32_truncation_family_1(name, cut, policy):
    """F-86: What was decided on data[0:t] is what the whole run decided up to t."""
    candles, rules = walk(6000, seed=2), {"fill_policy": policy}
    until = int(candles.ts[cut]) - (60_000 if policy == "close" else 0)
    whole = play(name, candles, execution=rules)
    begun = play(name, candles.rows(slice(0, cut)), execution=rules)
    assert rows(begun.fills, until) == rows(whole.fills, until)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=8, deadline=None)
@given(power=st.integers(-6, 6))
def test_f30_scale_family_2(name, power):
    """All prices times k (and ticks with them) give the same orders and the same result in per cent."""
    k = 2.0**power
    candles = walk(4000, seed=3)
    traded = instrument(min_notional=0)
    from decimal import Decimal

    larger = traded.model_copy(
        update={"tick_size": traded.tick_size * Decimal(k), "lot_size": traded.lot_size / Decimal(k)}
    )
    one, other = play(name, candles, traded), play(name, scaled(candles, k), larger)
    assert rows(one.fills) == rows(other.fills)
    np.testing.assert_allclose(one.equity(), other.equity(), rtol=1e-9)


def mirrored(candles: Candles, top: float) -> Candles:
    return Candles(
        candles.ts,
        top - candles.open,
        top - candles.low,
        top - candles.high,
        top - candles.close,
        candles.volume,
        60_000,
    )


@pytest.mark.parametrize("rules", ["adverse", "nearest"])
def test_f26_mirror_family_3_of_a_grid_with_fixed_bounds(rules):
    """Buying low in a market is selling high in its mirror: the same cells at mirrored ticks."""
    candles, top = walk(6000, seed=15, volatility=0.0008), 100_000.0
    options = {"execution": {"path": rules, "slippage_bps": 0, "funding_rate": 0}}
    bounds = {"lower": 49_000.0, "upper": 51_000.0, "trailing": "off", "stop_loss": 0.2, "max_drawdown": 1.0}
    one = play("grid", candles, parameters={**bounds, "direction": "long", "initial_inventory": False}, **options)
    other = play(
        "grid",
        mirrored(candles, top),
        parameters={**bounds, "direction": "short", "initial_inventory": False},
        **options,
    )
    ours, theirs = first_entries(one), first_entries(other)
    assert len(ours) == len(theirs) >= 5
    for slot, (ts, side, price) in ours.items():
        assert theirs[14 - slot] == (ts, -side, round(top / 0.1) - price)


def first_entries(recording):
    """When, on which side and at which price each cell first opened."""
    fills = recording.fills[recording.fills["signal"] == Signal.ENTRY]
    return {int(f["slot"]): (int(f["ts"]), int(f["side"]), int(f["price"])) for f in fills[::-1]}


@pytest.mark.parametrize("name", ["dca", "dca with options", "trend", "trend channel"])
def test_f26_mirror_family_3_of_directions(name):
    """What long does in a market, short does in its mirror: same bars, other side."""
    candles = walk(6000, seed=5, volatility=0.0003)
    long, short = (
        play(name, c, parameters={"direction": d}, execution={"funding_rate": 0, "slippage_bps": 0})
        for c, d in ((candles, "long"), (mirrored(candles, 100_000.0), "short"))
    )
    first = min(len(long.fills), len(short.fills), 6)
    assert first >= 2
    np.testing.assert_array_equal(long.fills["side"][:first], -short.fills["side"][:first])
    np.testing.assert_array_equal(long.fills["signal"][:first], short.fills["signal"][:first])
    assert abs(long.fills["ts"][0] - short.fills["ts"][0]) == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_bars_passed_over_change_nothing(name, seed):
    """The watch is a promise: asking about every bar gives the same fills and the same state."""
    candles = walk(5000, seed=20 + seed, volatility=0.002 if seed % 2 else 0.0007)
    trailing = {"trailing": True, "trail_activation": 0.004, "trail_distance": 0.002} if name == "dca" else {}
    quick, slow = (play(name, candles, every_bar=e, parameters=trailing, leverage=3) for e in (False, True))
    assert rows(quick.fills) == rows(slow.fills)
    assert to_dict(quick.state) == to_dict(slow.state)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 10**6), volatility=st.floats(0.0001, 0.02), leverage=st.sampled_from([1, 5, 50]), data=st.data()
)
def test_every_run_balances_and_covers_its_position(name, seed, volatility, leverage, data):
    """The ledger identity (checked inside each run) and the standing rules, on random bars and parameters."""
    candles = walk(1500, seed=seed, volatility=volatility)
    rules = {
        "fill_rule": data.draw(st.sampled_from(["through", "touch"])),
        "path": data.draw(st.sampled_from(["adverse", "nearest"])),
        "fill_policy": data.draw(st.sampled_from(["next_open", "close"])),
        "max_participation": data.draw(st.sampled_from([1.0, 0.01, 0.0001])),
        "funding_rate": data.draw(st.floats(-0.01, 0.01)),
    }
    recording = play(name, candles, leverage=leverage, execution=rules)
    slots, position = recording.slots, int(recording.pair.ledger.position)
    wanted = slots[slots["active"]]
    exits = wanted[wanted["signal"] > Signal.GRID_COUNTER]
    if recording.outcome is Outcome.COMPLETE and position and name != "ema_cross":
        covered = exits[(exits["kind"] != OrderKind.LIMIT) & (exits["side"] == -np.sign(position))]
        assert covered["quantity"].sum() >= abs(position), "a position without its stop"
    assert exits["reduce_only"].all()
    fills = recording.fills
    before = np.concatenate(([0], fills["position"][:-1]))
    leaving = fills["signal"] > Signal.GRID_COUNTER
    assert (np.abs(fills["position"][leaving]) < np.abs(before[leaving])).all(), "an exit opened a position"
    assert len({(int(f["slot"]), int(f["generation"]), int(f["ts"]), int(f["position"])) for f in fills}) == len(fills)


# Family 8: degenerate data.


@pytest.mark.parametrize("name", NAMES)
def test_family_8_a_single_bar(name):
    recording = play(name, bars((100.0, 101.0, 99.0, 100.0)), instrument("0.1"))
    assert len(recording.fills) == 0


@pytest.mark.parametrize("name", NAMES)
def test_family_8_a_market_that_never_moves(name):
    recording = play(name, bars(*[(50_000.0,) * 4] * 2000), parameters={"confluence": 0.6} if "dca" in name else {})
    assert len(recording.fills) == 0
    assert recording.equity()[-1] == 10_000.0


@pytest.mark.parametrize("name", NAMES)
def test_family_8_no_volume_no_fill(name):
    candles = walk(4000, seed=6)
    recording = play(name, replace(candles, volume=np.zeros(4000)))
    assert len(recording.fills) == 0


@pytest.mark.parametrize("name", NAMES)
def test_family_8_f57_gaps_are_counted_and_survived(name):
    candles = walk(6000, seed=7)
    recording = play(name, candles.rows([i for i in range(6000) if i % 400 > 7]))
    broken = {i // 15 for i in range(6000) if i % 400 <= 7}
    assert recording.prepared.rollup(900_000).incomplete == len(broken) == 20
    assert len(recording.fills) > 0


@pytest.mark.parametrize("name", NAMES)
def test_family_8_f44_a_market_that_dies(name):
    """Down 99.9 % in a day with leverage: the run ends or goes on, equity stays a number and never under zero."""
    candles = walk(3000, seed=8)
    fall = np.concatenate([np.ones(1500), np.exp(-np.linspace(0.0, 6.9, 1500))])
    prices = [np.maximum(np.round(getattr(candles, n) * fall, 1), 0.1) for n in ("open", "high", "low", "close")]
    dying = Candles(candles.ts, *prices, candles.volume, 60_000)
    recording = play(
        name, dying, leverage=20, parameters={"risk_budget": 1.0} if name == "grid" or "dca" in name else {}
    )
    assert np.isfinite(recording.equity()).all()
    assert recording.equity().min() >= 0.0


def test_f08_a_take_profit_sells_the_whole_deal():
    fills = play("dca", walk(6000, seed=1)).fills
    taken = fills[fills["signal"] == Signal.EXIT_TP]
    assert len(taken) >= 2
    assert (taken["position"] == 0).all()
    assert (taken["realised"] > 0).all()


@pytest.mark.parametrize("budget", [0.01, 0.03])
@pytest.mark.parametrize("name", ["dca", "grid"])
def test_f38_a_market_that_falls_through_the_stop_costs_the_budget_and_no_more(name, budget):
    """What may be lost is known before anything is opened: the whole ladder, or inventory, to its stop."""
    candles = walk(3000, seed=8, volatility=0.0004)
    fall = np.concatenate([np.ones(1500), np.exp(-np.linspace(0.0, 0.5, 1500))])
    prices = [np.round(getattr(candles, n) * fall, 1) for n in ("open", "high", "low", "close")]
    falling = Candles(candles.ts, *prices, candles.volume * 1e6, 60_000)
    recording = play(name, falling, parameters={"risk_budget": budget})
    stopped = recording.fills[recording.fills["signal"] == Signal.EXIT_SL]
    assert len(stopped) > 0, "nothing ran into its stop"
    assert 0.8 < -stopped["realised"].min() / (budget * config_of(name).capital) <= 1.0


# Family 10: reproducibility.


@pytest.mark.parametrize("name", NAMES)
def test_family_10_twice_the_same(name):
    candles = walk(3000, seed=9)
    config = config_of(name)
    one, two = (simulate(config, candles) for _ in range(2))
    assert one.recording.fills.tobytes() == two.recording.fills.tobytes()
    assert one.document == two.document


# Warm-up.


@pytest.mark.parametrize("name", NAMES)
def test_f33_nothing_is_entered_before_the_warm_up_or_before_the_period(name):
    candles = walk(6000, seed=10)
    recording = play(name, candles, parameters={"warmup_bars": 100})
    assert recording.fills["bar"].min() >= 100 * 15
    start = int(candles.ts[4000])
    recording = play(name, candles, **{"from": str(start)})
    assert recording.fills["ts"].min() >= start


@pytest.mark.parametrize("name", NAMES)
def test_f32_a_longer_past_fades(name):
    """Warm-up sensitivity: twice the history before the period changes the indicators by next to nothing."""
    candles = walk(12_000, seed=13)
    start = str(int(candles.ts[9000]))
    far = play(name, candles, parameters={"warmup_bars": 150}, **{"from": start})
    near = play(name, candles.rows(slice(4500, None)), parameters={"warmup_bars": 150}, **{"from": start})
    ours, theirs = rows(far.fills)[:3], rows(near.fills)[:3]
    assert [r[0] for r in ours] == [r[0] for r in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one[4] == pytest.approx(other[4], rel=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_f_75_prices_under_a_millionth_trade_like_any_others(name):
    """A coin at 0.0000005: the same orders in ticks, no fill at zero, no figure that is not a number."""
    k = 1e-11
    candles, traded = walk(4000, seed=3), instrument(min_notional=0)
    small = traded.model_copy(
        update={"tick_size": traded.tick_size.scaleb(-11), "lot_size": traded.lot_size.scaleb(11)}
    )
    one, other = play(name, candles, traded), play(name, scaled(candles, k), small)
    assert rows(one.fills) == rows(other.fills)
    np.testing.assert_allclose(one.equity(), other.equity(), rtol=1e-9)
    assert (other.fills["price"] > 0).all()
    inferred = simulate(config_of(name), scaled(candles, k))
    figures = inferred.metrics.model_dump()
    assert all(np.isfinite(value) for value in figures.values() if isinstance(value, float))
    assert abs(figures["total_return_pct"]) < 50.0


@pytest.mark.parametrize("levels", [3, 5, 15, 99])
def test_a_neutral_grid_with_an_odd_number_of_levels_has_no_cell_at_its_centre(levels):
    """Whatever binary fractions make of the level in the middle, it is the centre."""
    config, rng = config_of("grid", parameters={"levels": levels}), np.random.default_rng(1)
    for ticks in range(327_401, 327_900, 7):  # around a power of two, where the two bounds round differently
        pair, params = new_record(PAIR), new_records(config.parameters.dtype(), 1)
        params[0] = config.parameters.record()
        pair["instrument"] = instrument().record(1.0)
        pair.price, pair.target, pair.time = ticks * 0.1, 10_000.0, 1
        state, half = new_record(STATE), 3.0 * rng.uniform(10.0, 40.0)
        set_range(pair, params[0], state, pair.price - half, pair.price + half, levels)
        sides = state.cells["side"][:levels].tolist()
        assert sides == [1] * (levels // 2) + [0] + [-1] * (levels // 2)
