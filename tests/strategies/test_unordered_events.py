"""What a venue may answer in another order than a simulation does: late fills, refusals, pauses, other parameters."""

from __future__ import annotations

import pytest

from bot.order import OrderKind, Signal
from coordinator.vocabulary import HaltAnswer
from tests.coordinator.driven import Driven

RANGE = {"preset": "exchange", "lower": 48_000, "upper": 52_000, "levels": 9}
LONG = {**RANGE, "direction": "long", "initial_inventory": False}
BOTH_SIDES = {**RANGE, "risk_budget": 1.0, "turning_entries": "rest"}
DEAL = {"timeframe": "5m", "warmup_bars": 3, "start": "immediately", "risk_budget": 1.0}


@pytest.fixture
def grid(monkeypatch):
    def made(saved=None, more=None, **section):
        one = Driven(monkeypatch, "grid", {**RANGE, **section}, saved, **(more or {}))
        one.bar(count=3)
        return one

    return made


@pytest.fixture
def deal(monkeypatch):
    def made(saved=None, **section):
        one = Driven(monkeypatch, "dca", {**DEAL, **section}, saved)
        if saved is None:
            one.bar(count=25)
            one.fill(one.orders(kind=OrderKind.MARKET)[0])
        return one

    return made


# Grid


def test_a_buy_that_fills_while_the_grid_closes_leaves_with_it(grid):
    one = grid(stop_price="1%", risk_budget=1.0)
    one.buy()
    one.buy()
    late = one.entries()[0]
    one.bar(48_520.0)
    (closing,) = one.orders()
    assert closing.kind == OrderKind.MARKET
    one.fill(late)
    one.fill(closing)
    assert one.machine.position == late.lots
    assert one.exits() == [("MARKET", late.lots)]


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_buy_that_fills_after_the_grid_has_ended_leaves_at_once(grid, share):
    one = grid(**LONG, take_profit=52_500.0)
    late = one.entries()[-1]
    one.bar(52_600.0)
    assert one.orders() == []
    one.fill(late, int(late.lots * share))
    assert one.exits() == [("MARKET", int(late.lots * share))]
    assert one.entries() == []
    one.fill(one.orders()[0])
    one.bar(count=70)
    assert (one.machine.position, one.orders()) == (0, [])


def test_entries_that_the_venue_refuses_are_asked_for_again(grid):
    one = grid()
    asked = one.orders()
    for order in asked:
        one.machine.take_refusal(order)
    assert one.orders() == []
    one.bar(count=60)
    assert [(again.side, again.price) for again in one.orders()] == [(order.side, order.price) for order in asked]


def test_what_fills_in_a_pause_does_not_cost_the_entries_that_follow(grid):
    one = grid()
    before = len(one.orders())
    one.buy()
    one.direct(paused=True)
    one.fill(one.orders(signal=int(Signal.GRID_COUNTER))[0])
    assert (one.machine.position, one.orders()) == (0, [])
    one.direct(paused=False)
    assert len(one.orders()) == before


def test_lots_that_a_trim_took_are_not_bought_back_before_the_grid_is_flat(monkeypatch):
    section = {**LONG, "start": "now", "risk_budget": 0.5, "max_drawdown": 1.0, "preset": "classic"}
    section |= {"timeframe": "1h", "warmup_bars": 3, "trailing": "off", "profit_per_grid": 0.01}
    auto = {"auto": {"preset": "classic", "warmup_bars": 60}, "smc": {"enabled": False}}
    one = Driven(monkeypatch, "auto", section, family="grid", **auto)
    one.bar(count=240)
    first, second = one.buy(), one.buy()
    one.direct(halted=True)
    one.direct(answer=int(HaltAnswer.REDUCE_50))
    one.fill(one.orders(kind=OrderKind.MARKET)[0])
    one.direct(halted=False, answer=0)
    assert one.machine.position in (first.lots, second.lots)
    assert not [order for order in one.entries() if order.price * 0.1 >= one.price], "the sold cell waits"
    one.fill(one.orders(signal=int(Signal.GRID_COUNTER))[0])
    assert one.machine.position == 0
    assert {order.price for order in one.entries()} >= {first.price, second.price}


