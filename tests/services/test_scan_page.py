"""Scans as jobs, their ranking on a page, and what they propose: saved as a preset, opened in the builder."""

from __future__ import annotations

import asyncio
import json

import pytest
import yaml

from bot.errors import Misconfigured
from services.app.job_kinds import job_kinds, read_request
from services.app.scan import SCAN
from services.app.worker import Told
from services.market_data.store import CandleStore
from services.storage.jobs import JobStatus, JobStore
from tests.browser import browser, needs_chromium
from tests.conftest import walk
from tests.services.console_house import console
from tests.services.test_research_pages import pictured

ASKED = {"strategy": "grid", "days": 12, "exchange": "bybit", "leverage": 2, "grid": {"warmup_bars": 30}}


def stored(data_dir):
    store = CandleStore(data_dir)
    for seed, pair in enumerate(("AAAUSDT", "BBBUSDT"), 3):
        store.write("bybit", "linear", pair, walk(14 * 1440, seed=seed, volatility=0.0007))


async def finished(dsn, owner, result):
    store = await JobStore.open(dsn)
    job = await store.begin((await store.submit(owner, SCAN, read_request(SCAN, ASKED) | {"owner": owner})).job, "w")
    await store.finish(job, JobStatus.SUCCEEDED, result)
    await store.close()
    return job.job


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"days": 1}, "days is 1; give 2 to 3650"),
        ({"days": True}, "days is True"),
        ({"pairs": "BTCUSDT"}, "pairs is 'BTCUSDT'"),
        ({"market": "margin"}, "market is 'margin'; give spot or linear"),
        ({"grid": {"levels": 500}}, "grid.levels is 500"),
        ({"leverage": -1}, "leverage is -1"),
    ],
)
def test_a_scan_that_cannot_be_is_refused_before_it_is_queued(more, said):
    with pytest.raises(Misconfigured) as error:
        read_request(SCAN, ASKED | more)
    assert said in str(error.value)


def test_a_worker_scans_and_its_proposals_are_ranked_saved_and_opened(dsn, name, tmp_path):
    stored(tmp_path)
    told = Told()
    result = asyncio.run(job_kinds(tmp_path, "")[SCAN](read_request(SCAN, ASKED | {"pairs": ["BBB/USDT"]}), told))
    assert (told.done, told.total) == (1, 1)
    (one,) = result["pairs"]
    assert (one["symbol"], one["document"]["leverage"]) == ("BBBUSDT", 2)
    assert yaml.safe_load(one["config"]) == json.loads(json.dumps(one["document"], default=str))
    with pytest.raises(Misconfigured, match="pair CCCUSDT has no candles"):
        asyncio.run(job_kinds(tmp_path, "")[SCAN](read_request(SCAN, ASKED | {"pairs": ["CCCUSDT"]}), told))

    async def main():
        job = await finished(dsn, name, result)
        async with console(dsn, tmp_path, name, search=True) as house:
            token = await house.token("control")
            _, found, _ = await house.ask("GET", f"/api/v1/backtests/scan?job={job}", token)
            assert [row["symbol"] for row in found["items"]] == ["BBBUSDT"]
            _, page, _ = await house.ask("GET", f"/scan?job={job}", token)
            assert f"/backtest?scan={job}&amp;place=1" in page.decode()
            assert one["words"] in page.decode()
            body = {"job": job, "place": 1, "name": "of-a-scan"}
            status, saved, _ = await house.ask("POST", "/api/v1/backtests/scan-presets", token, json=body)
            assert (status, saved["text"]) == (200, one["config"])
            assert (tmp_path / "presets" / "of-a-scan.yaml").read_text() == one["config"]
            status, said, _ = await house.ask("POST", "/api/v1/backtests/scan-presets", token, json=body)
            assert "which a preset of yours has already" in said["message"]
            status, said, _ = await house.ask("POST", "/api/v1/backtests/scan-presets", token, json=body | {"place": 9})
            assert (status, said["field"]) == (422, "place")

    asyncio.run(main())


ROW = {
    "symbol": "BTCUSDT", "exchange": "bybit", "market": "linear", "alpha_pct": 21.5, "alpha_low_pct": -3.0,
    "alpha_high_pct": 46.0, "beta": 0.4, "total_return_pct": 8.0, "benchmark_return_pct": -2.0, "trades": 31.0,
    "max_drawdown_pct": 4.5, "words": "not distinguishable from nothing", "config": "strategy: grid\n",
    "document": {"strategy": "grid", "pair": "BTCUSDT", "exchange": "bybit", "market": "linear", "grid": {"levels": 7}},
}  # fmt: skip


@pytest.mark.slow
@needs_chromium
def test_a_proposal_is_opened_in_the_builder_with_what_is_not_its_default(dsn, name, tmp_path):
    async def main():
        job = await finished(dsn, name, {"pairs": [ROW], "failed": [], "verdict": ["1 pair has an alpha."]})
        async with console(dsn, tmp_path, name) as house, browser() as page:
            await page.size(1440, 900)
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await pictured(page, house.address, f"/scan?job={job}", "scan")
            await page.push("a[href^='/backtest?scan=']")
            await page.until("document.documentElement.dataset.ready === '1'", 60)
            levels = "document.querySelector('[data-key=\"grid.levels\"] [name=from]').value"
            assert await page.run(levels) == "7"
            assert not page.faults(house.address)

    asyncio.run(main())
