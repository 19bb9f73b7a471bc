"""The Markdown table, trades by what they share, months and a grid's profit, each against another computation."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import UTC, datetime

import numpy as np
import polars as pl
import pytest

from backtesting import write_run
from backtesting.breakdown import by_month, grouped, returns_by_month
from backtesting.portfolio_run import simulate_portfolio
from backtesting.run import simulate
from backtesting.summary_table import report_table
from services.market_data.synth import generate
from tests.conftest import START, bars, walk

GRID = {"strategy": "grid", "pair": "BTCUSDT", "grid": {"warmup_bars": 20, "timeframe": "15m"}}
DAY = 24 * 60 * 60_000
ROWS = (
    "Start",
    "End",
    "Duration",
    "Init. Cash",
    "Total Profit",
    "Total Return [%]",
    "Benchmark Return [%]",
    "Position Coverage [%]",
    "Max. Drawdown [%]",
    "Avg. Drawdown [%]",
    "Max. Drawdown Duration",
    "Avg. Drawdown Duration",
    "Num. Trades",
    "Win Rate [%]",
    "Best Trade [%]",
    "Worst Trade [%]",
    "Avg. Trade [%]",
    "Max. Trade Duration",
    "Avg. Trade Duration",
    "Expectancy",
    "SQN",
    "Gross Exposure",
    "Sharpe Ratio",
    "Sortino Ratio",
    "Calmar Ratio",
)


@pytest.fixture(scope="module")
def grid():
    return simulate(GRID, walk(6000, seed=3))


@pytest.fixture(scope="module")
def pairs():
    """A grid on two pairs in one account, the second of which begins a day later."""
    candles = {"BTCUSDT": walk(6000, seed=3), "ETHUSDT": walk(6000, seed=5, start=2000.0).rows(slice(1440, 6000))}
    asked = {"strategy": "grid", "pairs": list(candles), "capital": 100_000.0, "grid": GRID["grid"]}
    return simulate_portfolio(asked, candles)


@pytest.fixture(scope="module")
def auto():
    candles = {pair: one.rows(slice(0, 20 * 1440)) for pair, one in generate(["BTCUSDT", "ETHUSDT"], 40, 7).items()}
    return simulate_portfolio({"strategy": "auto", "pairs": list(candles), "auto": {"preset": "classic"}}, candles)


@pytest.fixture(params=["grid", "pairs", "auto"])
def result(request):
    return request.getfixturevalue(request.param)


def cells(table):
    """Rows of a Markdown table under its head."""
    lines = [line.strip("|").split("|") for line in table.strip().split("\n")]
    assert lines[:2] == [["Metric", "Value"], ["---", "---"]]
    return dict(lines[2:])


# The table.


def test_the_table_has_these_rows_in_this_order(result):
    assert tuple(cells(result.report_table_md)) == ROWS
    assert result.document.report_table_md == result.report_table_md


def test_its_figures_are_those_of_the_equity_and_the_trades(grid):
    shown, equity = cells(grid.report_table_md), grid.equity["equity"].to_numpy()
    closed = [row for row in grid.trades.to_dicts() if row["exit_time"] is not None]
    wins = sum(row["pnl"] > 0 for row in closed)
    hours = [(row["exit_time"] - row["entry_time"]) / 3_600_000 for row in closed]
    expected = {
        "Init. Cash": 10_000.0,
        "Total Profit": equity[-1] - 10_000.0,
        "Total Return [%]": equity[-1] / 100.0 - 100.0,
        "Benchmark Return [%]": (grid.candles["close"][-1] / grid.candles["open"][0] - 1) * 100,
        "Position Coverage [%]": np.mean(grid.equity["position"].to_numpy() != 0) * 100,
        "Max. Drawdown [%]": max(1 - equity[i:].min() / max(equity[i], 10_000.0) for i in range(len(equity))) * 100,
        "Num. Trades": len(closed),
        "Win Rate [%]": wins / len(closed) * 100,
        "Best Trade [%]": max(row["pnl_pct"] for row in closed),
        "Worst Trade [%]": min(row["pnl_pct"] for row in closed),
        "Avg. Trade [%]": sum(row["pnl_pct"] for row in closed) / len(closed),
        "Expectancy": sum(row["pnl"] for row in closed) / len(closed),
        "Gross Exposure": np.mean(np.abs((grid.equity["position"] * grid.equity["close"]).to_numpy()) / equity),
    }
    for name, value in expected.items():
        assert float(shown[name]) == pytest.approx(value, abs=6e-5), name
    assert shown["Duration"] == "4 days 04:00:00"
    assert shown["Start"] == grid.metrics.start
    seconds = round(max(hours) * 3600)
    whole = f"{seconds // 86_400} days {seconds // 3600 % 24:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    assert shown["Max. Trade Duration"] == whole


def test_what_cannot_be_said_is_n_a(grid):
    changed = {"sharpe": None, "max_drawdown_days": 1.5, "average_trade_hours": None}
    shown = cells(report_table(grid.metrics.model_copy(update=changed)))
    assert shown["Sharpe Ratio"] == shown["Avg. Trade Duration"] == "n/a"
    assert shown["Max. Drawdown Duration"] == "1 days 12:00:00"


# Trades by what they share.

TRADES = pl.DataFrame(
    {
        "exit_time": [START, START + DAY, START + 40 * DAY, None],
        "exit_reason": ["EXIT_TP", "EXIT_SL", "EXIT_TP", None],
        "pnl": [10.0, -4.0, 0.0, 7.0],
        "pnl_pct": [1.0, -0.4, 0.0, 0.7],
        "fees": [0.5, 0.5, 0.25, 0.125],
    }
)


def test_open_trades_stand_beside_closed_ones():
    found = grouped(TRADES, "exit_reason")
    assert list(found) == ["EXIT_SL", "EXIT_TP", "still open"]
    assert (found["EXIT_TP"].trades, found["EXIT_TP"].closed_profit, found["EXIT_TP"].fees) == (2, 10.0, 0.75)
    assert (found["EXIT_TP"].win_rate_pct, found["EXIT_TP"].average_pct, found["EXIT_TP"].best_pct) == (50.0, 0.5, 1.0)
    still = found["still open"]
    assert (still.trades, still.closed_profit, still.open_trades, still.open_profit) == (0, 0.0, 1, 7.0)
    assert still.win_rate_pct is still.average_pct is still.worst_pct is None


def test_months_are_those_of_the_exits():
    months = by_month(TRADES)
    assert {name: (one.trades, one.profit, one.win_rate_pct) for name, one in months.items()} == {
        "2024-01": (2, 6.0, 50.0),
        "2024-02": (1, 0.0, 0.0),
    }


def test_every_group_has_all_trades_and_all_profit(result):
    metrics = result.metrics
    assert metrics.trades > 10
    for name, groups in result.document.trades_by.items():
        assert sum(one.trades for one in groups.values()) == metrics.trades, name
        assert sum(one.open_trades for one in groups.values()) == metrics.open_trades, name
        assert sum(one.closed_profit for one in groups.values()) == pytest.approx(metrics.closed_profit), name
        assert sum(one.open_profit for one in groups.values()) == pytest.approx(metrics.open_profit), name


def test_the_trades_of_auto_name_the_strategy_that_opened_them(auto):
    names = set(auto.document.trades_by["strategy"])
    assert names <= {"grid", "dca", "trend"}
    assert len(names) > 1
    kinds = {(row["strategy"], row["entry_kind"]) for row in auto.trade_frame.to_dicts()}
    allowed = {"grid": {"entry"}, "dca": {"base", "safety"}, "trend": {"break-out", "pull-back", "reversal"}}
    assert all(kind in allowed[name] for name, kind in kinds)


def test_trades_by_month_are_those_of_the_trades(result, tmp_path):
    folder = write_run(result, tmp_path / "run")
    expected = defaultdict(list)
    for row in pl.read_csv(folder / "trades.csv").to_dicts():
        if row["exit_time"] is not None:
            expected[datetime.fromtimestamp(row["exit_time"] / 1000, UTC).strftime("%Y-%m")].append(row["pnl"])
    months = json.loads((folder / "result.json").read_text())["trades_by_month"]
    assert {name: (one["trades"], pytest.approx(one["profit"])) for name, one in months.items()} == {
        name: (len(own), sum(own)) for name, own in expected.items()
    }


def test_average_r_is_the_mean_over_closed_trades_that_planned_a_stop(result):
    frame = result.trade_frame if hasattr(result, "trade_frame") else result.trades
    multiples = [
        row["r_multiple"] for row in frame.to_dicts() if row["exit_time"] is not None and row["r_multiple"] is not None
    ]
    assert len(multiples) > 5
    assert result.metrics.average_r == pytest.approx(sum(multiples) / len(multiples))


# Months and the benchmark.


def test_months_multiply_up_to_the_total(result):
    product = np.prod([1 + value / 100 for value in result.document.returns_by_month.values()])
    assert (product - 1) * 100 == pytest.approx(result.metrics.total_return_pct)


def test_a_month_is_measured_from_the_end_of_the_one_before():
    ts = np.array([START, START + 30 * DAY, START + 31 * DAY, START + 59 * DAY, START + 60 * DAY])
    found = returns_by_month(ts, np.array([101.0, 110.0, 99.0, 121.0, 121.0]), 100.0)
    assert found == {"2024-01": pytest.approx(10.0), "2024-02": pytest.approx(10.0), "2024-03": 0.0}


def test_buying_and_holding_ends_where_the_figures_say(pairs, auto):
    for one in (pairs, auto):
        held = one.benchmark
        assert held[-1] / one.config.deposits * 100 - 100 == pytest.approx(one.metrics.benchmark_return_pct)
    # The pair that begins later is cash until then.
    first = pairs.of_pair("BTCUSDT").candles
    alone = 0.5 * (1 + first["close"].to_numpy()[:1440] / first["open"][0])
    np.testing.assert_allclose(pairs.benchmark[:1440], 100_000.0 * alone)


# A grid's figures.


def test_profit_of_cycles_stands_apart_from_what_is_held(grid, pairs):
    for one in (grid, pairs):
        figures, metrics = one.document.grid, one.metrics
        frame = one.trades if one is grid else one.trade_frame
        counters = frame.filter(pl.col("exit_reason") == "GRID_COUNTER")
        assert figures.cycles == len(counters) > 10
        assert figures.grid_profit == pytest.approx(counters["pnl"].sum())
        assert figures.profit_per_cycle == pytest.approx(counters["pnl"].mean())
        assert figures.floating_profit == pytest.approx(metrics.open_profit)
        whole = figures.grid_profit + figures.other_profit + figures.floating_profit
        assert whole == pytest.approx(metrics.total_profit, abs=1e-6)
        yearly = figures.grid_profit / metrics.initial_capital * 365 / metrics.duration_days * 100
        assert figures.annualised_grid_pct == pytest.approx(yearly)


def test_at_the_break_even_price_nothing_was_earned(grid, pairs):
    singles = {"BTCUSDT": grid} | {f"{pair}+": pairs.of_pair(pair) for pair in pairs.recording.pairs}
    asked = {**grid.document.grid.break_even, **{f"{k}+": v for k, v in pairs.document.grid.break_even.items()}}
    assert any(price is not None for price in asked.values())
    for name, price in asked.items():
        one = singles[name]
        position = one.equity["position"][-1]
        assert (price is None) == (position == 0)
        if price is not None:
            earned = one.equity["equity"][-1] - float(one.recording.pair.ledger.deposits)
            assert earned + position * (price - one.equity["close"][-1]) == pytest.approx(0.0, abs=1e-6)


def test_the_share_of_capital_that_a_grid_commits():
    """The exchange preset fills its range with all that the capital carries; a risk budget of 2 % does not."""
    candles = bars(*[(100.0, 100.2, 99.8, 100.0)] * 50)
    section = {"preset": "exchange", "lower": 90, "upper": 110, "levels": 21, "direction": "long"}
    coin = {"tick_size": "0.01", "lot_size": "0.0001"}
    whole = simulate({**GRID, "grid": section, "instrument": coin}, candles).document.grid
    assert whole.committed_pct == pytest.approx(100.0)
    careful = simulate({**GRID, "grid": {**section, "risk_budget": 0.02}, "instrument": coin}, candles)
    # Twenty cells that buy from 90 to 109, one a unit, with their stop at 72; the last level only sells.
    loss = sum((level - 72.0) / level for level in range(90, 110))
    expected = 0.02 / loss * 20 * (1 + 2 * float(careful.recording.pair.instrument.taker_fee)) * 100
    assert careful.document.grid.committed_pct == pytest.approx(expected)
    assert simulate({"strategy": "dca", "pair": "BTCUSDT", "instrument": coin}, candles).document.grid is None
