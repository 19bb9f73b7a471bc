"""Backtests from Python: one call for every kind of run, results that show themselves, and no work done twice."""

from __future__ import annotations

import ast
import html
import json
import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import polars as pl
import pytest
import yaml

from backtesting import portfolio_run, run, simulate, simulator
from backtesting.candles import to_frame
from backtesting.reports.page import run_page
from bot import strategy_source
from bot.errors import Misconfigured
from bot.sources import ROOT
from coordinator.config import PortfolioConfig
from tests.conftest import START, walk

GRID = {"warmup_bars": 20, "timeframe": "15m"}
PAIR = {"strategy": "grid", "pair": "BTCUSDT", "grid": GRID}
CANDLES = walk(6000, seed=3)
SECOND = walk(6000, seed=4, start=2500.0, tick=0.01)
TWO = {"BTCUSDT": CANDLES, "ETHUSDT": SECOND}
NOON = datetime(2024, 1, 2, 12)  # noqa: DTZ001, of no zone
NOTEBOOK = ROOT / "docs" / "notebook.ipynb"


@pytest.fixture(scope="module")
def result():
    return simulate(PAIR, CANDLES)


@pytest.fixture(scope="module")
def both():
    return simulate(strategy="grid", pairs=list(TWO), grid=GRID, candles=TWO)


def test_keywords_say_the_same_as_a_dict_a_file_and_a_config(tmp_path):
    asked = {**PAIR, "grid": {**GRID, "levels": 6}, "capital": 5000, "leverage": 2}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(asked))
    first = simulate(asked, CANDLES)
    frame = to_frame(CANDLES)
    others = [
        simulate(strategy="grid", pair="BTCUSDT", candles=frame, grid={**GRID, "levels": 6}, capital=5000, leverage=2),
        simulate(tmp_path / "grid.yaml", frame.to_pandas()),
        simulate(str(tmp_path / "grid.yaml"), {"btcusdt": CANDLES}, capital=5000),
        simulate(first.config, CANDLES),
        simulate(PAIR, CANDLES, levels=6, capital=5000, leverage=2),
        simulate(simulate(PAIR, CANDLES, leverage=2).config, CANDLES, grid={"levels": 6}, capital=5000),
    ]
    assert {one.run.document.run_id for one in others} == {first.run.document.run_id}


def test_a_section_adds_to_that_of_the_source_and_changes_nothing_given():
    given = {**PAIR, "execution": {"slippage_bps": 3}}
    config = simulate(given, CANDLES, grid={"levels": 6}, execution={"path": "nearest"}).config
    assert (config.parameters.levels, config.parameters.warmup_bars) == (6, 20)
    assert (config.execution.slippage_bps, str(config.execution.path)) == (3, "nearest")
    assert given == {**PAIR, "execution": {"slippage_bps": 3}}


@pytest.mark.parametrize(
    "day",
    [
        NOON,
        datetime(2024, 1, 2, 12, tzinfo=UTC),
        datetime(2024, 1, 2, 15, tzinfo=timezone(timedelta(hours=3))),
        np.datetime64("2024-01-02T12:00"),
        "2024-01-02T12:00",
    ],
    ids=repr,
)
def test_times_are_datetimes_of_any_zone_or_text(day):
    made = simulate(PAIR, CANDLES, start=day, end=NOON + timedelta(days=1.5))
    assert (made.metrics.start, made.metrics.end) == ("2024-01-02T12:00:00Z", "2024-01-04T00:00:00Z")
    assert made.equity["time"][0] == datetime(2024, 1, 2, 12, tzinfo=UTC)


def test_one_call_plays_one_pair_several_pairs_and_auto(result, both):
    auto = simulate(strategy="auto", pair="BTCUSDT", candles=CANDLES)
    assert isinstance(auto.config, PortfolioConfig)
    assert (auto.pairs, both.pairs, result.pairs) == (("BTCUSDT",), ("BTCUSDT", "ETHUSDT"), ("BTCUSDT",))
    below = run.simulate(PAIR, CANDLES)
    together = portfolio_run.simulate_portfolio({"strategy": "grid", "pairs": list(TWO), "grid": GRID}, TWO)
    assert (result.metrics, both.metrics) == (below.metrics, together.metrics)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "strategy is missing; choose grid"),
        ({"strategy": "grid", "pair": "BTCUSDT", "levls": 3}, "levls is no known key; did you mean grid.levels"),
        ({"strategy": "grid", "pairs": ["A1", "B1"]}, "candles is one but the pairs are A1, B1; give a dict by pair"),
        ({"strategy": "auto", "pair": "BTCUSDT", "bounds": True}, "bounds is true but it is for one strategy"),
        ({"strategy": "grid", "pair": "BTCUSDT", "start": NOON.replace(year=2030)}, "holds no candles of BTCUSDT"),
    ],
)
def test_a_mistake_is_one_sentence_with_its_remedy(values, words):
    with pytest.raises(Misconfigured, match=words):
        simulate(candles=CANDLES, **values)


