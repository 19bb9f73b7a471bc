"""Stored data on a page and in the API: coverage by day, instruments as of a day, downloads and repairs as jobs."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal

import numpy as np
import pytest

from bot.candles import parse_time
from bot.errors import Misconfigured
from bot.market import Market
from bot.times import DAY, MINUTE
from services.app import download_jobs
from services.app.job_kinds import job_kinds, read_request
from services.app.research_answers import answer
from services.app.worker import Told
from services.market_data.instruments import save_instruments
from services.market_data.reference import ReferenceData, ReferenceSymbol
from services.market_data.store import CandleStore, SeriesName
from services.web.pages_data import level_of, runs_of
from services.web.words import PageWords
from tests.browser import browser, needs_chromium
from tests.conftest import instrument, walk
from tests.services.console_house import console
from tests.services.test_research_pages import pictured, worker
from tests.services.test_venue import START, bybit, server  # noqa: F401, fixtures: an exchange that publishes candles

BTC = SeriesName("bybit", "linear", "BTCUSDT")


def asked(question, data_dir, **said):
    found = answer(json.dumps({"question": question, "said": said}), data_dir)
    return found.get("answer", found)


def stored(data_dir, days=5, left_out=()):
    """Days of minutes in the store, without those of `left_out` (spans of minutes)."""
    candles = walk(days * 1440, seed=3)
    kept = np.ones(len(candles), bool)
    for first, last in left_out:
        kept[first:last] = False
    CandleStore(data_dir).write("bybit", "linear", "BTCUSDT", candles.rows(kept))
    return candles


def test_a_day_is_as_full_as_what_is_stored_of_it_and_grey_where_nothing_is(tmp_path):
    candles = stored(tmp_path, left_out=[(1440 + 100, 1440 + 820), (3 * 1440, 4 * 1440)])
    first = int(candles.ts[0]) // DAY
    days = [str(np.datetime64(first + k, "D")) for k in range(-2, 7)]
    found = asked("coverage", tmp_path, text="BTC", until=days[-1], days=9)
    (one,) = found["items"]
    assert (found["first"], one["first"], one["last"]) == (days[0], days[2], days[6])
    assert (one["bars"], one["missing"]) == (5 * 1440 - 720 - 1440, 720 + 1440)
    assert one["shares"] == [None, None, 1.0, 0.5, 1.0, 0.0, 1.0, None, None]
    assert asked("coverage", tmp_path, text="BTC", until="", days=2)["first"] == days[5]  # up to the last stored day
    assert asked("coverage", tmp_path, text="XRP", until="", days=2)["items"] == []
    runs = runs_of(one["shares"], days[0], PageWords("en"))
    levels = ["none", "whole", "some", "whole", "few", "whole", "none"]
    assert [(run["days"], run["level"]) for run in runs] == list(zip([2, 1, 1, 1, 1, 1, 2], levels, strict=True))
    assert level_of(0.995) == "most"


def test_a_file_that_is_written_anew_is_counted_anew(tmp_path):
    stored(tmp_path, days=2, left_out=[(100, 200)])
    assert asked("coverage", tmp_path, text="", until="", days=2)["items"][0]["missing"] == 100
    stored(tmp_path, days=2)
    assert asked("coverage", tmp_path, text="", until="", days=2)["items"][0]["missing"] == 0


def test_instruments_are_those_of_the_day_and_symbols_have_one_order(tmp_path):
    first, later = instrument(), instrument().model_copy(update={"tick_size": Decimal("0.5")})
    save_instruments(tmp_path, "bybit", Market.LINEAR, [(parse_time("2024-01-01"), first)])
    save_instruments(tmp_path, "bybit", Market.LINEAR, [(parse_time("2024-03-01"), later)])
    ticks = [
        [one["tick_size"] for one in asked("instruments", tmp_path, market_id=4, as_of=day, text="")["items"]]
        for day in ("2023-12-31", "2024-02-29", "2024-03-01")
    ]
    assert ticks == [[], ["0.1"], ["0.5"]]
    assert "market_id is 9" in asked("instruments", tmp_path, market_id=9, as_of="2024-01-01", text="")["refused"]
    reference = ReferenceData(tmp_path)
    reference.replace(4, [ReferenceSymbol(one, 4, one[:3], "USDT", True) for one in ("ETHUSDT", "BTCUSDT")])
    reference.replace(2, [ReferenceSymbol("BTCUSDT", 2, "BTC", "USDT", True)])
    found = asked("symbols", tmp_path, text="", start=0, limit=2)
    assert [(one["symbol"], one["market_id"]) for one in found["items"]] == [("BTCUSDT", 2), ("BTCUSDT", 4)]
    assert found["count"] == 3
    assert [one["id"] for one in asked("markets", tmp_path)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"pair": "BTCUSDT", "from": "2024-01-01"}, "to is missing"),
        ({"pair": "BTCUSDT", "from": "2024-02-01", "to": "2024-01-01"}, "from (2024-02-01) must lie before"),
        ({"pair": "BTCUSDT", "exchange": "kraken"}, "exchange is 'kraken'"),
        ({"pair": "BTCUSDT", "form": "x"}, "form is no known key"),
    ],
)
def test_a_download_that_cannot_be_is_refused_before_it_is_queued(request_, said):
    with pytest.raises(Misconfigured) as error:
        read_request("download", request_)
    assert said in str(error.value)


def test_a_worker_downloads_a_period_and_repairs_what_is_missing(tmp_path, bybit, monkeypatch):  # noqa: F811
    monkeypatch.setattr(download_jobs, "client", lambda *_: bybit)
    plays = job_kinds(tmp_path, "")
    store, told = CandleStore(tmp_path), Told()
    moments = [str(START + minute * MINUTE) for minute in (0, 300)]
    asked_for = read_request("download", {"pair": "BTC/USDT", "from": moments[0], "to": moments[1]})
    assert asyncio.run(plays["download"](asked_for, told)) == {"new": 300, "missing": 0, "faulty": []}
    assert (told.done, told.total) == (300, 300)
    whole = store.read(BTC)
    path = next(tmp_path.rglob("*.parquet"))
    path.unlink()
    store.write("bybit", "linear", "BTCUSDT", whole.rows(np.r_[0:100, 150:300]))
    done = asyncio.run(plays["repair"](read_request("repair", {"pair": "BTCUSDT"}), told))
    assert done == {"new": 50, "missing": 0, "faulty": []}
    np.testing.assert_array_equal(store.read(BTC).close, whole.close)
    with pytest.raises(Misconfigured, match="pair NONEUSDT has no candles"):
        asyncio.run(plays["repair"](read_request("repair", {"pair": "NONEUSDT"}), told))


def test_the_page_shows_what_the_store_has_and_the_api_the_same(dsn, name, tmp_path):
    stored(tmp_path, left_out=[(1500, 1600)])

    async def main():
        async with console(dsn, tmp_path, name, search=True) as house:
            token = await house.token("control")
            _, page, _ = await house.ask("GET", "/data?days=30", token)
            assert "BTCUSDT" in page.decode()
            assert 'class="day none"' in page.decode()
            assert "data-repair" in page.decode()
            _, found, _ = await house.ask("GET", "/api/v1/market-data/coverage?days=5", token)
            assert found["items"][0]["missing"] == 100
            status, said, _ = await house.ask("GET", "/api/v1/market-data/coverage?until=2024-02-31", token)
            assert (status, said["code"]) == (422, "invalid")
            body = {"kind": "repair", "request": {"pair": "BTCUSDT", "exchange": "bybit"}}
            _, job, _ = await house.ask("POST", "/api/v1/jobs", token, json=body)
            assert (job["kind"], job["pair"], job["status"]) == ("repair", "BTCUSDT", "queued")
            _, part, _ = await house.ask("GET", "/data", token, headers={"X-Part": "1"})
            assert f"job-{job['job']}" in part.decode()
            await house.ask("POST", f"/api/v1/jobs/{job['job']}/cancel", token)

    asyncio.run(main())


@pytest.mark.slow
@needs_chromium
def test_a_download_is_asked_for_on_the_page_and_its_fault_stands_beside_its_field(dsn, name, tmp_path):
    stored(tmp_path, days=40, left_out=[(1500, 1600), (20_000, 26_000)])
    save_instruments(tmp_path, "bybit", Market.LINEAR, [(parse_time("2024-01-01"), instrument())])

    async def main():
        async with console(dsn, tmp_path, name, search=True) as house, browser() as page:
            await page.size(1440, 900)
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await page.visit(f"{house.address}/data")
            await page.run("document.querySelector('#download [name=pair]').value = 'BTCUSDT'")
            await page.push("#download button")
            await page.until("document.querySelector('[data-key=from] .fault').textContent !== ''", 30)
            await page.push("[data-repair]")
            await page.until("document.querySelector('tr[id^=job-]') !== null", 30)
            async with worker(dsn, tmp_path):  # which has no exchange here: it says so, and the job has failed
                await page.until("document.querySelector('tr[id^=job-] .loss') !== null", 200)
            await pictured(page, house.address, "/data", "data")
            faults = [one for one in page.faults(house.address) if "422" not in one]
            assert not faults, faults

    asyncio.run(main())
