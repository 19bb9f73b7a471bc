"""How soon a bot of a hundred pairs answers its fills, and what it takes of a processor, at twelve times real time.

uv run pytest tests/bench/test_latency.py -n 0 --benchmark-only -s

With -k unreachable: whether that changes while a console is read, and beside Telegram's service without Telegram.

TRADERAGENT_BENCH_MINUTES=120 measures for two market hours, some ten minutes; a tail needs that many fills.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections import Counter
from contextlib import contextmanager

import psutil

from services.telegram.users import TelegramSettings, TelegramUser, write_settings
from tests.runtime.processes import Processes, heard, minute
from tests.services.fake_telegram import TOKEN

PAIRS = [f"C{index:03d}USDT" for index in range(100)]
CAPITAL = 2_000_000
WARM = 200  # market minutes, until most grids are laid
SETTLED = 8  # at the measured pace, until what the warm minutes left to do is done
# A neutral grid withdraws and lays half its entries with every turn of its position: that measures the venue's limit.
GRID = {"levels": 50, "direction": "long"}
MEASURED = int(os.environ.get("TRADERAGENT_BENCH_MINUTES", "24"))
SECONDS = 5.0  # that a market minute takes
BETWEEN = 0.1  # seconds from fill to fill: at real time they come spread over the minute
SERIES = "traderagent_fill_to_order_seconds_bucket"


def paced(address, minutes, seconds, between=0.0):
    """Play so many minutes, each in so many seconds, and so many from fill to fill."""
    for _ in range(minutes):
        began = time.monotonic()
        minute(address, between)
        time.sleep(max(seconds - (time.monotonic() - began), 0.0))


def reactions(folder, bot="hundred"):
    """Reactions so far by the longest time they took, seconds; cumulative."""
    address = json.loads((folder / "bots" / f"{bot}.json").read_text())["address"]
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        lines = [line.decode() for line in answer if line.startswith(SERIES.encode())]
    return {float(line.split('le="')[1].split('"')[0]): float(line.split()[-1]) for line in lines}


def test_a_hundred_pairs(benchmark, tmp_path):
    processes = Processes(tmp_path)
    try:
        address = processes.venue(PAIRS, CAPITAL)
        running = processes.run(processes.config("hundred", address, PAIRS, CAPITAL, grid=GRID))
        paced(address, WARM, 0.5)
        paced(address, SETTLED, SECONDS, BETWEEN)
        before, spent = reactions(tmp_path), sum(psutil.Process(running.pid).cpu_times()[:2])
        began = time.monotonic()
        benchmark.pedantic(paced, args=(address, MEASURED, SECONDS, BETWEEN), rounds=1)
        share = (sum(psutil.Process(running.pid).cpu_times()[:2]) - spent) / (time.monotonic() - began)
        counts = since(before, reactions(tmp_path))
        running.kill()  # in order, it would withdraw two thousand entries first
    finally:
        processes.end()
    told = ", ".join(f"{counts[limit]} within {limit * 1000:.0f} ms" for limit in (0.01, 0.02, 0.05, 0.1))
    print(f"\n100 pairs: of {counts[float('inf')]} fills answered {told}; {share:.2f} of a core")  # noqa: T201


def since(before, after):
    """Reactions between two looks, by the longest time they took, seconds; cumulative."""
    return {limit: int(after[limit] - before[limit]) for limit in after}


# What others do beside the bot. Each is stopped (SIGSTOP) while it is not measured, so that blocks with and without it
# can follow one another on the same bot, and a machine that grows busy disturbs all alike.

BESIDE = 40  # pairs
LAID = 60  # market minutes, until their grids are
BLOCK = 4  # market minutes
PAGES_A_MINUTE = 40
PAGES = (
    *("/", "/bots/forty/pairs/C000USDT", "/portfolio", "/history/fills", "/decisions", "/bots"),
    *("/api/v1/market-data/candles?bot=forty&pair=C000USDT&bars=2000", "/api/v1/bots/forty/fills?limit=500"),
)


def test_fills_are_answered_as_soon_while_pages_are_loaded_and_telegram_is_unreachable(benchmark, tmp_path):
    """Blocks alone, beside a console that is asked for 40 pages a minute, beside a Telegram that never answers."""
    processes, pairs = Processes(tmp_path), PAIRS[:BESIDE]
    deaf = socket.create_server(("127.0.0.1", 0))
    try:
        address = processes.venue(pairs, CAPITAL)
        running = processes.run(processes.config("forty", address, pairs, CAPITAL, grid=GRID))
        web = processes.start("web", "--port", "0")
        reader = Reader(heard(web, "console at").split()[-1])
        write_settings(tmp_path, TelegramSettings(TOKEN, (TelegramUser(7),)))
        telegram = processes.start("telegram", "run", "--address", f"http://127.0.0.1:{deaf.getsockname()[1]}")
        heard(telegram, "Telegram: 1 users")
        beside = {"alone": None, "40 pages a minute": web, "Telegram unreachable": telegram}
        paced(address, LAID, 0.5)
        paced(address, SETTLED, SECONDS, BETWEEN)
        found = {name: Counter() for name in beside}

        def measured():
            for _ in range(max(MEASURED // BLOCK, 1)):
                for name, other in beside.items():
                    with only(other, (web, telegram)), reader.reading(running=other is web):
                        before = reactions(tmp_path, "forty")
                        paced(address, BLOCK, SECONDS, BETWEEN)
                        found[name].update(since(before, reactions(tmp_path, "forty")))

        benchmark.pedantic(measured, rounds=1)
        running.kill()
    finally:
        for one in processes.started:
            one.send_signal(signal.SIGCONT)
        processes.end()
        deaf.close()
    for name, counts in found.items():
        halves, tails = (quantile(counts, share) * 1000 for share in (0.5, 0.99))
        print(  # noqa: T201
            f"\n{BESIDE} pairs, {name}: {counts[float('inf')]} fills, p50 {halves:.1f} ms, p99 {tails:.1f} ms, "
            f"p50 {quantile(counts, 0.5) / quantile(found['alone'], 0.5):.2f} x alone"
        )
    print(f"{reader.pages} pages and answers, {reader.faults} of them refused")  # noqa: T201
    assert reader.faults == 0
    assert reader.pages >= PAGES_A_MINUTE * SECONDS * BLOCK / 60
    for name, counts in found.items():
        assert counts[float("inf")] > 50, f"too few fills {name}: raise TRADERAGENT_BENCH_MINUTES"
        assert quantile(counts, 0.5) <= 1.5 * quantile(found["alone"], 0.5), name


@contextmanager
def only(one, others):
    """Let one of these processes run, and the others rest."""
    for other in others:
        other.send_signal(signal.SIGCONT if other is one else signal.SIGSTOP)
    time.sleep(1.0)  # what a process that rested has to catch up with is not measured
    yield


class Reader:
    """A browser's requests to a console, signed in by the link that it printed."""

    def __init__(self, link):
        self.address, _, word = link.partition("/sign-in#link=")
        self.pages = self.faults = 0
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        body, head = json.dumps({"link": word}).encode(), {"Content-Type": "application/json"}
        opener.open(urllib.request.Request(f"{self.address}/api/v1/auth/link", body, head)).close()
        self.open = opener.open

    @contextmanager
    def reading(self, *, running):
        """Load one page after the other at the pace of PAGES_A_MINUTE, beside what is measured."""
        over = threading.Event()
        thread = threading.Thread(target=self._read, args=(over,))
        if running:
            thread.start()
        yield
        over.set()
        if running:
            thread.join()

    def _read(self, over):
        for page in itertools.cycle(PAGES):
            if over.wait(60 / PAGES_A_MINUTE):
                return
            self.pages += 1
            try:
                with self.open(self.address + page, timeout=20) as answer:
                    answer.read()
            except OSError:
                self.faults += 1


def quantile(counts, share):
    """Seconds within which this share was answered, evenly spread inside a bucket, as Prometheus reckons."""
    wanted, low, under = counts[float("inf")] * share, 0.0, 0
    for limit, count in sorted(counts.items()):
        if count >= wanted and limit != float("inf"):
            return low + (limit - low) * (wanted - under) / max(count - under, 1)
        low, under = (limit, count) if limit != float("inf") else (low, under)
    return low  # beyond the last bound
