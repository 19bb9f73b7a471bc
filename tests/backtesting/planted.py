"""Strategies with a planted look-ahead each, and the program that checks them: prints one finding a line."""

from __future__ import annotations

import json
import sys
from itertools import islice
from pathlib import Path

import numpy as np

from backtesting.simulator import PreparedCandles
from backtesting.strategy_checks import check_strategy
from bot.candles import Candles
from bot.times import DAY, HOUR
from coordinator.config import load_single
from tests.conftest import instrument

START = 660 * 30 * DAY  # a block of inputs begins

HEAD = '''
from dataclasses import dataclass
from pathlib import Path
import numpy as np
from bot.authoring import *
from bot.inputs import Input
HOUR = 3_600_000
FOLDER = Path(__file__).parent

@dataclass(frozen=True)
class Whole(Input):
    """A column that is computed over the whole series it is handed."""
    def lookback(self):
        return 0
    def column(self, bars, at):
        return np.asarray(whole(bars), float)[at]

@kernel
def decide(pair, params, state, slots, event):
    watch_nothing(pair)
    if event.kind != SIGNAL:
        return
    position = pair.ledger.position
    if position == 0 and event.inputs.hint > event.bar.close:
        enter(pair, slots, 0, 1, MARKET, 0, lots_for(pair, affordable(pair), pair.price), WHOLE_POSITION)
    elif position > 0 and event.inputs.hint < event.bar.close:
        set_order(slots, 1, -1, MARKET, 0, position, EXIT_TP, WHOLE_POSITION)
'''
TAIL = """
class MineParameters(Parameters):
    pass
STATE = np.dtype([("unused", "i8")])
INPUTS = {"hint": HINT}
MINE = Strategy("mine", 1, MineParameters, STATE, slots=lambda parameters: 2, decide=decide, inputs=INPUTS)
"""

# By name: what the module holds besides, and its input.
PLANTED = {
    "a column that reads the next bar": """
def whole(bars):
    return np.append(bars["close"][1:], bars["close"][-1])
HINT = Whole()
""",
    "a centred window": """
def whole(bars):
    padded = np.pad(bars["close"], 2, mode="edge")
    return np.convolve(padded, np.ones(5) / 5, mode="valid")
HINT = Whole()
""",
    "the high of a longer bar that is open": """
def whole(bars):
    group = bars["ts"] // (4 * HOUR)
    return np.array([bars["high"][group == one].max() - 0.002 * bars["close"][0] for one in group])
HINT = Whole()
""",
    "figures of the whole period": """
def whole(bars):
    return np.full(len(bars), bars["close"].mean())
HINT = Whole()
""",
    "an array of the future": """
FUTURE = np.load(FOLDER / "closes.npy")
FIRST = int(np.load(FOLDER / "first.npy"))
def known(bars):
    return FUTURE[min((int(bars.ts[-1]) - FIRST) // HOUR + 1, len(FUTURE) - 1)]
HINT = python(known, window=1)
""",
    "a table of the future that knows when to be silent": """
FIRST = int(np.load(FOLDER / "first.npy"))
FUTURE = {FIRST + i * HOUR: float(one) for i, one in enumerate(np.load(FOLDER / "closes.npy"))}
def known(bars):
    return FUTURE.get(int(bars.ts[-1]) + HOUR, float(bars.close[-1]))
HINT = python(known, window=1)
""",
    "a file of the future, read as it runs": """
def known(bars):
    first, closes = int(np.load(FOLDER / "first.npy")), np.load(FOLDER / "closes.npy")
    place = (int(bars.ts[-1]) - first) // HOUR + 1
    return closes[place] if 0 <= place < len(closes) else bars.close[-1]
HINT = python(known, window=1)
""",
    "what the columns before have seen": """
SEEN = {}
def remember(bars):
    SEEN[int(bars.ts[-1])] = float(bars.close[-1])
    return 0.0
def recall(bars):
    return SEEN.get(int(bars.ts[-1]) + HOUR, float(bars.close[-1]))
HINT = python(recall, window=1)
REMEMBERED = python(remember, window=1)
""",
    "what an earlier run has left": """
SEEN = {}
def leak(bars):
    SEEN[int(bars.ts[-1])] = float(bars.close[-1])
    return SEEN.get(int(bars.ts[-1]) + HOUR, float(bars.close[-10:].mean()))
HINT = python(leak, window=10, warmup=0)
""",
    "nothing": """
def mean(bars):
    return bars.close.mean()
HINT = python(mean, window=12, warmup=0)
""",
    "an array of numbers": """
WEIGHTS = np.linspace(0.9, 1.1, 500)
def weighed(bars):
    return bars.close.mean() * WEIGHTS[250]
HINT = python(weighed, window=12, warmup=0)
""",
}


def candles(hours: int) -> Candles:
    rng = np.random.default_rng(5)
    ticks = np.rint(400_000 * np.exp(np.cumsum(rng.standard_normal((hours, 4)).ravel() * 0.003))).reshape(hours, 4)
    opens = np.concatenate(([400_000.0], ticks[:-1, 3]))
    every = np.column_stack([opens, ticks])
    prices = [np.round(one * 0.1, 10) for one in (opens, every.max(1), every.min(1), ticks[:, 3])]
    return Candles(START + HOUR * np.arange(hours), *prices, rng.integers(1_000, 9_000, hours).astype(float), HOUR)


def written(folder: Path, name: str, market: Candles) -> str:
    text = PLANTED[name]
    tail = TAIL.replace('{"hint": HINT}', '{"first": REMEMBERED, "hint": HINT}') if "REMEMBERED" in text else TAIL
    (folder / "mine.py").write_text(HEAD + text + tail)
    np.save(folder / "closes.npy", market.close)
    np.save(folder / "first.npy", market.ts[0])
    return f"{folder / 'mine.py'}:MINE"


def main(folder: str, days: str, *names: str) -> None:
    market = candles(24 * int(days))
    prepared = PreparedCandles.of(market, instrument())
    for name in names:
        reference = written(Path(folder), name, market)
        config = load_single({"strategy": reference, "pair": "BTCUSDT", "mine": {"warmup_bars": 12}})
        for one in islice(check_strategy(config, prepared, every=5 * int(days)), 2):  # determinism and look-ahead
            print(json.dumps([name, one.check, one.verdict, one.sentence]), flush=True)  # noqa: T201, read by the test


if __name__ == "__main__":
    main(*sys.argv[1:])