def test_frames_of_every_kind_of_run_have_times_and_the_same_names(result, both):
    for one in (result, both):
        assert one.trades.schema["entry_time"] == one.equity.schema["time"] == pl.Datetime("ms", "UTC")
        assert set(one.trades["exit_reason"].drop_nulls()) <= {"Grid counter", "Take profit", "Stop"}
        assert (one.trades["exit_time"] - one.trades["entry_time"]).equals(one.trades["duration"])
        assert {"time", "equity", "benchmark", "drawdown_pct"} <= set(one.equity.columns)
        assert one.fills["fee"].sum() == pytest.approx(one.metrics.fees)
        assert one.trades["pnl"].sum() == pytest.approx(one.metrics.total_profit)
        assert one.equity["equity"][-1] == pytest.approx(one.metrics.final_capital)
        assert -one.equity["drawdown_pct"].min() == pytest.approx(one.metrics.max_drawdown_pct)
        assert one.figures_by_pair["pair"].to_list() == list(one.pairs)
    assert result.trades.columns == both.trades.columns
    assert result.fills.columns == both.fills.columns
    assert set(both.fills["pair"]) == {"BTCUSDT", "ETHUSDT"}
    opened = int(result.run.fills["ts"][0])
    assert result.fills["time"][0].timestamp() * 1000 == opened > START


def test_a_result_shows_its_headline_figures(result, both):
    for one in (result, both):
        shown = one._repr_html_()
        assert f"{one.metrics.total_return_pct:+.2f} %" in shown
        assert f"{one.metrics.fees:,.2f} USDT" in shown
        assert all(html.escape(note) in shown for note in one.notices)
        assert repr(one).startswith(f"<grid on {', '.join(one.pairs)}, 2024-01-01")
        assert len(shown) < 3000


def test_a_name_is_shown_as_text_and_not_as_html():
    made = simulate(PAIR, CANDLES)
    object.__setattr__(made.run, "notices", ("<script>x</script>",))
    assert "<script>" not in made._repr_html_()


def test_the_plot_is_the_chart_of_the_report_in_a_frame_of_its_own(result, both):
    for one in (result, both):
        shown, page = one.plot(height=500)._repr_html_(), run_page(one.run)
        assert shown.count("<iframe") == 1
        assert "height:500px" in shown
        inside = html.unescape(shown[shown.index('srcdoc="') + 8 : shown.rindex('"></iframe>')])
        own, whole = (json.loads(text.split('id="data">')[1].split("</script>")[0]) for text in (inside, page))
        assert own == {**whole, "trades": None}
        assert (
            inside.split('id="data">')[1].split("</script>", 1)[1]
            == page.split('id="data">')[1].split("</script>", 1)[1]
        )
        assert html.unescape(one.report()._repr_html_()).count(page) == 1


def test_files_are_those_of_the_program(result, tmp_path):
    assert result.write_report(tmp_path / "page.html").read_text(encoding="utf-8") == run_page(result.run)
    assert (result.write_run(tmp_path / "run") / "report.html").read_text(encoding="utf-8") == run_page(result.run)


def test_a_strategy_of_ones_own_is_read_loaded_and_compiled_once_in_a_loop(tmp_path, monkeypatch):
    file = tmp_path / "mine.py"
    file.write_text("import beside\n" + (ROOT / "tests" / "examples" / "ema_cross.py").read_text())
    (tmp_path / "beside.py").write_text("A = 1\n")
    asked = {"strategy": str(file), "pair": "BTCUSDT"}
    first = simulate(asked, CANDLES)
    parsed, compiled, modules = [], simulator.compiled_loop.cache_info().misses, set(sys.modules)
    original = ast.parse
    monkeypatch.setattr(ast, "parse", lambda *given, **more: parsed.append(given) or original(*given, **more))
    for fast in (12, 13, 14):
        again = simulate(asked, CANDLES, fast=fast)
        assert again.config.loaded is first.config.loaded
    assert parsed == []
    assert set(sys.modules) == modules
    assert simulator.compiled_loop.cache_info().misses == compiled
    file.write_text(file.read_text().replace('"ema_cross", 1', '"ema_cross", 2'))
    strategy_source.complete(str(file))
    assert parsed, "a changed file is read anew"


def cells():
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def test_the_notebook_of_the_docs_runs_from_top_to_bottom():
    names, shown = {}, []
    for cell in cells():
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, NOTEBOOK.name, "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)
            shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
    assert [text[:6] for text in shown if not text.startswith("(")] == [
        "<table",
        "<ifram",
        *["<div><"] * 6,  # of which three are of the search
        "None",  # its verdict is printed
        "<div><",
        "<table",
        "<div><",
    ]
    assert names["found"].pareto.height >= 1 and names["windows"].frame.height >= 3
    assert names["both"].pairs == ("BTCUSDT", "ETHUSDT")


def test_the_notebook_holds_no_output_and_is_small():
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells())
    assert NOTEBOOK.stat().st_size < 20_000
