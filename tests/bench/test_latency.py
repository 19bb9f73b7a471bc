"""How soon a bot of a hundred pairs answers its fills, and what it takes of a processor, at twelve times real time.

uv run pytest tests/bench/test_latency.py -n 0 --benchmark-only -s

With -k unreachable beside Telegram's service, to which Telegram does not answer.

TRADERAGENT_BENCH_MINUTES=120 measures for two market hours, some ten minutes; a tail needs that many fills.
"""

from __future__ import annotations

import json
import os
import socket
import time
import urllib.request

import psutil
import pytest

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


def reactions(folder):
    """Reactions so far by the longest time they took, seconds; cumulative."""
    address = json.loads((folder / "bots" / "hundred.json").read_text())["address"]
    with urllib.request.urlopen(f"{address}/metrics") as answer:
        lines = [line.decode() for line in answer if line.startswith(SERIES.encode())]
    return {float(line.split('le="')[1].split('"')[0]): float(line.split()[-1]) for line in lines}


@pytest.mark.parametrize("telegram", ["none", "unreachable"])
def test_a_hundred_pairs(benchmark, tmp_path, telegram):
    """Also beside `telegram run` whose Telegram takes connections and never answers: nobody waits for it."""
    processes = Processes(tmp_path)
    deaf = socket.create_server(("127.0.0.1", 0))
    try:
        address = processes.venue(PAIRS, CAPITAL)
        running = processes.run(processes.config("hundred", address, PAIRS, CAPITAL, grid=GRID))
        if telegram == "unreachable":
            write_settings(tmp_path, TelegramSettings(TOKEN, (TelegramUser(7),)))
            place = f"http://127.0.0.1:{deaf.getsockname()[1]}"
            heard(processes.start("telegram", "run", "--address", place), "Telegram: 1 users")
        paced(address, WARM, 0.5)
        paced(address, SETTLED, SECONDS, BETWEEN)
        before, spent = reactions(tmp_path), sum(psutil.Process(running.pid).cpu_times()[:2])
        began = time.monotonic()
        benchmark.pedantic(paced, args=(address, MEASURED, SECONDS, BETWEEN), rounds=1)
        share = (sum(psutil.Process(running.pid).cpu_times()[:2]) - spent) / (time.monotonic() - began)
        after = reactions(tmp_path)
        running.kill()  # in order, it would withdraw two thousand entries first
    finally:
        processes.end()
        deaf.close()
    counts = {limit: int(after[limit] - before[limit]) for limit in after}
    told = ", ".join(f"{counts[limit]} within {limit * 1000:.0f} ms" for limit in (0.01, 0.02, 0.05, 0.1))
    print(f"\n100 pairs, Telegram {telegram}: of {counts[float('inf')]} fills answered {told}; {share:.2f} of a core")  # noqa: T201
