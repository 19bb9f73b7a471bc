"""The grid once more, in slow plain Decimal, written from docs/execution.md (section 4) alone."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tests.oracle.exchange import (
    BUY,
    ENTRY,
    EXIT_SL,
    GRID_COUNTER,
    LIMIT,
    MARKET,
    SELL,
    STOP,
    Bar,
    Exchange,
    Fill,
)
from tests.oracle.indicators import Atr
from tests.oracle.numbers import ZERO, Exact, away_limit, tolerance, whole_down, whole_up

HOUR, MINUTE, DAY = 3_600_000, 60_000, 86_400_000


@dataclass
class GridParameters(Exact):
    timeframe_ms: int = 3_600_000
    warmup_bars: int = 200
    levels: int = 15
    spacing: str = "arithmetic"
    range_factor: Decimal = Decimal(3)
    atr_period: int = 14
    lower: Decimal | None = None
    upper: Decimal | None = None
    profit_per_grid: Decimal = Decimal("0.005")
    direction: str = "neutral"
    initial_inventory: bool = False
    stop_loss: Decimal = Decimal("0.05")
    max_drawdown: Decimal = Decimal("0.1")
    cooldown_hours: Decimal = Decimal(4)
    trailing: str = "off"
    shift_threshold: Decimal = Decimal("0.005")
    shift_cooldown_minutes: Decimal = Decimal(60)
    max_age_days: Decimal | None = None
    risk_budget: Decimal = Decimal("0.1")
    turning_entries: str = "suspend"


@dataclass
class Cell:
    """A level: where it enters, where it counters, for how much, and what it holds."""

    side: int = 0  # 0: none
    entry: int = 0
    counter: int = 0
    size: int = 0
    held: int = 0

    def take(self, plan: Cell) -> None:
        """Become what the current range plans for this cell."""
        self.side, self.entry, self.counter, self.size = plan.side, plan.entry, plan.counter, plan.size


@dataclass
class Range:
    """Bounds in ticks, the stops outside of them and what each cell does between them."""

    lower: Decimal
    upper: Decimal
    low_stop: int
    high_stop: int
    cells: list[Cell]


def sign(position: int) -> int:
    return (position > 0) - (position < 0)


class Grid:
    """Cells of fixed pairs of prices, one stop for all they hold."""

    def __init__(self, parameters: GridParameters) -> None:
        self.parameters = parameters
        self.timeframe_ms, self.warmup_bars = parameters.timeframe_ms, parameters.warmup_bars
        self.stop_slot, self.close_slot = 2 * parameters.levels, 2 * parameters.levels + 1
        self.slots = 2 * parameters.levels + 2
        self.atr = Atr(parameters.atr_period)
        self.cells = [Cell() for _ in range(parameters.levels)]
        self.range: Range | None = None  # None while no grid stands
        self.closing = False
        self.low_stop = self.high_stop = 0
        self.sign = 0  # of the position when the cells were wished last
        self.laid = 0  # time of the last laying or shift
        self.cooldown_end: Decimal | None = None
        self.target = self.highest = ZERO

    # What it hears

    def base(self, exchange: Exchange) -> None:
        self._check_drawdown(exchange)
        if self.range is None or self.closing or self.parameters.trailing == "off":
            return
        close, threshold = exchange.bar.close, self.parameters.shift_threshold
        outside = close > self.range.upper * (1 + threshold) or close < self.range.lower * (1 - threshold)
        if outside and exchange.closed - self.laid >= self.parameters.shift_cooldown_minutes * MINUTE:
            self._shift(exchange)

    def signal(self, exchange: Exchange, bar: Bar) -> None:
        self.atr.update(bar.high, bar.low, bar.close)
        if self.range is None:
            self._lay(exchange)
            return
        self.highest = max(self.highest, exchange.equity(bar.close))
        age = self.parameters.max_age_days
        movable = self.parameters.trailing != "off" and not self.closing
        if movable and age is not None and age > 0 and exchange.closed - self.laid >= age * DAY:
            self._shift(exchange)

    def fill(self, exchange: Exchange, fill: Fill) -> None:
        if fill.slot >= self.stop_slot:
            self._exit_filled(exchange)
        else:
            self._cell_filled(exchange, fill)

    def refused(self, exchange: Exchange, slot: int) -> None:
        """A refused order stays withdrawn until its cell is wished anew."""

    # Ranges

    def _lay(self, exchange: Exchange) -> None:
        cooled = self.cooldown_end is None or exchange.closed >= self.cooldown_end
        if not exchange.may_enter or exchange.position != 0 or not cooled:
            return
        centre, tick = exchange.bar.close, exchange.instrument.tick_size
        half = self.parameters.range_factor * self.atr.value
        lower = centre - half if self.parameters.lower is None else self.parameters.lower / tick
        upper = centre + half if self.parameters.upper is None else self.parameters.upper / tick
        if lower <= 0 or self.atr.value == 0:
            return
        self.target = exchange.target
        self.highest = exchange.equity(centre)
        self._stand_on(exchange, self._plan(exchange, lower, upper, centre))

    def _shift(self, exchange: Exchange) -> None:
        """Lay the range again around the price; what is held keeps its prices and its stop."""
        assert self.range is not None
        fixed = self.parameters.lower is not None and self.parameters.upper is not None
        if self.parameters.trailing == "fixed" or fixed:
            half = (self.range.upper - self.range.lower) / 2
        else:
            half = self.parameters.range_factor * self.atr.value
        centre = exchange.bar.close
        if centre - half <= 0 or half <= 0:
            return
        self._stand_on(exchange, self._plan(exchange, centre - half, centre + half, centre))

    def _stand_on(self, exchange: Exchange, plan: Range) -> None:
        low, high = plan.low_stop, plan.high_stop
        if exchange.position > 0:
            low = max(self.low_stop, low)
        elif exchange.position < 0:
            high = min(self.high_stop, high)
        self.low_stop, self.high_stop, self.range, self.laid = low, high, plan, exchange.closed
        for cell, planned in zip(self.cells, plan.cells, strict=True):
            if cell.held == 0:
                cell.take(planned)
        self._set_all(exchange)

    def _plan(self, exchange: Exchange, lower: Decimal, upper: Decimal, centre: Decimal) -> Range:
        low_stop = whole_down(lower * (1 - self.parameters.stop_loss))
        high_stop = whole_up(upper * (1 + self.parameters.stop_loss))
        linear = exchange.instrument.linear
        cells = [self._cell(level, centre, linear) for level in self._levels(lower, upper)]
        unit = self._unit(exchange, cells, low_stop, high_stop)
        for cell in cells:
            cell.size = exchange.instrument.lots_for(unit, cell.entry) if cell.side else 0
        return Range(lower, upper, low_stop, high_stop, cells)

    def _levels(self, lower: Decimal, upper: Decimal) -> list[Decimal]:
        steps = self.parameters.levels - 1
        if self.parameters.spacing == "arithmetic":
            return [lower + i * (upper - lower) / steps for i in range(steps + 1)]
        return [lower * (upper / lower) ** (Decimal(i) / steps) for i in range(steps + 1)]

    def _cell(self, level: Decimal, centre: Decimal, linear: bool) -> Cell:
        side = self._side(level, centre, linear)
        if side == 0:
            return Cell()
        entry, profit = away_limit(level, side), self.parameters.profit_per_grid
        if entry < 1:
            return Cell()
        counter = whole_up(entry * (1 + profit)) if side == BUY else whole_down(entry * (1 - profit))
        return Cell(side, entry, counter)

    def _side(self, level: Decimal, centre: Decimal, linear: bool) -> int:
        equal = abs(level - centre) < tolerance(centre)  # 40 digits may miss the middle by the last one
        below = level < centre and not equal
        above = level > centre and not equal
        direction = self.parameters.direction if linear else "long"
        if direction == "neutral":
            return BUY if below else SELL if above else 0
        if direction == "long":
            return BUY if below or self.parameters.initial_inventory else 0
        return SELL if above or self.parameters.initial_inventory else 0

    def _unit(self, exchange: Exchange, cells: list[Cell], low_stop: int, high_stop: int) -> Decimal:
        """The notional of a cell: what the target carries, and what the stop may lose of it."""
        bought = sum((Decimal(c.entry - low_stop) / c.entry for c in cells if c.side == BUY and c.entry), ZERO)
        sold = sum((Decimal(high_stop - c.entry) / c.entry for c in cells if c.side == SELL and c.entry), ZERO)
        unit, share = exchange.instrument.affordable(exchange.target) / len(cells), max(bought, sold)
        return min(unit, self.parameters.risk_budget * exchange.target / share) if share > 0 else unit

    # Desired orders

    def _suspends(self, exchange: Exchange) -> bool:
        neutral = self.parameters.direction == "neutral" and exchange.instrument.linear
        return neutral and self.parameters.turning_entries == "suspend"

    def _set_all(self, exchange: Exchange) -> None:
        self.sign = sign(exchange.position)
        for i in range(len(self.cells)):
            self._set_entry(exchange, i)
        for i in range(len(self.cells)):
            self._set_counter(exchange, i)
        self._set_stop(exchange)

    def _set_entry(self, exchange: Exchange, i: int) -> None:
        cell = self.cells[i]
        inside = cell.entry > self.low_stop if cell.side == BUY else cell.entry < self.high_stop
        quantity = cell.size - cell.held if cell.side and inside and exchange.may_enter else 0
        if self._suspends(exchange) and cell.side * exchange.position < 0:
            quantity = 0
        exchange.desired_order(i, cell.side, LIMIT, cell.entry, quantity, ENTRY)

    def _set_counter(self, exchange: Exchange, i: int) -> None:
        cell, number, side = self.cells[i], len(self.cells) + i, -self.cells[i].side
        stop = self.low_stop if side == BUY else self.high_stop
        against = self._suspends(exchange) and side * exchange.position < 0
        opens = self.parameters.direction == "neutral" and exchange.instrument.linear and not against
        reduces = not opens or side * (cell.counter - stop) <= 0
        own = exchange.slots[number]
        if own.quantity and own.only_reduces != reduces:
            exchange.withdraw(number)
        exchange.desired_order(number, side, LIMIT, cell.counter, cell.held, GRID_COUNTER)
        own.only_reduces = reduces

    def _set_stop(self, exchange: Exchange) -> None:
        side, price = (SELL, self.low_stop) if exchange.position > 0 else (BUY, self.high_stop)
        exchange.desired_order(self.stop_slot, side, STOP, price, abs(exchange.position), EXIT_SL)

    # Fills and ends

    def _cell_filled(self, exchange: Exchange, fill: Fill) -> None:
        levels = len(self.cells)
        i, cell = fill.slot % levels, self.cells[fill.slot % levels]
        cell.held += fill.lots if fill.slot < levels else -fill.lots
        assert self.range is not None
        if cell.held == 0:
            cell.take(self.range.cells[i])
        natural = self.range.low_stop, self.range.high_stop
        if exchange.position == 0 and (self.low_stop, self.high_stop) != natural:
            self.low_stop, self.high_stop = natural
            self._set_all(exchange)
            return
        if self._suspends(exchange) and sign(exchange.position) != self.sign:
            before, self.sign = self.sign, sign(exchange.position)
            for k, other in enumerate(self.cells):
                if other.side * self.sign < 0 or other.side * before < 0:
                    self._set_entry(exchange, k)
                if other.held:
                    self._set_counter(exchange, k)
        self._set_entry(exchange, i)
        self._set_counter(exchange, i)
        self._set_stop(exchange)

    def _exit_filled(self, exchange: Exchange) -> None:
        if exchange.position == 0:
            self._end(exchange)
            return
        self.closing = True
        for number in range(self.stop_slot):
            exchange.withdraw(number)

    def _check_drawdown(self, exchange: Exchange) -> None:
        if self.range is None or self.closing:
            return
        loss = self.highest - exchange.equity(exchange.bar.close)
        if loss <= self.parameters.max_drawdown * self.target:
            return
        if exchange.position == 0:
            self._end(exchange)
            return
        self.closing = True
        for number in range(self.stop_slot + 1):
            exchange.withdraw(number)
        side = SELL if exchange.position > 0 else BUY
        exchange.desired_order(self.close_slot, side, MARKET, 0, abs(exchange.position), EXIT_SL)

    def _end(self, exchange: Exchange) -> None:
        """The grid is gone; the next one waits for the cooldown, counted from this bar's opening."""
        for number in range(self.slots):
            exchange.withdraw(number)
        for cell in self.cells:
            cell.held = 0
        self.range, self.closing = None, False
        self.cooldown_end = exchange.opened + self.parameters.cooldown_hours * HOUR
