"""Tiny scenarios worked out by hand from docs/execution.md alone: the oracle itself must be right first."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest

from tests.oracle.dca import Dca, DcaParameters
from tests.oracle.exchange import (
    BUY,
    ENTRY,
    EXIT_SL,
    EXIT_TP,
    GRID_COUNTER,
    LIMIT,
    MARKET,
    SELL,
    STOP,
    Bar,
    Exchange,
    Fill,
    Instrument,
    Settings,
    play,
    run,
)
from tests.oracle.grid import Grid, GridParameters
from tests.oracle.numbers import exact, whole_down, whole_up

MINUTE = 60_000
Desired = tuple[int, int, str, int, int, str]


class Script:
    """Sets what is written for the number of the signal bar; notes what is refused."""

    slots, timeframe_ms, warmup_bars = 4, MINUTE, 0

    def __init__(self, *lines: tuple[int, Desired]) -> None:
        self.lines = lines
        self.heard = 0
        self.refusals: list[int] = []

    def signal(self, exchange: Exchange, bar: Bar) -> None:
        for number, desired_order in self.lines:
            if number == self.heard:
                exchange.desired_order(*desired_order)
        self.heard += 1

    def base(self, exchange: Exchange) -> None: ...
    def fill(self, exchange: Exchange, fill: Fill) -> None: ...
    def refused(self, exchange: Exchange, slot: int) -> None:
        self.refusals.append(slot)


def instrument(**changes: Any) -> Instrument:
    return Instrument(**({"tick_size": 1, "lot_size": 1, "leverage": 10, "linear": True} | changes))


def candles(*prices: tuple[int, int, int, int], volume: float = 1000) -> list[tuple[Any, ...]]:
    """One-minute bars of (O, H, L, C) from the epoch on."""
    return [(i * MINUTE, *row, volume) for i, row in enumerate(prices)]


def short(fills: Iterable[Fill]) -> list[tuple[int, int, int, int, str]]:
    """(minute, slot, price, signed lots, liquidity) of each fill."""
    return [(f.ts // MINUTE, f.slot, f.price, f.side * f.lots, f.liquidity) for f in fills]


def test_rounding_takes_what_nearly_is_a_whole_number_as_that_number() -> None:
    assert (whole_down(exact("2.9999999999")), whole_up(exact("3.0000000001"))) == (3, 3)
    assert (whole_down(exact("2.99999")), whole_up(exact("3.00001"))) == (2, 4)


@pytest.mark.parametrize(("rule", "minute"), [("touch", 1), ("through", 2)])
def test_a_limit_fills_when_touched_or_one_tick_later(rule: str, minute: int) -> None:
    bars = candles((100, 100, 100, 100), (100, 101, 95, 96), (96, 96, 94, 94))
    script = Script((0, (0, BUY, LIMIT, 95, 1, ENTRY)))
    fills = run(bars, instrument(), Settings(1000, fill_rule=rule), script)
    assert short(fills) == [(minute, 0, 95, 1, "maker")]


def test_a_limit_passed_at_the_opening_gets_the_opening() -> None:
    bars = candles((100, 100, 100, 100), (100, 100, 99, 99), (90, 91, 89, 90))
    script = Script((0, (0, BUY, LIMIT, 95, 1, ENTRY)))
    assert short(run(bars, instrument(), Settings(1000), script)) == [(2, 0, 90, 1, "maker")]


@pytest.mark.parametrize(("opening", "price"), [(100, 90), (80, 80)])
def test_a_stop_fills_at_its_trigger_or_at_the_gap(opening: int, price: int) -> None:
    bars = candles((100, 100, 100, 100), (100, 100, 100, 100), (opening, opening, 79, 85))
    script = Script((0, (0, BUY, MARKET, 0, 1, ENTRY)), (1, (1, SELL, STOP, 90, 1, EXIT_SL)))
    fills = run(bars, instrument(), Settings(1000), script)
    assert short(fills) == [(1, 0, 100, 1, "taker"), (2, 1, price, -1, "taker")]


def test_the_adverse_path_stops_a_long_before_its_profit() -> None:
    bars = candles((100, 100, 100, 100), (100, 100, 100, 100), (100, 101, 89, 100), (100, 102, 100, 101))
    lines = (
        (0, (0, BUY, MARKET, 0, 1, ENTRY)),
        (1, (1, SELL, STOP, 90, 1, EXIT_SL)),
        (1, (2, SELL, LIMIT, 100, 1, EXIT_TP)),
    )
    adverse = run(bars, instrument(), Settings(1000), Script(*lines[:2], (1, (2, SELL, LIMIT, 101, 1, EXIT_TP))))
    assert short(adverse)[1:] == [(2, 1, 90, -1, "taker")]
    crossing = run(bars, instrument(), Settings(1000), Script(*lines))
    assert short(crossing)[1:] == [(2, 2, 100, -1, "taker")]  # it crossed the close, so the opening takes it


def test_participation_fills_part_and_the_rest_in_the_next_bar() -> None:
    bars = candles((100, 100, 100, 100), (100, 101, 99, 100), (102, 102, 102, 102), volume=10)
    script = Script((0, (0, BUY, MARKET, 0, 8, ENTRY)))
    fills = run(bars, instrument(), Settings(1000, max_participation="0.5"), script)
    assert short(fills) == [(1, 0, 100, 5, "taker"), (2, 0, 102, 3, "taker")]
    assert [f.generation for f in fills] == [1, 1]


def test_a_triggered_stop_goes_on_as_a_market_order() -> None:
    bars = candles((100,) * 4, (100,) * 4, (100,) * 4, (100, 100, 89, 100), (100,) * 4, volume=10)
    script = Script((0, (0, BUY, MARKET, 0, 8, ENTRY)), (2, (1, SELL, STOP, 90, 8, EXIT_SL)))
    fills = run(bars, instrument(), Settings(1000, max_participation="0.5"), script)
    assert short(fills)[2:] == [(3, 1, 90, -5, "taker"), (4, 1, 100, -3, "taker")]


@pytest.mark.parametrize(
    ("opening", "expected"),
    [(103, [(1, 0, 104, 1, "taker")]), (105, [(1, 0, 105, 1, "taker")]), (107, [])],
)
def test_a_crossing_limit_pays_its_price_at_most(opening: int, expected: list[Any]) -> None:
    bars = candles((110, 110, 110, 104), (opening, opening, opening, opening))
    script = Script((0, (0, BUY, LIMIT, 105, 1, ENTRY)))
    assert short(run(bars, instrument(), Settings(1000, slippage_bps=10), script)) == expected


def test_post_only_refuses_what_crosses() -> None:
    script = Script((0, (0, BUY, LIMIT, 105, 1, ENTRY)))
    bars = candles((104, 104, 104, 104), (104, 104, 104, 104))
    assert run(bars, instrument(), Settings(1000, post_only=True), script) == []
    assert script.refusals == [0]


def test_an_entry_the_purse_cannot_carry_is_refused() -> None:
    script = Script((0, (0, BUY, MARKET, 0, 101, ENTRY)), (1, (0, BUY, MARKET, 0, 100, ENTRY)))
    fills = run(candles(*[(100, 100, 100, 100)] * 3), instrument(), Settings(1000), script)
    assert (script.refusals, short(fills)) == ([0], [(2, 0, 100, 100, "taker")])
    assert fills[0].generation == 2


def test_fill_policy_close_fills_at_the_close_but_not_in_the_last_bar() -> None:
    script = Script((0, (0, BUY, MARKET, 0, 1, ENTRY)), (1, (0, BUY, MARKET, 0, 1, ENTRY)))
    bars = candles((100, 100, 98, 99), (100, 100, 98, 98))
    fills = run(bars, instrument(), Settings(1000, fill_policy="close"), script)
    assert short(fills) == [(0, 0, 99, 1, "taker")]


def test_funding_is_paid_on_the_opening_when_eight_hours_pass() -> None:
    hours = 8 * 60 * MINUTE
    rows = [(hours - 2 * MINUTE, 100), (hours - MINUTE, 100), (hours, 110), (hours + MINUTE, 110)]
    bars = [(ts, price, price, price, price, 1000) for ts, price in rows]
    script = Script((0, (0, BUY, MARKET, 0, 5, ENTRY)))
    end = play(bars, instrument(), Settings(1000, funding_rate="0.01"), script)
    assert end.cash == 1000 - 500 - exact("5.5")


def test_liquidation_takes_everything() -> None:
    bars = candles((100,) * 4, (100,) * 4, (100, 100, 84, 99), (99,) * 4)
    script = Script((0, (0, BUY, MARKET, 0, 5, ENTRY)))
    end = play(bars, instrument(maintenance_margin="0.05"), Settings(100), script)
    assert short(end.fills)[1:] == [(2, -2, 85, -5, "taker")]  # 400 / (5 x 0.95) = 84.2, up
    assert (end.cash, end.ended) == (0, True)


def grid(**changes: Any) -> Grid:
    """Cells at 90, 95 (buy 2 lots), 105, 110 (sell 1 lot) around 100; counters 2 % off; stops 85 and 116."""
    plan = {"timeframe_ms": MINUTE, "warmup_bars": 2, "levels": 5, "lower": 90, "upper": 110}
    return Grid(GridParameters(**(plan | {"profit_per_grid": "0.02"} | changes)))


STILL = (100, 101, 99, 100)


def test_a_grid_buys_counters_and_buys_again() -> None:
    bars = candles(STILL, STILL, (100, 100, 94, 94), (94, 98, 94, 98), (98, 98, 94, 94))
    fills = run(bars, instrument(leverage=1), Settings(1000), grid())
    assert short(fills) == [(2, 1, 95, 2, "maker"), (3, 6, 97, -2, "maker"), (4, 1, 95, 2, "maker")]
    assert [f.generation for f in fills] == [1, 1, 2]
    assert [f.signal for f in fills] == [ENTRY, GRID_COUNTER, ENTRY]


def test_a_grid_counters_within_the_same_bar() -> None:
    bars = candles(STILL, STILL, (100, 100, 94, 98))
    fills = run(bars, instrument(leverage=1), Settings(1000, path="nearest"), grid())
    assert short(fills) == [(2, 1, 95, 2, "maker"), (2, 6, 97, -2, "maker")]


def test_a_grid_is_stopped_as_a_whole_and_waits() -> None:
    crash = (84, 84, 80, 84)  # opens beyond both buys and beyond the stop
    bars = candles(STILL, STILL, (100, 100, 94, 94), crash, *[(84, 85, 83, 84)] * 3)
    fills = run(bars, instrument(leverage=1), Settings(1000), grid())
    # Passed by most at 84: buy 95 is held; buy 90 (r 89) by 5, the stop 85 by 1. Buy first, at the opening.
    expected = [(2, 1, 95, 2, "maker"), (3, 0, 84, 2, "maker"), (3, 10, 84, -4, "taker")]
    assert short(fills) == expected
    assert fills[-1].position == 0


def test_a_grid_that_loses_too_much_is_closed_at_the_market() -> None:
    bars = candles(STILL, STILL, (100, 100, 94, 94), (94, 94, 91, 91), (91, 92, 90, 92))
    fills = run(bars, instrument(leverage=1), Settings(1000), grid(max_drawdown="0.007"))
    assert short(fills) == [(2, 1, 95, 2, "maker"), (4, 11, 91, -2, "taker")]  # 8 lost > 7
    assert fills[-1].signal == EXIT_SL


def test_a_grid_shifts_and_what_is_held_keeps_its_counter() -> None:
    """At 113 the range is 103..123; the short cells keep their prices until flat."""
    rise = [(100, 106, 100, 106), (106, 108, 106, 108), (108, 113, 108, 113)]
    bars = candles(STILL, STILL, *rise, (113, 113, 102, 102))
    plan = grid(trailing="fixed", shift_cooldown_minutes=0, shift_threshold="0.02", turning_entries="rest")
    end = play(bars, instrument(leverage=1), Settings(1000), plan)
    assert short(end.fills)[:2] == [(2, 3, 105, -1, "maker"), (4, 4, 110, -1, "maker")]
    # Laid again at 113: 103..123, cells 103 and 108 buy. The counters of 105 and 110 stay at 102 and 107.
    after = short(end.fills)[2:]
    assert (5, 1, 108, 1, "maker") in after
    assert (5, 9, 107, 1, "maker") in after


def test_entries_against_the_position_of_a_neutral_grid_wait_until_it_is_flat() -> None:
    """The same market: cell 108 would buy against what the short cells hold."""
    rise = [(100, 106, 100, 106), (106, 108, 106, 108), (108, 113, 108, 113)]
    bars = candles(STILL, STILL, *rise, (113, 113, 102, 102))
    plan = grid(trailing="fixed", shift_cooldown_minutes=0, shift_threshold="0.02")
    end = play(bars, instrument(leverage=1), Settings(1000), plan)
    assert [fill for fill in short(end.fills) if fill[0] == 5] == [(5, 9, 107, 1, "maker")]


def dca(**changes: Any) -> Dca:
    plan = {
        "timeframe_ms": MINUTE,
        "warmup_bars": 2,
        "confluence": "0.2",
        "max_safety_orders": 1,
        "step": "0.1",
    }
    return Dca(DcaParameters(**(plan | {"stop_loss": "0.2", "take_profit": "0.05"} | changes)))


def test_a_deal_opens_averages_and_takes_its_profit() -> None:
    """Loss shares 0.2 + 0.111: the unit is 200 / 0.311 = 642.86, 64 lots at 1000 and 70 at 909."""
    bars = candles((1000,) * 4, (1000,) * 4, (1010,) * 4, (1010, 1010, 908, 910), (910,) * 4)
    end = play(bars, instrument(lot_size="0.01", leverage=1), Settings(10000), dca(deal_cooldown_seconds=600))
    expected = [(2, 0, 1010, 64, "taker"), (3, 1, 909, 70, "maker"), (3, 2, 1006, -134, "maker")]
    assert short(end.fills) == expected  # 1.05 x 957.24 = 1005.1, up
    assert end.strategy.deal is None  # type: ignore[attr-defined]


def test_a_trailing_deal_leaves_under_its_best() -> None:
    """Armed at 1030 by the bar after the entry's; 0.8 % under it is 1021, beyond the average."""
    bars = candles((1000,) * 4, (1000,) * 4, (1000,) * 4, (1000, 1030, 1000, 1029), (1029, 1029, 1020, 1020))
    fills = run(bars, instrument(lot_size="0.01", leverage=1), Settings(10000), dca(trailing=True))
    assert short(fills)[1:] == [(4, 3, 1021, -64, "taker")]
    assert fills[-1].signal == EXIT_TP


