"""The run directory: whole or not at all, the same bytes twice, a report that needs nobody."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import yaml

from backtesting import plot, write_report, write_run
from backtesting.portfolio_run import simulate_portfolio
from backtesting.reports import run_directory
from backtesting.reports.charts import thinned
from backtesting.result import ResultDocument
from backtesting.run import simulate
from bot.errors import Misconfigured
from coordinator.config import load_config
from coordinator.config_file import read_values
from tests.conftest import ROOT, bars, walk

GRID = {"strategy": "grid", "pair": "BTCUSDT", "grid": {"warmup_bars": 20, "timeframe": "15m"}}
FILES = {"config.yaml", "result.json", "fills.csv", "trades.csv", "equity.parquet", "report.html"}
PICTURES = {"equity.png", "drawdown.png", "monthly.png", "candles.png", "trades.png", "trades_by_month.png"}


@pytest.fixture(scope="module")
def result():
    return simulate(GRID, walk(6000, seed=3), bounds=True)


@pytest.mark.parametrize("strategy", ["grid", "dca", "trend"])
def test_f75_prices_under_a_millionth_are_traded_at_an_inferred_tick(strategy):
    config = {"strategy": strategy, "pair": "PEPEUSDT", strategy: {"warmup_bars": 20, "timeframe": "1m"}}
    result = simulate(config, walk(300, start=7e-7, tick=1e-10))
    assert result.config.instrument["tick_size"] in ("1E-10", "1e-10")
    assert "inferred" in result.notices[0]
    assert (result.fills["price"] > 5e-7).all()
    assert 5_000 < result.metrics.final_capital < 20_000


@pytest.mark.parametrize("strategy", ["grid", "dca", "trend"])
def test_f75_a_file_of_such_prices_as_a_user_brought_it_is_played(strategy):
    path = ROOT.parent / "shared" / "data" / "imports" / "60_PEPEUSDT-price-7e-7.csv"
    if not path.exists():
        pytest.skip("files as people have them are not here: ../shared/data/imports")
    config = {"strategy": strategy, "pair": "PEPEUSDT", strategy: {"warmup_bars": 5, "timeframe": "1h"}}
    result = simulate(config, path)
    assert float(result.config.instrument["tick_size"]) == 1e-10
    assert (result.fills["price"] > 5e-7).all()
    assert 5_000 < result.metrics.final_capital < 20_000


def test_a_spike_is_told_in_the_report():
    candles = walk(300)
    high = candles.high.copy()
    high[150] *= 4
    grid = {"strategy": "grid", "pair": "BTCUSDT", "grid": {"warmup_bars": 20, "timeframe": "1m"}}
    told = simulate(grid, replace(candles, high=high)).notices
    assert "1 spike over 3 times the bars beside" in "".join(told)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    return write_run(result, tmp_path_factory.mktemp("runs") / "one")


def test_every_file_is_there_and_has_the_columns_promised(folder):
    assert {path.name for path in folder.iterdir()} == FILES | PICTURES
    fills, trades = (folder / "fills.csv").read_text(), (folder / "trades.csv").read_text()
    assert fills.startswith("ts,pair,strategy,slot,generation,signal,side,price,qty,fee,liquidity,position,realized\n")
    assert trades.startswith(
        "trade_id,pair,strategy,side,entry_time,entry_price,exit_time,exit_price,qty,exit_reason,pnl,pnl_pct,fees,"
        "funding,r_multiple,mae,mfe,entry_kind\n"
    )
    assert pl.read_parquet(folder / "equity.parquet").columns == ["ts", "close", "equity", "benchmark", "position"]
    for picture in PICTURES:
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")


def test_result_json_is_the_documented_model(folder, result):
    document = ResultDocument.model_validate(json.loads((folder / "result.json").read_text()))
    assert document == result.document


def test_the_config_written_gives_the_same_run(folder, result):
    again = simulate(folder / "config.yaml", walk(6000, seed=3))
    assert again.document.run_id == result.document.run_id
    assert again.recording.fills.tobytes() == result.recording.fills.tobytes()
    written = yaml.safe_load((folder / "config.yaml").read_text())
    assert set(written["grid"]) == set(again.config.parameters.model_dump(exclude_none=True))


def test_family_10_written_twice_the_bytes_are_the_same(folder, result, tmp_path):
    write_run(simulate(GRID, walk(6000, seed=3), bounds=True), tmp_path / "two")
    for name in FILES | PICTURES:
        assert (tmp_path / "two" / name).read_bytes() == (folder / name).read_bytes(), name


def test_another_config_or_other_candles_are_another_run(result):
    """F-53: a result names its candles by their hash."""
    ids = {result.document.run_id}
    ids.add(simulate({**GRID, "capital": 9999}, walk(6000, seed=3)).document.run_id)
    ids.add(simulate(GRID, walk(6000, seed=33)).document.run_id)
    assert len(ids) == 3


def test_a_folder_with_something_else_in_it_is_left_alone(result, tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(Misconfigured, match="no run"):
        write_run(result, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interruption_leaves_nothing_half_written(result, tmp_path, monkeypatch):
    def interrupted(result, folder, **_options):
        (folder / "config.yaml").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(run_directory, "write_files", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_run(result, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


# The report.


def test_the_report_alone_is_the_one_of_the_run_directory(folder, result, tmp_path):
    assert write_report(result, tmp_path / "alone.html").read_bytes() == (folder / "report.html").read_bytes()


@pytest.mark.parametrize("count", [1, 2, 90])
def test_a_run_without_a_single_fill_is_reported_too(tmp_path, count):
    candles = bars(*[(0.00001234, 0.00001240, 0.00001230, 0.00001234)] * count)
    quiet = simulate({**GRID, "pair": "PEPEUSDT", "instrument": {"tick_size": "0.00000001", "lot_size": 1}}, candles)
    folder = write_run(quiet, tmp_path / "run")
    assert "It never traded" in (folder / "report.html").read_text()
    assert quiet.metrics.trades == 0
    assert quiet.trades.is_empty()


@pytest.mark.parametrize("warmup_bars", [20, 10_000])
def test_a_portfolio_is_reported_also_where_one_pair_or_none_has_traded(tmp_path, warmup_bars):
    candles = {"BTCUSDT": walk(3000, seed=3), "ETHUSDT": bars(*[(50_000.0, 50_000.0, 50_000.0, 50_000.0)] * 3000)}
    section = {"warmup_bars": warmup_bars, "timeframe": "15m"}
    asked = {"strategy": "grid", "pairs": list(candles), "capital": 100_000.0, "grid": section}
    played = simulate_portfolio(asked, candles)
    folder = write_run(played, tmp_path / "run")
    assert (played.metrics.fills > 0) == (warmup_bars == 20)
    assert len(played.frame("fills")) == played.metrics.fills
    assert (folder / "report.html").exists()


def test_plot_is_one_figure_of_three(result):
    assert len(plot(result).axes) == 3


def test_thinning_keeps_the_extremes_and_the_ends():
    values = np.random.default_rng(1).standard_normal(100_000)
    kept = thinned(values, 500)
    assert len(kept) <= 600
    assert {0, 99_999, int(values.argmin()), int(values.argmax())} <= set(kept.tolist())


def test_levels_are_spans_that_end_where_the_next_begins(result):
    levels = result.levels.sort("slot", "ts_from")
    assert (levels["ts_to"] >= levels["ts_from"]).all()
    one = levels.filter(pl.col("slot") == 2)
    assert (one["ts_from"].to_numpy()[1:] >= one["ts_to"].to_numpy()[:-1]).all()


# Configs: family 9.

WRONG = {
    "levels": ({"grid": {"levels": 1}}, "grid.levels is 1"),
    "bounds": ({"grid": {"lower": 5, "upper": 4}}, "lower (5) must lie below upper (4)"),
    "one bound": ({"grid": {"lower": 5}}, "upper is missing"),
    "key": ({"grid": {"levles": 10}}, "did you mean 'levels'"),
    "section": ({"gird": {}}, "gird is no known key"),
    "nan": ({"capital": float("nan")}, "capital is nan"),
    "nan parameter": ({"grid": {"range_factor": float("nan")}}, "grid.range_factor is nan"),
    "version": ({"version": 7}, "version is 7"),
    "period": ({"from": "2024-02-01", "to": "2024-01-01"}, "must lie before"),
    "date": ({"from": "soon"}, "'soon' is no date"),
    "empty period": ({"from": "2030-01-01"}, "holds no candles"),
    "capital": ({"capital": 20}, "raise the capital"),
    "profit": ({"grid": {"profit_per_grid": 0.0001}}, "break-even"),
    "spot leverage": ({"market": "spot", "leverage": 3}, "spot has none"),
    "spot short": ({"market": "spot", "grid": {"direction": "short"}}, "spot cannot be sold short"),
    "execution": ({"execution": {"fill_rule": "magic"}}, "execution.fill_rule is 'magic'"),
    "timeframe": ({"grid": {"timeframe": "7m"}}, "grid.timeframe is '7m'"),
    "strategy": ({"strategy": "gird"}, "did you mean 'grid'"),
    "ladder": ({"strategy": "dca", "grid": None, "dca": {"stop_loss": 0.02}}, "stop_loss (0.02) must lie beyond"),
    "emas": ({"strategy": "trend", "grid": None, "trend": {"fast_period": 60}}, "must be shorter"),
}


@pytest.mark.parametrize("name", list(WRONG))
def test_family_9_bad_input_is_one_sentence_that_names_it(name):
    change, words = WRONG[name]
    given = {key: value for key, value in {**GRID, **change}.items() if value is not None}
    with pytest.raises(Misconfigured) as error:
        simulate(given, walk(300))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_options_go_over_the_file(tmp_path):
    path = tmp_path / "grid.yaml"
    path.write_text("version: 1\nstrategy: grid\npair: BTCUSDT\ngrid:\n  levels: 10\n  stop_loss: 3%\n")
    config = load_config(path, {"grid.levels": 20, "capital": 500})
    assert (config.parameters.levels, config.capital) == (20, 500)
    assert config.parameters.stop_loss == pytest.approx(0.03)


def test_the_config_of_a_bot_is_one_of_a_backtest():
    values = {"strategy": "grid", "pairs": ["BTCUSDT"]}
    assert load_config({**values, "bot": {"name": "main"}}) == load_config(values)


def test_files_that_a_config_names_lie_beside_it(tmp_path):
    folder = tmp_path / "bots"
    folder.mkdir()
    own = f"{folder / 'mine.py'}:MINE"
    path = folder / "bot.yaml"
    path.write_text("strategy: mine.py:MINE\npair: BTCUSDT\ncandles: BTCUSDT.csv\n")
    assert read_values(path) == {"strategy": own, "pair": "BTCUSDT", "candles": folder / "BTCUSDT.csv"}
    path.write_text("strategy: auto\nauto: {routes: {tight_range: mine.py:MINE, bear_trend: cash}}\n")
    assert read_values(path)["auto"] == {"routes": {"tight_range": own, "bear_trend": "cash"}}


def test_a_file_that_is_no_config(tmp_path):
    for content in ("- a\n- b\n", "a: [", ""):
        path = tmp_path / "x.yaml"
        path.write_text(content)
        with pytest.raises(Misconfigured):
            load_config(path)
    with pytest.raises(Misconfigured, match="does not exist"):
        load_config(tmp_path / "none.yaml")
