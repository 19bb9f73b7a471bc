"""Grid and DCA once more, slow and plain, written from sections 4 and 5 of docs/execution.md."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

from tests.oracle.exchange import D, down, up

HOUR, DAY = 3_600_000, 86_400_000


class Wilder:
    def __init__(self, period):
        self.period, self.values, self.value = period, 0, D(0)

    def add(self, x):
        self.values += 1
        self.value += (x - self.value) / min(self.values, self.period)


class Atr:
    def __init__(self, period):
        self.smooth, self.before, self.value = Wilder(period), None, D(0)

    def add(self, high, low, close):
        if self.before is None:
            self.value = high - low
        else:
            self.smooth.add(max(high, self.before) - min(low, self.before))
            self.value = self.smooth.value
        self.before = close


@dataclass
class Cell:
    entry: int = 0
    counter: int = 0
    side: int = 0
    lots: int = 0
    held: int = 0


class Grid:
    def __init__(self, **parameters):
        self.p = SimpleNamespace(**parameters)
        self.timeframe_ms, self.warmup_bars = self.p.timeframe_ms, self.p.warmup_bars
        self.n = self.p.levels
        self.slots = 2 * self.n + 2
        self.atr = Atr(self.p.atr_period)
        self.cells = [Cell() for _ in range(self.n)]
        self.stands = self.closing = False
        self.cooldown_end = 0

    # Events.

    def on_signal(self, a, bar):
        _, _, high, low, close, _ = bar
        self.atr.add(high, low, close)
        if self.stands:
            self.peak = max(self.peak, a.equity(a.close))
            aged = a.time - self.laid_at >= self.p.max_age_days * DAY
            if aged and self.p.trailing != "off" and not self.closing:
                self.shift(a)
        elif a.may_enter and a.position == 0 and a.time >= self.cooldown_end:
            self.lay(a)

    def on_base(self, a, bar, *, paid):
        if not self.stands or self.closing:
            return
        if self.peak - a.equity(a.close) > self.p.max_drawdown * self.laid_target:
            self.close(a, bar[0])
            return
        outside = a.price > self.upper * (1 + self.p.shift_threshold) or a.price < self.lower * (
            1 - self.p.shift_threshold
        )
        rested = a.time - self.laid_at >= self.p.shift_cooldown_minutes * 60_000
        if self.p.trailing != "off" and outside and rested:
            self.shift(a)

    def on_refused(self, a, index):
        pass

    def on_fill(self, a, index, part, lots, price, ts, signal):
        if index >= 2 * self.n:
            if a.position == 0:
                self.gone(a, ts)
            else:
                self.closing = True
                a.withdraw(range(2 * self.n))
            return
        cell = self.cells[part]
        cell.held += lots if index < self.n else -lots
        if cell.held == 0:
            self.price_cell(a, part)
        if self.closing:
            return
        if a.position == 0 and (self.low_stop, self.high_stop) != (self.range_low, self.range_high):
            self.low_stop, self.high_stop = self.range_low, self.range_high
            self.wish_all(a)
            return
        self.wish_cell(a, part)
        self.wish_stop(a)

    # Laying.

    def lay(self, a):
        half = self.p.range_factor * self.atr.value
        lower = self.p.lower if self.p.lower is not None else a.price - half
        upper = self.p.upper if self.p.upper is not None else a.price + half
        if lower <= 0 or self.atr.value == 0:
            return
        self.stands, self.closing = True, False
        self.peak, self.laid_target = a.equity(a.close), a.target
        self.take_range(a, lower, upper)
        self.low_stop, self.high_stop = self.range_low, self.range_high
        self.wish_all(a)

    def shift(self, a):
        half = (self.upper - self.lower) / 2
        if self.p.trailing == "atr" and self.p.lower is None:
            half = self.p.range_factor * self.atr.value
        if a.price - half <= 0 or half <= 0:
            return
        low, high = self.low_stop, self.high_stop
        self.take_range(a, a.price - half, a.price + half)
        self.low_stop = max(low, self.range_low) if a.position > 0 else self.range_low
        self.high_stop = min(high, self.range_high) if a.position < 0 else self.range_high
        self.wish_all(a)

    def take_range(self, a, lower, upper):
        tick = a.instrument.tick_size
        self.lower, self.upper, self.centre, self.laid_at = lower, upper, a.price, a.time
        self.range_low = down(lower * (1 - self.p.stop_loss) / tick)
        self.range_high = up(upper * (1 + self.p.stop_loss) / tick)
        buys = sells = D(0)
        for i in range(self.n):
            side = self.side_of(a, self.level(i))
            if side:
                entry = a.away(side, self.level(i), stop=False)
                if side > 0:
                    buys += D(entry - self.range_low) / entry
                else:
                    sells += D(self.range_high - entry) / entry
        self.notional = a.affordable() / self.n
        if max(buys, sells) > 0:
            self.notional = min(self.notional, self.p.risk_budget * a.target / max(buys, sells))
        for i, cell in enumerate(self.cells):
            if cell.held == 0:
                self.price_cell(a, i)

    def level(self, i):
        if self.p.spacing == "geometric":
            return self.lower * (self.upper / self.lower) ** (D(i) / (self.n - 1))
        return self.lower + i * (self.upper - self.lower) / (self.n - 1)

    def side_of(self, a, level):
        direction = self.p.direction if a.instrument.linear else "long"
        below = level < self.centre
        above = level > self.centre
        if direction == "long":
            return 1 if below or self.p.initial_inventory else 0
        if direction == "short":
            return -1 if above or self.p.initial_inventory else 0
        return 1 if below else -1 if above else 0

    def price_cell(self, a, i):
        cell, level = self.cells[i], self.level(i)
        cell.side = self.side_of(a, level)
        if cell.side == 0:
            cell.lots = 0
            return
        cell.entry = a.away(cell.side, level, stop=False)
        if cell.side > 0:
            cell.counter = up(cell.entry * (1 + self.p.profit_per_grid))
        else:
            cell.counter = down(cell.entry * (1 - self.p.profit_per_grid))
        cell.lots = a.lots_for(self.notional, cell.entry * a.instrument.tick_size)

    # Wishes.

    def wish_all(self, a):
        for i in range(self.n):
            self.wish_cell(a, i)
        self.wish_stop(a)

    def wish_cell(self, a, i):
        cell = self.cells[i]
        inside = cell.entry > self.low_stop if cell.side > 0 else cell.side < 0 and cell.entry < self.high_stop
        a.wish(i, "limit", cell.side, cell.entry, cell.lots - cell.held if inside else 0, "ENTRY", i)
        a.wish(self.n + i, "limit", -cell.side, cell.counter, cell.held, "GRID_COUNTER", i)

    def wish_stop(self, a):
        side, price = (-1, self.low_stop) if a.position > 0 else (1, self.high_stop)
        a.wish(2 * self.n, "stop", side, price, abs(a.position), "EXIT_SL")

    def close(self, a, opened):
        if a.position == 0:
            self.gone(a, opened)
            return
        a.withdraw(range(self.slots))
        self.closing = True
        a.wish(2 * self.n + 1, "market", -1 if a.position > 0 else 1, 0, abs(a.position), "EXIT_SL")

    def gone(self, a, ts):
        a.withdraw(range(self.slots))
        for cell in self.cells:
            cell.held = 0
        self.stands = self.closing = False
        self.cooldown_end = ts + int(self.p.cooldown_hours * HOUR)


class Ema:
    def __init__(self, period):
        self.alpha, self.value = D(2) / (period + 1), None

    def add(self, x):
        self.value = x if self.value is None else self.value + self.alpha * (x - self.value)


class Rsi:
    def __init__(self):
        self.before, self.gain, self.loss, self.value = None, Wilder(14), Wilder(14), D(50)

    def add(self, close):
        if self.before is not None:
            self.gain.add(max(close - self.before, D(0)))
            self.loss.add(max(self.before - close, D(0)))
        both = self.gain.value + self.loss.value
        self.value = 100 * self.gain.value / both if both else D(50)
        self.before = close


class Adx:
    def __init__(self):
        self.before, self.moves = None, 0
        self.plus = self.minus = self.range = D(0)
        self.smooth = Wilder(14)

    def add(self, high, low, close):
        if self.before is not None:
            self.moves += 1
            h, lo, c = self.before
            rise, fall = high - h, lo - low
            decay = D(1) / 14 if self.moves >= 14 else D(0)
            self.plus += (rise if rise > fall and rise > 0 else 0) - self.plus * decay
            self.minus += (fall if fall > rise and fall > 0 else 0) - self.minus * decay
            self.range += max(high, c) - min(low, c) - self.range * decay
            if self.moves >= 14 and self.range > 0 and self.plus + self.minus > 0:
                self.smooth.add(100 * abs(self.plus - self.minus) / (self.plus + self.minus))
        self.before = high, low, close


class Dca:
    def __init__(self, **parameters):
        self.p = SimpleNamespace(**parameters)
        self.timeframe_ms, self.warmup_bars = self.p.timeframe_ms, self.p.warmup_bars
        self.n = self.p.max_safety_orders
        self.slots = self.n + 3
        self.way = 1 if self.p.direction == "long" else -1
        self.fast, self.slow, self.rsi, self.adx = Ema(12), Ema(26), Rsi(), Adx()
        self.rows: list[tuple[Decimal, ...]] = []
        self.hours: dict[int, Decimal] = {}
        self.days: dict[int, Decimal] = {}
        self.confirmed, self.deal, self.laid, self.armed = 0, False, False, False
        self.deal_end, self.last_entry = 0, 0

    def on_signal(self, a, bar):
        ts, open_, high, low, close, volume = bar
        self.fast.add(close)
        self.slow.add(close)
        self.rsi.add(close)
        self.adx.add(high, low, close)
        self.rows = [*self.rows, bar][-20:]
        self.hours[ts // HOUR] = self.hours.get(ts // HOUR, D(0)) + volume
        self.days[ts // DAY] = self.days.get(ts // DAY, D(0)) + volume
        score = self.score(ts, close)
        rested = a.time >= self.deal_end + self.p.deal_cooldown_seconds * 1000
        free = a.may_enter and not self.deal and a.position == 0 and rested
        calm = abs(close / open_ - 1) <= self.p.spike
        self.confirmed = self.confirmed + 1 if free and calm and score >= self.p.confluence - D("1e-9") else 0
        if self.confirmed >= self.p.min_confirmations:
            self.confirmed = 0
            self.open(a)

    def score(self, ts, close):
        p, way = self.p, self.way
        passed = D(2)
        if (self.slow.value - self.fast.value) * way > 0 and self.adx.smooth.value >= p.adx_min:
            passed += 3
        closes = [row[4] for row in self.rows]
        middle = sum(closes) / len(closes)
        deviation = (sum((c - middle) ** 2 for c in closes) / len(closes)).sqrt()
        if way > 0:
            near = close <= min(row[3] for row in self.rows) * (1 + p.price_zone)
            stretched = [self.rsi.value < p.rsi_limit, close <= (middle - 2 * deviation) * (1 + p.band_tolerance)]
        else:
            near = close >= max(row[2] for row in self.rows) * (1 - p.price_zone)
            stretched = [self.rsi.value > 100 - p.rsi_limit, close >= (middle + 2 * deviation) * (1 - p.band_tolerance)]
        stretched.append(self.volume_ratio(ts) >= p.volume_ratio)
        return (passed + (2 if near else 0) + D(2) * sum(stretched) / 3) / 9

    def volume_ratio(self, ts):
        complete = [self.days[day] for day in sorted(self.days) if day < ts // DAY][-30:]
        if not complete or sum(complete) == 0:
            return D(0)
        recent = sum(self.hours.get(ts // HOUR - k, D(0)) for k in range(24))
        return recent / (sum(complete) / len(complete))

    def rung(self, reference, order):
        distance = sum(self.p.step * self.p.step_multiplier**k for k in range(order))
        return reference * (1 - self.way * distance), self.p.safety_ratio * self.p.volume_multiplier ** (order - 1)

    def open(self, a):
        reference, way = a.price, self.way
        stop = reference * (1 - way * self.p.stop_loss)
        rungs = [(reference, D(1))] + [self.rung(reference, order) for order in range(1, self.n + 1)]
        loss = sum(weight * way * (price - stop) / price for price, weight in rungs)
        weights = sum(weight for _, weight in rungs)
        self.unit = min(a.affordable() / weights, self.p.risk_budget * a.target / loss)
        lots = a.lots_for(self.unit, reference)
        if lots:
            a.wish(0, "market", way, 0, lots, "ENTRY")
            self.deal, self.laid, self.armed = True, False, False

    def on_refused(self, a, index):
        if index == 0 and a.position == 0:
            self.deal = False

    def on_fill(self, a, index, part, lots, price, ts, signal):
        if a.position == 0:
            a.withdraw(range(self.slots))
            self.deal, self.deal_end = False, ts
            return
        if signal == "ENTRY":
            self.last_entry = ts
            if not self.laid:
                self.lay_ladder(a, price)
        else:
            a.withdraw(range(self.n + 1))
        self.wish_exits(a)

    def lay_ladder(self, a, base):
        self.laid = True
        self.stop = a.away(-self.way, base * (1 - self.way * self.p.stop_loss), stop=True)
        for order in range(1, self.n + 1):
            price, weight = self.rung(base, order)
            ticks = a.away(self.way, price, stop=False)
            lots = a.lots_for(self.unit * weight, ticks * a.instrument.tick_size)
            a.wish(order, "limit", self.way, ticks, lots, "ENTRY")

    def average(self, a):
        return a.cost / (a.position * a.instrument.lot_size)

    def wish_exits(self, a):
        lots, way = abs(a.position), self.way
        if not self.p.trailing:
            price = a.away(-way, self.average(a) * (1 + way * self.p.take_profit), stop=False)
            a.wish(self.n + 1, "limit", -way, price, lots, "EXIT_TP")
        if a.slots[self.n + 2].kind == "market":
            return
        beyond = (self.stop * a.instrument.tick_size - self.average(a)) * way > 0
        a.wish(self.n + 2, "stop", -way, self.stop, lots, "EXIT_TP" if self.armed and beyond else "EXIT_SL")

    def on_base(self, a, bar, *, paid):
        ts, _, high, low, _, _ = bar
        if not self.p.trailing or a.position == 0 or ts <= self.last_entry:
            return
        way, best = self.way, high if self.way > 0 else low
        if self.armed:
            moved = way * max(way * self.best, way * best)
            if moved == self.best:
                return
            self.best = moved
        elif (best - self.average(a) * (1 + way * self.p.trail_activation)) * way >= 0:
            self.armed, self.best = True, best
        else:
            return
        trail = a.away(-way, self.best * (1 - way * self.p.trail_distance), stop=True)
        self.stop = max(self.stop, trail) if way > 0 else min(self.stop, trail)
        self.wish_exits(a)