def test_a_deal_leaves_at_two_targets_and_the_first_moves_its_stop_to_break_even() -> None:
    """The budget of 40 buys 20 lots at 1000: half leaves at 1020, then a fall ends at the average."""
    halves = [{"at": "0.02", "share": "0.5"}, {"at": "0.05", "share": "0.5"}]
    bars = candles((1000,) * 4, (1000,) * 4, (1000,) * 4, (1000, 1021, 1000, 1021), (1021, 1021, 990, 990))
    plan = dca(targets=halves, break_even=True, max_safety_orders=0, start="immediately")
    fills = run(bars, instrument(lot_size="0.01", leverage=1), Settings(2000), plan)
    assert short(fills) == [(2, 0, 1000, 20, "taker"), (3, 2, 1020, -10, "maker"), (4, 3, 1000, -10, "taker")]
    assert [fill.signal for fill in fills] == [ENTRY, EXIT_TP, EXIT_SL]


def test_only_so_many_safety_orders_rest_and_the_next_follows_a_fill() -> None:
    bars = candles((1000,) * 4, (1000,) * 4, (1000,) * 4, (1000, 1000, 940, 940), (940, 940, 895, 895))
    plan = dca(start="immediately", max_safety_orders=2, step="0.05", max_active_safety_orders=1, take_profit="0.5")
    end = play(bars[:3], instrument(lot_size="0.01", leverage=1), Settings(10000), plan)
    assert [slot.price for slot in end.slots[:3] if slot.quantity] == [950]
    plan = dca(start="immediately", max_safety_orders=2, step="0.05", max_active_safety_orders=1, take_profit="0.5")
    fills = run(bars, instrument(lot_size="0.01", leverage=1), Settings(10000), plan)
    assert [(fill.slot, fill.price) for fill in fills] == [(0, 1000), (1, 950), (2, 900)]


