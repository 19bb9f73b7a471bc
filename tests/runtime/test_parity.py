"""F-57, F-59: the live bot does what the simulation did, fill by fill and decision by decision."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from backtesting.funding import FundingHistory
from backtesting.instruments import instrument_for
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from bot.inputs import HOUR, SHORT_BLOCK
from bot.instrument import Market
from bot.sources import ROOT
from coordinator.config import PortfolioConfig, SimulationRules, load_portfolio
from coordinator.parameters import AlgorithmParameters
from services.market_data.synth import generate
from services.trials.parity import parity, sensible_start
from tests.runtime.house import DAY, config, market

PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def compared(seed, days=2, **sections):
    chosen = config(PAIRS, **sections)
    candles, instruments = market(PAIRS, days, seed)
    chosen = chosen.changed(start=sensible_start(candles, days))
    return asyncio.run(parity(chosen, candles, instruments))


@pytest.fixture(scope="module")
def found():
    return compared(7)


def test_the_same_candles_give_the_same_fills_and_decisions(found):
    assert found.differences == []
    assert found.minutes == 2 * DAY // 60_000 - 1
    assert found.fills.total() >= 20
    kinds = {one.kind for one in found.decisions}
    assert {"regime", "allocation", "start", "verdict"} <= kinds


@pytest.mark.slow
def test_a_halt_and_a_transition_are_the_same_too():
    """A halt that comes early, answered by half, and a resume: the operator of the simulation plays in both."""
    risk = {"reduce_day_loss": 0.001, "halt_day_loss": 0.0015, "halt_policy": "reduce_50", "halt_resume_hours": 3}
    found = compared(7, risk=risk)
    assert found.differences == []
    kinds = {one.kind for one in found.decisions}
    assert {"halt", "answer", "resume", "transition", "mode"} <= kinds, kinds


@pytest.mark.slow
def test_a_history_of_funding_is_paid_alike():
    """The decisions name the equity, to the bit; settlements that only one side paid would be told from them."""
    chosen = config(PAIRS)
    candles, instruments = market(PAIRS, 1, 7)
    chosen = chosen.changed(start=sensible_start(candles, 1))
    ts = np.arange(chosen.start, chosen.start + DAY // 2, HOUR)
    histories = {pair: FundingHistory(ts, np.resize([0.004, -0.003], len(ts))) for pair in PAIRS[:2]}
    found = asyncio.run(parity(chosen, candles, instruments, histories=histories))
    assert found.differences == []
    begin = chosen.algorithm.history_start(chosen.start)
    played = {pair: one.between(begin, chosen.end) for pair, one in candles.items()}
    runs = [
        PortfolioSimulator(chosen).run(PreparedPortfolio.of(dict(played), instruments, one)) for one in (histories, {})
    ]
    paid = [sum(abs(float(one.pair.ledger.funding)) for one in run.recordings[:2]) for run in runs]
    assert paid[0] > 2 * paid[1]
    assert {"allocation"} <= {one.kind for one in found.decisions if one.at > ts[-1]}


def test_f_59_every_option_has_a_row_in_the_register():
    """What a config can say is said of simulation, venue and live; a new option without a row fails."""
    register = (ROOT / "docs" / "parity.md").read_text(encoding="utf-8")
    models = (SimulationRules, AlgorithmParameters, PortfolioConfig)
    options = {name for model in models for name in model.model_fields}
    holders = {"version", "strategy", "pairs", "execution", "algorithm", "own", "alone"}  # what holds the others
    known = options - holders
    assert {name for name in known if f"`{name}`" not in register} == set()


def test_a_difference_is_found(found):
    """The comparison can fail: one fill less on one side is one difference."""
    one = next(iter(found.live_fills))
    del found.live_fills[one]
    assert [side for side, _ in found.differences] == ["simulation"]


EMA_CROSS = str(ROOT / "tests/examples/ema_cross.py:EMA_CROSS")


OPTIONS_OF_DCA = {
    "timeframe": "5m",
    "warmup_bars": 60,
    "start": "price_window",
    "entry_above": 0.01,
    "max_deals_per_day": 20,
    "stop_after_deals": 25,
    "deal_cooldown_seconds": 600,
    "step": 0.004,
    "stop_loss": 0.03,
    "max_active_safety_orders": 2,
    "targets": [{"at": 0.002, "share": 0.5}, {"at": 0.005, "share": 0.3}, {"at": 0.01, "share": 0.2}],
    "break_even": True,
    "take_profit_from": "base",
    "max_deal_days": 0.2,
    "deadline_exit": "market",
    "reinvest_pct": 50.0,
    "risk_reduction_pct": 50.0,
}
ALONE = {
    "grid": ("grid", {"grid": {"warmup_bars": 30}}),
    "dca": ("dca", {"dca": {"timeframe": "5m", "warmup_bars": 60, "confluence": 0.2, "take_profit": 0.003}}),
    "dca with most options": ("dca", {"dca": {**OPTIONS_OF_DCA, "start": "immediately"}}),
    "trend": ("trend", {"trend": {"timeframe": "15m", "warmup_bars": 60, "trend_confirmation_bars": 1}}),
    "own": (EMA_CROSS, {"ema_cross": {"timeframe": "5m", "warmup_bars": 50}}),
    "trend by channel": (
        "trend",
        {
            "trend": {
                "preset": "channel",
                "timeframe": "5m",
                "direction": "both",
                "exit_channel_bars": 8,
                "trail_distance": 4.0,
                "max_days": 0.2,
                "min_stop_costs": 1.0,
                "volatility_target": 0.2,
            }
        },
    ),
    "grid with every section": (
        "grid",
        {"grid": {"warmup_bars": 30}, "smc": {}, "risk": {"losing_trades": 2}, "allocation": {"reserve": 0.1}},
    ),
}


def of_one_strategy(name, pairs, days, **more):
    strategy, section = ALONE[name]
    candles = generate(list(pairs), 11 + days, 7)
    chosen = load_portfolio({"strategy": strategy, "pairs": pairs, **section})
    chosen = chosen.changed(start=sensible_start(candles, days))
    instruments = {pair: instrument_for(pair, Market.LINEAR, candles[pair])[0] for pair in pairs}
    return asyncio.run(parity(chosen, candles, instruments, **more))


@pytest.mark.slow
def test_deals_are_the_same_live_after_a_restart():
    """What a deal remembers comes back: the ladder that waits, what has left, its age, the counts, the results."""
    found = of_one_strategy("dca with most options", PAIRS[:1], 1, restart=True)
    assert found.differences == []
    assert found.fills.total() >= 4


def of_a_grid(grid, *investments, restart=False, **sections):
    """Hours of a narrow grid on one pair; `investments`: hours after the start, and amounts."""
    candles = generate(["BTCUSDT"], 2, 7)
    start = sensible_start(candles, 0.15)
    section = {
        "preset": "classic",
        "timeframe": "5m",
        "warmup_bars": 30,
        "risk_budget": 1.0,
        "range_factor": 2.0,
        **grid,
    }
    values = {"strategy": "grid", "pairs": ["BTCUSDT"], "grid": section, **sections}
    if investments:
        values["investments"] = [{"at": start + int(hour * HOUR), "amount": amount} for hour, amount in investments]
    instruments = {"BTCUSDT": instrument_for("BTCUSDT", Market.LINEAR, candles["BTCUSDT"])[0]}
    return asyncio.run(parity(load_portfolio(values).changed(start=start), candles, instruments, restart=restart))


@pytest.mark.slow
@pytest.mark.parametrize("restart", [False, True], ids=["whole", "restarted"])
def test_capital_that_is_added_and_taken_out_is_the_same_live(restart):
    """A simulated operator in one, an operator's command in the other; a restart lies between the two."""
    found = of_a_grid({"reinvest": "profits"}, (1.0, 10_000), (2.5, -15_000), restart=restart)
    assert found.differences == []
    assert [one.kind for one in found.decisions].count("investment") == 2
    assert found.fills.total() >= 10


