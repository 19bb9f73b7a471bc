"""Figures against hand-made cases, and the identities that tie them to the fills."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtesting.metrics import (
    Metrics,
    daily_returns,
    drawdown_figures,
    longest_run,
    per_exposure,
    profits,
    ratio_figures,
    trade_figures,
)
from backtesting.reports.comparison import ComparedRun
from backtesting.reports.comparison import verdict as compared
from backtesting.run import simulate
from bot.times import DAY
from bot.trade import TRADE
from tests.conftest import START, walk

MINUTES = START + 60_000 * np.arange(6)


def test_drawdown_is_measured_from_the_highest_equity_so_far():
    figures = drawdown_figures(np.array([100.0, 110.0, 99.0, 104.5, 110.0, 105.0]), MINUTES, 60_000, 100.0)
    assert figures["max_drawdown_pct"] == pytest.approx(10.0)
    assert figures["average_drawdown_pct"] == pytest.approx((10.0 + 5 / 1.1) / 2)
    assert figures["max_drawdown_days"] == pytest.approx(3 / 1440)


def test_a_loss_from_the_first_bar_is_a_drawdown_of_the_capital():
    assert drawdown_figures(np.array([90.0, 90.0]), MINUTES[:2], 60_000, 100.0)["max_drawdown_pct"] == pytest.approx(
        10.0
    )


def test_f44_drawdown_is_never_more_than_everything():
    assert drawdown_figures(np.array([100.0, 0.0]), MINUTES[:2], 60_000, 100.0)["max_drawdown_pct"] == 100.0


def test_daily_returns_run_from_midnight_to_midnight():
    ts = START + DAY // 2 * np.arange(6)
    returns = daily_returns(np.array([1.0, 110.0, 1.0, 99.0, 1.0, 99.0]), ts, 100.0)
    np.testing.assert_allclose(returns, [0.1, -0.1, 0.0])


def test_f50_ratios_need_thirty_days():
    assert ratio_figures(np.full(29, 0.01)) == {"sharpe": None, "sortino": None}
    steady = ratio_figures(np.tile([0.01, -0.005], 20))
    mean, spread = 0.0025, np.tile([0.01, -0.005], 20).std(ddof=1)
    assert steady["sharpe"] == pytest.approx(mean / spread * math.sqrt(365))
    assert steady["sortino"] == pytest.approx(mean / math.sqrt(0.005**2 / 2) * math.sqrt(365))


def trades(*profit_and_value):
    records = np.zeros(len(profit_and_value), TRADE)
    for record, (profit, value) in zip(records, profit_and_value, strict=True):
        record["side"], record["entry_value"], record["exit_value"], record["quantity"] = 1, value, value + profit, 1
        record["exit_ts"] = 3_600_000
    return records


def figures_of(records, worth=0.0):
    return trade_figures(records, profits(records, worth))


def test_trade_figures_of_two_wins_and_a_loss():
    """F-39."""
    figures = figures_of(trades((10.0, 100.0), (-5.0, 100.0), (20.0, 100.0)))
    expected = {"trades": 3, "profit_factor": 6.0, "expectancy": pytest.approx(25 / 3), "average_win": 15.0}
    assert {name: figures[name] for name in expected} == expected
    assert figures["win_rate_pct"] == pytest.approx(200 / 3)
    assert (figures["best_trade_pct"], figures["worst_trade_pct"]) == (20.0, -5.0)
    assert figures["average_trade_hours"] == 1.0


def test_f50_no_trades_no_figures_and_no_loss_is_capped():
    assert figures_of(trades())["profit_factor"] is None
    assert figures_of(trades((1.0, 10.0)))["profit_factor"] == 1000.0
    assert figures_of(trades((-1.0, 10.0)))["profit_factor"] == 0.0


def test_open_trades_stand_beside_the_closed_ones():
    """Every closed trade won; what is still held, 2 lots at 30 a lot, has lost more than that."""
    records = trades((10.0, 100.0), (5.0, 100.0), (0.0, 100.0))
    records[2]["exit_value"], records[2]["held"], records[2]["fees"] = 0.0, 2, 1.0
    figures = figures_of(records, 30.0)
    expected = {"trades": 2, "closed_profit": 15.0, "win_rate_pct": 100.0, "profit_factor": 1000.0, "open_trades": 1}
    expected |= {"open_profit": -41.0, "win_rate_with_open_pct": pytest.approx(200 / 3)}
    assert {name: figures[name] for name in expected} == expected
    assert figures["profit_factor_with_open"] == pytest.approx(15 / 41)


@given(st.lists(st.booleans(), max_size=50))
def test_the_longest_run_is_the_longest_run(flags):
    text = "".join("x" if flag else " " for flag in flags)
    assert longest_run(np.array(flags, bool)) == max((len(part) for part in text.split()), default=0)


@pytest.mark.parametrize("name", ["grid", "dca", "trend"])
def test_the_trades_add_up_to_the_profit(name):
    """F-39: Every lot of every fill belongs to one trade: their profits are the run's."""
    section = {
        "warmup_bars": 20,
        "timeframe": "15m",
        **({"confluence": 0.3, "take_profit": 0.004} if name == "dca" else {}),
    }
    result = simulate({"strategy": name, "pair": "BTCUSDT", name: section}, walk(9000, seed=4))
    metrics = result.metrics
    assert metrics.trades > 3
    assert result.trades["pnl"].sum() == pytest.approx(metrics.total_profit, abs=1e-9 * metrics.turnover)
    assert metrics.closed_profit + metrics.open_profit == pytest.approx(
        metrics.total_profit, abs=1e-9 * metrics.turnover
    )
    assert result.trades["fees"].sum() == pytest.approx(metrics.fees)
    assert result.trades["funding"].sum() == pytest.approx(metrics.funding, abs=1e-9 * metrics.turnover)
    assert result.fills["fee"].sum() == pytest.approx(metrics.fees)
    assert result.equity["equity"][-1] == pytest.approx(metrics.final_capital)


