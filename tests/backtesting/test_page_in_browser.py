"""The page of a run in a browser: the wheel is the page's until the chart has the focus, trades lead into the chart."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from backtesting import simulate_portfolio, write_report
from backtesting.run import simulate
from services.market_data.synth import generate
from tests.browser import browser, needs_chromium
from tests.conftest import walk

pytestmark = needs_chromium
GRID = {"strategy": "grid", "pair": "BTCUSDT", "grid": {"warmup_bars": 20, "timeframe": "15m"}}
FRAMES = "await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));"
CHART = "document.getElementById('chart').chart"


@pytest.fixture(scope="module")
def grid_page(tmp_path_factory):
    result = simulate(GRID, walk(6000, seed=3))
    return result, write_report(result, tmp_path_factory.mktemp("page") / "grid.html")


@pytest.fixture(scope="module")
def auto_page(tmp_path_factory):
    days = {pair: one.rows(slice(0, 20 * 1440)) for pair, one in generate(["BTCUSDT", "ETHUSDT"], 40, 7).items()}
    result = simulate_portfolio({"strategy": "auto", "pairs": list(days)}, days)
    return result, write_report(result, tmp_path_factory.mktemp("page") / "auto.html")


def on_page(path, do, **size):
    """Do something with a page opened in a browser, and hold that it threw nothing and asked nobody."""

    async def whole():
        async with browser() as page:
            await page.size(**{"width": 1280, "height": 1000, **size})
            took = await page.open(path)
            done = await do(page)
            asked = [one["request"]["url"] for one in page.troubles if "request" in one]
            assert [url for url in asked if not url.startswith(("file:", "data:", "about:", "blob:"))] == []
            assert [one for one in page.troubles if "exceptionDetails" in one] == []
            return took, done

    return asyncio.run(whole())


async def look(page, path):
    return await page.run(f"{CHART}.{path}")


async def sight(page):
    return await page.run(f"(() => {{ const s = {CHART}.exactSight(); return [s.from, s.to]; }})()")


def found(selector, text):
    return f"[...document.querySelectorAll('{selector}')].find((one) => one.textContent.startsWith('{text}'))"


async def middle(page):
    await page.run("document.querySelector('.chart-box').scrollIntoView({block: 'center', behavior: 'instant'})")
    box = "const b = document.querySelector('.chart-box').getBoundingClientRect();"
    return await page.run(f"(() => {{ {box} return [b.x + b.width / 2, b.y + 150]; }})()")


def test_a_page_opens_and_does_what_a_reader_asks(grid_page):
    result, path = grid_page

    async def read(page):
        x, y = await middle(page)
        scrolled, before = await page.run("scrollY"), await sight(page)
        await page.mouse("mouseWheel", x, y, deltaX=0, deltaY=200)
        await asyncio.sleep(0.3)
        assert await page.run("scrollY") > scrolled, "the wheel is the page's"
        assert await sight(page) == before

        x, y = await middle(page)
        await page.click(x, y)
        await page.mouse("mouseWheel", x, y, deltaX=0, deltaY=-400)
        await asyncio.sleep(0.3)
        nearer = await sight(page)
        assert nearer[1] - nearer[0] < before[1] - before[0], "a chart with the focus zooms"
        await page.press("ArrowRight")
        moved = await sight(page)
        assert moved[0] > nearer[0]
        await page.press("0")
        assert await sight(page) == pytest.approx(before, abs=600)

        await page.mouse("mouseMoved", x, y)
        told = await page.run("document.querySelector('.chart-told').innerText")
        for word in ("BTCUSDT open", "equity", "buy and hold", "drawdown", "volume", "resting", "position", "USDT"):
            assert word in told
        await page.press("n")
        first = result.fills.row(0, named=True)
        told = await page.run("document.querySelector('.chart-told').innerText")
        assert f"sold {first['qty']:g} at {first['price']:,.1f} (Entry, maker, fee {first['fee']:.4f})" in told
        assert await look(page, "length") < 900, "near enough to see it"

        await page.press("Escape")
        assert await page.run("document.activeElement === document.body")
        return await trades(page)

    async def trades(page):
        rows = "[...document.querySelectorAll('#trades tbody tr')]"
        count = "document.querySelector('#trades-filters .soft').textContent"
        assert await page.run(count) == f"{len(result.trades):,} trades, {result.metrics.total_profit:+,.2f} USDT"
        await page.run(found("#trades th button", "Profit, USDT") + ".click()")
        best = await page.run(f"{rows}[0].querySelector('.gain').textContent")
        assert best == f"{result.trades['pnl'].max():+,.2f}"
        menu = found("#trades-filters label", "Result") + ".lastChild"
        await page.run(f"{menu}.value = 'lost'; {menu}.dispatchEvent(new Event('change'))")
        assert (await page.run(count)).startswith(f"{(result.trades['pnl'] <= 0).sum():,} trades")
        await page.run(f"{rows}[0].querySelector('.go').click()")
        trade = [await look(page, f"overlays.trade.{name}") for name in ("from", "entry")] + await sight(page)
        chosen = result.trades.filter(result.trades["pnl"] <= 0).sort("pnl", descending=True)
        assert trade[0] * 1000 == chosen["entry_time"][0]
        assert trade[1] == pytest.approx(chosen["entry_price"][0], abs=0.006)
        assert trade[2] <= trade[0] <= trade[3]

    on_page(path, read)


async def shows(page, wanted):
    """What a page looks like: its colours, whether it is wider than the screen, and that every pane was drawn on."""
    ground = await page.run("getComputedStyle(document.body).backgroundColor")
    wide = await page.run("document.documentElement.scrollWidth - innerWidth")
    drawn = """[...document.querySelectorAll('.chart-box canvas')].filter((one) => one.width > 200).map((one) => {
        const pixels = one.getContext('2d').getImageData(0, 0, one.width, one.height).data, seen = new Set();
        for (let k = 0; k < pixels.length; k += 64) seen.add(pixels[k] * 65536 + pixels[k + 1] * 256 + pixels[k + 2]);
        return seen.size; })"""
    assert ground == wanted
    assert wide <= 0
    assert sum(colours > 3 for colours in await page.run(drawn)) >= 3


@pytest.mark.slow
@pytest.mark.parametrize("which", ["grid_page", "auto_page"])
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_it_fits_every_screen_in_light_and_dark(request, which, width, dark):
    _, path = request.getfixturevalue(which)
    wanted = "rgb(15, 22, 30)" if dark else "rgb(245, 247, 250)"
    on_page(path, partial(shows, wanted=wanted), width=width, dark=dark)


@pytest.mark.slow
def test_every_pair_of_auto_can_be_looked_at(auto_page):
    result, path = auto_page

    async def read(page):
        for index, pair in enumerate(result.recording.pairs):
            await page.run(f"{CHART}.showPair({index})")
            assert f"{pair} open" in await page.run("document.querySelector('.chart-told').innerText")
        names = await page.run("document.querySelector('.chart-names').innerText")
        assert all(word in names for word in ("Regime", "Strategy", "Capital targets"))

    on_page(path, read)


@pytest.mark.slow
def test_what_is_printed_is_light_and_whole(grid_page):
    _, path = grid_page

    async def read(page):
        await page.run("dispatchEvent(new Event('beforeprint'))")
        assert await page.run("document.querySelector('.chart-printed').src.length") > 20_000
        pdf = await page.ask("Page.printToPDF")
        assert len(pdf["data"]) > 50_000

    on_page(path, read, dark=True)


@pytest.mark.slow
def test_a_year_of_minutes_opens_and_zooms_at_once(tmp_path):
    path = write_report(
        simulate({**GRID, "grid": {}}, walk(525_600, seed=3, volatility=0.0006)), tmp_path / "year.html"
    )
    zooms = f"""(async () => {{ const chart = {CHART}, middle = (chart.first + chart.end) / 2, times = [];
        for (let span = chart.end - chart.first; span > 3600; span /= 2) {{
            const begin = performance.now(); chart.show(middle - span / 2, middle + span / 2); {FRAMES}
            times.push(performance.now() - begin); }}
        return times.sort((a, b) => a - b); }})()"""

    async def read(page):
        return await page.run(zooms)

    took, times = on_page(path, read)
    assert took < 1.5
    assert times[len(times) // 2] < 100


def test_the_chart_that_a_notebook_shows_opens_alone_and_draws(grid_page, tmp_path):
    """As `plot()` frames it: no table of trades, no errors, the same candles."""
    from backtesting.reports.page import chart_page

    result, _ = grid_page
    (tmp_path / "chart.html").write_text(chart_page(result), encoding="utf-8")

    async def seen(page):
        return await sight(page), await page.run("document.querySelectorAll('canvas').length")

    _, ((since, until), canvases) = on_page(tmp_path / "chart.html", seen)
    assert until > since
    assert canvases > 3
