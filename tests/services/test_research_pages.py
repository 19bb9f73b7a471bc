"""The pages of research in a browser: a search is built, a worker plays it, its result is read and saved."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml

from bot.sources import ROOT
from services.market_data.store import CandleStore
from tests.browser import browser, needs_chromium
from tests.conftest import walk
from tests.services.console_house import console
from tests.services.research_house import write_search

WIDTHS = ((1440, False), (1440, True), (390, True), (390, False))


@asynccontextmanager
async def worker(dsn, data_dir):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "worker", "--no-schedule", "--poll", "0.2", "--database", dsn),
        cwd=ROOT, env={**os.environ, "TRADERAGENT_DATA_DIR": str(data_dir)},
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 60)


async def typed(page, key, **values):
    """Type into the inputs of a field."""
    for name, text in values.items():
        place = f"document.querySelector('[data-key=\"{key}\"] [name={name}]')"
        await page.run(f"{place}.value = '{text}'; {place}.dispatchEvent(new Event('input', {{bubbles: true}}))")


async def pictured(page, address, path, name):
    """Look at a page wide and narrow, light and dark; it is nowhere wider than the screen."""
    pictures = os.environ.get("TRADERAGENT_PICTURES")
    for width, dark in WIDTHS:
        await page.size(width, 900, dark=dark)
        await page.visit(address + path)
        await page.until("document.body.classList.contains('alive')")
        if path.startswith(("/backtest", "/replays")):
            await page.until("document.documentElement.dataset.ready === '1'", 60)
        assert not await page.run("document.documentElement.scrollWidth > innerWidth"), (path, width)
        if pictures:
            shade = "dark" if dark else "light"
            await page.picture(Path(pictures) / f"{name}-{width}-{shade}.png")
    await page.size(1440, 900)
    if pictures:
        await page.run("document.cookie = 'language=ru; path=/'")
        await page.visit(address + path)
        await page.until("document.body.classList.contains('alive')")
        await asyncio.sleep(0.5)
        await page.picture(Path(pictures) / f"{name}-ru.png")
        await page.run("document.cookie = 'language=en; path=/'")


async def built(page, address):
    """Build a search of four variants, with a mistake on the way."""
    await page.visit(f"{address}/backtest")
    await page.until("document.documentElement.dataset.ready === '1'", 60)
    assert "No worker runs" in await page.run("document.body.innerText")
    await page.until("document.getElementById('count').textContent === 'one run'", 60)
    await typed(page, "grid.levels", **{"from": "500"})
    await page.until("document.querySelector('[data-key=\"grid.levels\"] .fault').textContent !== ''")
    said = await page.run("document.querySelector('[data-key=\"grid.levels\"] .fault').textContent")
    assert said.startswith("grid.levels is 500")
    await typed(page, "grid.levels", **{"from": "6", "to": "12", "step": "6"})
    await typed(page, "grid.profit_per_grid", **{"from": "0.5%, 1%"})
    await typed(page, "grid.warmup_bars", **{"from": "30"})
    await page.until("document.getElementById('count').textContent === '4 variants'")


async def saved(page, selector):
    """Save by a button of the first row; the name that it was given."""
    await page.run("document.getElementById('said').textContent = ''")
    await page.push(selector)
    text = await page.until("document.getElementById('said').textContent", 30)
    return text.removeprefix("Saved as ").removesuffix(".")


async def kept_of(page, data_dir):
    """Save the first row of a result as a preset and as a strategy, and have its report; strategy and report."""
    await page.push("[data-preset]")
    await page.run("document.querySelector('#enter input').value = 'of-a-page'")
    assert await saved(page, "#enter .strong") == "of-a-page"
    preset = yaml.safe_load((data_dir / "presets" / "of-a-page.yaml").read_text())
    assert preset["grid"]["levels"] in (6, 12)
    strategy = await saved(page, "[data-keep]")
    await page.push("[data-report]")
    link = "document.querySelector('a[href^=\"/api/v1/backtests/reports/\"]')"
    return strategy, await page.until(f"{link} && {link}.href", 240)


@pytest.mark.slow
@needs_chromium
def test_a_search_is_built_played_by_a_worker_read_and_saved(dsn, name, tmp_path):
    CandleStore(tmp_path).write("bybit", "linear", "BTCUSDT", walk(45 * 1440, seed=3, volatility=0.0007))

    async def main():
        async with console(dsn, tmp_path, name, search=True) as house, browser() as page:
            address = house.address
            await page.size(1440, 900)
            await page.visit(f"{address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await built(page, address)
            async with worker(dsn, tmp_path):
                await page.push("#begin button")
                said = await page.until("document.getElementById('begun').textContent")
                place = f"/results/{said.split()[1]}"
                await page.visit(f"{address}/jobs")
                await page.until("!document.body.innerText.includes('No worker runs')", 60)
                await page.until(f"document.querySelector('a[href=\"{place}\"]') !== null", 240)
            assert "in sample" in await page.run("document.body.innerText")
            await page.visit(address + place)
            assert await page.run("document.querySelectorAll('tr[id^=variant-]').length") == 4
            strategy, report = await kept_of(page, tmp_path)
            session = await page.run("document.querySelector('a[href^=\"/sessions/\"]').getAttribute('href')")
            for path, called in (
                ("/backtest", "backtest"), ("/jobs", "jobs"), (place, "results"), ("/sessions", "sessions"),
                (session, "session"), ("/strategies", "strategies"),
            ):  # fmt: skip
                await pictured(page, address, path, called)
            await page.visit(f"{address}/strategies")
            shown = await page.run("document.querySelector('tbody tr').textContent")
            assert strategy in shown and "tested" in shown  # by the report
            await page.push("[data-do]")
            await page.push("#ask [value=yes]")
            await page.until(f"!document.body.innerText.includes('{strategy}')", 10)
            faults = [one for one in page.faults(address) if "422" not in one]  # of the field that was wrong on purpose
            assert not faults, faults
            await page.visit(report)
            await page.until("document.querySelector('canvas') !== null", 30)  # its script runs, in its sandbox

    asyncio.run(main())


@needs_chromium
def test_a_table_of_variants_is_sorted_by_its_headings_and_reached_from_the_list_of_sessions(dsn, name, tmp_path):
    session = f"{name.encode().hex():0>16}"[-16:]

    async def main():
        async with console(dsn, tmp_path, name) as house, browser() as page:
            await write_search(house.built.sources.research.pool, session)
            await page.size(390, 900, dark=True)
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await page.visit(f"{house.address}/sessions")
            await page.push(f"a[href='/sessions/{session}']")
            await page.until("document.querySelector('#variant-2') && document.body.classList.contains('alive')")
            await page.run("document.querySelectorAll('.sortable th')[2].click()")  # return in sample
            first = "document.querySelector('tr[id^=variant-]').id"
            assert await page.run(first) == "variant-4"
            assert not await page.run("document.documentElement.scrollWidth > innerWidth")
            await page.push("[data-clone], [data-preset]")
            assert await page.run("document.getElementById('enter').open")
            assert not page.faults(house.address)

    asyncio.run(main())