@pytest.mark.slow
def test_counters_that_only_reduce_through_a_pause_are_the_same_live():
    """A grid on both sides that a loss pauses: what reduces its position goes on, as new orders."""
    found = of_a_grid({"turning_entries": "rest"}, risk={"pair_day_loss": 0.0002})
    assert found.differences == []
    assert "pause" in {one.kind for one in found.decisions}
    assert [one for one in found.fills if one.slot >= 15 and one.generation == 2], "counters were set anew"


@pytest.mark.slow
@pytest.mark.parametrize("name", ALONE)
def test_every_strategy_is_the_same_live(name):
    """F-80."""
    found = of_one_strategy(name, PAIRS[:2], 1)
    assert found.differences == []
    assert found.fills.total() >= 4


@pytest.mark.long
@pytest.mark.parametrize("name", ALONE)
def test_every_strategy_is_the_same_live_over_two_days_of_three_pairs(name):
    found = of_one_strategy(name, PAIRS, 2)
    assert found.differences == []
    assert len({one.pair for one in found.fills}) >= 2


PULLBACK = {"timeframe": "1m", "length": 6, "average": 4, "low": 45, "high": 55, "warmup_bars": 30}
RULES = {
    "timeframe": "1m",
    "direction": "long_short",
    "when": [{"indicator": "RSI", "timeperiod": 6, "long_below": 45, "short_above": 55}, {"indicator": "FISHER"}],
    "combine": "any",
    "stop": "0.5%",
}
AT_THE_CLOSE = {
    "timeframe": "1m",
    "direction": "long_short",
    "stop": "0.2%",
    "target": "0.3%",
    "trigger": "close",
    "sizing": "compound_profit_lock",
    "quote": 3000,
    "min_target_costs": 0,
    "min_stop_costs": 0,
    "combine": {"at_least": 2},
    "when": [{"indicator": "EMA", "timeperiod": 8}, {"indicator": "SUPERTREND"}, {"indicator": "MACD"}],
}
BY_TWAP = {**RULES, "enter_by": "twap", "leave_by": "twap", "twap_slices": 4, "twap_minutes": 10, "stop": "1%"}
SIGNALLED = {
    "timeframe": "1m",
    "warmup_bars": 60,
    "start": "signal",
    "take_profit": 0.003,
    "step": 0.001,
    "stop_loss": 0.01,
    "risk_budget": 0.2,
    "deal_cooldown_seconds": 0,
    "when": [{"indicator": "RSI", "timeperiod": 5, "long_below": 60}],
}
GATED = {
    "preset": "classic",
    "timeframe": "1m",
    "warmup_bars": 30,
    "cooldown_hours": 0.1,
    "when": [{"indicator": "ADX", "timeperiod": 5, "long_below": 40, "either": True}],
}
WITH_INPUTS = {
    "dca by a signal": {"strategy": "dca", "dca": SIGNALLED},
    "grid behind a gate": {"strategy": "grid", "grid": GATED},
    "pullback": {"strategy": str(ROOT / "tests/examples/pullback.py:PULLBACK"), "pullback": PULLBACK},
    "rules": {"strategy": "rules", "rules": RULES},
    "rules at the close": {"strategy": "rules", "rules": AT_THE_CLOSE},
    "rules by TWAP": {"strategy": "rules", "rules": BY_TWAP},
    "rules by TWAP with a limit": {"strategy": "rules", "rules": {**BY_TWAP, "twap_limit": 0.0003, "target": "0.5%"}},
}


