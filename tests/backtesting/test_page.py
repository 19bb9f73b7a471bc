"""The page of a run: what it shows is what `result.json` says, once, in words, in one small file that asks nobody."""

from __future__ import annotations

import base64
import json
import re
import zlib
from html import unescape

import numpy as np
import pytest

from backtesting import simulate_portfolio, write_report, write_run
from backtesting.metrics import Metrics
from backtesting.reports.chart_data import volume_code
from backtesting.reports.comparison import compared_run
from backtesting.reports.comparison_page import comparison_page
from backtesting.reports.labels import LABELS, label
from backtesting.reports.packing import PackedColumn, money_step, packed
from backtesting.reports.run_view import currency_of
from backtesting.reports.words import verdict
from backtesting.run import simulate
from services.market_data.synth import generate
from tests.conftest import walk

GRID = {"strategy": "grid", "pair": "BTCUSDT", "grid": {"warmup_bars": 20, "timeframe": "15m"}}
MAY_BE_MISSING = {"cycles", "levels_filled", "deals", "mean_safety_orders"}


@pytest.fixture(scope="module")
def results():
    days = {pair: one.rows(slice(0, 20 * 1440)) for pair, one in generate(["BTCUSDT", "ETHUSDT"], 40, 7).items()}
    several = {"strategy": "grid", "pairs": list(days), "capital": 100_000.0, "grid": GRID["grid"]}
    return {
        "one pair": simulate(GRID, walk(6000, seed=3), bounds=True),
        "dca": simulate(
            {"strategy": "dca", "pair": "BTCUSDT", "dca": {"warmup_bars": 20, "timeframe": "15m"}}, walk(6000)
        ),
        "pairs": simulate_portfolio(several, days),
        "auto": simulate_portfolio({"strategy": "auto", "pairs": list(days), "auto": {"preset": "classic"}}, days),
    }


@pytest.fixture(scope="module", params=["one pair", "dca", "pairs", "auto"])
def run(request, results, tmp_path_factory):
    """A result, its result.json and its page."""
    folder = write_run(results[request.param], tmp_path_factory.mktemp("runs") / "run")
    document = json.loads((folder / "result.json").read_text())
    return results[request.param], document, (folder / "report.html").read_text()


def body(page):
    """The page without its scripts and styles."""
    return re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)


def figures(page):
    """Every figure shown, by its place in result.json, with what it is multiplied by."""
    found = re.findall(r'data-figure="([^"]+)"([^>]*)>([^<]*)<', body(page))
    return [(unescape(path), 100.0 if "data-times" in more else 1.0, unescape(text)) for path, more, text in found]


def at(document, path):
    for name in path.split("."):
        document = document[name]
    return document


def decoded(table):
    """Read packed columns as their docstring describes them, in plain Python."""
    raw, rows, columns = zlib.decompress(base64.b64decode(table["data"])), table["rows"], {}
    for place, (name, numerator, denominator, follows) in enumerate(table["columns"]):
        values, last = [], 0
        for k in range(rows):
            zigzag = sum(raw[place * 4 * rows + byte * rows + k] << 8 * byte for byte in range(4))
            number = zigzag >> 1 if zigzag % 2 == 0 else -(zigzag >> 1) - 1
            last = (number + last * follows + 2**31) % 2**32 - 2**31
            values.append(None if last == -(2**31) else last * numerator / denominator)
        columns[name] = values
    return columns


def data(page):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL).group(1))


def test_every_figure_on_the_page_is_that_of_result_json(run):
    _, document, page = run
    shown = figures(page)
    assert len(shown) > 50
    for path, times, text in shown:
        value = at(document, path)
        if value is None:
            assert text in ("n/a", "nothing is held"), path
            continue
        number = re.match(r"[+-]?[\d,]+(\.\d+)?", text)
        assert number is not None, (path, text)
        places = len((number.group(1) or ".")[1:])
        told = float(number.group().replace(",", ""))
        assert abs(told - value * times) <= 0.50001 * 10**-places, (path, text, value)


def test_every_figure_of_the_account_is_shown_once(run):
    result, _, page = run
    page = re.sub(r"<h2>Worst and best fill rules.*?</table>", "", page, flags=re.DOTALL)  # beside its bounds, again
    shown = [path.removeprefix("metrics.") for path, _, _ in figures(page) if path.startswith("metrics.")]
    assert len(shown) == len(set(shown))
    missing = {name for name in MAY_BE_MISSING if getattr(result.metrics, name) is None or result.document.grid}
    expected = set(Metrics.model_fields) - {"start", "end", "entries_by_kind"}
    assert expected - missing <= set(shown) | {"cycles"}
    assert set(LABELS) == set(Metrics.model_fields) - {"entries_by_kind"}


