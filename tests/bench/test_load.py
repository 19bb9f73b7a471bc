"""What the console bears: ten bots of twenty pairs, twenty readers; database and bus beside their plain forms.

uv run pytest tests/bench/test_load.py -n 0 --benchmark-only -s

docs/load.md has its figures. Each stands beside the same work without the program, measured in the same run.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import asyncpg
import numpy as np
import psutil
import redis.asyncio

from bot.candles import Candles, iso
from bot.events import Decision, Filled
from bot.times import HOUR, MINUTE
from coordinator.machine import PairMachine
from services.market_data.store import CandleStore
from services.market_data.synth import generate
from services.messaging.bus import RedisBus, stream_of
from services.messaging.embedded import EmbeddedRedis
from services.messaging.event_reader import EventReader
from services.storage.store import PostgresStore, moment
from tests.browser import browser, needs_chromium
from tests.conftest import ROOT, classic, instrument
from tests.runtime import house
from tests.runtime.processes import Processes, heard
from tests.services.console_house import NOW, SpokenBot, bot_status, fill, pair_status, write_history

BOTS = [f"load{number}" for number in range(10)]
TRADED = [f"L{number:02d}USDT" for number in range(20)]
READERS = 20
SECONDS = 15  # that overviews are read
EVENTS = 20_000
MIXED = (
    *(
        "/",
        f"/bots/load0/pairs/{TRADED[0]}",
        "/portfolio?bot=load1",
        "/history/fills?bot=load2",
        "/decisions?bot=load3",
    ),
    *("/api/v1/dashboard", "/api/v1/bots", "/api/v1/bots/load4/fills", "/api/v1/bots/load5/decisions"),
    *("/api/v1/portfolio/load6", "/api/v1/market-data/markets", "/bots", "/settings"),
)


def tell(sentence):
    """Print a figure, with the load of the machine at the moment."""
    print(f"{sentence} (load {os.getloadavg()[0]:.1f})")  # noqa: T201


def spread(took):
    """Median, 95 of a hundred, 99 of a hundred, ms."""
    took = every(took) if isinstance(took, dict) else took
    p50, p95, p99 = np.percentile(took, (50, 95, 99)) * 1000
    return f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"


def every(took):
    return [one for of_url in took.values() for one in of_url]


def slowest(took, address):
    """The addresses that took longest, by their medians."""
    found = sorted(
        ((np.median(of_url) * 1000, url.removeprefix(address)) for url, of_url in took.items()), reverse=True
    )
    return ", ".join(f"{url} {ms:.0f} ms" for ms, url in found[:4])


class Served:
    """A console of its own process over generated bots, and a session that may look."""

    def __init__(self, process, link, bots, url):
        self.process, self.bots, self.redis = psutil.Process(process.pid), bots, url
        self.address, _, self.word = link.partition("/sign-in#link=")
        self.link = link

    @asynccontextmanager
    async def session(self):
        """A client that has signed in by the link, with as many connections as it likes."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), cookie_jar=aiohttp.CookieJar(unsafe=True)
        ) as session:
            async with session.post(f"{self.address}/api/v1/auth/link", json={"link": self.word}) as answer:
                assert answer.status == 200, await answer.text()
            async with asyncio.timeout(30):
                while (await self.dashboard(session))["trouble"] or len(self.seen) < len(self.bots):  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            yield session

    async def dashboard(self, session):
        async with session.get(f"{self.address}/api/v1/dashboard") as answer:
            told = await answer.json()
            self.seen = [one for one in told["items"] if one["status"]]
            return told

    def memory(self):
        """Resident memory of the console's process, MB."""
        return self.process.memory_info().rss / 1e6


