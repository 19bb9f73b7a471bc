"""A second exchange, slow and plain, written from docs/execution.md: Decimal, no arrays, nothing of the product."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, getcontext
from typing import NamedTuple

getcontext().prec = 40
FUNDING_MS = 8 * 3_600_000
D = Decimal


def down(x):
    tolerance = min(D("1e-9") * max(abs(x), D(1)), D("0.001"))
    return int((x + tolerance).to_integral_value(ROUND_FLOOR))


def up(x):
    tolerance = min(D("1e-9") * max(abs(x), D(1)), D("0.001"))
    return int((x - tolerance).to_integral_value(ROUND_CEILING))


@dataclass(frozen=True)
class Instrument:
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal = D(0)
    min_notional: Decimal = D(0)
    maker_fee: Decimal = D("0.0002")
    taker_fee: Decimal = D("0.00055")
    maintenance_margin: Decimal = D("0.005")
    leverage: Decimal = D(1)
    linear: bool = True


@dataclass(frozen=True)
class Settings:
    fill_rule: str = "through"
    path: str = "adverse"
    fill_policy: str = "next_open"
    slippage_bps: Decimal = D(1)
    slippage_impact: Decimal = D(0)
    forced_exit_bps: Decimal = D(5)
    max_participation: Decimal = D(1)
    funding_rate: Decimal = D("0.0001")
    capital: Decimal = D(10000)
    reinvest: bool = False
    start_ts: int = 0


class Fill(NamedTuple):
    ts: int
    slot: int
    generation: int
    side: int
    price: int
    lots: int
    signal: str
    liquidity: str
    position: int


@dataclass
class Order:
    """One slot: `kind` is None while it wishes nothing."""

    kind: str | None = None
    side: int = 0
    price: int = 0
    lots: int = 0
    signal: str = ""
    part: int = -1
    generation: int = 0
    fresh: bool = False
    crossing: bool = False

    @property
    def only_reduces(self):
        return self.signal not in ("ENTRY", "GRID_COUNTER")


@dataclass
class Account:
    """The pair as a strategy sees it; prices in quote currency, quantities in lots."""

    instrument: Instrument
    cash: Decimal
    position: int = 0
    cost: Decimal = D(0)
    time: int = 0
    close: Decimal = D(0)  # ticks
    target: Decimal = D(0)
    may_enter: bool = False
    slots: list[Order] = field(default_factory=list)

    @property
    def tick_value(self):
        return self.instrument.tick_size * self.instrument.lot_size

    @property
    def price(self):
        return self.close * self.instrument.tick_size

    def equity(self, ticks):
        return self.cash + self.position * ticks * self.tick_value

    def affordable(self):
        return self.target / (1 / self.instrument.leverage + 2 * max(self.instrument.taker_fee, D(0)))

    def lots_for(self, notional, price):
        i = self.instrument
        lots = down(notional / (price * i.lot_size))
        least = max(-int(-i.min_quantity // i.lot_size), 1)
        return 0 if lots < least or lots * i.lot_size * price < i.min_notional else lots

    def away(self, side, price, *, stop):
        ticks = price / self.instrument.tick_size
        return down(ticks) if (side < 0) == stop else up(ticks)

    def wish(self, index, kind, side, price, lots, signal, part=-1):
        order = self.slots[index]
        if lots < 1 or (signal == "ENTRY" and not self.may_enter):
            order.kind = None
            return
        if order.kind is None:
            order.generation += 1
            order.fresh, order.crossing = True, False
        elif (order.kind, order.side, order.price) != (kind, side, price):
            order.fresh, order.crossing = True, False
        order.kind, order.side, order.price, order.lots = kind, side, price, lots
        order.signal, order.part = signal, part

    def withdraw(self, indices):
        for index in indices:
            self.slots[index].kind = None


class Exchange:
    """Plays bars to a strategy: an object with slots, timeframe_ms, warmup_bars, and the hooks on_*."""

    def __init__(self, bars, bar_ms, instrument, settings, strategy):
        self.bars, self.bar_ms, self.instrument, self.settings = bars, bar_ms, instrument, settings
        self.strategy = strategy
        self.account = Account(instrument, settings.capital, slots=[Order() for _ in range(strategy.slots)])
        self.fills: list[Fill] = []
        self.ended = False

    def play(self):
        roll = RollUp(self.bar_ms, self.strategy.timeframe_ms)
        previous = None
        seen = 0
        for number, bar in enumerate(self.bars):
            ts, *prices, volume = bar
            o, h, low, c = (self.to_ticks(price) for price in prices)
            paid = previous is not None and self.funding(previous, ts, o)
            self.bar(ts, o, h, low, c, volume)
            account = self.account
            account.time, account.close = ts + self.bar_ms, c
            if self.ended or account.equity(c) <= 0:
                break
            tick = self.instrument.tick_size
            self.strategy.on_base(account, (ts, o * tick, h * tick, low * tick, c * tick, volume), paid=paid)
            whole = roll.add(ts, o * tick, h * tick, low * tick, c * tick, volume)
            if whole is not None:
                seen += 1
                account.may_enter = seen >= self.strategy.warmup_bars and ts >= self.settings.start_ts
                worth = account.equity(c)
                account.target = worth if self.settings.reinvest else min(worth, self.settings.capital)
                self.strategy.on_signal(account, whole)
            self.receive(c)
            if self.settings.fill_policy == "close" and number < len(self.bars) - 1 and volume > 0:
                self.walk(c, c)
            previous = ts
        return self.fills

    def to_ticks(self, price):
        ticks = price / self.instrument.tick_size
        whole = ticks.to_integral_value()
        return whole if abs(ticks - whole) < D("1e-6") else ticks

    def funding(self, before, now, open_):
        account = self.account
        times = now // FUNDING_MS - before // FUNDING_MS
        if not self.instrument.linear or times == 0 or account.position == 0:
            return False
        account.cash -= account.position * open_ * account.tick_value * self.settings.funding_rate * times
        return True

    def bar(self, ts, o, h, low, c, volume):
        self.ts, self.volume, self.here = ts, volume, o
        self.left = down(volume * self.settings.max_participation / self.instrument.lot_size)
        if volume <= 0:
            return
        near_low = o - low < h - o or (o - low == h - o and c >= o)
        position = self.account.position
        low_first = position > 0 if position and self.settings.path == "adverse" else near_low
        self.opening = True
        self.walk(o, o)
        self.opening = False
        x = o
        for y in (low, h, c) if low_first else (h, low, c):
            self.walk(x, y)
            x = y
            if self.ended:
                return

    def receive(self, market):
        for order in self.account.slots:
            if order.kind is not None and order.fresh:
                order.fresh = False
                order.crossing = order.kind == "limit" and order.side * (order.price - market) >= 0

    def walk(self, x, y):
        while not self.ended:
            best = self.next_reached(x, y)
            if best is None:
                return
            _, _, index, at = best
            if index == "liquidation":
                self.liquidate(at)
                return
            self.fill(index, x, at)
            if at != x:
                self.opening = False
            x = at
            self.receive(x)

    def next_reached(self, x, y):
        """(distance, order of equals, slot, where) of what is reached first."""
        reached = []
        for index, order in enumerate(self.account.slots if self.left > 0 else []):
            if order.kind is None or self.passed_over(order):
                continue
            if order.kind == "limit" and order.crossing and order.side * (order.price - x) < 0:
                order.crossing = False
            if order.kind == "market" or order.crossing:
                reached.append((D("-Infinity"), 0, index, x))
                continue
            through = 1 if self.settings.fill_rule == "through" else 0
            at = D(order.price) if order.kind == "stop" else D(order.price - order.side * through)
            falls = (order.kind == "stop") == (order.side < 0)
            self.reach(reached, x, y, at, falls, 0 if order.kind == "stop" else 1, index)
        price = self.liquidation_price()
        if price is not None:
            self.reach(reached, x, y, D(price), self.account.position > 0, 2, "liquidation")
        return min(reached, key=lambda r: (r[0], r[1], r[2] if isinstance(r[2], int) else 10**6), default=None)

    @staticmethod
    def reach(reached, x, y, at, falls, rank, index):
        distance = x - at if falls else at - x
        room = x - y if falls else y - x
        if distance <= 0:
            reached.append((distance, rank, index, at if index == "liquidation" else x))
        elif distance <= room:
            reached.append((distance, rank, index, at))

    def passed_over(self, order):
        position = self.account.position
        if order.only_reduces and position * order.side >= 0:
            return True
        return not self.instrument.linear and order.side < 0 and position <= 0

    def fill(self, index, x, at):
        account, order, i = self.account, self.account.slots[index], self.instrument
        maker = order.kind == "limit" and not order.crossing
        lots = min(order.lots, self.left)
        if order.only_reduces or (order.side < 0 and not i.linear):
            lots = min(lots, abs(account.position))
        if maker:
            price = x if at == x and self.opening else D(order.price)
        else:
            price = D(self.slipped(order, at, lots))
        if order.kind == "stop":
            order.kind = "market"
        fee = price * lots * account.tick_value * (i.maker_fee if maker else i.taker_fee)
        if not self.affords(order.side, lots, price, at, fee):
            order.kind = None
            self.strategy.on_refused(account, index)
            return
        order.lots -= lots
        signal, part = order.signal, order.part
        generation, side = order.generation, order.side
        if order.lots == 0:
            order.kind = None
        self.left -= lots
        self.book(side, lots, price, fee)
        self.fills.append(
            Fill(
                self.ts,
                index,
                generation,
                side,
                int(price),
                lots,
                signal,
                "maker" if maker else "taker",
                account.position,
            )
        )
        self.strategy.on_fill(account, index, part, lots, price * i.tick_size, self.ts, signal)

    def slipped(self, order, aim, lots):
        s = self.settings.slippage_bps / 10_000
        s += self.settings.slippage_impact * (lots * self.instrument.lot_size / self.volume)
        if order.signal in ("EXIT_TRANSITION", "EXIT_EMERGENCY"):
            s += self.settings.forced_exit_bps / 10_000
        if order.side > 0:
            price = up(aim * (1 + s))
            return min(price, order.price) if order.kind == "limit" else price
        price = max(down(aim * (1 - s)), 1)
        return max(price, order.price) if order.kind == "limit" else price

    def affords(self, side, lots, price, at, fee):
        account, i = self.account, self.instrument
        after = account.position + side * lots
        if abs(after) <= abs(account.position):
            return True
        notional = price * lots * account.tick_value
        if not i.linear:
            return notional + fee <= account.cash + D("1e-9") * notional
        margin = abs(after) * price * account.tick_value / i.leverage
        return margin <= account.equity(at) - fee + D("1e-9") * notional

    def book(self, side, lots, price, fee):
        account = self.account
        value = price * lots * account.tick_value
        before, after = account.position, account.position + side * lots
        if before * side < 0:
            closed = min(lots, abs(before))
            account.cost -= account.cost * closed / abs(before)
            account.cost += side * price * (lots - closed) * account.tick_value
        else:
            account.cost += side * value
        account.position = after
        if after == 0:
            account.cost = D(0)
        account.cash -= side * value + fee

    def liquidation_price(self):
        account = self.account
        if not self.instrument.linear or account.position == 0:
            return None
        worth, margin = account.tick_value * abs(account.position), self.instrument.maintenance_margin
        price = (
            -account.cash / (worth * (1 - margin)) if account.position > 0 else account.cash / (worth * (1 + margin))
        )
        if price <= 0:
            return None
        return up(price) if account.position > 0 else down(price)

    def liquidate(self, price):
        account = self.account
        side, lots = (-1 if account.position > 0 else 1), abs(account.position)
        self.book(side, lots, price, max(account.equity(price), D(0)))
        self.fills.append(Fill(self.ts, -2, 0, side, int(price), lots, "EXIT_EMERGENCY", "taker", 0))
        self.ended = True


class RollUp:
    """Bars of a longer timeframe from complete sets of base bars."""

    def __init__(self, bar_ms, timeframe_ms):
        self.count, self.length = timeframe_ms // bar_ms, timeframe_ms
        self.rows = []

    def add(self, *row):
        start = row[0] - row[0] % self.length
        if self.rows and self.rows[0][0] - self.rows[0][0] % self.length != start:
            self.rows = []
        self.rows.append(row)
        if len(self.rows) < self.count:
            return None
        rows, self.rows = self.rows, []
        highest, lowest = max(r[2] for r in rows), min(r[3] for r in rows)
        return (start, rows[0][1], highest, lowest, rows[-1][4], sum(r[5] for r in rows))


def run(bars, bar_ms, instrument, settings, strategy):
    """List of fills of `strategy` over `bars`: (ts, open, high, low, close, volume) with Decimals."""
    return Exchange(bars, bar_ms, instrument, settings, strategy).play()
