"""The matrix of strategies by timeframes: what sessions earned on days that have chosen nothing."""

from __future__ import annotations

import asyncio

import pytest

from services.app.session_scores import scores_of
from services.web.matrix import matrix_of
from tests.browser import browser, needs_chromium
from tests.services.console_house import console
from tests.services.research_house import row, write_search
from tests.services.test_research_pages import pictured


def kept(timeframe, *held_out, varied=False):
    """A sweep's result: rows by rank, of the timeframe or of one each."""
    rows = []
    for place, (value, trades) in enumerate(held_out, 1):
        one = row(place, 10.0 - place)
        one["held_out"] = {"information_ratio": value, "trades": trades}
        one["parameters"] = {"grid.timeframe": ("15m", "1h", "4h")[place - 1]} if varied else {}
        rows.append(one)
    return {"config": f"strategy: grid\ngrid:\n  timeframe: {timeframe}\n", "rows": rows, "verdict": ["x"]}


GRID = {"strategy": "grid", "pair": "BTCUSDT"}


def scored(session, *more):
    return [{"session": session, "created": 1, **one} for one in scores_of(*more)]


def test_a_cell_has_the_best_of_each_session_and_all_windows_of_a_walk_forward():
    windows = [
        {
            "from": "x",
            "information_ratio_out_of_sample": one,
            "trades_out_of_sample": 4.0,
            "information_ratio_in_sample": 9,
        }
        for one in (-1.0, 0.5)
    ]
    scores = [
        *scored("a", "sweep", GRID, kept("1h", (0.8, 10), (5.0, 3))),
        *scored("b", "walkforward", GRID, {"config": "grid: {timeframe: 1h}", "windows": windows}),
        *scored("c", "sweep", GRID, kept("1h", (None, 2), (-2.0, 5), (1.5, 7), varied=True)),
        *scored("d", "sweep", {"strategy": "grid", "pair": "ETHUSDT"}, kept("1h", (9.0, 1))),
    ]
    found = matrix_of(scores, "BTCUSDT", "information_ratio")
    assert found["timeframes"] == ["15m", "1h", "4h"]
    quarter, hour, four = found["rows"][0]["cells"]
    assert (quarter["mean"], quarter["colour"]) == (None, "none")
    assert (hour["least"], hour["most"], hour["sessions"]) == (-2.0, 0.8, ["a", "b", "c"])
    assert hour["mean"] == pytest.approx((0.8 - 1.0 + 0.5 - 2.0) / 4)
    assert hour["trades"] == 10 + 8 + 5
    assert (four["mean"], four["colour"], hour["colour"]) == (1.5, "good-3", "bad-1")
    deepest = matrix_of(scored("a", "sweep", GRID, kept("1h", (0.8, 10))), "BTCUSDT", "max_drawdown_pct")
    assert deepest["rows"][0]["cells"][0]["mean"] is None


def test_a_session_over_several_pairs_counts_for_each():
    asked, found = {"strategy": "grid", "pair": ["BTCUSDT", "ETHUSDT"]}, kept("1h", (0.8, 10), (5.0, 3), (0.1, 2))
    for one, pair in zip(found["rows"], ("ETHUSDT", "BTCUSDT", "BTCUSDT"), strict=True):
        one["parameters"] = {"pair": pair}
    found["windows"] = [{"pair": "BTCUSDT", "trades_out_of_sample": 7.0}]
    scores = {one["pair"]: one["values"] for one in scores_of("sweep", asked, found)}
    assert scores == {"BTCUSDT": [{"trades": 7.0}], "ETHUSDT": [{"information_ratio": 0.8, "trades": 10}]}
    assert [one["pair"] for one in scores_of("sweep", asked, {**found, "windows": []})] == ["ETHUSDT", "BTCUSDT"]


async def sessions(house, name):
    """Three sessions of a pair of this test alone; their names."""
    pool, pair = house.built.sources.research.pool, f"{name.upper()}USDT"
    numbers = [f"{name.encode().hex()}{place}".rjust(16, "0")[-16:] for place in range(3)]
    for number, (timeframe, value) in zip(numbers, (("1h", 1.2), ("4h", -0.4), ("1h", 0.6)), strict=True):
        await write_search(pool, number, result=kept(timeframe, (value, 20)))
        changed = "jsonb_set(document::jsonb, '{pair}', to_jsonb($2::text))::json"
        await pool.fetch(f"UPDATE sessions SET document = {changed} WHERE session = $1", number, pair)
    return pair, numbers


def test_the_page_and_the_api_have_the_matrix_and_the_sessions_of_a_cell(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            pair, numbers = await sessions(house, name)
            token = await house.token("read")
            _, found, _ = await house.ask("GET", f"/api/v1/backtests/matrix?pair={pair}", token)
            hour, four = found["rows"][0]["cells"]
            assert (hour["least"], hour["mean"], hour["most"]) == (0.6, pytest.approx(0.9), 1.2)
            assert four["sessions"] == [numbers[1]]
            status, said, _ = await house.ask("GET", "/api/v1/backtests/matrix?pair=NONE", token)
            assert (status, said["field"]) == (404, "pair")
            path = f"/matrix?pair={pair}&strategy=grid&timeframe=1h"
            _, page, _ = await house.ask("GET", path, token)
            assert [f"/sessions/{one}" in page.decode() for one in numbers] == [True, False, True]

    asyncio.run(main())


@pytest.mark.slow
@needs_chromium
def test_a_cell_tells_more_when_it_has_the_focus_and_leads_to_its_sessions(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house, browser() as page:
            pair, _ = await sessions(house, name)
            await page.size(1440, 900)
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await page.ask("Emulation.setFocusEmulationEnabled", enabled=True)
            await page.visit(f"{house.address}/matrix?pair={pair}")
            await page.until("document.body.classList.contains('alive')")
            height = "document.querySelector('a.score .tip').getBoundingClientRect().height"
            assert await page.run(height) == 0
            await page.run("document.querySelector('a.score').focus()")
            assert await page.run(height) > 0
            await page.push("a.score")
            await page.until("document.querySelector('#sessions a[href^=\"/sessions/\"]') !== null", 10)
            await pictured(page, house.address, f"/matrix?pair={pair}&strategy=grid&timeframe=1h", "matrix")
            assert not page.faults(house.address)

    asyncio.run(main())
