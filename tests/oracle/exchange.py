"""The simulated exchange once more, in slow plain Decimal, written from docs/execution.md (1-3) alone.

Prices are ticks, quantities lots, money Decimal. A strategy hears `base`, `signal`, `fill` and `refused`
and answers by `desired_order` and `clear_order` on the exchange that called it. Nothing of the product is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from tests.oracle.numbers import (
    BASIS_POINT,
    ONE,
    RELATIVE,
    ZERO,
    Exact,
    exact,
    in_ticks,
    whole_down,
    whole_up,
)

BUY, SELL = 1, -1
LIMIT, STOP, MARKET = "limit", "stop", "market"
ENTRY, GRID_COUNTER, EXIT_TP, EXIT_SL = "ENTRY", "GRID_COUNTER", "EXIT_TP", "EXIT_SL"
EXIT_TRANSITION, EXIT_EMERGENCY = "EXIT_TRANSITION", "EXIT_EMERGENCY"
OPENING_SIGNALS = (ENTRY, GRID_COUNTER)  # every other signal is reduce-only
FORCED_SIGNALS = (EXIT_TRANSITION, EXIT_EMERGENCY)
FIRST_GENERATION = 1
LIQUIDATION = -2  # the slot that a liquidation's fill names
FUNDING_MS = 8 * 3_600_000


@dataclass
class Instrument(Exact):
    tick_size: Decimal
    lot_size: Decimal
    min_quantity: Decimal = ZERO
    min_notional: Decimal = ZERO
    maker_fee: Decimal = ZERO
    taker_fee: Decimal = ZERO
    maintenance_margin: Decimal = ZERO
    leverage: Decimal = ONE
    linear: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.tick_value = self.tick_size * self.lot_size
        self.min_lots = max(whole_up(self.min_quantity / self.lot_size), 1)

    def lots_for(self, notional: Decimal, price: Decimal | int) -> int:
        """Lots that `notional` pays at a price in ticks; 0 if the venue would not take so few."""
        worth = price * self.tick_value
        lots = whole_down(notional / worth) if worth > 0 else 0
        return 0 if lots < self.min_lots or lots * worth < self.min_notional else lots

    def round_trip(self, entry: str, leave: str, slippage: Decimal) -> Decimal:
        """Costs of an entry and an exit of these kinds, fraction of the price."""
        return sum((self.maker_fee if kind == LIMIT else self.taker_fee + slippage for kind in (entry, leave)), ZERO)

    def affordable(self, target: Decimal) -> Decimal:
        """The notional that a target carries, fees of the way in and out put aside."""
        return target / (ONE / self.leverage + 2 * max(self.taker_fee, ZERO))


@dataclass
class Settings(Exact):
    capital: Decimal
    fill_rule: str = "through"
    path: str = "adverse"
    fill_policy: str = "next_open"
    slippage_bps: Decimal = ZERO
    slippage_ticks: Decimal = ZERO
    slippage_impact: Decimal = ZERO
    forced_exit_bps: Decimal = ZERO
    max_participation: Decimal = ONE
    funding_rate: Decimal = ZERO
    reinvest: bool = False
    start_ts: int = 0
    bar_ms: int = 60_000
    post_only: bool = False


class Bar(NamedTuple):
    """One candle, base or signal: prices in ticks, volume in base currency."""

    ts: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


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


class Strategy(Protocol):
    slots: int
    timeframe_ms: int
    warmup_bars: int

    def base(self, exchange: Exchange) -> None: ...
    def signal(self, exchange: Exchange, bar: Bar) -> None: ...
    def fill(self, exchange: Exchange, fill: Fill) -> None: ...
    def refused(self, exchange: Exchange, slot: int) -> None: ...


@dataclass(slots=True)
class Slot:
    """The desired order of a slot; none while `quantity` is 0."""

    number: int
    generation: int = FIRST_GENERATION - 1
    side: int = 0
    kind: str = ""
    price: int = 0
    quantity: int = 0
    signal: str = ""
    fresh: bool = False
    crossing: bool = False
    triggered: bool = False
    only_reduces: bool = False  # although its signal may open

    @property
    def immediate(self) -> bool:
        """Goes at once, wherever the price stands."""
        return self.kind == MARKET or self.triggered

    @property
    def reduce_only(self) -> bool:
        return self.only_reduces or self.signal not in OPENING_SIGNALS

    @property
    def falling(self) -> bool:
        """Is reached by a falling price: stop sells and limit buys."""
        return (self.kind == STOP) == (self.side == SELL)


class Hit(NamedTuple):
    """An order that is reached next: sorts by what goes first; `where` the path then stands."""

    later: bool  # market orders and crossing limits before all others
    gap: Decimal  # way to go until it is reached; negative when passed already
    rank: int  # stop 0, limit 1, liquidation 2
    slot: int
    where: Decimal


def path_of(bar: Bar, rule: str, position: int) -> list[Decimal]:
    """The points O, extreme, other extreme, C in the order of section 2."""
    to_low, to_high = bar.open - bar.low, bar.high - bar.open
    low_first = bar.close >= bar.open if to_low == to_high else to_low < to_high
    if rule == "adverse" and position != 0:
        low_first = position > 0
    return [bar.open, *((bar.low, bar.high) if low_first else (bar.high, bar.low)), bar.close]


class Exchange:
    """One pair, one strategy, one purse, played over recorded bars."""

    def __init__(self, instrument: Instrument, settings: Settings, strategy: Strategy) -> None:
        self.instrument, self.settings, self.strategy = instrument, settings, strategy
        self.slots = [Slot(i) for i in range(strategy.slots)]
        self.cash = settings.capital
        self.position = 0
        self.target = settings.capital
        self.may_enter = False
        self.seen = ZERO  # the last price: a close or a fill's, ticks
        self.fills: list[Fill] = []
        self.bar = Bar(0, ZERO, ZERO, ZERO, ZERO, ZERO)
        self.left = 0  # lots that this bar's participation still allows
        self.fills_before = 0  # how many fills there were when this bar opened
        self.signal_bars = 0
        self.bucket: tuple[Bar, int] | None = None
        self.ended = False
        self.reach: tuple[bool, Decimal | None, Decimal | None] | None = None

    # What a strategy may ask and say

    @property
    def opened(self) -> int:
        return self.bar.ts

    @property
    def closed(self) -> int:
        return self.bar.ts + self.settings.bar_ms

    def equity(self, price: Decimal) -> Decimal:
        return self.cash + self.position * price * self.instrument.tick_value

    def clear_order(self, number: int) -> None:
        slot = self.slots[number]
        slot.quantity = 0
        slot.fresh = slot.crossing = slot.triggered = False
        self.reach = None

    def desired_order(self, number: int, side: int, kind: str, price: int, quantity: int, signal: str) -> None:
        """Set the order of a slot; an entry before entries are allowed, or under one lot or tick, is cancelled."""
        nowhere = price < 1 and kind != MARKET
        if quantity < 1 or nowhere or (signal == ENTRY and not self.may_enter):
            self.clear_order(number)
            return
        slot = self.slots[number]
        if slot.quantity == 0 or (slot.side, slot.kind) != (side, kind):
            slot.generation += 1
        if slot.quantity == 0 or (slot.side, slot.kind, slot.price) != (side, kind, price):
            slot.triggered = slot.triggered and (slot.side, slot.kind) == (side, kind)
            slot.fresh, slot.crossing = True, False
        slot.side, slot.kind, slot.price, slot.quantity, slot.signal = side, kind, price, quantity, signal
        slot.only_reduces = False
        self.reach = None

    # One bar

    def play(self, bar: Bar, last: bool) -> None:
        previous, self.bar = self.bar, bar
        if self.bucket is not None:  # not the first bar
            self._fund(previous.ts, bar)
            self._look(previous.close)
        self.fills_before = len(self.fills)
        self.left = self._participation(bar)
        if bar.volume > 0 and not self._out_of_reach(bar):
            points = path_of(bar, self.settings.path, self.position)
            self._travel(bar.open, bar.open, opening=True)
            for x, y in zip(points, points[1:], strict=False):
                self._travel(x, y)
        if not self.ended:
            begun = self.bucket is not None and previous.ts >= self.settings.start_ts
            self._close(bar, last, begun)

    def _fund(self, previous_ts: int, bar: Bar) -> None:
        if not self.instrument.linear or self.position == 0:
            return
        boundaries = bar.ts // FUNDING_MS - previous_ts // FUNDING_MS
        worth = self.position * bar.open * self.instrument.tick_value
        self.cash -= boundaries * worth * self.settings.funding_rate
        self.reach = None

    def _participation(self, bar: Bar) -> int:
        return whole_down(bar.volume * self.settings.max_participation / self.instrument.lot_size)

    def _close(self, bar: Bar, last: bool, begun: bool) -> None:
        self.seen = bar.close
        if self.equity(bar.close) <= 0:
            self.ended = True
            return
        if not self.may_enter and begun and self.signal_bars >= self.strategy.warmup_bars:
            self.may_enter = True
            self._set_target()
        self.strategy.base(self)
        complete = self._collect(bar)
        if complete is not None:
            self._signal(complete)
        if self.settings.fill_policy == "close" and bar.volume > 0 and not last:
            self._look(bar.close)
            self._travel(bar.close, bar.close, at_close=True)

    def _signal(self, signal_bar: Bar) -> None:
        self.signal_bars += 1
        warm = self.signal_bars >= self.strategy.warmup_bars
        self.may_enter = warm and self.bar.ts >= self.settings.start_ts
        self._set_target()
        self.strategy.signal(self, signal_bar)

    def _set_target(self) -> None:
        equity = self.equity(self.bar.close)
        self.target = equity if self.settings.reinvest else min(equity, self.settings.capital)

    def _collect(self, bar: Bar) -> Bar | None:
        """Add a base bar to the signal bar it belongs to; give that one if it is whole now."""
        step, length = self.settings.bar_ms, self.strategy.timeframe_ms
        start = bar.ts - bar.ts % length
        if self.bucket is None or self.bucket[0].ts != start:
            self.bucket = (bar._replace(ts=start), 1)
        else:
            so_far, count = self.bucket
            grown = Bar(
                start,
                so_far.open,
                max(so_far.high, bar.high),
                min(so_far.low, bar.low),
                bar.close,
                so_far.volume + bar.volume,
            )
            self.bucket = (grown, count + 1)
        whole = bar.ts + step == start + length and self.bucket[1] == length // step
        return self.bucket[0] if whole else None

    # Fresh orders

    def _look(self, market: Decimal) -> None:
        """See which fresh limits cross the market price, and which others do no more; post-only ones are refused."""
        self._settle(market)
        while True:
            slot = next((s for s in self.slots if s.fresh), None)
            if slot is None:
                return
            slot.fresh = False
            crosses = slot.kind == LIMIT and slot.side * (slot.price - market) >= 0
            if crosses and self.settings.post_only:
                self._refuse(slot)
            elif crosses:
                slot.crossing = True
                self.reach = None

    def _settle(self, market: Decimal) -> None:
        """Let crossing limits rest that the market price does not allow."""
        for slot in self.slots:
            if slot.crossing and slot.side * (slot.price - market) < 0:
                slot.crossing = False
                self.reach = None

    def _refuse(self, slot: Slot) -> None:
        self.clear_order(slot.number)
        self.strategy.refused(self, slot.number)

    # Along the path

    def _travel(self, x: Decimal, y: Decimal, *, opening: bool = False, at_close: bool = False) -> None:
        while not self.ended:
            hit = self._first(x, y, at_close)
            if hit is None:
                return
            if hit.slot == LIQUIDATION:
                self._liquidate()
                return
            self._execute(hit, x, opening)
            x = hit.where
            self._look(x)

    def _first(self, x: Decimal, y: Decimal, at_close: bool) -> Hit | None:
        self._settle(x)
        slots = self.slots if self.left > 0 else []
        hits = [hit for slot in slots if (hit := self._hit(slot, x, y, at_close)) is not None]
        liquidation = self._liquidation_price()
        if liquidation is not None:
            hit = reached(Decimal(liquidation), self.position > 0, 2, LIQUIDATION, x, y)
            hits += [hit] if hit is not None else []
        return min(hits, default=None)

    def _hit(self, slot: Slot, x: Decimal, y: Decimal, at_close: bool) -> Hit | None:
        """Where this slot is reached on the way from x to y, if it is."""
        if slot.quantity == 0 or self._closable(slot) == 0:
            return None
        if slot.immediate or slot.crossing:
            return Hit(False, ZERO, 0, slot.number, x)
        if slot.kind == LIMIT and at_close:
            return None
        rank = 0 if slot.kind == STOP else 1
        return reached(self._level(slot), slot.falling, rank, slot.number, x, y)

    def _level(self, slot: Slot) -> Decimal:
        """The price that reaches an order: a stop's trigger, a limit's price or one tick beyond it."""
        beyond = 1 if slot.kind == LIMIT and self.settings.fill_rule == "through" else 0
        return Decimal(slot.price - slot.side * beyond)

    def _closable(self, slot: Slot) -> int:
        """How many lots the position lets this order fill; all of it if it may open."""
        against = max(-slot.side * self.position, 0)
        spot_sale = not self.instrument.linear and slot.side == SELL
        return min(slot.quantity, against) if slot.reduce_only or spot_sale else slot.quantity

    def _execute(self, hit: Hit, x: Decimal, opening: bool) -> None:
        slot = self.slots[hit.slot]
        quantity = min(self._closable(slot), self.left)
        passed = hit.gap <= 0
        taker = slot.kind != LIMIT or slot.crossing
        if taker:
            price = self._slipped(slot, hit.where, quantity)
        else:
            price = improved(slot, x) if opening and passed else slot.price
        slot.triggered = slot.triggered or slot.kind == STOP
        self.reach = None
        fee_rate = self.instrument.taker_fee if taker else self.instrument.maker_fee
        notional = price * quantity * self.instrument.tick_value
        if self._funded(slot, quantity, price, notional, notional * fee_rate, hit.where):
            self._book(slot, quantity, price, "taker" if taker else "maker", notional * fee_rate)
        else:
            self._refuse(slot)

    def _slipped(self, slot: Slot, aim: Decimal, quantity: int) -> int:
        settings = self.settings
        slippage = settings.slippage_bps * BASIS_POINT
        slippage += settings.slippage_impact * (quantity * self.instrument.lot_size / self.bar.volume)
        if slot.signal in FORCED_SIGNALS:
            slippage += settings.forced_exit_bps * BASIS_POINT
        if slot.side == BUY:
            price = whole_up(aim * (1 + slippage) + settings.slippage_ticks)
            return max(min(price, slot.price) if slot.kind == LIMIT else price, 1)
        price = whole_down(aim * (1 - slippage) - settings.slippage_ticks)
        return max(price, slot.price if slot.kind == LIMIT else 1, 1)

    def _funded(self, slot: Slot, quantity: int, price: int, notional: Decimal, fee: Decimal, where: Decimal) -> bool:
        """Whether the purse carries a position that grows."""
        after = self.position + slot.side * quantity
        if abs(after) <= abs(self.position):
            return True
        allowance = RELATIVE * notional
        if self.instrument.linear:
            margin = abs(after) * price * self.instrument.tick_value / self.instrument.leverage
            return margin <= self.equity(where) - fee + allowance
        return notional + fee <= self.cash + allowance

    def _book(self, slot: Slot, quantity: int, price: int, liquidity: str, fee: Decimal) -> None:
        self.cash -= slot.side * quantity * price * self.instrument.tick_value + fee
        self.position += slot.side * quantity
        self.seen = Decimal(price)
        self.left -= quantity
        slot.quantity -= quantity
        fill = Fill(
            self.bar.ts,
            slot.number,
            slot.generation,
            slot.side,
            price,
            quantity,
            slot.signal,
            liquidity,
            self.position,
        )
        if slot.quantity == 0:
            self.clear_order(slot.number)
        self.fills.append(fill)
        if len(self.fills) - self.fills_before > 64 + 8 * len(self.slots):
            raise RuntimeError(f"too many fills in the bar of {self.bar.ts}")
        self.strategy.fill(self, fill)

    # Liquidation

    def _liquidation_price(self) -> int | None:
        """Where equity is the maintenance margin; None while there is no such price above 0."""
        if not self.instrument.linear or self.position == 0:
            return None
        side = 1 if self.position > 0 else -1
        lots = abs(self.position) * self.instrument.tick_value
        price = -side * self.cash / (lots * (1 - side * self.instrument.maintenance_margin))
        ticks = whole_up(price) if side > 0 else whole_down(price)
        return ticks if ticks > 0 or side < 0 else None

    def _liquidate(self) -> None:
        price = self._liquidation_price()
        assert price is not None
        side, lots = (SELL if self.position > 0 else BUY), abs(self.position)
        self.position, self.cash, self.ended = 0, ZERO, True
        self.fills.append(Fill(self.bar.ts, LIQUIDATION, 0, side, price, lots, EXIT_EMERGENCY, "taker", 0))

    # Speed: most bars reach nothing

    def _out_of_reach(self, bar: Bar) -> bool:
        """True only if no order and no liquidation lies within the bar; remembered until an order changes."""
        if self.reach is None:
            self.reach = self._bounds()
        at_once, below, above = self.reach
        lowest, highest = min(bar[1:5]), max(bar[1:5])
        return not at_once and (below is None or lowest > below) and (above is None or highest < above)

    def _bounds(self) -> tuple[bool, Decimal | None, Decimal | None]:
        """Does anything go at once; the highest level a fall reaches; the lowest a rise reaches."""
        active = [s for s in self.slots if s.quantity]
        below = [self._level(s) for s in active if not s.immediate and s.falling]
        above = [self._level(s) for s in active if not s.immediate and not s.falling]
        liquidation = self._liquidation_price()
        if liquidation is not None:
            (below if self.position > 0 else above).append(Decimal(liquidation))
        at_once = any(s.immediate or s.crossing for s in active)
        return at_once, max(below, default=None), min(above, default=None)


def reached(level: Decimal, falling: bool, rank: int, slot: int, x: Decimal, y: Decimal) -> Hit | None:
    """The hit of an order that waits at `level`: at x if x has passed it, else on the way to y."""
    gap, direction = (x - level, x - y) if falling else (level - x, y - x)
    if gap <= 0:
        return Hit(True, gap, rank, slot, x)
    return Hit(True, gap, rank, slot, level) if gap <= direction else None


def improved(slot: Slot, x: Decimal) -> int:
    """The opening's price for a limit that it has passed: a whole tick, never beyond the limit."""
    return min(whole_up(x), slot.price) if slot.side == BUY else max(whole_down(x), slot.price)


def to_bars(rows: Iterable[Sequence[Any]], instrument: Instrument) -> list[Bar]:
    """Candles (ts_ms, open, high, low, close, volume) with their prices in ticks."""
    return [
        Bar(int(row[0]), *(in_ticks(price, instrument.tick_size) for price in row[1:5]), exact(row[5])) for row in rows
    ]


def run(bars: Iterable[Sequence[Any]], instrument: Instrument, settings: Settings, strategy: Strategy) -> list[Fill]:
    """Play the candles and give every fill, in order."""
    return play(bars, instrument, settings, strategy).fills


def play(bars: Iterable[Sequence[Any]], instrument: Instrument, settings: Settings, strategy: Strategy) -> Exchange:
    """Play the candles and give the exchange as it stands at the end."""
    exchange = Exchange(instrument, settings, strategy)
    candles = to_bars(bars, instrument)
    for number, bar in enumerate(candles):
        exchange.play(bar, last=number == len(candles) - 1)
        if exchange.ended:
            break
    return exchange
