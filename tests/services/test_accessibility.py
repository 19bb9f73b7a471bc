"""Every page of the console through axe-core, light and dark, wide and narrow: nothing serious may be found."""

from __future__ import annotations

import asyncio
from importlib.resources import files

import pytest

from services.storage.jobs import JobStatus, JobStore
from tests.browser import browser, needs_chromium
from tests.conftest import walk
from tests.services.console_house import HALTED, PAIR, console, write_history
from tests.services.research_house import write_search
from tests.services.test_scan_page import ROW, finished

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
GRAVE = ("serious", "critical")
LOOKS = ((1280, False), (1280, True), (390, True))


async def findings(page):
    """What axe-core finds that is grave: rule and the first elements of each."""
    if not await page.run("typeof axe !== 'undefined'"):
        await page.run(f"(() => {{ {AXE} }})(); 1")
    found = await page.run("axe.run(document, {resultTypes: ['violations']}).then(({violations}) => violations)")
    return [
        (one["id"], [(node["target"], node.get("failureSummary", "")[:200]) for node in one["nodes"][:3]])
        for one in found
        if one["impact"] in GRAVE
    ]


async def audited(page, address, paths):
    """Look at each page in every way; what was found by page and way."""
    found = {}
    for path in paths:
        for width, dark in LOOKS:
            await page.size(width, 900, dark=dark)
            await page.visit(address + path)
            if path != "/sign-in":
                await page.until("document.body.classList.contains('alive')")
            if path.startswith("/backtest"):
                await page.until("document.documentElement.dataset.ready === '1'", 60)
            if told := await findings(page):
                found[path, width, dark] = told
    return found


async def failed_job(dsn, owner):
    store = await JobStore.open(dsn)
    asked = {"pair": "BTCUSDT", "exchange": "bybit", "market": "linear", "owner": owner}
    job = await store.begin((await store.submit(owner, "repair", asked)).job, "w")
    await store.tell(job, 3, 8, None)
    await store.finish(job, JobStatus.FAILED, None, "the venue did not answer")
    await store.close()


@pytest.mark.slow
@needs_chromium
def test_no_page_has_anything_that_keeps_people_out(dsn, name, tmp_path):
    from services.market_data.store import CandleStore

    CandleStore(tmp_path).write("bybit", "linear", "BTCUSDT", walk(3 * 1440, seed=3))
    session = f"{name.encode().hex():0>16}"[-16:]

    async def main():
        await write_history(dsn, name, fills=4)
        scan = await finished(dsn, name, {"pairs": [ROW], "failed": [], "verdict": ["1 pair has an alpha."]})
        await failed_job(dsn, name)
        async with console(dsn, tmp_path, name, search=True) as house, browser() as page:
            await write_search(house.built.sources.research.pool, session)
            found = await audited(page, house.address, ["/sign-in"])
            await page.visit(f"{house.address}/health")  # the same page with another fragment would not be loaded
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            paths = [
                *("/", f"/bots/{name}/pairs/{PAIR}", "/portfolio", "/history/fills", "/history/orders"),
                *("/history/trades", "/decisions", "/backtest", "/jobs", "/sessions", f"/sessions/{session}"),
                *(f"/compare?run={session}-1&run={session}-2", "/matrix", f"/scan?job={scan}", "/data"),
                *("/strategies", "/audit", "/settings", "/config", "/signals"),
            ]
            found |= await audited(page, house.address, paths)
            house.bots[name].now = house.bots[name].now | HALTED
            await house.built.watcher.look()
            found |= await audited(page, house.address, ["/", f"/bots/{name}/halt"])
            assert not found, "\n".join(f"{place}: {told}" for place, told in found.items())

    asyncio.run(main())


@pytest.mark.slow
@needs_chromium
def test_what_keeps_people_out_is_found(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house, browser() as page:
            await page.visit(f"{house.address}/sign-in")
            await page.run("document.body.append(document.createElement('input'))")
            assert "label" in [one for one, _ in await findings(page)]

    asyncio.run(main())
