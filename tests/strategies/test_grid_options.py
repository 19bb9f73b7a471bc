"""Every option of a grid: what it does, on both engines, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest

from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.errors import Misconfigured
from bot.instrument import Market
from bot.order import OrderKind, Signal
from bot.record import to_dict
from coordinator.config import load_config
from tests.backtesting.test_one_engine import agree, both
from tests.conftest import START, bars, instrument, walk
from tests.strategies.grid_options import EXCHANGE, LARGE, OPTIONS


def config_of(parameters, **more):
    return {"strategy": "grid", "pair": "BTCUSDT", "exchange": "synth", "grid": parameters, **more}


def play(candles, parameters, traded=None, *, every_bar=False, **more):
    config = load_config(config_of(parameters, **more))
    return UniversalSimulator(config, every_bar=every_bar).run(PreparedCandles.of(candles, traded or instrument()))


def whole(recording):
    names = ("ts", "slot", "generation", "side", "price", "quantity", "signal", "liquidity", "position")
    return [tuple(int(f[n]) for n in names) for f in recording.fills]


@pytest.mark.parametrize("name", list(OPTIONS))
def test_bars_passed_over_change_nothing(name):
    candles = walk(1500, seed=31)
    quick, slow = (play(candles, OPTIONS[name], every_bar=every, **LARGE.get(name, {})) for every in (False, True))
    assert whole(quick) == whole(slow)
    assert to_dict(quick.state) == to_dict(slow.state)


@pytest.mark.parametrize("name", list(OPTIONS))
@pytest.mark.parametrize("late", [None, 437])
def test_the_engine_of_a_bot_gives_the_same_fills(name, late):
    """F-80."""
    more = {} if late is None else {"from": START + late * 60_000}
    agree(*both(walk(1200, seed=31), instrument(), config_of(OPTIONS[name], **LARGE.get(name, {}), **more)))


@pytest.mark.parametrize("name", list(OPTIONS))
@pytest.mark.parametrize("cut", [411, 900])
def test_truncation_family_1(name, cut):
    candles, more = walk(1200, seed=31), LARGE.get(name, {})
    until = int(candles.ts[cut])
    begun = whole(play(candles.rows(slice(0, cut)), OPTIONS[name], **more))
    assert begun == [one for one in whole(play(candles, OPTIONS[name], **more)) if one[0] < until]


def flat(*closes, step=0.0):
    """Bars that open where the one before closed; `step`: how far the extremes lie outside."""
    opens = [closes[0], *closes[:-1]]
    return bars(*[(o, max(o, c) + step, min(o, c) - step, c) for o, c in zip(opens, closes, strict=True)])


FIXED = {"preset": "exchange", "lower": 90.0, "upper": 110.0, "levels": 11}


def first_fills(parameters, *closes, **more):
    return play(flat(*closes), parameters, instrument("0.1"), **more).fills


def test_the_exchange_preset_starts_with_the_second_bar_and_puts_all_capital_into_its_range():
    recording = play(flat(100.0, 100.0, 100.0, 100.0), {**FIXED, "direction": "long"}, instrument("0.1"))
    fills = recording.fills
    assert set(fills["signal"]) == {Signal.ENTRY}
    assert fills["ts"].min() == START + 2 * 60_000, "laid as the second bar closes, bought at the next open"
    cells = recording.state.cells
    value = 0.1 * 0.001 * float(np.sum(cells["entry"].astype(float) * cells["lots"]))
    assert value == pytest.approx(10_000.0, rel=0.01), "by the cells' own prices, some above that of the purchase"
    entries = sum(int(s.quantity) for s in recording.slots if s.active and s.signal == Signal.ENTRY)
    assert entries + int(fills["quantity"].sum()) == int(cells["lots"].sum()), "each rests, or has been bought"
    counters = sorted(int(s.price) for s in recording.slots if s.active and s.signal == Signal.GRID_COUNTER)
    assert counters == [1020, 1040, 1060, 1080, 1100], "each cell sells at the next level"


def test_a_trigger_is_waited_for_and_then_forgotten():
    wait = {**FIXED, "trigger_price": 102.0}
    assert len(first_fills(wait, *[100.0] * 5, 101.9, 98.0, 97.0)) == 0
    assert len(first_fills(wait, *[100.0] * 5, 102.0, 98.0, 97.0, 96.0)) > 0


@pytest.mark.parametrize(("keep", "stop"), [("keep", 680), ("keep_with_stop", 807)])
def test_a_grid_that_keeps_leaves_its_inventory_behind_a_stop(keep, stop):
    parameters = {**FIXED, "direction": "long", "stop_price": 85.0, "on_stop": keep, "stop_loss": 0.05}
    recording = play(flat(100.0, 100.0, 100.0, 89.0, 85.0, 95.0, 105.0), parameters, instrument("0.1"))
    resting = [s for s in recording.slots if s.active]
    assert [(int(s.kind), int(s.price)) for s in resting] == [(OrderKind.STOP, stop)]
    assert int(resting[0].quantity) == int(recording.pair.ledger.position) > 0
    assert recording.state.finished


def test_what_is_finished_lays_no_other_grid():
    parameters = {**FIXED, "take_profit": 111.0, "direction": "long", "cooldown_hours": 0.0}
    recording = play(flat(100.0, 100.0, 100.0, 111.0, *[100.0] * 5, 95.0), parameters, instrument("0.1"))
    assert recording.state.finished
    assert int(recording.pair.ledger.position) == 0
    assert not recording.slots["active"].any()


def test_a_window_follows_by_cells_and_stops_at_its_limit():
    parameters = {**FIXED, "direction": "long", "trailing": "cell", "trailing_limit_upper": 116.0}
    recording = play(flat(100.0, 100.0, 100.0, 115.0, 121.0, 121.0), parameters, instrument("0.1"))
    assert int(recording.state.first) == 3
    entries = [int(s.price) for s in recording.slots if s.active and s.signal == Signal.ENTRY]
    assert (min(entries), max(entries)) == (960, 1140)


def test_an_infinity_grid_holds_the_same_worth_at_every_price():
    parameters = {"preset": "exchange", "lower": 80.0, "upper": 200.0, "levels": 20, "infinity": True}
    parameters["profit_per_grid"] = 0.02
    prices = [100.0, 100.0, 100.0, *np.round(np.geomspace(100.0, 240.0, 60), 1)]
    recording = play(flat(*prices), parameters, instrument("0.1"), capital=1_000_000.0)
    held = np.abs(recording.worth())[12:]  # the first purchase takes the volume of several bars
    assert held.max() / held.min() < 1.05, "it sells what rises, cell by cell, and no more"
    assert recording.state.first > 20, "the window has left the cells it began with"


def test_locked_profit_is_not_used_again():
    candles, parameters = walk(3000, seed=33), {**EXCHANGE, "reinvest": "all", "direction": "long"}
    free, locked = (play(candles, {**parameters, "profit_lock": lock}) for lock in (0.0, 1.0))
    assert float(free.state.locked) == 0.0 < float(locked.state.locked) == pytest.approx(float(locked.state.realised))
    assert float(locked.state.cell_notional) < float(free.state.cell_notional)


@pytest.mark.parametrize("most", [1, 4])
def test_no_more_orders_rest_than_are_allowed(most):
    recording = play(walk(600, seed=34), {**EXCHANGE, "max_open_orders": most})
    active = recording.slots[recording.slots["active"]]
    assert (active["signal"] <= Signal.GRID_COUNTER).sum() == most


REFUSED = {
    "trigger outside": ({**FIXED, "trigger_price": 120.0}, "trigger_price (120) lies outside the range from 90 to 110"),
    "stop inside": ({**FIXED, "stop_price": 95.0}, "stop_price (95) lies inside the range"),
    "take-profit inside": ({**FIXED, "take_profit": 105.0}, "take_profit (105) lies inside the range"),
    "long stop above": ({**FIXED, "direction": "long", "stop_price": 120.0}, "of a long grid belongs below"),
    "short profit above": ({**FIXED, "direction": "short", "take_profit": 120.0}, "of a short grid belongs below"),
    "keep without stop": ({"on_stop": "keep"}, "no stop_price is given"),
    "limit without cells": ({"trailing_limit_upper": 120.0}, "limits trailing: cell, but trailing is off"),
    "limit inside": ({**FIXED, "trailing": "cell", "trailing_limit_upper": 105.0}, "lies under upper"),
    "infinity short": ({"infinity": True, "direction": "short"}, "choose long, or no infinity"),
    "price and share": ({"stop_price": 10.0, "stop_share": 0.1}, "as a price and as a share"),
    "profit below costs": ({"take_profit": "0.01%"}, "take_profit_share is 0.0001 but leaving"),
    "levels too near": ({**FIXED, "levels": 100, "lower": 99.9}, "levels lie"),
    "cells too small": (
        {**FIXED, "infinity": True, "profit_per_grid": 0.004, "levels": 2},
        "a cell of an infinity grid",
    ),
    "budget too small": ({**FIXED, "levels": 20, "risk_budget": 0.001}, "raise the capital or grid.risk_budget"),
    "no share": ({"take_profit": "x%"}, "take_profit_share"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_makes_no_sense_is_refused_in_one_sentence(name):
    parameters, words = REFUSED[name]
    with pytest.raises(Misconfigured, match=re.escape(words)) as refused:
        play(flat(*[100.0] * 3), parameters, instrument("0.1"), capital=1000.0)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["exchange, long", "infinity", "keeps"])
def test_spot_too(name):
    traded = instrument(market=Market.SPOT)
    agree(*both(walk(1200, seed=31), traded, config_of(OPTIONS[name], market="spot", **LARGE.get(name, {}))))