def test_a_grid_cycle_earns_the_distance_of_its_pair_of_prices():
    """F-16: profit comes from the fills: p to p (1 + profit_per_grid), less two maker fees."""
    section = {"warmup_bars": 20, "timeframe": "15m", "profit_per_grid": 0.004}
    result = simulate(
        {"strategy": "grid", "pair": "BTCUSDT", "grid": section, "execution": {"funding_rate": 0}}, walk(9000, seed=4)
    )
    cycles = result.trades.filter(pl.col("exit_reason") == "GRID_COUNTER")
    long = cycles.filter(pl.col("side") == "long")
    assert len(long) > 10
    expected = 0.4 - (1 + 1.004) * 0.02
    np.testing.assert_allclose(long["pnl_pct"].to_numpy(), expected, atol=0.001)


def test_mae_and_mfe_hold_the_result():
    result = simulate(
        {"strategy": "trend", "pair": "BTCUSDT", "trend": {"warmup_bars": 20, "timeframe": "15m"}}, walk(9000, seed=4)
    )
    closed = result.trades.filter(pl.col("exit_time").is_not_null())
    gross = (
        (closed["exit_price"] / closed["entry_price"] - 1)
        * 100
        * closed["side"].replace_strict({"long": 1, "short": -1})
    )
    assert ((closed["mae"] <= gross + 0.02) & (gross <= closed["mfe"] + 0.02)).all()
    assert closed["r_multiple"].drop_nulls().len() == len(closed)


def test_every_figure_says_what_it_is():
    assert all(field.description for field in Metrics.model_fields.values())


def side(name, earned, exposure, held=5.0):
    figures = {"total_return_pct": earned, "mean_exposure_pct": exposure, "benchmark_return_pct": held}
    figures |= {"max_drawdown_pct": exposure / 10, "return_per_exposure_pct": per_exposure(earned, exposure)}
    return ComparedRun(name, MINUTES, np.ones(6), figures)


def test_a_comparison_says_who_did_best_for_what_was_held_and_that_cash_is_no_skill():
    said = compared([side("grid", 3.0, 60.0), side("dca", 1.0, 10.0), side("auto", -0.4, 2.0), side("idle", 0.0, 0.0)])
    assert "grid did best with +3.00 %" in said
    assert "Per 100 % of exposure dca did best with +10.00 %, at a mean exposure of 10.0 %." in said
    assert "Mostly cash on average: auto 98 %, idle 100 %; a small loss or drawdown there is cash, not skill." in said
    assert "cash" not in compared([side("grid", 3.0, 60.0), side("dca", 1.0, 10.0)])


def test_profits_are_after_fees_and_funding():
    records = trades((10.0, 100.0))
    records["fees"], records["funding"] = 2.0, -1.0
    assert profits(records, 0.0).tolist() == [7.0]
