"""The rules of the collector, each against a slow plain version of itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Misconfigured
from services.market_data.agreement import KEPT_MINUTES, CrossVenueCheck
from services.market_data.canonical import CanonicalMinutes, Receipt, Reception, Source
from services.market_data.holes import PATIENCE_MS, HoleCause, SeriesHoles
from services.market_data.markets import BY_ID, MARKETS, market_named

MINUTE, DAY = 60_000, 86_400_000
START = 1_700_000_040_000


def receipt(minute, close, received, source=Source.STREAM):
    return Receipt(1, "BTCUSDT", START + minute * MINUTE, close, close, close, close, 1.0, received, source)


receipts = st.lists(
    st.builds(receipt, st.integers(0, 6), st.sampled_from([100.0, 101.0, 102.0]), st.integers(0, 9)), max_size=40
)


def plain(told):
    """The version of each minute that was received last, and of those received together the last one handed over."""
    by_minute = defaultdict(list)
    for number, one in enumerate(told):
        by_minute[one.ts].append((one.received_ms, number, one.values))
    return {ts: max(versions)[2] for ts, versions in by_minute.items()}


@given(receipts)
def test_the_last_receipt_of_a_minute_wins(told):
    core = CanonicalMinutes()
    for one in told:
        core.receive(one)
    assert {ts: one.values for ts, one in core.held.items()} == plain(told)


@given(receipts, st.data())
def test_storing_forgetting_and_recalling_at_any_moment_changes_nothing(told, data):
    """What a restart does: what was stored is read back, and what was not is received again."""
    core, stored = CanonicalMinutes(), {}
    for one in sorted(told, key=lambda one: one.received_ms):
        if data.draw(st.booleans()):
            batch = core.take_unsaved()
            stored |= {each.ts: each for each in batch}
            core.saved(batch)
        if data.draw(st.booleans()):
            core.forget(START + data.draw(st.integers(0, 7)) * MINUTE)
        if core.forgets(one.ts):
            day = one.ts // DAY * DAY
            core.recall(
                day,
                [
                    replace(each, received_ms=0, source=Source.STORE)
                    for each in stored.values()
                    if each.ts // DAY * DAY == day
                ],
            )
        core.receive(one)
    stored |= {each.ts: each for each in core.take_unsaved()}
    assert {ts: one.values for ts, one in stored.items()} == plain(sorted(told, key=lambda one: one.received_ms))


@given(receipts)
def test_no_minute_changes_without_a_record_of_both_versions(told):
    core, seen = CanonicalMinutes(), {}
    for one in told:
        before = core.held.get(one.ts)
        reception, revision = core.receive(one)
        after = core.held[one.ts]
        changed = before is not None and before.values != after.values
        assert changed == (revision is not None) == (reception is Reception.REVISED)
        if revision is not None:
            assert (revision.before.values, revision.after.values) == (before.values, after.values)
            assert revision.decided == (one.ts in seen)
        if one.ts % 2 == 0 and one.values[3] > 100.0:
            core.decide(one.ts)
            seen[one.ts] = True


@pytest.mark.parametrize(
    "wrong",
    [{"high": 99.0}, {"low": 101.0}, {"low": 0.0}, {"close": float("nan")}, {"volume": -1.0}, {"ts": START + 1}],
)
def test_what_cannot_be_a_minute_changes_nothing(wrong):
    core = CanonicalMinutes()
    assert core.receive(replace(receipt(0, 100.0, 1), **wrong)) == (Reception.FAULTY, None)
    assert core.held == {}


def test_a_minute_that_changes_while_it_is_stored_is_stored_again():
    core = CanonicalMinutes()
    core.receive(receipt(0, 100.0, 1))
    batch = core.take_unsaved()
    core.receive(receipt(0, 101.0, 2))
    core.saved(batch)
    assert [one.close for one in core.take_unsaved()] == [101.0]


steps = st.lists(
    st.one_of(
        st.tuples(st.just("heard"), st.integers(0, 12)),
        st.tuples(st.just("look"), st.integers(0, 14)),
        st.tuples(st.sampled_from(["answered", "unanswered"]), st.tuples(st.integers(0, 12), st.integers(0, 12))),
    ),
    max_size=30,
)


@given(steps)
def test_every_minute_is_heard_or_in_one_hole_with_the_cause_known_last(told):
    holes = SeriesHoles(START)
    missing, heard, frontier, now = {}, set(), 0, START

    def reach(minute, cause):
        nonlocal frontier
        for one in range(frontier, minute):
            if one not in heard:
                missing[one] = cause
        frontier = max(frontier, minute)

    for what, given_ in told:
        if what == "heard":
            reach(given_, HoleCause.STREAM_LOST)
            frontier = max(frontier, given_ + 1)
            heard.add(given_)
            missing.pop(given_, None)
            holes.heard(START + given_ * MINUTE, HoleCause.STREAM_LOST, now)
        elif what == "look":
            now = max(now, START + given_ * MINUTE + PATIENCE_MS)
            reach((now - PATIENCE_MS - START) // MINUTE, HoleCause.NOT_HEARD)
            holes.look(now, HoleCause.NOT_HEARD)
        else:
            first, after = min(given_), max(given_)
            cause = HoleCause.VENUE_HAS_NONE if what == "answered" else HoleCause.VENUE_UNREACHABLE
            missing |= {one: cause for one in missing if first <= one < after}
            getattr(holes, what)(START + first * MINUTE, START + after * MINUTE, now)
        found = [
            ((ts - START) // MINUTE, hole.cause) for hole in holes.holes for ts in range(hole.first, hole.after, MINUTE)
        ]
        assert found == sorted(missing.items())
        assert holes.missing == len(missing)
        expected = frontier
        assert holes.completeness == pytest.approx(1 - len(missing) / expected if expected else 1.0)


def test_a_hole_is_due_at_once_and_then_at_growing_distances():
    holes = SeriesHoles(START)
    now = START + MINUTE + PATIENCE_MS
    holes.look(now - 1, HoleCause.NOT_HEARD)
    assert holes.due(now) == []
    holes.look(now, HoleCause.NOT_HEARD)
    waits = []
    for _ in range(7):
        (hole,) = holes.due(now)
        holes.answered(hole.first, hole.after, now)
        waits.append((holes.holes[0].ask_ms - now) // 1000)
        assert holes.due(holes.holes[0].ask_ms - 1) == []
        now = holes.holes[0].ask_ms
    assert waits == [10, 30, 120, 600, 3600, 21600, 86400]


def test_what_the_venue_has_not_after_the_last_minute_of_a_delisted_symbol_is_no_hole():
    holes, now = SeriesHoles(START), START + 10 * MINUTE + PATIENCE_MS
    for minute in (0, 1, 4):
        holes.heard(START + minute * MINUTE, HoleCause.NOT_HEARD, now)
    holes.look(now, HoleCause.NOT_HEARD)
    holes.answered(START, START + 10 * MINUTE, now)
    holes.end(START + 4 * MINUTE)
    assert [(one.first, one.after) for one in holes.holes] == [(START + 2 * MINUTE, START + 4 * MINUTE)]


def test_minutes_before_a_delisting_that_were_not_asked_for_yet_stay_missing():
    holes = SeriesHoles(START)
    holes.heard(START, HoleCause.NOT_HEARD, START + MINUTE)
    holes.look(START + 3 * MINUTE + PATIENCE_MS, HoleCause.NOT_HEARD)
    holes.end(START)
    assert [one.minutes for one in holes.holes] == [2]


def test_nothing_is_missing_of_a_symbol_that_is_no_longer_traded():
    holes = SeriesHoles(START)
    holes.end(START - MINUTE)
    holes.look(START + 10 * MINUTE, HoleCause.NOT_HEARD)
    assert (holes.missing, holes.completeness) == (0, 1.0)


closes = st.lists(
    st.tuples(st.sampled_from([1, 2, 3, 4]), st.sampled_from(["A", "B"]), st.integers(0, 3), st.integers(990, 1010)),
    max_size=30,
)


@given(closes)
def test_closes_apart_by_more_than_the_limit_are_flagged_and_no_others(told):
    check, known = CrossVenueCheck(50.0), {}
    for market, symbol, minute, close in told:
        known[market, symbol, minute] = float(close)
        expected = []
        for other in {1: [3], 2: [4], 3: [1], 4: [2]}[market]:  # spot with spot, linear with linear
            there = known.get((other, symbol, minute))
            if there is not None and abs(there - close) > 50.0 / 1e4 * min(there, close):
                expected.append(tuple(sorted((market, other))))
        found = check.note(market, symbol, START + minute * MINUTE, float(close))
        assert [one.market_ids for one in found] == expected


def test_old_closes_are_forgotten():
    check = CrossVenueCheck(1.0)
    check.note(1, "A", START, 100.0)
    check.note(1, "A", START + KEPT_MINUTES * MINUTE, 100.0)
    assert check.note(3, "A", START, 200.0) == []
    assert len(check.note(3, "A", START + KEPT_MINUTES * MINUTE, 200.0)) == 1


def test_ids_of_markets_are_fixed():
    known = {1: "binance spot", 2: "binance linear", 3: "bybit spot", 4: "bybit linear"}
    assert {number: str(one) for number, one in BY_ID.items()} == known
    assert [market_named(name.upper()) for name in known.values()] == list(MARKETS)
    with pytest.raises(Misconfigured, match="'kraken spot' is no market; choose from binance spot, "):
        market_named("kraken spot")