def test_a_stop_given_to_a_grid_that_stands_counts(grid):
    one = grid(**LONG)
    one.buy()
    again = grid(one, **LONG, stop_price=47_500.0, take_profit=52_500.0)
    again.buy()
    assert again.stop == 475_000
    without = grid(again, **LONG)
    without.buy()
    assert without.stop == 475_000, "a stop never loosens"
    assert (int(without.state.grid.stop_side), int(without.state.grid.take_side)) == (0, 0)


def test_without_its_limit_of_orders_none_of_a_grid_waits_any_more(grid):
    one = grid(max_open_orders=2)
    assert len(one.orders()) == 2
    again = grid(one)
    again.bar(count=60)
    assert len(again.orders()) == 8


def test_a_grid_that_does_not_wait_for_a_longer_bar_is_judged_at_once(grid):
    one = grid(more={"smc": {"enabled": True, "neutral_size": 0.5}})
    sizes = {order.price: order.lots for order in grid().orders()}
    assert one.orders()
    assert all(order.lots <= sizes[order.price] // 2 for order in one.orders())


def test_a_range_is_not_made_narrower_than_its_cells_pay_for(monkeypatch):
    section = {"timeframe": "5m", "warmup_bars": 15, "levels": 15, "counter": "level", "trailing": "atr"}
    section |= {"range_factor": 6.0, "shift_cooldown_minutes": 60, "max_drawdown": 1.0, "risk_budget": 1.0}
    one = Driven(monkeypatch, "grid", section)
    for index in range(90):
        one.bar(50_000.0 + (200.0 if index % 2 else -200.0))
    wide = float(one.state.grid.upper - one.state.grid.lower)
    one.bar(count=300)
    one.bar(round(float(one.state.grid.upper) * 1.01, 1))
    assert float(one.state.grid.centre) == one.price, "it was laid again"
    assert float(one.state.grid.upper - one.state.grid.lower) == pytest.approx(wide)
    assert int(one.machine.pairs[0].costs.refused) == 1


@pytest.mark.parametrize(("spacing", "buys", "sells"), [("arithmetic", 3, 0), ("geometric", 4, 3)])
def test_a_range_laid_again_higher_leaves_out_the_cells_that_do_not_pay_there(grid, spacing, buys, sells):
    """A round trip of two limits costs 0.04 %, so a step has to be 0.06 %; 30.1 is that up to 50,166.67."""
    section = {"lower": 49_819.4, "upper": 50_000.0, "levels": 7, "trailing": "fixed", "spacing": spacing}
    one = grid(**section, shift_threshold=0.0, shift_cooldown_minutes=0.0)
    assert len(one.orders()) == 6
    one.bar(50_150.0)
    assert (len(one.orders(side=1)), len(one.orders(side=-1))) == (buys, sells)
    assert int(one.machine.pairs[0].costs.refused) == 3 - sells
    one.bar(50_500.0)
    assert one.orders() == []
    refused = int(one.machine.pairs[0].costs.refused)
    assert refused == 3 - sells + 6
    one.bar(50_000.0)
    assert len(one.orders()) >= 6, "lower down its cells pay again"
    assert int(one.machine.pairs[0].costs.refused) == refused


@pytest.mark.parametrize("strategy", ["grid", "dca"])
def test_conditions_that_were_taken_out_of_the_config_hold_nothing_back(monkeypatch, strategy):
    never = [{"indicator": "RSI", "timeperiod": 5, "long_below": 0.001, "short_above": 99.999}]
    section = {"timeframe": "5m", "warmup_bars": 3}
    section |= {"range_factor": 2.0} if strategy == "grid" else {"start": "immediately"}
    one = Driven(monkeypatch, strategy, {**section, "when": never})
    for index in range(20):
        one.bar(50_000.0 + 10.0 * (index % 7))
    assert one.orders() == []
    again = Driven(monkeypatch, strategy, section, one)
    for index in range(40):
        again.bar(50_000.0 + 10.0 * (index % 7))
    assert again.orders()


# DCA


def test_a_deal_keeps_its_direction_when_the_config_has_another(deal):
    one = deal(deal(), direction="short")
    one.buy()
    held = one.machine.position
    assert one.exits() == [("LIMIT", held)]
    assert all(order.side < 0 for order in one.orders(reduce_only=True))
    assert one.stop == 450_000


def test_a_safety_order_that_fills_after_its_deal_only_leaves(deal):
    one = deal()
    late, target = one.entries()[0], one.orders(signal=int(Signal.EXIT_TP))[0]
    one.fill(target)
    assert one.orders() == []
    one.fill(late)
    assert one.entries() == []
    assert one.exits() == [("LIMIT", late.lots)]
    assert one.stop == round(late.price * 0.9)
    one.fill(one.orders(signal=int(Signal.EXIT_TP))[0])
    ledger, state = one.machine.pairs[0].ledger, one.state.dca
    assert state.profits - state.losses == pytest.approx(float(ledger.realised - ledger.fees))


def test_room_is_made_by_orders_that_rest_not_by_one_that_is_being_sent(monkeypatch):
    auto = {"auto": {"preset": "classic", "warmup_bars": 60}}
    one = Driven(monkeypatch, "auto", {**DEAL, "timeframe": "1h"}, family="dca", **auto)
    one.bar(count=180)
    (base,) = one.orders(kind=OrderKind.MARKET)
    one.direct(withdraw_id=1, withdraw=100.0)
    assert one.orders() == [base]


def test_counters_of_a_grid_on_both_sides_go_on_reducing_through_a_pause(monkeypatch):
    """What leaves is never held back: a counter that may open only reduces meanwhile, and may open again afterwards."""
    one = Driven(monkeypatch, "grid", BOTH_SIDES)
    one.bar(count=3)
    bought = one.buy()
    (counter,) = one.orders(signal=int(Signal.GRID_COUNTER))
    assert not counter.reduce_only
    one.direct(paused=True)
    assert not one.orders(signal=int(Signal.ENTRY))
    (kept,) = one.orders(signal=int(Signal.GRID_COUNTER))
    assert (kept.reduce_only, kept.price, kept.lots) == (True, counter.price, bought.lots)
    assert kept.client_order_id != counter.client_order_id, "no venue amends that"
    one.direct(paused=False)
    (again,) = one.orders(signal=int(Signal.GRID_COUNTER))
    assert (again.reduce_only, again.price) == (False, counter.price)
    assert again.stop == counter.stop != 0
    assert one.entries()


def test_a_counter_that_fills_in_a_pause_leaves_its_cell_to_come_back(monkeypatch):
    one = Driven(monkeypatch, "grid", BOTH_SIDES)
    one.bar(count=3)
    bought = one.buy()
    one.direct(paused=True)
    one.fill(one.orders(signal=int(Signal.GRID_COUNTER))[0])
    assert one.machine.position == 0
    assert not one.orders()
    one.direct(paused=False)
    assert one.entries()[0].price == bought.price


def test_a_counter_too_large_for_the_limit_of_exposure_only_reduces(monkeypatch):
    one = Driven(monkeypatch, "grid", BOTH_SIDES)
    one.bar(count=3)
    order = one.entries()[0]
    one.bar(order.price * 0.1 - 1)
    one.direct(exposure_limit=1.0)
    one.fill(order)
    (kept,) = one.orders(signal=int(Signal.GRID_COUNTER))
    assert kept.reduce_only
    restarted = Driven(monkeypatch, "grid", BOTH_SIDES, one)  # without that limit
    (again,) = restarted.orders(signal=int(Signal.GRID_COUNTER))
    assert not again.reduce_only and again.stop
