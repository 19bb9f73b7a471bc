"""A hundred EMA crosses over a year of minutes as rules: run by test_search.py in a process of its own.

python -m tests.bench.ema_crosses CANDLES.npz FAST,FAST SLOW,SLOW
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np

from bot.candles import COLUMNS, Candles
from bot.times import MINUTE
from search.reading import read_space
from search.sweep import sweep

TIMES = 5  # of which the median counts


def crosses(fast, slow, count=None):
    """The space of all pairs of these periods, or so many of them."""
    periods = {"fastperiod": fast, "slowperiod": slow}
    when = [{"indicator": "APO", "rule": "cross", "output": "real", "against": 0, **periods}]
    section = {"when": when, "timeframe": "1m", "direction": "long_only", "warmup_bars": 0}
    search = {"held_out": 0.01, "objective": "total_return_pct", "method": f"random:{count}" if count else "grid"}
    return read_space({"strategy": "rules", "pair": "BTCUSDT", "exchange": "synth", "rules": section, "search": search})


def main():
    read = np.load(sys.argv[1])
    candles = Candles(*(read[name] for name in COLUMNS), MINUTE)
    fast, slow = ([int(one) for one in text.split(",")] for text in sys.argv[2:])
    sweep(crosses(fast, slow, 4), candles)  # compiled
    took, used = [], []
    for _ in range(TIMES):
        space = crosses(fast, slow)
        began, before = time.perf_counter(), time.process_time()
        found = sweep(space, candles)
        took.append(time.perf_counter() - began)
        used.append(time.process_time() - before)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    fills = float(found.scores["fills"].mean())
    told = {"seconds": np.median(took), "processor": np.median(used), "bytes": memory, "fills": fills}
    print(json.dumps({**told, "variants": len(found.numbers)}))  # noqa: T201


if __name__ == "__main__":
    main()
