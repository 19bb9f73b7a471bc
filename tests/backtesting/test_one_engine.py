"""The fast loop over one pair and the engine that a bot runs give the same fills, whatever the config.

The fast loop leaves out what a lone strategy does not need; it may stay only as long as this holds.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from backtesting.funding import FundingHistory
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.run import play_single
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.errors import Misconfigured
from bot.instrument import Market
from bot.order import FILL, OrderKind
from coordinator.config import load_config, load_portfolio
from tests.conftest import ROOT, START, instrument, walk

OWN = f"{ROOT / 'tests' / 'examples' / 'ema_cross.py'}:EMA_CROSS"
MONEY = ("fee", "slippage", "realised")
WHOLE = [name for name in FILL.names if name not in MONEY]


def both(candles, traded, config, history=None):
    """Play the same candles, and history of funding, through the fast loop and through the engine."""
    histories = {} if history is None else {"BTCUSDT": history}
    prepared_pairs = PreparedPortfolio.of({"BTCUSDT": candles}, {"BTCUSDT": traded}, histories)
    fast = UniversalSimulator(load_config(config)).run(PreparedCandles.of(candles, traded, history))
    return fast, PortfolioSimulator(load_portfolio(config)).run(prepared_pairs)


def agree(fast, played):
    """Hold the engine's run to the fast loop's: every number of a fill that is whole to the bit, money but for dust."""
    engine = played.recordings[0]
    assert engine.fills[WHOLE].tolist() == fast.fills[WHOLE].tolist()
    for name in MONEY:
        np.testing.assert_allclose(engine.fills[name], fast.fills[name], rtol=1e-9, atol=1e-9)
    assert played.outcome == fast.outcome
    assert engine.bars == fast.bars
    assert engine.refused == fast.refused
    capital = float(fast.pair.ledger.deposits)
    assert engine.pair.ledger.funding == pytest.approx(float(fast.pair.ledger.funding), rel=1e-9, abs=1e-9)
    np.testing.assert_allclose(played.equity, fast.equity()[: len(played.equity)], rtol=1e-9, atol=1e-9 * capital)


percent = st.floats(0.001, 0.05)
grids = st.fixed_dictionaries(
    {
        "levels": st.integers(2, 40),
        "spacing": st.sampled_from(["arithmetic", "geometric"]),
        "direction": st.sampled_from(["neutral", "long", "short"]),
        "trailing": st.sampled_from(["off", "fixed", "atr"]),
        "profit_per_grid": percent,
        "range_factor": st.floats(0.5, 8.0),
        "risk_budget": st.floats(0.02, 1.0),
        "max_drawdown": st.floats(0.01, 0.5),
        "cooldown_hours": st.floats(0.0, 8.0),
        "initial_inventory": st.booleans(),
        "turning_entries": st.sampled_from(["suspend", "rest"]),
    }
)
deals = st.fixed_dictionaries(
    {
        "confluence": st.floats(0.0, 0.6),
        "max_safety_orders": st.integers(0, 8),
        "take_profit": percent,
        "direction": st.sampled_from(["long", "short"]),
        "start": st.sampled_from(["confluence", "immediately", "schedule"]),
        "schedule_hours": st.floats(0.5, 12.0),
        "entry_below": st.sampled_from([None, 50_500.0]),
        "max_active_safety_orders": st.integers(1, 8),
        "stop_after_deals": st.sampled_from([None, 4]),
        "max_deals_per_day": st.sampled_from([None, 2]),
        "targets": st.sampled_from([[], [{"at": 0.002, "share": 0.5}, {"at": 0.01, "share": 0.5}]]),
        "take_profit_from": st.sampled_from(["average", "base"]),
        "max_deal_days": st.sampled_from([None, 0.2]),
        "deadline_exit": st.sampled_from(["break_even", "market"]),
        "risk_reduction_pct": st.sampled_from([0.0, 50.0]),
    }
)
FULL_DEAL = {
    "start": "price_window",
    "entry_above": 49_500.0,
    "step": 0.004,
    "max_active_safety_orders": 2,
    "targets": [{"at": 0.002, "share": 0.5}, {"at": 0.01, "share": 0.5}],
    "break_even": True,
    "stop_loss": 0.03,
    "max_deal_days": 0.3,
    "reinvest_pct": 50.0,
}
trends = st.fixed_dictionaries(
    {"trend_confirmation_bars": st.integers(1, 3), "direction": st.sampled_from(["both", "long", "short"])}
)
chosen = st.one_of(
    st.tuples(st.just("grid"), grids),
    st.tuples(st.just("dca"), deals),
    st.tuples(st.just("trend"), trends),
)
own = st.fixed_dictionaries({"fast": st.integers(2, 8), "slow": st.integers(9, 30)})
executions = st.fixed_dictionaries(
    {
        "fill_rule": st.sampled_from(["through", "touch"]),
        "path": st.sampled_from(["adverse", "nearest"]),
        "fill_policy": st.sampled_from(["next_open", "close"]),
        "max_participation": st.sampled_from([1.0, 0.01, 0.0005]),
        "slippage_bps": st.floats(0.0, 30.0),
    }
)


def config_of(strategy, parameters, **more):
    section = {"timeframe": "15m", "warmup_bars": 20, **parameters}
    name = OWN if strategy == "ema_cross" else strategy
    return {"strategy": name, "pair": "BTCUSDT", "exchange": "synth", strategy: section, **more}


worlds = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 1000),
        "volatility": st.sampled_from([0.0005, 0.002, 0.006]),
        "leverage": st.sampled_from([1.0, 3.0, 25.0]),
        "reinvest": st.booleans(),
        "holes": st.booleans(),
        "late": st.sampled_from([None, 700]),
        "funding": st.lists(st.tuples(st.sampled_from([1, 4, 8, 30]), st.floats(-0.01, 0.01)), max_size=40),
    }
)
HOURLY = [(1, 0.01 * (-1) ** hour) for hour in range(40)]
WILD = {
    "seed": 3,
    "volatility": 0.006,
    "leverage": 25.0,
    "reinvest": True,
    "holes": True,
    "late": None,
    "funding": HOURLY,
}
CALM = {"seed": 5, "volatility": 0.002, "leverage": 3.0, "reinvest": False, "holes": False, "late": 700, "funding": []}


def history_of(steps, start=START):
    """Settlements from the first hour on, each (hours, rate) after the one before; None where there are no steps."""
    hours = np.cumsum([hours for hours, _ in steps], dtype=np.int64)
    return FundingHistory(start + 3_600_000 * hours, np.array([rate for _, rate in steps])) if steps else None


def compared(strategy, parameters, execution, world, start=START):
    """Play one random world from `start` (ms) on both ways, and hold them to each other; returns the fast loop's run.

    None where the config is one that cannot work.
    """
    candles = walk(3 * 1440, seed=world["seed"], volatility=world["volatility"])
    candles = replace(candles, ts=candles.ts - START + start)
    if world["holes"]:
        candles = candles.rows(np.arange(len(candles)) % 397 > 3)
    more = {"execution": execution, "leverage": world["leverage"], "reinvest": world["reinvest"]}
    if world["late"] is not None:
        more["from"] = start + world["late"] * 60_000
    config = config_of(strategy, parameters, **more)
    try:
        load_config(config)
        fast, played = both(candles, instrument(), config, history_of(world["funding"], start))
    except Misconfigured:  # what cannot work is refused by both; that they agree on it is asked below
        return None
    agree(fast, played)
    return fast


@settings(max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(choice=chosen, execution=executions, world=worlds)
@example(choice=("grid", {"direction": "short"}), execution={}, world=WILD)
@example(choice=("trend", {"trend_confirmation_bars": 1}), execution={}, world=CALM)
@example(choice=("dca", FULL_DEAL), execution={}, world=CALM)
def test_the_fast_loop_is_the_engine(choice, execution, world):
    """F-80."""
    compared(*choice, execution, world)


@pytest.mark.long
@settings(max_examples=500, suppress_health_check=[HealthCheck.too_slow])
@given(choice=st.one_of(chosen, st.tuples(st.just("ema_cross"), own)), execution=executions, world=worlds)
@example(choice=("ema_cross", {"fast": 3, "slow": 10}), execution={}, world=WILD)
def test_the_fast_loop_is_the_engine_with_a_strategy_of_ones_own_too(choice, execution, world):
    compared(*choice, execution, world)


def test_funding_is_paid_by_history_in_both_and_by_longs():
    """Two days of a bought position: hourly, then every 4 hours, one of them negative, then the constant rate."""
    steps = [(1, 0.001)] * 12 + [(4, -0.002)] + [(4, 0.0005)] * 2
    config = config_of("grid", {"direction": "long", "warmup_bars": 0}, execution={"funding_rate": 0.0003})
    fast, played = both(walk(2 * 1440, seed=4), instrument(), config, history_of(steps))
    agree(fast, played)
    _, held = fast.holdings()
    at = np.searchsorted(fast.prepared.candles.ts, history_of(steps).ts)
    rates = dict(zip(at.tolist(), history_of(steps).rate.tolist(), strict=True)) | {1920: 0.0003, 2400: 0.0003}
    worth = fast.prepared.open * 0.1 * 0.001
    paid = sum(held[bar - 1] * worth[bar] * rate for bar, rate in rates.items())
    assert held.min() >= 0 < held.max()
    assert float(fast.pair.ledger.funding) == pytest.approx(-paid)
    assert fast.funding(START).startswith("history, 15 settlements; constant rate 0.03 % per 8 h at 2 of 17 payments")


def test_spot_too():
    traded = instrument(market=Market.SPOT)
    fast, played = both(
        walk(3 * 1440, volatility=0.003), traded, config_of("grid", {"risk_budget": 0.5}, market="spot")
    )
    agree(fast, played)
    assert len(fast.fills) > 20


def test_what_the_fast_loop_refuses_the_engine_refuses_too():
    config = config_of("grid", {"levels": 100}, capital=20.0)
    with pytest.raises(Misconfigured, match="over 100 levels") as fast:
        UniversalSimulator(load_config(config)).run(PreparedCandles.of(walk(60), instrument()))
    with pytest.raises(Misconfigured) as engine:
        PortfolioSimulator(load_portfolio(config)).run(
            PreparedPortfolio.of({"BTCUSDT": walk(60)}, {"BTCUSDT": instrument()})
        )
    assert str(engine.value) == f"BTCUSDT: {fast.value}"


@pytest.mark.slow
def test_a_strategy_that_names_no_stop_gets_the_protective_one():
    """It lies a fifth from the average entry, and takes the whole position when the market falls through it."""
    candles = walk(2 * 1440, seed=4, volatility=0.0005)
    fall = np.where(np.arange(len(candles)) < 600, 1.0, 0.7)
    for name in ("open", "high", "low", "close"):
        getattr(candles, name)[:] = np.round(getattr(candles, name) * fall, 1)
    fast, played = both(
        candles, instrument(), config_of("ema_cross", {"fast": 2, "slow": 12, "timeframe": "4h", "warmup_bars": 0})
    )
    agree(fast, played)
    stopped = fast.fills[fast.fills["slot"] == 2]
    assert stopped["kind"].tolist() == [OrderKind.MARKET]
    assert stopped["quantity"][0] == fast.fills["quantity"][0]


def test_where_a_limit_of_the_exchange_binds_the_engine_plays():
    """Position and entries stay within one market exit, in a backtest of one pair as in a bot."""
    candles, most = walk(2 * 1440, volatility=0.003), Decimal("0.05")
    config = load_config(config_of("grid", {"risk_budget": 1.0}))
    free = play_single(config, PreparedCandles.of(candles, instrument()))
    capped = play_single(config, PreparedCandles.of(candles, instrument(max_market_quantity=most)))
    assert np.abs(free.fills["position"]).max() > 50
    assert 0 < np.abs(capped.fills["position"]).max() <= 50
    assert capped.equity()[0] == free.equity()[0] == 10_000


def test_several_pairs_share_the_account():
    """Each gets its part of the equity of all, so that one's loss makes the other's next entry smaller."""
    calm, falling = walk(4 * 1440, seed=4, volatility=0.0005), walk(4 * 1440, seed=9, volatility=0.004)
    config = {**config_of("grid", {"cooldown_hours": 0.0, "risk_budget": 1.0}), "leverage": 3.0}
    del config["pair"]
    pairs = {"AUSDT": calm, "BUSDT": falling}
    coins = {pair: instrument().model_copy(update={"symbol": pair}) for pair in pairs}
    together = PortfolioSimulator(load_portfolio({**config, "pairs": list(pairs)})).run(
        PreparedPortfolio.of(dict(pairs), coins)
    )
    alone = PortfolioSimulator(load_portfolio({**config, "pairs": ["AUSDT"], "capital": 5_000.0})).run(
        PreparedPortfolio.of({"AUSDT": calm}, {"AUSDT": coins["AUSDT"]})
    )
    first, lone = together.recordings[0].fills, alone.recordings[0].fills
    assert first[0][WHOLE] == lone[0][WHOLE]
    assert Decimal(str(together.equity[0])) == 10_000
    assert together.equity[-1] == pytest.approx(10_000 + sum(one.equity()[-1] for one in together.recordings))
