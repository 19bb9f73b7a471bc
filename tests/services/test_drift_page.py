"""Drift and what-if on the console: kept days by the API, on the page and as CSV; a day compared anew; the slider."""

from __future__ import annotations

import asyncio
import csv
import io
import os

import pytest

from services.drift_days import days, keep_day
from tests.browser import browser, needs_chromium
from tests.runtime.test_drift import SYMBOL, played
from tests.services.console_house import PAIR, console, drift_day, write_history

DAY = "2024-01-01"


def run(work):
    return asyncio.run(work)


def test_days_are_listed_shown_and_exported(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("control")
            path = f"/api/v1/bots/{name}/drift"
            assert (await house.ask("GET", path, token))[1] == {"items": []}
            assert (await house.ask("GET", f"{path}/{DAY}", token))[0] == 404
            assert (await house.ask("GET", f"{path}/2024-13-01", token))[:2][0] == 422
            assert b"has been compared yet" in (await house.ask("GET", f"/drift?bot={name}", token))[1]
            status, said, _ = await house.ask("POST", f"{path}/{DAY}", token)
            assert status == 200 and said["bps"] == 3.49 and days(tmp_path, name) == [DAY]
            keep_day(tmp_path, name, "2024-01-02", drift_day(name, "2024-01-02", bps=None, volume=0.0, rows=[]))
            (tmp_path / "bots" / name / "drift" / "2024-01-03.json").write_text('{"version": 1, "bot"')
            listed = (await house.ask("GET", path, token))[1]["items"]
            assert [(one["day"], one["bps"], one["alone"]) for one in listed] == [
                ("2024-01-02", None, 0), (DAY, 3.49, 1),
            ]  # fmt: skip
            assert (await house.ask("GET", f"{path}/{DAY}", token))[1]["rows"][2]["kind"] == "missed"
            text = (await house.ask("GET", f"/drift?bot={name}&day={DAY}", token))[1].decode()
            assert "it stood in a queue" in text and "+3.49\N{NO-BREAK SPACE}bps" in text and "the session ends" in text
            status, body, _ = await house.ask("GET", f"/drift.csv?bot={name}&day={DAY}", token)
            rows = list(csv.DictReader(io.StringIO(body.decode())))
            assert status == 200 and [one["kind"] for one in rows] == ["paired", "paired", "missed"]
            assert (rows[1]["live_price"], rows[1]["cost_slippage"], rows[2]["live_at"]) == ("43010.0", "0.1", "")

    run(main())


def test_what_if_answers_by_the_api_and_as_part_of_the_page(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            place = f"bots/{name}/pairs/{PAIR}/what-if"
            status, said, _ = await house.ask("GET", f"/api/v1/{place}?price=42000", token)
            assert status == 200 and said["price_now"] == 43_000.5 and said["loss_at_stop"] == 33.45
            for price in ("0", "nan", "inf", "-1", "x"):
                assert (await house.ask("GET", f"/api/v1/{place}?price={price}", token))[0] == 422
            other = f"/api/v1/bots/{name}/pairs/ETHUSDT/what-if?price=1"
            assert "never traded" in (await house.ask("GET", other, token))[1]["message"]
            part = (await house.ask("GET", f"/{place}?price=42000", token))[1].decode()
            assert "33.45" in part and "42,500" in part and "<html" not in part
            assert (
                "never traded"
                in (await house.ask("GET", f"/{place.replace(PAIR, 'ETHUSDT')}?price=1", token))[1].decode()
            )
            assert (await house.ask("GET", f"/{place}?price=42000"))[0] == 303

    run(main())


@pytest.mark.slow
@needs_chromium
def test_drift_and_slider_in_a_browser_by_the_process_that_simulates(dsn, name, tmp_path):
    """A bot's own rows and sessions: the day is compared by a push, and the price is moved by the slider."""
    played(dsn, name, tmp_path, 300)
    pictures = os.environ.get("TRADERAGENT_PICTURES")

    async def main():
        async with console(dsn, tmp_path, name, search=True) as house, browser() as page:
            house.bots[name].now["pairs"] = [house.bots[name].now["pairs"][0] | {"pair": SYMBOL, "price": 110.0}]
            await page.size(1440, 900)
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("document.body.classList.contains('alive')")
            await page.visit(f"{house.address}/drift?bot={name}")
            await page.push("#compare button")
            await page.until("document.querySelectorAll('#twins tbody tr').length >= 2", 90)
            assert await page.run("document.querySelectorAll('#twins .of-paired').length") >= 2
            assert await page.run("document.querySelectorAll('#twins .of-missed, #twins .of-unexpected').length") == 0
            await page.visit(f"{house.address}/bots/{name}/pairs/{SYMBOL}")
            await page.until("+document.getElementById('now').dataset.price === 110")
            move = """(() => { const slider = document.querySelector('#what-if input[type=range]');
                slider.value = -2; slider.dispatchEvent(new Event('input', {bubbles: true})); })()"""
            await page.run(move)
            await page.until("document.getElementById('what-if-answer').innerText.includes('107.8')", 60)
            assert (
                await page.run("document.querySelector('#what-if-share').textContent")
                == "\N{MINUS SIGN}2.0\N{NO-BREAK SPACE}%"
            )
            assert await page.run("document.querySelectorAll('#what-if-answer tbody tr').length") > 3
            for path in (f"/drift?bot={name}", f"/bots/{name}/pairs/{SYMBOL}"):
                for width, dark in ((1440, False), (390, True)):
                    await page.size(width, 900, dark=dark)
                    await page.visit(house.address + path)
                    await page.until("document.body.classList.contains('alive')")
                    if "pairs" in path:
                        await page.run(move)
                        await page.until("document.getElementById('what-if-answer').innerText.includes('107.8')", 60)
                        await page.run("document.getElementById('what-if').scrollIntoView()")
                    assert not await page.run("document.documentElement.scrollWidth > innerWidth"), (path, width)
                    if pictures:
                        await page.picture(
                            tmp_path.parent / f"{path.split('?')[0].strip('/').split('/')[0]}-{width}.png"
                        )
            assert not page.faults(house.address)

    run(main())
