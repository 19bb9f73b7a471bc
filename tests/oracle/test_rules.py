"""The program's rules against a plain second engine: identical trades, on made-up and on real candles."""

from __future__ import annotations

import random

import numpy as np
import pytest

from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.candles import Candles
from coordinator.config import load_config
from tests.bot.test_streaming import hourly
from tests.conftest import instrument
from tests.oracle import rules as oracle

EDGE = 600 * oracle.BLOCK


def bars_of(name):
    """Hourly bars, on ticks of 0.1, of which 400 lie before a block."""
    bars = hourly(name)
    bars["ts"] = EDGE + (np.arange(len(bars)) - 400) * oracle.HOUR
    for field in ("open", "high", "low", "close"):
        bars[field] = np.round(np.rint(bars[field] / 0.1) * 0.1, 1)
    bars["high"] = np.maximum(bars["high"], np.maximum(bars["open"], bars["close"]))
    bars["low"] = np.minimum(bars["low"], np.minimum(bars["open"], bars["close"]))
    bars["volume"] = np.maximum(bars["volume"], 1e6)
    return bars


def condition(dice):
    period = dice.randint(3, 20)  # of 2 the close lies on its Bollinger band: a tie that rounding decides
    return dice.choice(
        [
            {"indicator": "RSI", "timeperiod": period, "long_below": 45, "short_above": 55},
            {"indicator": "MACD", "fastperiod": 4, "slowperiod": 9, "signalperiod": period},
            {
                "indicator": "MACD",
                "rule": "cross",
                "output": "macd",
                "against": "macdsignal",
                "fastperiod": 3,
                "slowperiod": 7,
                "signalperiod": 4,
            },
            {"indicator": "EMA", "timeperiod": period},
            {"indicator": "BBANDS", "timeperiod": period, "invert": True},
            {"indicator": "DONCHIAN", "timeperiod": period},
            {"indicator": "SUPERTREND", "timeperiod": period, "multiplier": 2.0},
            {"indicator": "ADX", "timeperiod": min(period, 14), "long_above": 20},
            {"indicator": "ROC", "timeperiod": period, "rule": "slope", "output": "real", "bars": 2},
            {"indicator": "CDLENGULFING"},
        ]
    )


def rules_of(number):
    dice = random.Random(number)
    when = [condition(dice) for _ in range(dice.randint(1, 3))]
    return {
        "when": when,
        "combine": dice.choice(["all", "any", {"at_least": min(2, len(when))}]),
        "direction": dice.choice(["long_only", "short_only", "long_short"]),
        "sizing": dice.choice(["all_in", "fixed_quote", "compound", "compound_profit_lock"]),
        "quote": 3000.0,
        "stop": dice.choice([None, 0.01, 0.03]),
        "target": dice.choice([None, 0.012, 0.05]),
        "trigger": dice.choice(["close", "intrabar"]),
        "timeframe": "1h",
    }


def compared(name, numbers):
    bars, traded = bars_of(name), instrument(maker_fee="0.001", taker_fee="0.001")
    columns = [np.ascontiguousarray(bars[field]) for field in ("open", "high", "low", "close", "volume")]
    prepared = PreparedCandles.of(Candles(np.ascontiguousarray(bars["ts"]), *columns, oracle.HOUR), traded)
    market, total = oracle.Market(), 0
    for number in numbers:
        section = rules_of(number)
        values = {"strategy": "rules", "pair": "BTCUSDT", "execution": {"preset": "close_fill"}, "capital": 1e6}
        found = UniversalSimulator(load_config({**values, "rules": section})).run(prepared)
        trades, conflicts = oracle.play(section, bars, market, 1e6)
        fills = found.fills[["ts", "side", "quantity", "price"]]
        assert [tuple(int(x) for x in one) for one in fills.tolist()] == [tuple(map(int, one)) for one in trades], (
            section
        )
        assert int(found.state.conflicting_signals) == conflicts
        total += len(trades)
    return total


def test_a_second_engine_finds_the_same_trades():
    assert compared("made up", range(12)) > 100


@pytest.mark.slow
@pytest.mark.parametrize("name", ["made up", "ftx/linear/BTCPERP/1m.parquet"])
def test_a_second_engine_finds_the_same_trades_of_200_rule_sets(name):
    assert compared(name, range(200)) > 2000