@asynccontextmanager
async def served(dsn, folder, names=BOTS, pairs=TRADED, venue=None):
    """Serve a console of bots whose figures change every second."""
    bots, processes = [SpokenBot(folder, name, venue) for name in names], Processes(folder)
    async with AsyncExitStack() as stack:
        embedded = EmbeddedRedis(folder / "redis")
        url = await embedded.start()
        stack.push_async_callback(embedded.stop)
        for one in bots:
            await write_history(dsn, one.name, fills=100, decisions=100)
            one.now = bot_status(one.name, pairs)
            await one.server.start()
            stack.push_async_callback(one.server.stop)
        moving = asyncio.create_task(move(bots, pairs))
        stack.callback(moving.cancel)
        process = processes.start("web", "--port", "0", "--database", dsn, "--redis", url)
        stack.push_async_callback(asyncio.to_thread, processes.end)
        line = await asyncio.to_thread(heard, process, "console at")
        yield Served(process, line.split()[-1], bots, url)


async def move(bots, pairs):
    """Let every figure of every bot change, second by second."""
    for second in itertools.count():
        for number, one in enumerate(bots):
            rows = [
                pair_status(pair, price=43_000.5 + second + k, equity=12.5 + second) for k, pair in enumerate(pairs)
            ]
            one.now = bot_status(one.name, equity=10_012.5 + second + number, at=iso(NOW + second * 1000), pairs=()) | {
                "pairs": rows
            }
        await asyncio.sleep(1.0)


async def asked(session, urls, readers=1):
    """Ask for each of the addresses, so many at a time; seconds that each took, by address, and all together."""
    took, rest, began = defaultdict(list), iter(urls), time.perf_counter()

    async def reading():
        for url in rest:
            before = time.perf_counter()
            async with session.get(url) as answer:
                await answer.read()
                assert answer.status == 200, (url, answer.status, await answer.text())
            took[url].append(time.perf_counter() - before)

    await asyncio.gather(*(reading() for _ in range(readers)))
    return took, time.perf_counter() - began


