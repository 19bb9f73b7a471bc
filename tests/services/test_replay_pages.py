"""The manual backtester and the journal in a browser: a session is begun, played by keys and clicks, and read again."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from bot.candles import iso
from bot.times import DAY
from services.market_data.store import CandleStore
from tests.browser import KEYS, browser, needs_chromium
from tests.conftest import START, walk
from tests.services.console_house import console
from tests.services.test_research_pages import pictured

KEYS |= {" ": 32, "ArrowLeft": 37, "s": 83, "5": 53, "p": 80, "b": 66, "v": 86}
KEYS |= {"u": 85, "d": 68, "t": 84, "c": 67, "m": 77, "x": 88, "o": 79, "Delete": 46}
STATE = "document.getElementById('clock').textContent"


async def began(page, address):
    """Begin a session with hidden dates by the form, and correct what it refuses."""
    await page.visit(f"{address}/replays")
    await page.until("document.documentElement.dataset.ready === '1'", 60)
    assert await page.run("document.querySelector('[name=start]').value") != ""
    await page.run("document.querySelector('[name=blind]').click()")
    await page.run("document.querySelector('[name=days]').value = '300'")
    await page.push("#begin-replay button")
    await page.until("document.querySelector('[data-key=days] .fault').textContent.startsWith('days is 300')", 60)
    page.troubles.clear()  # the browser logs what was refused
    await page.run("document.querySelector('[name=days]').value = '2'")
    await page.push("#begin-replay button")
    await page.until("location.pathname !== '/replays' && document.documentElement.dataset.ready === '1'", 120)


async def stands(page, change):
    """Wait until the clock of the session shows something else after a change."""
    before = await page.run(STATE)
    await change
    await page.until(f"{STATE} !== {before!r}", 60)
    return await page.run(STATE)


async def chart_click(page, price):
    """Click on the chart where it has a price."""
    await page.run("document.getElementById('chart').scrollIntoView({block: 'center'})")
    x, y = await page.run(
        f"""(({{candles, box}}) => [box.getBoundingClientRect().x + 200,
        box.getBoundingClientRect().y + candles.priceToCoordinate({price})])(document.getElementById('chart').chart)"""
    )
    await page.click(x, y)


async def traded(page):
    """Buy by clicks on the chart and a button, see what a bot would have done, and leave by hand."""
    price = await page.run(
        "(({pair}) => pair.read.close[pair.read.close.length - 1])(document.getElementById('chart').chart)"
    )
    for name, at in (("stop", price * 0.999), ("target", price * 1.001)):
        await page.run(f"document.querySelector('[name=sets][value={name}]').checked = true")
        await chart_click(page, at)
        await page.until(f"document.querySelector('#ticket [name={name}]').value !== ''")
        assert abs(float(await page.run(f"document.querySelector('#ticket [name={name}]').value")) / at - 1) < 0.0005
    await page.push("[data-order=buy]")
    await page.until("document.querySelector('[data-key=quantity] .fault').textContent.includes('carries')", 60)
    await page.run("document.querySelector('#ticket [name=risk]').value = '0.05'")
    await page.push("[data-order=sell]")
    await page.until("document.querySelector('[data-key=stop] .fault').textContent.startsWith('stop is')", 60)
    page.troubles.clear()
    await page.push("[data-order=buy]")
    await page.until("document.getElementById('resting').textContent.includes('at the market')", 60)
    await page.press(" ")
    await page.until("document.querySelector('#trades .gain, #trades .loss') !== null", 60)
    await page.press("s")
    await page.until("document.querySelector('#notes a') !== null", 60)
    assert "20010" in await page.run("document.querySelector('#notes a').textContent")
    await page.run("document.getElementById('bot').value = 'quick'")
    await page.press("b")
    await page.until("document.getElementById('bot-seen').textContent.includes('quick: ')", 240)
    await page.until("document.getElementById('chart').chart.pair.compared !== null", 60)
    drawn = "(({fills, orders}) => [fills.rows, orders.rows])(document.getElementById('chart').chart.pair.compared)"
    assert min(await page.run(drawn)) > 3
    if "TRADERAGENT_PICTURES" in os.environ:
        await page.picture(Path(os.environ["TRADERAGENT_PICTURES"]) / "replay-compared.png")
    shown = "document.querySelector('[data-layer=compared]').getAttribute('aria-pressed')"
    for pressed in ("false", "true"):
        await page.press("v")
        assert await page.run(shown) == pressed
    if await page.run("document.getElementById('position').textContent !== '—'"):
        await page.push("[data-act=close]")
        await page.until("document.getElementById('resting').textContent.includes('next opening')", 60)
        await page.press("ArrowRight")
    await page.until("document.getElementById('position').textContent === '—'", 60)


async def ticket(page, **given):
    """Write into the ticket; what is not named is empty."""
    for name, value in ({"price": "", "stop": "", "target": "", "quantity": ""} | given).items():
        await page.run(f"document.querySelector('#ticket [name={name}]').value = {value!r}")
    await page.run("document.activeElement.blur()")


async def rests(page, words):
    """Wait until the lines of what rests are as many as these, each with its words."""
    lines = "[...document.querySelectorAll('#resting .rest')].map((one) => one.textContent)"
    each = " && ".join(f"told[{k}].includes({one!r})" for k, one in enumerate(words)) or "true"
    await page.until(f"((told) => told.length === {len(words)} && {each})({lines})", 60)


async def several(page):
    """Rest several orders by keys, change and take back one, add, leave in parts, move the stop and take it back."""
    price = await page.run(
        "(({pair}) => pair.read.close[pair.read.close.length - 1])(document.getElementById('chart').chart)"
    )
    below, above, far = (f"{price * by:.0f}" for by in (0.9, 1.1, 0.8))
    await ticket(page, price=below, stop=far, quantity="0.02")
    await page.press("u")
    await rests(page, [f"1. ▲ buy 0.02 limit {below}, stop {far}"])
    await ticket(page, price=above, quantity="0.01")
    await page.press("t")
    await page.press("u")
    await rests(page, ["1. ▲", f"2. ▲ buy 0.01 stop entry {above}"])
    await page.press("t")
    await page.press("o")
    await page.until(f"document.querySelector('#ticket [name=price]').value.startsWith('{below}')", 60)
    await page.run(f"document.querySelector('#ticket [name=price]').value = '{far}'")
    await page.run("document.querySelector('#ticket [name=stop]').value = ''")
    await page.press("u")
    await rests(page, [f"1. ▲ buy 0.02 limit {far}, stop —", "2. ▲"])
    await page.until("document.getElementById('changing').hidden", 60)
    await page.press("ArrowLeft")
    await rests(page, [f"1. ▲ buy 0.02 limit {below}", "2. ▲"])
    await page.press("o")
    await page.until("!document.getElementById('changing').hidden", 60)
    await page.press("Delete")
    await rests(page, ["2. ▲"])
    await ticket(page, quantity="0.02", stop=far)
    await page.press("u")
    await page.press(" ")
    await page.until("document.getElementById('position').textContent.startsWith('0.02')", 60)
    await ticket(page, quantity="0.02")
    await page.press("u")
    await page.press(" ")
    await page.until("document.getElementById('position').textContent.startsWith('0.04')", 60)
    await ticket(page, target=above)
    await page.press("m")
    await rests(page, ["2. ▲", f"stop {far}", f"target {above}"])
    if "TRADERAGENT_PICTURES" in os.environ:
        await pictured_orders(page)
    await page.push("[data-free=target]")
    await rests(page, ["2. ▲", f"stop {far}"])
    await page.run("document.getElementById('part').value = '25'")
    await page.press("c")
    await page.until("document.getElementById('resting').textContent.includes('opening: 0.01')", 60)
    await page.press(" ")
    await page.until("document.getElementById('position').textContent.startsWith('0.03')", 60)
    await page.push("[data-withdraw]")
    await rests(page, [f"stop {far}"])
    await page.run("document.getElementById('part').value = '100'")
    await page.press("c")
    await page.press(" ")
    await page.until("document.getElementById('position').textContent === '—'", 60)


async def pictured_orders(page):
    """Take a picture of the ticket with its orders, as wide as it is and on a telephone."""
    folder = Path(os.environ["TRADERAGENT_PICTURES"])
    for width, name in ((1440, "wide"), (390, "phone")):
        await page.size(width, 1000)
        await page.run("document.getElementById('ticket').scrollIntoView()")
        await page.picture(folder / f"replay-orders-{name}.png")
    await page.size(1440, 1000)


@needs_chromium
@pytest.mark.slow
def test_a_session_is_begun_played_traded_undone_ended_and_in_the_journal(dsn, tmp_path):
    CandleStore(tmp_path).write("bybit", "linear", "BTCUSDT", walk(6 * 1440, 8))
    (tmp_path / "presets").mkdir()
    quick = "strategy: grid\ngrid: {timeframe: 5m, warmup_bars: 20, profit_per_grid: 0.003}\n"
    (tmp_path / "presets" / "quick.yaml").write_text(quick)

    async def main():
        async with console(dsn, tmp_path, search=True) as house, browser() as page:
            await page.size(1440, 1000)
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/'")
            await began(page, house.address)
            path = await page.run("location.pathname")
            assert (await page.run(STATE)).startswith("2001-01-0")
            first = await page.run(STATE)
            second = await stands(page, page.press(" "))
            assert second > first
            assert await stands(page, page.press("ArrowLeft")) == first
            await page.press("5")
            assert await page.run("document.getElementById('speed').value") == "5"
            await page.press("p")
            await page.until(f"{STATE} > {second!r}", 60)
            await page.press("p")
            await stands(page, page.push("[data-jump=day]"))
            await stands(page, page.push("[data-jump=london]"))
            assert " 08:00" in await page.run(STATE)
            await traded(page)
            await several(page)
            bars = await page.run("document.getElementById('chart').chart.pair.read.t.length")
            await page.visit(house.address + path)
            await page.until("document.documentElement.dataset.ready === '1'", 60)
            assert await page.run("document.getElementById('chart').chart.pair.read.t.length") == bars
            await page.until("document.getElementById('bot-seen').textContent.includes('quick: ')", 240)
            await page.until("document.getElementById('chart').chart.pair.compared !== null", 60)
            await pictured(page, house.address, path, "replay")
            await page.push("#end")
            await page.until("document.getElementById('ask').open")
            await page.push("#ask [value=yes]")
            await page.until("!document.getElementById('figures').hidden", 240)
            assert str(START)[:1] == "1"
            assert "2024-01-0" in await page.run("document.getElementById('revealed').textContent")
            assert not page.faults(house.address)
            await read_again(page, house.address, path)

    asyncio.run(main())


async def read_again(page, address, path):
    """Find the trade in the journal, and tag it."""
    name = path.rpartition("/")[2]
    await page.visit(f"{address}/journal?source=replay&search={name}")
    await page.until("document.querySelector('.record img') !== null")
    await page.until("document.querySelector('.record img').naturalWidth > 100")
    await page.push("[data-edit]")
    await page.run("document.querySelector('#edit [name=notes]').value = 'Too early.'")
    await page.run("document.querySelector('#edit [name=tags]').value = 'range, asia'")
    await page.push("#edit .strong")
    await page.until("document.querySelector('.record .label-of') !== null && !document.getElementById('edit').open")
    assert "Too early." in await page.run("document.body.innerText")
    await pictured(page, address, f"/journal?source=replay&search={name}", "journal")
    await pictured(page, address, "/replays", "replays")
    assert not page.faults(address)


async def weight(page):
    """What the page holds once its garbage is gone: bytes of its scripts, nodes, listeners."""
    await page.ask("HeapProfiler.collectGarbage")
    counted = await page.ask("Memory.getDOMCounters")
    held = await page.ask("Runtime.getHeapUsage")
    return held["usedSize"], counted["nodes"], counted["jsEventListeners"]


async def bars_shown(page):
    return await page.run("document.getElementById('chart').chart.pair.read.t.length")


async def played_until(page, bars):
    """Wait until so many bars stand in the chart, and go on playing where a fill has paused it."""
    while (there := await bars_shown(page)) < bars:
        if await page.run("document.getElementById('play').textContent") == "Play":
            await page.press("p")
        await asyncio.sleep(0.1)
    return there


@needs_chromium
@pytest.mark.slow
def test_played_ten_times_as_fast_the_page_keeps_up_and_does_not_grow(dsn, tmp_path):
    """With a position and orders that rest; `-s` says how many bars a second."""
    CandleStore(tmp_path).write("bybit", "linear", "BTCUSDT", walk(6 * 1440, 8))
    asked = {"pair": "BTCUSDT", "timeframe": "5m", "start": iso(START + DAY), "end": iso(START + 6 * DAY)}

    async def main():
        async with console(dsn, tmp_path, search=True) as house, browser() as page:
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/'")
            status, told, _ = await house.ask("POST", "/api/v1/replays", await house.token("control"), json=asked)
            assert status == 200, told
            await page.visit(f"{house.address}/replays/{told['replay']}")
            await page.until("document.documentElement.dataset.ready === '1'", 60)
            await ticket(page, quantity="0.01")
            await page.press("u")
            await rests(page, ["1. ▲"])
            await ticket(page, price="20000", quantity="0.01")
            await page.press("u")
            await rests(page, ["1. ▲", "2. ▲"])
            await page.run("document.getElementById('speed').value = '10'")
            first = await played_until(page, await bars_shown(page) + 100)
            light, clock = await weight(page), asyncio.get_running_loop().time()
            last = await played_until(page, first + 400)
            rate = (last - first) / (asyncio.get_running_loop().time() - clock)
            await page.press("p")
            heavy = await weight(page)
            told = f"{rate:.1f} bars a second; bytes, nodes, listeners: {light} at bar {first}, {heavy} at {last}"
            print(told)  # noqa: T201, the figure is the point
            assert heavy[0] < light[0] + 2_000_000
            assert heavy[1] < light[1] + 100
            assert heavy[2] <= light[2] + 10
            assert rate > 2
            assert not page.faults(house.address)

    asyncio.run(main())
