"""Rules a second time, in plain Python: decisions and fills on the same close, accounts of its own.

Shares no code with the program: indicators come from TA-Lib, everything else is written here from docs/rules.md.
Prices are ticks, quantities lots; a bar is an hour, and a signal bar too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import talib
import talib.abstract

HOUR = 3_600_000
BLOCK = 720 * HOUR
PROTECTIVE, SLIPPAGE = 0.20, 0.0001


@dataclass
class Market:
    tick: float = 0.1
    lot: float = 0.001
    least_lots: int = 1
    least_notional: float = 5.0
    fee: float = 0.001


def down(value):
    return math.floor(value + min(1e-9 * max(abs(value), 1.0), 1e-3))


def up(value):
    return math.ceil(value - min(1e-9 * max(abs(value), 1.0), 1e-3))


# Signals


def sides_of(condition, bars):
    """Long and short of one condition over these bars, as lists of booleans; and its look-back."""
    open_, high, low, close = (bars[name] for name in ("open", "high", "low", "close"))
    name, n = condition["indicator"], len(close)
    given = {key: value for key, value in condition.items() if key.endswith(("period", "dev", "multiplier"))}

    def before(values, count=1):
        return [math.nan] * count + list(values[:-count])

    if name == "RSI":
        x = talib.RSI(close, **given)
        pair = [v < condition["long_below"] for v in x], [v > condition["short_above"] for v in x]
    elif name == "MACD":
        x, y, _ = talib.MACD(close, **given)
        if condition.get("rule") == "cross":
            a, b = before(x), before(y)
            pair = (
                [x[i] > y[i] and a[i] <= b[i] for i in range(n)],
                [x[i] < y[i] and a[i] >= b[i] for i in range(n)],
            )
        else:
            pair = [v > 0 for v in x], [v < 0 for v in x]
    elif name == "EMA":
        x = talib.EMA(close, **given)
        pair = [c > v for c, v in zip(close, x)], [c < v for c, v in zip(close, x)]
    elif name == "BBANDS":
        x, _, y = talib.BBANDS(close, timeperiod=given["timeperiod"], nbdevup=2.0, nbdevdn=2.0)
        pair = [c < v for c, v in zip(close, y)], [c > v for c, v in zip(close, x)]  # inverted: it comes back
    elif name == "DONCHIAN":
        x = before(talib.MAX(high, **given))
        y = before(talib.MIN(low, **given))
        pair = [c > v for c, v in zip(close, x)], [c < v for c, v in zip(close, y)]
    elif name == "SUPERTREND":
        x = np.asarray(talib.SUPERTREND(high, low, close, **given)[1], float)
        x[: given["timeperiod"]] = math.nan
        pair = [v > 0 for v in x], [v < 0 for v in x]
    elif name == "ADX":
        x = talib.ADX(high, low, close, **given)
        pair = [v > condition["long_above"] for v in x], [v > condition["long_above"] for v in x]
    elif name == "ROC":
        x = talib.ROC(close, **given)
        a = before(x, 2)
        pair = [v > w for v, w in zip(x, a)], [v < w for v, w in zip(x, a)]
    else:
        x = talib.CDLENGULFING(open_, high, low, close)
        pair = [v > 0 for v in x], [v < 0 for v in x]
    return pair


BEFORE = {"DONCHIAN": 1, "ROC": 2}


def reach_of(condition):
    """Bars before a block from which its values are computed."""
    given = {key: value for key, value in condition.items() if key.endswith(("period", "dev", "multiplier"))}
    lookback = talib.abstract.Function(condition["indicator"], **given).lookback
    return 10 * lookback + (1 if condition.get("rule") == "cross" else BEFORE.get(condition["indicator"], 0))


def signals_of(when, least, bars):
    """1, -1, 0 or 2 (both at once) by bar."""
    found, reach = [0] * len(bars), max(reach_of(one) for one in when)
    for block in sorted({int(ts) // BLOCK for ts in bars["ts"]}):
        since = block * BLOCK - reach * HOUR
        if bars["ts"][0] > since:
            continue
        rows = np.flatnonzero((bars["ts"] >= since) & (bars["ts"] < (block + 1) * BLOCK))
        part = {name: np.ascontiguousarray(bars[name][rows]) for name in ("open", "high", "low", "close")}
        each = [sides_of(one, part) for one in when]
        for k, row in enumerate(rows):
            if bars["ts"][row] // BLOCK == block:
                long, short = (sum(bool(pair[side][k]) for pair in each) >= least for side in (0, 1))
                found[row] = 2 if long and short else 1 if long else -1 if short else 0
    return found


# Trading


class Account:
    """One pair's position and money, and the trades that they saw."""

    def __init__(self, rules, market, capital):
        self.rules, self.market, self.capital = rules, market, capital
        self.won = self.safe = self.begun = 0.0
        self.lots, self.price, self.trades, self.conflicts = 0, 0, [], 0

    def equity(self, ticks):
        return self.capital + self.won + self.lots * (ticks - self.price) * self.market.tick * self.market.lot

    def book(self, ts, side, lots, ticks):
        worth = self.market.tick * self.market.lot
        if self.lots == 0:
            self.price, self.begun = ticks, self.won
        else:
            self.won += self.lots * (ticks - self.price) * worth
        self.won -= ticks * lots * worth * self.market.fee
        self.lots += side * lots
        self.trades.append((ts, side, lots, ticks))
        if self.lots == 0:
            profit = self.won - self.begun
            if self.rules["sizing"] == "compound_profit_lock" and profit > 0:
                self.safe += profit * self.rules.get("safe_profit_percent", 50) / 100

    def take(self, ts, side, lots, aim):
        self.book(ts, side, lots, up(aim * (1 + SLIPPAGE)) if side > 0 else down(aim * (1 - SLIPPAGE)))

    def money(self):
        available, quote = self.capital + self.won - self.safe, self.rules.get("quote") or self.capital
        return {
            "all_in": available,
            "fixed_quote": min(quote, available),
            "compound": min(quote + self.won, available),
            "compound_profit_lock": min(quote + self.won - self.safe, available),
        }[self.rules["sizing"]]

    def enter(self, ts, side, target, price, close):
        """Enter at the close, sized at `price` (ticks)."""
        notional = min(self.money(), target) * (1 - 0.002) / (1.0 + 2 * self.market.fee)
        lots = down(max(notional, 0.0) / (price * self.market.tick * self.market.lot))
        if (
            lots >= self.market.least_lots
            and lots * self.market.lot * price * self.market.tick >= self.market.least_notional
        ):
            self.take(ts, side, lots, close)

    def levels(self):
        """Ticks of stop and target, 0 for none, as they were set when it entered."""
        direction, average = (1 if self.lots > 0 else -1), self.price * self.market.tick
        stop, target = self.rules.get("stop"), self.rules.get("target")
        away = (down, up) if direction > 0 else (up, down)
        stop = away[0](average * (1 - direction * stop) / self.market.tick) if stop else 0
        return stop, away[1](average * (1 + direction * target) / self.market.tick) if target else 0

    def inside(self, ts, opened, high, low):
        """Let the bar reach what rests: the stop first."""
        if self.lots == 0:
            return
        direction, resting = (1 if self.lots > 0 else -1), self.rules["trigger"] == "intrabar"
        stop, target = self.levels()
        if not resting or not stop:
            average = self.price * self.market.tick * (1 - direction * PROTECTIVE) / self.market.tick
            stop = down(average) if direction > 0 else up(average)
        worst, best = (low, high) if direction > 0 else (high, low)
        gap = resting and target and (opened - target) * direction >= 1
        if gap:
            self.book(
                ts, -direction, abs(self.lots), max(down(opened), target) if direction > 0 else min(up(opened), target)
            )
        elif (worst - stop) * direction <= 0:
            self.take(ts, -direction, abs(self.lots), stop if (opened - stop) * direction > 0 else opened)
        elif resting and target and (best - target) * direction >= 1:
            self.book(ts, -direction, abs(self.lots), target)

    def close(self, ts, signal, close, last):
        """Decide at the close, leave before entering."""
        rules, target, leave, turn = self.rules, self.equity(close), False, 0
        if rules["sizing"] == "fixed_quote":
            target = min(target, self.capital)
        opens = {1: rules["direction"] != "short_only", -1: rules["direction"] != "long_only"}
        if self.lots and rules["trigger"] == "close":
            direction, (stop, goal) = (1 if self.lots > 0 else -1), self.levels()
            leave = bool((stop and (close - stop) * direction <= 0) or (goal and (close - goal) * direction >= 0))
        self.conflicts += signal == 2
        if signal in (1, -1) and self.lots * signal < 0:
            leave, turn = True, signal if opens[signal] else 0
        if last:
            return
        if signal in (1, -1) and self.lots == 0 and opens[signal]:
            self.enter(ts, signal, target, close, close)
        elif leave:
            self.take(ts, -1 if self.lots > 0 else 1, abs(self.lots), close)
            if turn:
                self.enter(ts, turn, target, self.trades[-1][3], close)


def play(rules, bars, market, capital):
    """Trades (ts, side, lots, ticks) of the rules on hourly bars in quote currency, and how many conflicts."""
    account = Account(rules, market, capital)
    combine = rules["combine"]
    least = {"all": len(rules["when"]), "any": 1}.get(combine) if isinstance(combine, str) else combine["at_least"]
    signals = signals_of(rules["when"], least, bars)
    ticks = {name: np.rint(bars[name] / market.tick).tolist() for name in ("open", "high", "low", "close")}
    for i, ts in enumerate(bars["ts"].tolist()):
        account.inside(ts, ticks["open"][i], ticks["high"][i], ticks["low"][i])
        account.close(ts, signals[i], ticks["close"][i], i == len(bars) - 1)
    return account.trades, account.conflicts