@asynccontextmanager
async def plain():
    """The least that a server can be; yields its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.plain_server", cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        yield int(await process.stdout.readline())
    finally:
        process.kill()
        await process.wait()


def test_requests_of_twenty_readers(benchmark, dsn, tmp_path):
    async def main():
        async with served(dsn, tmp_path) as console, console.session() as session, plain() as port:
            await asked(session, [console.address + page for page in MIXED])  # once, what is made at the first
            for readers, count in ((1, 600), (READERS, 2000)):
                took, whole = await asked(session, [f"{console.address}/health"] * count, readers)
                bare, bare_whole = await asked(session, [f"http://127.0.0.1:{port}/"] * count, readers)
                tell(
                    f"health, {readers} at a time: {count / whole:.0f}/s, {spread(took)}; "
                    f"a bare answer {count / bare_whole:.0f}/s, "
                    f"{np.median(every(took)) / np.median(every(bare)):.1f} x its median time"
                )
            pages = [console.address + page for page in MIXED]
            took, whole = await asked(session, pages * 8)
            tell(f"pages and API one after the other: {len(every(took)) / whole:.0f}/s, {spread(took)}")
            print(f"the slowest: {slowest(took, console.address)}")  # noqa: T201
            took, whole = await asked(session, pages * 40, READERS)
            tell(f"pages and API, {READERS} at a time: {len(every(took)) / whole:.0f}/s, {spread(took)}")
            print(f"the slowest: {slowest(took, console.address)}")  # noqa: T201
            spent, began = sum(console.process.cpu_times()[:2]), time.perf_counter()
            took, bare = await asyncio.gather(
                watched(session, console.address), watched(session, f"http://127.0.0.1:{port}")
            )
            share = (sum(console.process.cpu_times()[:2]) - spent) / (time.perf_counter() - began)
            tell(f"overview, {READERS} browsers that ask each second: {len(took)} answers, {spread(took)}")
            tell(f"a bare answer asked at the same pace: {spread(bare)}")
            tell(f"console: {console.memory():.0f} MB, {share:.2f} of a core meanwhile")
            assert np.percentile(took, 95) < 0.3 + np.percentile(bare, 95)  # what a busy machine keeps all waiting
            assert console.memory() < 400

    benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)


async def watched(session, address):
    """Seconds that each answer took, of browsers that ask every second as the overview does."""
    took = []

    async def reading(number):
        tag = ""
        await asyncio.sleep(number / READERS)
        for _ in range(SECONDS):
            before = time.perf_counter()
            async with session.get(address, headers={"X-Part": "1", "If-None-Match": tag}) as answer:
                await answer.read()
                assert answer.status in (200, 304)
                tag = answer.headers.get("ETag", "")
            took.append(time.perf_counter() - before)
            await asyncio.sleep(max(1.0 - took[-1], 0.0))

    await asyncio.gather(*(reading(number) for number in range(READERS)))
    return took


def event(number):
    return Filled(TRADED[0], NOW, f"e{number}", "", "buy", "43000.5", "0.01", 0.01, maker=True, cause="order")


def test_events_to_twenty_readers(benchmark, dsn, tmp_path):
    """Through Redis, the console and a WebSocket each; beside as many bytes that a bare server writes to twenty."""
    rounds, of_each = 10, 200

    async def main():
        async with served(dsn, tmp_path) as console, console.session() as session, plain() as port:
            sockets = [await session.ws_connect(f"{console.address}/api/v1/stream") for _ in range(READERS)]
            counts, sizes = [0] * READERS, [0] * READERS

            async def hearing(number):
                async for frame in sockets[number]:
                    counts[number] += frame.data.count('"kind":"event"')
                    sizes[number] += len(frame.data)

            tasks = [asyncio.create_task(hearing(number)) for number in range(READERS)]
            await asyncio.sleep(2.0)  # the console has found where each bot's events begin
            async with redis.asyncio.from_url(console.redis) as client:
                began = time.perf_counter()
                for turn in range(1, rounds + 1):
                    await published(client, of_each)
                    async with asyncio.timeout(30):
                        while min(counts) < turn * of_each * len(BOTS):  # noqa: ASYNC110
                            await asyncio.sleep(0.005)
                whole = time.perf_counter() - began
            for task in tasks:
                task.cancel()
            for socket in sockets:
                await socket.close()
            sent, size = sum(counts), sum(sizes) // sum(counts)
            bare = await told_plainly(port, sent // READERS, size)
            tell(
                f"events to {READERS} readers: {sent} in {whole:.1f} s, {sent / whole:.0f} messages/s of {size} bytes; "
                f"a bare server {sent / bare:.0f}/s, {whole / bare:.1f} x its time; console {console.memory():.0f} MB"
            )
            assert sent == READERS * rounds * of_each * len(BOTS)
            assert sent / whole >= 20_000
            assert console.memory() < 400

    benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)


async def published(client, of_each):
    """Add so many events to the stream of each bot, as their buses write them, in one pipeline."""
    async with client.pipeline(transaction=False) as pipe:
        for name in BOTS:
            bus = RedisBus("redis://127.0.0.1:1", name)
            for number in range(of_each):
                bus.publish(event(number))
                pipe.xadd(*bus.waiting.get_nowait())
        await pipe.execute()


async def told_plainly(port, lines, size):
    """Seconds in which a bare server writes so many lines to each of the readers."""
    readers = [await asyncio.open_connection("127.0.0.1", port) for _ in range(READERS)]
    for reader, writer in readers:
        writer.write(b"HEAR\n")
        await reader.readline()
    _, teller = await asyncio.open_connection("127.0.0.1", port)
    line = b"TELL ".ljust(size - 1, b"x") + b"\n"

    async def hearing(reader):
        await reader.readexactly(lines * size)

    began = time.perf_counter()
    tasks = [asyncio.create_task(hearing(reader)) for reader, _ in readers]
    for _ in range(lines // 100):
        teller.write(line * 100)
        await teller.drain()
    await asyncio.gather(*tasks)
    whole = time.perf_counter() - began
    for _, writer in [*readers, (None, teller)]:
        writer.close()
    return whole


def test_rows_into_the_database(benchmark, dsn, name):
    """As a bot of twenty pairs saves: memory, an order, a fill and five decisions at a time; and snapshots."""
    saves = 50

    async def main():
        store = await PostgresStore.open(dsn, name)
        bare = await asyncpg.connect(dsn)
        saved = PairMachine(classic(), instrument(), 1.0, MINUTE).saved()
        fields = {"cap": "none", "strategy": "grid", "group": 0, "target": 900.0, "raw": 1.0, "equity": 10_000.0}

        async def pair(number):
            for turn in range(saves):
                said = [Decision(TRADED[number], NOW + turn, "allocation", fields)] * 5
                await store.save(TRADED[number], saved, NOW, [], [(fill(number * saves + turn), None)], said)

        began = time.perf_counter()
        await asyncio.gather(*(pair(number) for number in range(20)))
        whole, rows = time.perf_counter() - began, 20 * saves * 7
        row = (name, TRADED[0], "allocation", json.dumps(fields), moment(NOW))
        columns = ("bot", "pair", "kind", "fields", "at")
        began = time.perf_counter()
        await bare.copy_records_to_table("decisions", records=[row] * rows, columns=columns)
        copied = time.perf_counter() - began
        tell(
            f"saves of 20 pairs: {20 * saves / whole:.0f} transactions/s, {rows / whole:.0f} rows/s; "
            f"the same number of rows by one COPY {rows / copied:.0f}/s, {whole / copied:.0f} x its time"
        )
        state = json.dumps({"pairs": [pair_status(one) for one in TRADED]})
        began = time.perf_counter()
        for turn in range(200):
            await store.snapshot("portfolio", "bench", state, NOW + turn)
        tell(f"snapshots of {len(state)} bytes, one after the other: {200 / (time.perf_counter() - began):.0f}/s")
        await bare.close()
        await store.close()

    benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)


def test_events_into_redis_and_out_of_it(benchmark, tmp_path):
    """By the bus of ten bots and the console's reader; beside XADD in pipelines and XREAD of the same entries."""

    async def main():
        embedded = EmbeddedRedis(tmp_path / "redis")
        url = await embedded.start()
        buses, reader = [RedisBus(url, name) for name in BOTS], EventReader(url)
        try:
            for bus in buses:
                bus.start()
            began = time.perf_counter()
            reading = asyncio.create_task(read_all(reader, EVENTS))
            for number in range(EVENTS // len(BOTS)):
                for bus in buses:
                    bus.publish(event(number))
                while max(bus.waiting.qsize() for bus in buses) > 500:  # noqa: ASYNC110
                    await asyncio.sleep(0.001)
            while any(not bus.waiting.empty() for bus in buses):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            into = time.perf_counter() - began
            await reading
            out = time.perf_counter() - began
            assert sum(bus.dropped for bus in buses) == 0
            bare_in, bare_out = await asyncio.to_thread(asyncio.run, piped(url))
            tell(
                f"events by the bus: in {EVENTS / into:.0f}/s, read meanwhile by {EVENTS / out:.0f}/s; "
                f"pipelines of XADD {EVENTS / bare_in:.0f}/s and XREAD {EVENTS / bare_out:.0f}/s, "
                f"{out / (bare_in + bare_out):.1f} x their time"
            )
        finally:
            for bus in buses:
                await bus.stop()
            await reader.close()
            await embedded.stop()

    benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)