def test_what_the_chart_draws_ends_where_the_figures_say(run):
    _, document, page = run
    laid, metrics = data(page), document["metrics"]
    account = decoded(laid["account"])
    step = 0.5001 * float(money_step(np.array(account["equity"])))
    assert account["equity"][-1] == pytest.approx(metrics["final_capital"], abs=step)
    assert min(account["drawdown"]) == pytest.approx(-metrics["max_drawdown_pct"], abs=6e-5)
    held = account["held"][-1] / metrics["initial_capital"] * 100 - 100
    assert held == pytest.approx(metrics["benchmark_return_pct"], abs=1e-4)
    assert sum(one["fills"]["rows"] for one in laid["pairs"]) == metrics["fills"]
    trades = decoded(laid["trades"])
    closed = [gain for gain, end in zip(trades["pnl"], trades["exit_time"], strict=True) if end is not None]
    assert len(closed) == metrics["trades"]
    assert sum(closed) == pytest.approx(metrics["closed_profit"], abs=0.005 * len(closed) + 0.01)
    fees = sum(sum(decoded(one["fills"])["fee"]) for one in laid["pairs"])
    assert fees == pytest.approx(metrics["fees"], rel=1e-3)


def test_candles_on_the_page_are_those_of_the_run(results, tmp_path):
    result = results["one pair"]
    (pair,) = data(write_report(result, tmp_path / "page.html").read_text())["pairs"]
    table, (numerator, denominator), last, rows = decoded(pair["candles"]), pair["tick"], 0, []
    for opened, moved, high, low in zip(*(table[name] for name in ("open", "close", "high", "low")), strict=True):
        start, end = last + opened, last + opened + moved
        rows.append((start, max(start, end) + high, min(start, end) - low, end))
        last = end
    assert pair["seconds"] == 60
    expected = result.candles.select("open", "high", "low", "close").to_numpy()
    np.testing.assert_allclose(np.array(rows) * numerator / denominator, expected, atol=1e-9)
    assert [t * 60_000 for t in table["t"]] == result.candles["ts"].to_list()
    volumes = [(100 + (code - 1) % 900) * 10.0 ** ((code - 1) // 900 - 20) for code in table["volume"]]
    np.testing.assert_allclose(volumes, result.candles["volume"].to_numpy(), rtol=0.005)


@pytest.mark.parametrize(("volume", "shown"), [(0.0, 0.0), (1e-5, 1e-5), (0.9996, 1.0), (123.4, 123.0), (3e9, 3e9)])
def test_a_volume_is_kept_to_three_digits(volume, shown):
    (code,) = volume_code(np.array([volume]))
    assert (code > 0 and (100 + (code - 1) % 900) * 10.0 ** ((code - 1) // 900 - 20)) == pytest.approx(shown)


def test_the_orders_that_rested_are_on_the_page(results, tmp_path):
    result = results["one pair"]
    (pair,) = data(write_report(result, tmp_path / "page.html").read_text())["pairs"]
    orders = decoded(pair["orders"])
    assert orders["price"] == pytest.approx(result.levels["price"].to_list())
    assert [t * 1000 for t in orders["until"]] == result.levels["ts_to"].to_list()


def test_orders_of_every_pair_are_on_the_page(results, tmp_path):
    for name in ("pairs", "auto"):
        laid = data(write_report(results[name], tmp_path / "page.html").read_text())
        for pair in laid["pairs"]:
            levels = results[name].of_pair(pair["name"]).levels
            assert len(levels) > 100
            assert decoded(pair["orders"])["price"] == pytest.approx(
                levels["price"].to_list()[-pair["orders"]["rows"] :]
            )


def test_ribbons_have_no_gaps(results, tmp_path):
    laid = data(write_report(results["auto"], tmp_path / "page.html").read_text())
    for pair in laid["pairs"]:
        assert [ribbon["title"] for ribbon in pair["ribbons"]][:2] == ["Regime", "Strategy"]
        for ribbon in pair["ribbons"]:
            spans = decoded(ribbon)
            assert spans["t"][1:] == spans["until"][:-1]
            assert (spans["t"][0] * 1000, len(ribbon["names"])) == (int(results["auto"].ts[0]), len(ribbon["colours"]))


def test_a_page_asks_nobody_and_keeps_the_attribution(run):
    _, _, page = run
    html = body(page)
    assert not re.search(r"<(link|img|iframe|script)[^>]+(src|href)=", html)
    assert "url(" not in page.split("</style>")[0]
    assert re.findall(r'href="([^"]+)"', html) == ["https://www.tradingview.com/"]
    assert "TradingView Lightweight Charts™, Copyright" in html
    assert "Licensed under Apache License 2.0" in page


def test_a_page_shows_words_and_no_keys(run):
    _, _, page = run
    text = re.sub(r"<[^>]+>", " ", body(page)).replace("grid.risk_budget", "")
    assert re.findall(r"\b\w*[a-z]_[a-z]\w*\b", text) == []
    assert re.findall(r"\b[A-Z]+_[A-Z]+\b|\bTrue\b|\bFalse\b|\bNone\b|\bnan\b", text) == []
    assert "USDT" in text


def test_open_trades_stand_beside_closed_ones_in_the_headline(run):
    _, _, page = run
    headline = body(page).split('<div class="card">')[0]
    for name in ("closed_profit", "trades", "open_profit", "open_trades", "win_rate_with_open_pct"):
        assert f'data-figure="metrics.{name}"' in headline


def test_bounds_are_columns_and_explained_where_they_are_equal(results, tmp_path):
    page = body(write_report(results["one pair"], tmp_path / "page.html").read_text())
    assert re.search(r"<th></th><th>this run</th><th>pessimistic</th><th>optimistic</th>", page)
    assert "Pessimistic: limits fill" in page
    still = simulate(GRID, walk(50, volatility=0.0), bounds=True)
    page = body(write_report(still, tmp_path / "still.html").read_text())
    assert "All three are equal" in page
    assert "It never traded" in page


def test_a_budget_that_keeps_capital_idle_is_said(tmp_path):
    section = {"preset": "exchange", "lower": 40_000, "upper": 60_000, "levels": 21}
    careful = simulate({**GRID, "grid": {**section, "risk_budget": 0.02}}, walk(3000, seed=3))
    page = body(write_report(careful, tmp_path / "careful.html").read_text())
    share = careful.document.grid.committed_pct
    assert (
        f"The risk budget uses {share:.0f} % of your capital, with every cell filled; grid.risk_budget: 100% uses all"
        in page
    )
    whole = write_report(simulate({**GRID, "grid": section}, walk(3000, seed=3)), tmp_path / "whole.html").read_text()
    assert "risk budget uses" not in body(whole)


def test_a_run_that_is_mostly_cash_says_so(results):
    metrics = results["one pair"].metrics
    for exposure, said in ((2.0, "On average 98 % of the equity was cash."), (60.0, None)):
        told = verdict(metrics.model_copy(update={"mean_exposure_pct": exposure}), "USDT")
        assert said in told if said else "was cash" not in told


def test_a_year_of_minutes_is_a_small_file(tmp_path):
    """Also where a grid trades all the time: candles take what fills and trades leave, and nothing vanishes unsaid."""
    busy = {"strategy": "grid", "pair": "BTCUSDT", "grid": {"preset": "low", "timeframe": "15m", "risk_budget": 1.0}}
    result = simulate(busy, walk(525_600, seed=3, volatility=0.0006))
    page = write_report(result, tmp_path / "page.html")
    assert result.metrics.fills > 4000
    assert page.stat().st_size < 1_500_000
    laid = data(page.read_text())
    assert laid["pairs"][0]["seconds"] <= 900
    assert laid["trades"]["rows"] == len(result.trades) or "trades.csv" in "".join(laid["notes"])


@pytest.mark.parametrize("values", [[0.1, 0.2, -0.3], [1e9, -1e9], [float("nan"), 5.0, float("nan")], [0.0]])
def test_what_is_packed_is_read_again(values):
    step = money_step(np.array(values))
    for follows in (True, False):
        table = packed(one=PackedColumn(np.array(values), step, follows), other=PackedColumn(np.arange(len(values))))
        read = decoded(table)
        shown = [float("nan") if value is None else value for value in read["one"]]
        assert shown == pytest.approx(
            values, abs=max(float(step), 1.0 if max(map(abs, values)) > 1e8 else 0.0), nan_ok=True
        )
        assert read["other"] == list(range(len(values)))


def test_currencies_and_labels():
    assert currency_of(["BTCUSDT", "ETHUSDT"]) == "USDT"
    assert currency_of(["BTC/USDC:USDC"]) == "USDC"
    assert currency_of(["ETHBTC"]) == "BTC"
    assert currency_of(["BTCUSDT", "ETHBTC"]) == currency_of(["USDT"]) == "quote currency"
    assert [label(key) for key in ("EXIT_TP", "tight_range", "reduced+stress", "dca")] == [
        "Take profit",
        "Tight range",
        "Reduced, stress",
        "DCA",
    ]


def test_a_comparison_is_the_same_page_with_a_line_for_each(results):
    runs = [compared_run(results["pairs"]), compared_run(results["auto"])]
    page = comparison_page(runs, "grid, auto on two pairs", "all there is", ["Generated candles."], "USDT")
    laid = data(page)
    assert [line["name"] for line in laid["lines"]] == ["grid", "auto"]
    for line, own in zip(laid["lines"], runs, strict=True):
        assert decoded(line["table"])["value"][-1] == pytest.approx(
            own.equity[-1] / own.equity[0] * 100 - 100, abs=6e-4
        )
    assert f"{runs[0].figures['fees']:,.2f} USDT" in page
    assert "did best with" in body(page)