@pytest.mark.slow
@pytest.mark.parametrize("restart", [False, True], ids=["whole", "restarted"])
@pytest.mark.parametrize("name", WITH_INPUTS)
def test_inputs_of_a_strategy_are_the_same_live_and_after_a_restart(name, restart):
    """Two columns of TA-Lib's, one of another timeframe; the history that a restart asks for gives the same bits."""
    pairs = ("BTCUSDT", "ETHUSDT")
    values = {**WITH_INPUTS[name], "pairs": pairs}
    candles = generate(list(pairs), 20, 7)
    edge = int(candles[pairs[0]].ts[0]) // SHORT_BLOCK * SHORT_BLOCK + SHORT_BLOCK
    begun = edge + 2 * HOUR  # so that little is warm-up
    chosen = load_portfolio(values).changed(start=begun, end=begun + 5 * HOUR)
    assert chosen.algorithm.history_start(begun) >= int(candles[pairs[0]].ts[0])
    instruments = {pair: instrument_for(pair, Market.LINEAR, candles[pair])[0] for pair in pairs}
    found = asyncio.run(parity(chosen, candles, instruments, restart=restart))
    assert found.differences == []
    assert found.fills.total() >= 10 and {one.pair for one in found.fills} == set(pairs)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "restart"),
    [("dca by a signal", False), ("dca by a signal", True), ("grid behind a gate", True), ("rules", False)],
)
def test_pairs_that_may_not_be_open_at_once_wait_alike(name, restart):
    """Three pairs and two places: who asks, who is given it, and what is refused for lack of one."""
    candles = generate(list(PAIRS), 20, 7)
    edge = int(candles[PAIRS[0]].ts[0]) // SHORT_BLOCK * SHORT_BLOCK + SHORT_BLOCK
    begun = edge + 2 * HOUR
    chosen = load_portfolio({**WITH_INPUTS[name], "pairs": PAIRS, "risk": {"max_open_pairs": 2}})
    chosen = chosen.changed(start=begun, end=begun + 5 * HOUR)
    instruments = {pair: instrument_for(pair, Market.LINEAR, candles[pair])[0] for pair in PAIRS}
    found = asyncio.run(parity(chosen, candles, instruments, restart=restart))
    assert found.differences == []
    assert len({one.pair for one in found.fills}) >= 2
    assert "full" in {one.kind for one in found.decisions}
