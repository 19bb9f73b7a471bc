"""The console in a real Chromium: a page is shown and commanded; a demo's bot is watched, halted and decided on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest

from bot.events import Filled
from bot.sources import ROOT
from services.messaging.bus import RedisBus
from services.messaging.embedded import EmbeddedRedis
from services.storage.embedded import EmbeddedPostgres
from tests.browser import browser, needs_chromium
from tests.conftest import unreachable_bot
from tests.services.console_house import NOW, PAIR, console, write_history


@needs_chromium
def test_a_page_shows_its_bot_commands_it_and_says_when_it_grows_old(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name) as house, browser() as page:
            await page.size(1280, 900)
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            assert "43,000.5" in await page.run("document.body.innerText")
            await page.push("[data-command=halt]")
            await page.until("document.getElementById('ask').open")
            await page.push("#ask [value=yes]")
            await page.until("document.body.innerText.includes('A decision is due')", 5)
            await page.visit(f"{house.address}/bots/{name}/halt")
            await page.push("[data-command=hold]")
            await page.push("#ask [value=yes]")
            await page.until("document.querySelector('.choice.marked') !== null", 5)
            assert [one.kind for one in house.bots[name].told] == ["halt", "hold"]
            await page.visit(f"{house.address}/bots/{name}/pairs/{PAIR}")
            await page.until("document.documentElement.dataset.ready === '1'")
            assert await page.run("document.getElementById('chart').chart.pair.fills.rows") == 3
            await page.run(
                "(({chart}) => chart.show(chart.first, chart.first + 3600))(document.getElementById('chart'))"
            )
            await page.until("document.getElementById('chart').chart.pair.read.t.length > 5000")  # older ones came
            house.built.sources.candles.days_stored = 400
            await page.visit(f"{house.address}/bots/{name}/pairs/{PAIR}")
            await a_year_is_seen_and_zoomed(page)
            assert not page.faults(house.address)
            await house.bots[name].server.stop()
            await page.until("document.body.innerText.includes('no bot runs here')", 8)
            await page.until("document.body.classList.contains('stale')", 10)
            assert "old" in await page.run("document.getElementById('stale').textContent")
            await house.bots[name].server.start()
            await page.until("document.body.classList.contains('alive')", 8)

    asyncio.run(main())


async def a_year_is_seen_and_zoomed(page):
    """Hours of what is stored, drawn as days; then the minutes of a day long past."""
    chart = "document.getElementById('chart').chart"
    await page.until(f"document.documentElement.dataset.ready === '1' && {chart}.end - {chart}.first > 399 * 86400")
    await page.run(f"{chart}.showSpan(0)")
    assert await page.run(f"{chart}.length") >= 43_200
    assert await page.run(f"{chart}.times.length * {chart}.length") > 390 * 86_400
    await page.run(f"window.from = {chart}.end - 300 * 86400, {chart}.show(window.from, window.from + 7200)")
    await page.until(f"{chart}.bars.t.filter((t) => t >= window.from && t < window.from + 7200).length === 120")
    assert await page.run(f"{chart}.bars.t.every((t, k, all) => !k || t > all[k - 1])")


def filled(number):
    return Filled(PAIR, NOW, f"e{number}", "", "buy", "1", "2", 0.0, maker=True, cause="order")


def test_the_stream_tells_what_happens_and_resumes_after_the_last_that_was_heard(dsn, name, tmp_path):
    async def main():
        redis = EmbeddedRedis(tmp_path / "redis")
        url = await redis.start()
        bus = RedisBus(url, name)
        bus.start()
        try:
            async with console(dsn, tmp_path, name, redis=url) as house:
                headers = {"Authorization": f"Bearer {await house.token('read')}"}
                path = f"{house.address}/api/v1/stream"
                while name not in house.built.watcher.places:  # noqa: ASYNC110, a reader sets no event
                    await asyncio.sleep(0.01)
                async with house.session.ws_connect(path, headers=headers) as socket:
                    bus.publish(filled(1))
                    first = await heard(socket, 1)
                for number in (2, 3):
                    bus.publish(filled(number))
                while house.built.watcher.events < 3:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                async with house.session.ws_connect(f"{path}?after={first[0]['id']}", headers=headers) as socket:
                    bus.publish(filled(4))
                    rest = await heard(socket, 3)
                assert [one["data"]["execution"] for one in first + rest] == ["e1", "e2", "e3", "e4"]
                assert {one["event"] for one in rest} == {"filled"}
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await house.session.ws_connect(path)
        finally:
            await bus.stop()
            await redis.stop()

    asyncio.run(main())


async def heard(socket, count):
    found = []
    while len(found) < count:
        found += [one for one in await asyncio.wait_for(socket.receive_json(), 5) if one["kind"] == "event"]
    return found


@pytest.mark.slow
def test_a_postgres_that_is_killed_is_a_sentence_until_it_is_back(name, tmp_path):
    async def main():
        postgres = EmbeddedPostgres(tmp_path / "postgres")
        dsn = await postgres.start()
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("read")
            path = f"/api/v1/bots/{name}/fills"
            assert (await house.ask("GET", path, token))[0] == 200
            file = tmp_path / "postgres" / "postgres" / "postmaster.pid"
            os.kill(int(file.read_text().splitlines()[0]), signal.SIGKILL)
            await answers(house, "/ready", token, 503)
            assert (await house.ask("GET", path, token))[1]["code"] == "away"
            assert "The database does not answer" in (await house.ask("GET", "/", token))[1].decode()
            await answers_again(postgres)
            await answers(house, "/ready", token, 200)
            assert (await house.ask("GET", path, token))[0] == 200
        await postgres.stop()

    asyncio.run(main())


async def answers(house, path, token, status):
    async with asyncio.timeout(20):
        while (await house.ask("GET", path, token))[0] != status:  # noqa: ASYNC110, a server sets no event
            await asyncio.sleep(0.05)


async def answers_again(postgres):
    """Start it again, once the children of the killed one have ended."""
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                await postgres.start()
                return
            await asyncio.sleep(0.1)


# A demo, as a person watches it.


@asynccontextmanager
async def demo(tmp_path):
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "demo", "--speed", "10"),
        cwd=ROOT,
        env={**os.environ, "TRADERAGENT_DATA_DIR": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    reading = None
    try:
        link = ""
        async with asyncio.timeout(120):
            while not link:
                line = (await process.stdout.readline()).decode()
                assert line, "the demo has ended"
                link = line.strip().removeprefix("console at ") if line.startswith("console at ") else ""
        reading = asyncio.create_task(process.stdout.read())
        yield link
    finally:
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.wait(), 60)
        if reading is not None:
            await reading


@pytest.mark.slow
@needs_chromium
def test_a_demo_is_watched_halted_and_decided_on_in_a_browser(tmp_path):
    pictures = os.environ.get("TRADERAGENT_PICTURES")

    async def main():
        async with demo(tmp_path) as link, browser() as page:
            address = link.partition("/sign-in")[0]
            await page.size(1440, 900)
            await page.visit(link)
            await page.until("document.body.classList.contains('alive')", 30)
            await page.visit(f"{address}/history/fills")
            await fills_appear(page)
            paths = (
                "/",
                "/bots/demo/pairs/ETHUSDT",
                "/portfolio",
                "/history/trades",
                "/decisions",
                "/settings",
                "/config",
            )
            for path in paths:
                for width, dark in ((1440, False), (390, True)):
                    await page.size(width, 900, dark=dark)
                    await page.visit(address + path)
                    await page.until("document.body.classList.contains('alive')")
                    if "pairs" in path:
                        await page.until("document.documentElement.dataset.ready === '1'")
                    assert not await page.run("document.documentElement.scrollWidth > innerWidth"), (path, width)
                    if pictures:
                        await page.picture(tmp_path.parent / f"{path.strip('/').replace('/', '-') or 'o'}-{width}.png")
            await page.visit(address)
            await page.push("[data-command=halt]")
            await page.push("#ask [value=yes]")
            await page.until("document.querySelector('.alarm') !== null", 10)
            await page.visit(f"{address}/bots/demo/halt")
            await page.push("[data-command=reduce-50]")
            await page.push("#ask [value=yes]")
            await page.until("document.querySelector('.choice.marked') !== null", 10)
            await page.visit(f"{address}/audit")
            await page.until("document.body.innerText.includes('answer reduce-50')")
            assert not page.faults(address)

    asyncio.run(main())


async def fills_appear(page):
    """Within two seconds of its event, a fill stands on the page."""
    await page.run("""(async () => { window.late = []; window.waiting = new Map();
        const socket = new WebSocket(location.origin.replace('http', 'ws') + '/api/v1/stream');
        socket.onmessage = ({data}) => JSON.parse(data).forEach((one) => one.event === 'filled'
            && one.data.cause !== 'funding' && window.waiting.set(one.data.execution, performance.now()));
        setInterval(() => window.waiting.forEach((since, id) => { if (document.getElementById('fill-' + id)) {
            window.late.push(performance.now() - since); window.waiting.delete(id); } }), 20);
        await new Promise((done) => (socket.onopen = done)); })()""")
    await page.until("window.late.length >= 5", 60)
    assert max(await page.run("window.late")) < 2000, await page.run("window.late")


@pytest.mark.slow
def test_a_console_that_is_killed_leaves_the_bot_as_it_was(tmp_path):
    async def main():
        import psutil

        from services.control.client import ask, control_file

        async with demo(tmp_path):
            file = control_file(tmp_path, "demo")
            process = psutil.Process(await asyncio.to_thread(lambda: ask_process(file)))
            webs = [one for one in process.children() if "web" in one.cmdline()]
            assert len(webs) == 1
            webs[0].kill()
            before = await asyncio.to_thread(ask, file, "/status")
            deadline = time.monotonic() + 20
            while (after := await asyncio.to_thread(ask, file, "/status"))["at"] == before["at"]:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            assert after["at"] > before["at"]
            assert all(after["streams"].values())

    asyncio.run(main())


@pytest.mark.slow
def test_a_demo_that_is_killed_takes_its_console_along(tmp_path):
    async def main():
        import psutil

        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "demo"),
            cwd=ROOT,
            env=os.environ | {"TRADERAGENT_DATA_DIR": str(tmp_path), "TMPDIR": str(tmp_path)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        async with asyncio.timeout(120):
            while not (line := await process.stdout.readline()).startswith(b"console at "):
                assert line, "the demo has ended"
        (web,) = [one for one in psutil.Process(process.pid).children() if "web" in one.cmdline()]
        process.kill()
        await process.communicate()
        gone, _ = await asyncio.to_thread(psutil.wait_procs, [web], 20)
        for one in psutil.process_iter(["cwd"]):  # its database and bus, which the next demo would have joined
            if str(tmp_path) in (one.info["cwd"] or ""):
                one.kill()
        assert gone

    asyncio.run(main())


def ask_process(file):
    import json

    return json.loads(file.read_text(encoding="utf-8"))["process"]


def test_a_redis_that_goes_is_a_sentence_and_what_is_told_after_its_return_is_heard(dsn, name, tmp_path):
    async def main():
        redis = EmbeddedRedis(tmp_path / "redis")
        url = await redis.start()
        async with console(dsn, tmp_path, name, redis=url, look=False) as house:
            watcher, token = house.built.watcher, await house.token("read")
            assert await watcher.listen(0.01)
            await redis.stop()
            assert not await watcher.listen(0.01)
            _, page, _ = await house.ask("GET", "/", token)
            assert "Redis does not answer" in page.decode()
            assert (await house.ask("GET", "/ready"))[1]["trouble"]["bus"]
            await redis.start()
            assert await watcher.listen(0.01)
            assert watcher.trouble == {}
            bus = RedisBus(url, name)
            bus.start()
            async with watcher.subscribed() as subscriber:
                bus.publish(filled(7))
                assert await watcher.listen(5)
                assert '"e7"' in await subscriber.queue.get()
            await bus.stop()
        await redis.stop()

    asyncio.run(main())


@pytest.mark.slow
def test_a_bot_beside_the_console_that_ends_is_told_and_the_console_goes_on(tmp_path):
    async def main():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bot", "web", "--port", "0", "--with", str(unreachable_bot(tmp_path))),
            cwd=ROOT,
            env={
                **os.environ,
                "TRADERAGENT_DATA_DIR": str(tmp_path),
                "TRADERAGENT_KEY": "k",
                "TRADERAGENT_SECRET": "s",
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            record = tmp_path / "fleet" / "house.json"
            line = (await process.stdout.readline()).decode()
            async with asyncio.timeout(90):
                while not record.exists() or json.loads(record.read_text())["state"] != "failed":  # noqa: ASYNC110, another process writes it
                    await asyncio.sleep(0.1)
            assert "did not answer" in json.loads(record.read_text())["reason"]
            address = line.split()[-1].partition("/sign-in")[0]
            async with aiohttp.ClientSession() as session, session.get(f"{address}/health") as answer:
                assert answer.status == 200
        finally:
            process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), 60)

    asyncio.run(main())
