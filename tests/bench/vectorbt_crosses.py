"""A hundred EMA crosses over a year of minutes in vectorbt: run by test_search.py in an environment of its own.

python vectorbt_crosses.py CLOSE.npy FAST,FAST SLOW,SLOW
"""

from __future__ import annotations

import json
import resource
import sys
import time

import numpy as np
import pandas as pd
import vectorbt as vbt


def main():
    close = pd.Series(np.load(sys.argv[1]))
    fast, slow = ([int(one) for one in text.split(",")] for text in sys.argv[2:])
    pairs = [(one, other) for one in fast for other in slow]

    def swept(pairs, close):
        first = vbt.MA.run(close, [one for one, _ in pairs], ewm=True, short_name="fast")
        second = vbt.MA.run(close, [one for _, one in pairs], ewm=True, short_name="slow")
        up, down = first.ma_crossed_above(second), first.ma_crossed_below(second)
        return vbt.Portfolio.from_signals(close, up, down, freq="1min", fees=0.00055).total_return()

    swept(pairs[:2], close[:10_000])  # compiled
    began, used = time.perf_counter(), time.process_time()
    found = swept(pairs, close)
    took, used = time.perf_counter() - began, time.process_time() - used
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"seconds": took, "processor": used, "bytes": memory, "variants": len(found)}))  # noqa: T201


main()