def test_a_deal_that_is_too_old_is_closed_at_the_market_and_its_ladder_is_cancelled() -> None:
    bars = candles(*[(1000,) * 4] * 2, *[(990,) * 4] * 4)
    plan = dca(start="immediately", max_deal_days=3 / 1440, deadline_exit="market", stop_after_deals=1)
    fills = run(bars, instrument(lot_size="0.01", leverage=1), Settings(10000), plan)
    assert [(fill.ts // MINUTE, fill.slot, fill.signal) for fill in fills] == [(2, 0, ENTRY), (5, 2, EXIT_SL)]


def test_a_schedule_opens_at_its_times_and_a_window_once_a_visit() -> None:
    still = candles(*[(1000,) * 4, (1000, 1060, 1000, 1000)] * 10)
    plan = dca(start="schedule", schedule_hours=6 / 60, max_safety_orders=0, deal_cooldown_seconds=0)
    fills = run(still, instrument(lot_size="0.01", leverage=1), Settings(10000), plan)
    assert [fill.ts // MINUTE for fill in fills if fill.signal == ENTRY] == [6, 12, 18]
    rows = [(p, p + 60, p, p) for p in (1100, 1100, 1000, 1000, 1000, 1100, 1100, 1000, 1000)]
    plan = dca(start="price_window", entry_below=1050, max_safety_orders=0, deal_cooldown_seconds=0)
    fills = run(candles(*rows), instrument(lot_size="0.01", leverage=1), Settings(10000), plan)
    assert [fill.ts // MINUTE for fill in fills if fill.signal == ENTRY] == [3, 8]


def walk(seed: int, count: int) -> list[tuple[Any, ...]]:
    """A seeded random walk of candles, some without volume."""
    dice = random.Random(seed)
    rows, price = [], 1000
    for i in range(count):
        opening = price + dice.randint(-1, 1)
        price = max(opening + dice.randint(-8, 8), 50)
        high, low = max(opening, price) + dice.randint(0, 5), min(opening, price) - dice.randint(0, 5)
        rows.append((i * MINUTE, opening, high, low, price, dice.choice([0, 3, 50, 400])))
    return rows


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "make",
    [
        lambda: Grid(GridParameters(timeframe_ms=5 * MINUTE, warmup_bars=15, trailing="atr", cooldown_hours=1)),
        lambda: Dca(DcaParameters(timeframe_ms=5 * MINUTE, warmup_bars=30, confluence="0.4", trailing=True)),
    ],
)
def test_skipping_quiet_bars_changes_nothing(make: Any, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = walk(seed, 2000)
    settings = Settings(10000, slippage_bps=2, max_participation="0.2", funding_rate="0.0001")
    ground = instrument(lot_size="0.01", maker_fee="0.0002", taker_fee="0.0006", leverage=3)
    quick = run(rows, ground, settings, make())
    monkeypatch.setattr(Exchange, "_out_of_reach", lambda *_: False)
    assert quick == run(rows, ground, settings, make())
    assert quick
