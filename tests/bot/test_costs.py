"""The rule of costs: what a round trip costs, what is refused for it, and where that is told."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.costs import CostRule, entry_pays, pays, round_trip, round_trip_of
from bot.errors import Misconfigured
from bot.order import OrderKind
from bot.record import new_record, new_records
from bot.strategy import PAIR
from coordinator.config import load_config
from strategies.dca import STRATEGY as DCA
from strategies.grid import STRATEGY as GRID
from strategies.trend import TrendParameters
from tests.conftest import instrument, walk


def pair_of(**fields):
    pair = new_record(PAIR)
    pair["instrument"] = instrument(**fields).record(1.0)
    pair.price = 50_000.0
    return pair


def params_of(**values):
    parameters = TrendParameters(**values)
    records = new_records(parameters.dtype(), 1)
    records[0] = parameters.record()
    return records[0]


@pytest.mark.parametrize(
    ("entry", "leave", "cost"),
    [
        (OrderKind.LIMIT, OrderKind.LIMIT, 0.0004),
        (OrderKind.MARKET, OrderKind.LIMIT, 0.0002 + 0.00055 + 0.0001),
        (OrderKind.MARKET, OrderKind.STOP, 2 * (0.00055 + 0.0001)),
    ],
)
def test_a_round_trip_costs_maker_fees_where_it_rests_and_taker_fees_and_slippage_where_not(entry, leave, cost):
    assert round_trip(pair_of(), int(entry), int(leave), 0.0001) == pytest.approx(cost, rel=1e-12)
    assert round_trip_of(instrument(), entry, leave, 0.0001) == round_trip(pair_of(), int(entry), int(leave), 0.0001)


@pytest.mark.parametrize(
    ("target", "stop", "refused", "rule"),
    [
        (0.00255, 0.0104, 0, CostRule.TARGET),  # exactly 3 and 8 round trips: decimals decide, not their binary dust
        (0.00254, 0.0104, 1, CostRule.TARGET),
        (0.00255, 0.0103, 1, CostRule.STOP),
        (np.inf, np.inf, 0, CostRule.TARGET),
    ],
)
def test_an_entry_nearer_to_target_or_stop_than_its_costs_ask_for_is_refused_and_counted(target, stop, refused, rule):
    pair, params = pair_of(), params_of(min_target_costs=3.0, min_stop_costs=8.0)
    assert entry_pays(pair, params, int(OrderKind.MARKET), target, int(OrderKind.LIMIT), stop) == (not refused)
    assert (pair.costs.refused, pair.costs.rule) == (refused, rule)


def test_a_rebate_never_refuses():
    pair = pair_of(maker_fee=Decimal("-0.0002"))
    costs = round_trip(pair, int(OrderKind.LIMIT), int(OrderKind.LIMIT), 0.0)
    assert pays(pair, int(CostRule.CELL), 0.0001, 3.0, costs)


@pytest.mark.parametrize(
    ("strategy", "values", "sentence"),
    [
        (
            GRID,
            {"profit_per_grid": 0.0005},
            "grid.profit_per_grid is 0.0005 but a round trip costs 0.0004 and grid.min_",
        ),
        (
            DCA,
            {"take_profit": 0.001},
            "dca.take_profit is 0.001 but a round trip costs 0.00085 and dca.min_target_costs",
        ),
        (DCA, {"trailing": True, "trail_distance": 0.014}, "dca.trail_activation less dca.trail_distance is 0.00079"),
        (DCA, {"stop_loss": 0.001, "step": 0.0001}, "dca.stop_loss is 0.001 but a round trip costs 0.0013"),
    ],
)
def test_a_distance_that_can_never_pay_is_refused_before_anything_runs(strategy, values, sentence):
    with pytest.raises(Misconfigured, match=sentence):
        strategy.check(strategy.parameters(**values), instrument(), 10_000.0, 50_000.0, 1.0)


@pytest.mark.parametrize(("name", "least"), [("min_target_costs", 8.0), ("min_stop_costs", 3.0)])
def test_a_trend_trades_less_under_the_rule_and_says_how_often(name, least):
    section = {"preset": "classic", "timeframe": "15m", "warmup_bars": 60}
    free, bound = (played("trend", {**section, name: multiple}) for multiple in (0.0, least))
    assert free.pair.costs.refused == 0
    assert bound.pair.costs.refused > 0
    assert 0 < len(bound.fills) < len(free.fills)


@pytest.mark.parametrize(
    ("name", "section", "rule"),
    [
        ("grid", {"profit_per_grid": 0.0006, "timeframe": "15m", "warmup_bars": 20}, CostRule.CELL),
        ("dca", {"take_profit": 0.0015, "timeframe": "15m", "warmup_bars": 20, "confluence": 0.2}, CostRule.TARGET),
    ],
)
def test_fees_that_rise_while_a_bot_runs_keep_it_from_opening(name, section, rule):
    """A check at the start cannot know them, so the strategy asks again."""
    dearer = instrument(maker_fee=Decimal("0.0005"))
    assert len(played(name, section).fills) > 0
    recording = played(name, section, fees=dearer)
    assert len(recording.fills) == 0
    assert (recording.pair.costs.refused > 0, recording.pair.costs.rule) == (True, rule)


def played(name, section, fees=None):
    """Play a walk; `fees`: the instrument that the pair has while the check saw the ordinary one."""

    class Dearer(UniversalSimulator):
        def _pair(self, prepared):
            pairs = super()._pair(prepared)
            if fees is not None:
                pairs[0]["instrument"] = fees.record(1.0)
            return pairs

    config = load_config({"strategy": name, "pair": "BTCUSDT", name: section})
    return Dearer(config).run(PreparedCandles.of(walk(4000, seed=1), instrument()))