async def read_all(reader, count):
    places, read = dict.fromkeys(BOTS, "0-0"), 0
    while read < count:
        for bot, events in (await reader.wait(places, 1.0)).items():
            places[bot], read = events[-1]["id"], read + len(events)


async def piped(url):
    """Seconds of as many plain entries in, a thousand a time, and out again."""
    async with redis.asyncio.from_url(url) as client:
        entry = {
            "kind": "filled",
            "version": 1,
            "data": json.dumps({"execution": "e", "pair": TRADED[0]} | dict.fromkeys("abcdefgh", 1)),
        }
        began = time.perf_counter()
        for _ in range(EVENTS // 1000):
            async with client.pipeline(transaction=False) as pipe:
                for _ in range(1000):
                    pipe.xadd(stream_of("events", "bare"), entry)
                await pipe.execute()
        into, place, read = time.perf_counter() - began, "0-0", 0
        began = time.perf_counter()
        while read < EVENTS:
            ((_, entries),) = await client.xread({stream_of("events", "bare"): place}, count=1000)
            place, read = entries[-1][0], read + len(entries)
        return into, time.perf_counter() - began


# A year of minutes in a browser.

YEAR_IS_THERE = """setInterval(() => { const own = document.getElementById('chart')?.chart;
    if (own && document.documentElement.dataset.ready) window.readyAt ??= performance.now();
    if (own && own.end - own.first > 364 * 86400 && window.yearAt === undefined) { own.showSpan(0);
        requestAnimationFrame(() => (window.yearAt = performance.now())); } }, 5);"""
ZOOM = """(async () => { const own = document.getElementById('chart').chart, took = [];
    const step = async (from, to) => { const began = performance.now(); own.show(from, to);
        await new Promise(requestAnimationFrame); took.push(performance.now() - began); };
    for (let span = 364 * 86400; span > 3 * 3600; span *= 0.7) {
        await step(own.end - 200 * 86400 - span / 2, own.end - 200 * 86400 + span / 2);
        await new Promise((done) => setTimeout(done, 50)); }
    for (let span = 3 * 3600; span < 364 * 86400; span /= 0.7)
        await step(own.end - 200 * 86400 - span / 2, own.end - 200 * 86400 + span / 2);
    return took; })()"""
FINER = """(async () => { const own = document.getElementById('chart').chart, from = own.end - 200 * 86400;
    const began = performance.now(); own.show(from, from + 7200);
    while (own.bars.t.filter((t) => t >= from && t < from + 7200).length < 120)
        await new Promise((done) => setTimeout(done, 5));
    return performance.now() - began; })()"""


@needs_chromium
def test_a_year_of_minutes_in_a_browser(benchmark, dsn, tmp_path):
    chosen = house.config(pairs=("BTCUSDT",))
    exchange = house.exchange_for(chosen)
    store_a_year(tmp_path, exchange.now)

    async def main():
        async with AsyncExitStack() as stack:
            venue = await stack.enter_async_context(house.venue(exchange))
            where = {"exchange": "bybit", "environment": "live", "address": venue.address, "market": "linear"}
            console = await stack.enter_async_context(served(dsn, tmp_path, ["load0"], ["BTCUSDT"], where))
            page = await stack.enter_async_context(browser())
            await page.size(1280, 900)
            await page.visit(console.link)
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await page.ask("Page.addScriptToEvaluateOnNewDocument", source=YEAR_IS_THERE)
            ready, years = [], []
            for _ in range(6):
                await page.visit(f"{console.address}/bots/load0/pairs/BTCUSDT")
                years.append(await page.until("window.yearAt", 30))
                ready.append(await page.run("window.readyAt"))
            tell(
                f"the newest minutes are drawn after {np.median(ready[1:]):.0f} ms, the year after "
                f"{np.median(years[1:]):.0f} ms ({years[0]:.0f} ms the first time, which starts the store's process)"
            )
            finer = await page.run(FINER)
            steps = await page.run(ZOOM)
            p50, p95, most = np.percentile(steps, (50, 95, 100))
            tell(f"{len(steps)} zoom steps: p50 {p50:.0f} ms, p95 {p95:.0f} ms, longest {most:.0f} ms")
            tell(f"two hours of minutes half a year ago: {finer:.0f} ms until they have come")
            assert not page.faults(console.address)
            assert np.median(years[1:]) < 1500
            assert p95 < 100

    benchmark.pedantic(lambda: asyncio.run(main()), rounds=1)


def store_a_year(folder: Path, now):
    """Keep a year of generated minutes that ends an hour ago."""
    candles = generate(["BTCUSDT"], 365, 7)["BTCUSDT"]
    moved = candles.ts - candles.ts[-1] + now // MINUTE * MINUTE - HOUR
    columns = {one: getattr(candles, one) for one in ("open", "high", "low", "close", "volume")}
    CandleStore(folder).write("bybit", "linear", "BTCUSDT", Candles(ts=moved, bar_ms=MINUTE, **columns))
