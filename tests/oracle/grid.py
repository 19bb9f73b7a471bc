"""The grid once more, in slow plain Decimal, written from docs/execution.md (section 4) alone."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from tests.oracle.exchange import (
    BUY,
    ENTRY,
    EXIT_SL,
    EXIT_TP,
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
from tests.oracle.numbers import RELATIVE, ZERO, Exact, away_limit, tolerance, whole_down, whole_up

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
    min_cell_profit: Decimal = Decimal("0.5")
    counter: str = "profit"
    start: str = "at_signal_bar"
    trigger_price: Decimal | None = None
    take_profit: Decimal | None = None
    take_profit_share: Decimal | None = None
    stop_price: Decimal | None = None
    stop_share: Decimal | None = None
    on_stop: str = "close"
    trailing_limit_upper: Decimal | None = None
    trailing_limit_lower: Decimal | None = None
    infinity: bool = False
    reinvest: str = "off"
    profit_lock: Decimal = Decimal(0)
    activation_band: Decimal | None = None
    max_open_orders: int | None = None


@dataclass
class Cell:
    """A level: where it enters, where it counters, for how much, and what it holds."""

    side: int = 0  # 0: none
    entry: int = 0
    counter: int = 0
    size: int = 0
    held: int = 0
    entry_waits: bool = False
    counter_waits: bool = False

    def take(self, plan: Cell) -> None:
        """Become what the current range plans for this cell."""
        self.side, self.entry, self.counter, self.size = plan.side, plan.entry, plan.counter, plan.size


@dataclass
class Range:
    """Bounds in ticks, the stops outside of them and what each cell does between them.

    `first` is the number of the window's lowest level, counted from the level that was the lowest when it was laid.
    """

    lower: Decimal
    upper: Decimal
    low_stop: int
    high_stop: int
    cells: list[Cell]
    unit: Decimal = ZERO  # notional of a cell for each unit of capital
    first: int = 0
    purchase: int = 0  # infinity: lots bought first
    split: int = 0  # infinity: number of the lowest level whose cell is bought first


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
        self.closing = self.kept = self.finished = False
        self.low_stop = self.high_stop = 0
        self.sign = 0  # of the position when the cells were wished last
        self.laid = 0  # time of the last laying or shift
        self.cooldown_end: Decimal | None = None
        self.target = self.highest = self.laid_equity = ZERO
        self.levels: list[Decimal] = []  # at the laying: lowest and highest
        self.centre = ZERO
        self.trigger_side: int | None = None
        self.triggered = parameters.trigger_price is None
        self.stop_side = self.take_side = 0
        self.invested: Decimal | None = None
        self.begun_equity = self.realised = self.locked = ZERO
        self.core = self.to_buy = 0
        self.notional = ZERO  # of a cell, now

    # What it hears

    def base(self, exchange: Exchange) -> None:
        if self.range is None:
            self._wait(exchange)
        elif not self.closing and not self._check_drawdown(exchange) and not self._check_exits(exchange):
            self._move(exchange)
        self._activate(exchange)

    def signal(self, exchange: Exchange, bar: Bar) -> None:
        self.atr.update(bar.high, bar.low, bar.close)
        if self.range is None:
            if self._may_lay(exchange) and self.triggered:
                self._lay(exchange)
        else:
            self.highest = max(self.highest, exchange.equity(bar.close))
            if (
                not self.closing
                and exchange.may_enter
                and any(self._is_gone(exchange, i) for i in range(len(self.cells)))
            ):
                self._set_all(exchange)
            age = self.parameters.max_age_days
            movable = self.parameters.trailing in ("fixed", "atr") and not self.parameters.infinity and not self.closing
            if movable and age is not None and age > 0 and exchange.closed - self.laid >= age * DAY:
                self._shift(exchange)
        self._activate(exchange)

    def fill(self, exchange: Exchange, fill: Fill) -> None:
        if fill.slot == self.close_slot and fill.signal == ENTRY:
            self._bought(exchange, fill.lots)
        elif fill.slot >= self.stop_slot:
            self._exit_filled(exchange, fill)
        else:
            self._cell_filled(exchange, fill)
        self._activate(exchange)

    def refused(self, exchange: Exchange, slot: int) -> None:
        """A refused order stays cancelled until its cell is wished anew; without its purchase there is no grid."""
        if slot != self.close_slot or self.range is None or not self.parameters.infinity or not self.to_buy:
            self._activate(exchange)
        elif exchange.position == 0:
            self._forget(exchange)
        else:
            self.to_buy = 0
            self._bought(exchange, 0)
            self._activate(exchange)

    # The beginning

    def _ticks(self, exchange: Exchange, price: Decimal | None) -> Decimal | None:
        return None if price is None else price / exchange.instrument.tick_size

    def _may_lay(self, exchange: Exchange) -> bool:
        cooled = self.cooldown_end is None or exchange.closed >= self.cooldown_end
        return exchange.may_enter and exchange.position == 0 and cooled and not self.finished

    def _wait(self, exchange: Exchange) -> None:
        if not self._may_lay(exchange):
            return
        bar, trigger = exchange.bar, self._ticks(exchange, self.parameters.trigger_price)
        if not self.triggered:
            assert trigger is not None
            if self.trigger_side is None:
                self.trigger_side = BUY if trigger > bar.close else SELL
                self.triggered = passed(bar.close, trigger, self.trigger_side)
            else:
                extreme = bar.high if self.trigger_side == BUY else bar.low
                self.triggered = passed(extreme, trigger, self.trigger_side)
        if self.triggered and self.parameters.start == "now":
            self._lay(exchange)

    def _look_at_exits(self, exchange: Exchange) -> bool:
        """Find the sides of stop and take-profit; whether neither is passed already."""
        p, close = self.parameters, exchange.bar.close
        stop, take = self._ticks(exchange, p.stop_price), self._ticks(exchange, p.take_profit)
        direction = self._direction(exchange)
        self.stop_side = self.take_side = 0
        if stop is not None:
            towards = BUY if stop > close else SELL
            self.stop_side = {"long": SELL, "short": BUY, "neutral": towards}[direction]
        if take is not None:
            towards = BUY if take > close else SELL
            self.take_side = {"long": BUY, "short": SELL, "neutral": towards}[direction]
        stopped = stop is not None and passed(close, stop, self.stop_side)
        return not stopped and not (take is not None and passed(close, take, self.take_side))

    # Ranges

    def _lay(self, exchange: Exchange) -> None:
        if not self._look_at_exits(exchange):
            return
        p, centre, tick = self.parameters, exchange.bar.close, exchange.instrument.tick_size
        half = p.range_factor * self.atr.value
        lower = centre - half if p.lower is None else p.lower / tick
        upper = centre + half if p.upper is None else p.upper / tick
        needs_atr = p.start != "now" or p.lower is None
        if lower <= 0 or (needs_atr and self.atr.value == 0):
            return
        if p.infinity:
            if passed(centre, lower, SELL):
                return
            upper = lower * (1 + p.profit_per_grid) ** (p.levels - 1)
        if not self._pays(exchange, lower, upper):
            return
        if self.invested is None:
            self.invested, self.begun_equity = exchange.target, exchange.equity(centre)
        self.target = self._capital(exchange)
        self.highest = self.laid_equity = exchange.equity(centre)
        self.levels, self.centre = [lower, upper], centre
        plan = self._plan(exchange, 0)
        if p.infinity:
            self.to_buy, self.core = plan.purchase, 0
            self.low_stop = plan.low_stop
            exchange.desired_order(self.close_slot, BUY, MARKET, 0, plan.purchase, ENTRY)
        self._stand_on(exchange, plan)

    def _pays(self, exchange: Exchange, lower: Decimal, upper: Decimal) -> bool:
        return self._covers(exchange, self._distance(lower, upper))

    def _covers(self, exchange: Exchange, distance: Decimal) -> bool:
        """Whether what a cell earns over its distance, a share of the price, pays for its costs."""
        costs = exchange.instrument.round_trip(LIMIT, LIMIT, ZERO)
        return distance - costs >= self.parameters.min_cell_profit * costs

    def _distance(self, lower: Decimal, upper: Decimal) -> Decimal:
        """From a cell's entry to its counter, as a share of the price; the least of them."""
        p = self.parameters
        if p.counter == "profit" or p.infinity:
            return p.profit_per_grid
        if p.spacing == "geometric":
            return (upper / lower) ** (Decimal(1) / (p.levels - 1)) - 1
        return (upper - lower) / (p.levels - 1) / upper

    def _shift(self, exchange: Exchange) -> None:
        """Lay the range again around the price; what is held keeps its prices and its stop."""
        fixed = self.parameters.lower is not None and self.parameters.upper is not None
        half, centre = (self.levels[1] - self.levels[0]) / 2, exchange.bar.close
        if self.parameters.trailing != "fixed" and not fixed:
            asked = self.parameters.range_factor * self.atr.value
            if asked >= centre or self._pays(exchange, centre - asked, centre + asked):
                half = asked
        if centre - half <= 0 or half <= 0:
            return
        self.levels, self.centre = [centre - half, centre + half], centre
        self._stand_on(exchange, self._plan(exchange, 0))

    def _move(self, exchange: Exchange) -> None:
        """Let the range follow the price."""
        assert self.range is not None
        p, close = self.parameters, exchange.bar.close
        if p.infinity:
            self._keep_middle(exchange)
        elif p.trailing == "cell":
            first = self._followed(exchange, close)
            if first != self.range.first:
                self._stand_on(exchange, self._plan(exchange, first))
        elif p.trailing != "off":
            threshold = p.shift_threshold
            outside = close > self.levels[1] * (1 + threshold) or close < self.levels[0] * (1 - threshold)
            if outside and exchange.closed - self.laid >= p.shift_cooldown_minutes * MINUTE:
                self._shift(exchange)

    def _followed(self, exchange: Exchange, close: Decimal) -> int:
        """The window that trailing by cells goes to: one level for each that the price has reached outside."""
        assert self.range is not None
        upper = self._ticks(exchange, self.parameters.trailing_limit_upper)
        lower = self._ticks(exchange, self.parameters.trailing_limit_lower)
        first, count = self.range.first, self.parameters.levels
        for _ in range(count):
            above, below = self._level(first + count), self._level(first - 1)
            if passed(close, above, BUY) and (upper is None or above <= upper * (1 + RELATIVE)):
                first += 1
            elif below > 0 and passed(close, below, SELL) and (lower is None or below >= lower * (1 - RELATIVE)):
                first -= 1
            else:
                break
        return first

    def _keep_middle(self, exchange: Exchange) -> None:
        """Move an infinite window so that the price is at its middle; cells that it leaves above join the core."""
        assert self.range is not None
        count, close, now = self.parameters.levels, exchange.bar.close, self.range
        if self.to_buy:
            return
        for _ in range(count):
            middle = now.first + count // 2
            if passed(close, self._level(middle + 1), BUY):
                i = now.first % count
                if self.cells[i].held:
                    return
                now.first += 1
                self._take_place(exchange, i)
                self._endow(i)
            elif now.first > 0 and not passed(close, self._level(middle), BUY):
                i = (now.first - 1) % count
                self.core += self.cells[i].held
                self.cells[i].held = 0
                now.first -= 1
                self._take_place(exchange, i)
            else:
                return
            self._set_entry(exchange, i)
            self._set_counter(exchange, i)

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

    def _plan(self, exchange: Exchange, first: int) -> Range:
        p, count, capital = self.parameters, self.parameters.levels, self._capital(exchange)
        lowest = self.levels[0] if p.infinity else self._level(first)
        low_stop = whole_down(lowest * (1 - p.stop_loss))
        high_stop = whole_up(self._level(first + count - 1) * (1 + p.stop_loss))
        stop, beyond = self._ticks(exchange, p.stop_price), ZERO if p.on_stop == "close" else Decimal("0.2")
        if stop is not None and self.stop_side == SELL:
            low_stop = whole_down(stop * (1 - beyond))
        elif stop is not None:
            high_stop = whole_up(stop * (1 + beyond))
        if p.infinity:
            return self._constant_worth(exchange, low_stop, high_stop, capital)
        centre = (
            self.centre + first * self._step() if p.spacing == "arithmetic" else self.centre * self._ratio() ** first
        )
        by_number = [self._cell(exchange, number, first, centre) for number in range(first, first + count)]
        notional = self._notional(exchange, by_number, low_stop, high_stop, capital)
        self.notional = notional
        for cell in by_number:
            cell.size = exchange.instrument.lots_for(notional, cell.entry) if cell.side else 0
        cells = [by_number[(i - first) % count] for i in range(count)]
        return Range(lowest, ZERO, low_stop, high_stop, cells, notional / capital if capital else ZERO, first)

    def _constant_worth(self, exchange: Exchange, low_stop: int, high_stop: int, capital: Decimal) -> Range:
        """Cells of what is sold from level to level while all that is held stays worth the same."""
        p, count = self.parameters, self.parameters.levels
        share, under, losses = 1 - 1 / (1 + p.profit_per_grid), 0, ZERO
        while not passed(self.centre, self._level(under), SELL):
            entry = away_limit(self._level(under), BUY)
            losses += share * (entry - low_stop) / entry
            under += 1
        losses += 1 - low_stop / self.centre
        worth = min(exchange.instrument.affordable(capital) / (1 + under * share), p.risk_budget * capital / losses)
        plan = Range(self.levels[0], ZERO, low_stop, high_stop, [], worth * share / capital if capital else ZERO)
        plan.first, plan.split = max(0, under - 1 - count // 2), under
        plan.purchase = exchange.instrument.lots_for(worth, self._level(under))
        self.range, self.notional = plan, worth * share
        plan.cells = [self._placed(exchange, i, worth * share) for i in range(count)]
        return plan

    def _placed(self, exchange: Exchange, i: int, notional: Decimal) -> Cell:
        """What cell i is to be in the present infinite window."""
        assert self.range is not None
        number = self._number(i)
        entry = away_limit(self._level(number), BUY)
        if entry < 1:
            return Cell()
        counter = away_limit(self._level(number + 1), SELL)
        return Cell(BUY, entry, counter, exchange.instrument.lots_for(notional, entry))

    def _take_place(self, exchange: Exchange, i: int) -> None:
        assert self.range is not None
        self.range.cells[i] = self._placed(exchange, i, self.notional)
        self.cells[i].take(self.range.cells[i])

    def _number(self, i: int) -> int:
        assert self.range is not None
        return self.range.first + (i - self.range.first) % self.parameters.levels

    def _step(self) -> Decimal:
        return (self.levels[1] - self.levels[0]) / (self.parameters.levels - 1)

    def _ratio(self) -> Decimal:
        return (self.levels[1] / self.levels[0]) ** (Decimal(1) / (self.parameters.levels - 1))

    def _level(self, number: int) -> Decimal:
        if self.parameters.infinity:
            return self.levels[0] * (1 + self.parameters.profit_per_grid) ** number
        if self.parameters.spacing == "arithmetic":
            return self.levels[0] + number * self._step()
        share = Decimal(number) / (self.parameters.levels - 1)
        return self.levels[0] * (self.levels[1] / self.levels[0]) ** share

    def _cell(self, exchange: Exchange, number: int, first: int, centre: Decimal) -> Cell:
        p, level = self.parameters, self._level(number)
        side = self._side(exchange, level, centre)
        outside = first + p.levels - 1 if side == BUY else first
        if side == 0 or (p.counter == "level" and number == outside):
            return Cell()
        top = max(number, number + side)
        if p.counter == "level":
            under, over = self._level(top - 1), self._level(top)
            if not self._covers(exchange, (over - under) / (over if p.spacing == "arithmetic" else under)):
                return Cell()
        entry = away_limit(level, side)
        if entry < 1:
            return Cell()
        if p.counter == "level":
            return Cell(side, entry, away_limit(self._level(number + side), -side))
        profit = p.profit_per_grid
        counter = whole_up(entry * (1 + profit)) if side == BUY else whole_down(entry * (1 - profit))
        return Cell(side, entry, counter)

    def _direction(self, exchange: Exchange) -> str:
        long = not exchange.instrument.linear or self.parameters.infinity
        return "long" if long else self.parameters.direction

    def _side(self, exchange: Exchange, level: Decimal, centre: Decimal) -> int:
        equal = abs(level - centre) < tolerance(centre)  # 40 digits may miss the middle by the last one
        below = level < centre and not equal
        above = level > centre and not equal
        direction = self._direction(exchange)
        if direction == "neutral":
            return BUY if below else SELL if above else 0
        if direction == "long":
            return BUY if below or self.parameters.initial_inventory else 0
        return SELL if above or self.parameters.initial_inventory else 0

    # Money

    def _notional(
        self, exchange: Exchange, cells: list[Cell], low_stop: int, high_stop: int, capital: Decimal
    ) -> Decimal:
        """The notional of a cell: what the capital carries, and what the stop may lose of it."""
        bought = sum((Decimal(c.entry - low_stop) / c.entry for c in cells if c.side == BUY and c.entry), ZERO)
        sold = sum((Decimal(high_stop - c.entry) / c.entry for c in cells if c.side == SELL and c.entry), ZERO)
        count = len(cells) - 1 if self.parameters.counter == "level" else len(cells)
        unit, share = exchange.instrument.affordable(capital) / count, max(bought, sold)
        return min(unit, self.parameters.risk_budget * capital / share) if share > 0 else unit

    def _follows(self) -> bool:
        return self.parameters.reinvest != "off" or self.parameters.profit_lock > 0

    def _capital(self, exchange: Exchange) -> Decimal:
        if not self._follows():
            return exchange.target
        assert self.invested is not None
        usable = self.invested + exchange.equity(exchange.seen) - self.begun_equity - self.locked
        if self.parameters.reinvest == "off":
            usable = min(exchange.target, usable)
        elif self.parameters.reinvest == "profits":
            usable = min(self.invested + self.realised - self.locked, usable)
        return max(usable, ZERO)

    # Wishes

    def _suspends(self, exchange: Exchange) -> bool:
        return self._nets(exchange) and self.parameters.turning_entries == "suspend"

    def _nets(self, exchange: Exchange) -> bool:
        return self._direction(exchange) == "neutral"

    def _set_all(self, exchange: Exchange) -> None:
        self.sign = sign(exchange.position)
        for i in range(len(self.cells)):
            self._set_entry(exchange, i)
        for i in range(len(self.cells)):
            self._set_counter(exchange, i)
        self._set_stop(exchange)

    def _missing(self, exchange: Exchange, i: int) -> int:
        cell = self.cells[i]
        inside = cell.entry > self.low_stop if cell.side == BUY else cell.entry < self.high_stop
        if not cell.side or not inside or (self._suspends(exchange) and cell.side * exchange.position < 0):
            return 0
        assert self.range is not None
        if self.parameters.infinity and self.to_buy and self._number(i) >= self.range.split:
            return 0
        return cell.size - cell.held

    def _is_gone(self, exchange: Exchange, i: int) -> bool:
        """Whether the entry that a cell misses is not there."""
        return not exchange.slots[i].quantity and not self.cells[i].entry_waits and self._missing(exchange, i) > 0

    def _set_entry(self, exchange: Exchange, i: int) -> None:
        cell = self.cells[i]
        quantity = self._missing(exchange, i) if exchange.may_enter and not cell.entry_waits else 0
        exchange.desired_order(i, cell.side, LIMIT, cell.entry, quantity, ENTRY)

    def _set_counter(self, exchange: Exchange, i: int) -> None:
        cell, number, side = self.cells[i], len(self.cells) + i, -self.cells[i].side
        stop = self.low_stop if side == BUY else self.high_stop
        against = self._suspends(exchange) and side * exchange.position < 0
        opens = self._nets(exchange) and not against
        reduces = not opens or side * (cell.counter - stop) <= 0
        account_snapshot = exchange.slots[number]
        if account_snapshot.quantity and account_snapshot.only_reduces != reduces:
            exchange.clear_order(number)
        quantity = 0 if cell.counter_waits else cell.held
        exchange.desired_order(number, side, LIMIT, cell.counter, quantity, GRID_COUNTER)
        account_snapshot.only_reduces = reduces

    def _set_stop(self, exchange: Exchange) -> None:
        side, price = (SELL, self.low_stop) if exchange.position > 0 else (BUY, self.high_stop)
        exchange.desired_order(self.stop_slot, side, STOP, price, abs(exchange.position), EXIT_SL)

    def _activate(self, exchange: Exchange) -> None:
        """Let those orders rest that are near enough, the nearest first, the lower slot first where equally near."""
        p, count = self.parameters, len(self.cells)
        if self.range is None or self.closing or (p.activation_band is None and p.max_open_orders is None):
            return
        close = int(exchange.seen)
        prices = [*(cell.entry for cell in self.cells), *(cell.counter for cell in self.cells)]
        ranks = [(abs(price - close), number) for number, price in enumerate(prices)]
        if p.activation_band is not None:
            reach = whole_down(p.activation_band * exchange.seen)
            near = [rank for rank in ranks if rank[0] <= reach]
        else:
            near = ranks
        if p.max_open_orders is not None:
            lots = [*(self._missing(exchange, i) for i in range(count)), *(cell.held for cell in self.cells)]
            wished = sorted(rank for rank in near if lots[rank[1]] > 0)
            if len(wished) >= p.max_open_orders:
                near = [rank for rank in near if rank <= wished[p.max_open_orders - 1]]
        rests = {number for _, number in near}
        for i, cell in enumerate(self.cells):
            for number in (i, count + i):
                waits = number not in rests
                if number == i and waits != cell.entry_waits:
                    cell.entry_waits = waits
                    self._set_entry(exchange, i)
                elif number != i and waits != cell.counter_waits:
                    cell.counter_waits = waits
                    self._set_counter(exchange, i)

    # Fills and ends

    def _bought(self, exchange: Exchange, lots: int) -> None:
        """The first purchase of an infinite grid: when it is complete, cells above take their part."""
        assert self.range is not None
        self.core += lots
        self.to_buy -= lots
        if self.to_buy <= 0:
            self.to_buy = 0
            for number in range(max(self.range.split, self.range.first), self.range.first + len(self.cells)):
                self._endow(number % len(self.cells))
            self._set_all(exchange)
        self._set_stop(exchange)

    def _endow(self, i: int) -> None:
        lots = min(self.cells[i].size - self.cells[i].held, self.core)
        self.cells[i].held += lots
        self.core -= lots

    def _cell_filled(self, exchange: Exchange, fill: Fill) -> None:
        levels = len(self.cells)
        i, cell = fill.slot % levels, self.cells[fill.slot % levels]
        cell.held += fill.lots if fill.slot < levels else -fill.lots
        assert self.range is not None
        resized = fill.slot >= levels and self._follows()
        if resized:
            self._book_cycle(exchange, cell, fill)
        if cell.held == 0:
            planned = self.range.cells[i]
            if resized:
                planned.size = exchange.instrument.lots_for(self.notional, planned.entry) if planned.side else 0
            cell.take(planned)
        if self.closing:
            if self.kept:
                self._set_stop(exchange)
            return
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

    def _book_cycle(self, exchange: Exchange, cell: Cell, fill: Fill) -> None:
        """The profit of a closed cell, its fee and a maker's at the entry taken off; some of it is locked."""
        instrument = exchange.instrument
        rate = instrument.maker_fee if fill.liquidity == "maker" else instrument.taker_fee
        gained = cell.side * (fill.price - cell.entry) - cell.entry * instrument.maker_fee - fill.price * rate
        profit = gained * fill.lots * instrument.tick_value
        self.realised += profit
        self.locked += self.parameters.profit_lock * max(profit, ZERO)
        assert self.range is not None
        self.notional = self.range.unit * self._capital(exchange)

    def _exit_filled(self, exchange: Exchange, fill: Fill) -> None:
        if exchange.position == 0:
            if fill.slot == self.stop_slot and fill.side == self.stop_side:
                self.finished = True
            self._end(exchange)
            return
        self.closing = True
        for number in range(self.stop_slot):
            exchange.clear_order(number)
        if self.kept:
            self._set_stop(exchange)

    def _check_drawdown(self, exchange: Exchange) -> bool:
        loss = self.highest - exchange.equity(exchange.bar.close)
        if loss <= self.parameters.max_drawdown * self.target:
            return False
        self._leave(exchange, EXIT_SL)
        return True

    def _check_exits(self, exchange: Exchange) -> bool:
        """The whole grid's take-profit and stop."""
        p, bar = self.parameters, exchange.bar
        gain = exchange.equity(bar.close) - self.laid_equity
        take, stop = self._ticks(exchange, p.take_profit), self._ticks(exchange, p.stop_price)
        taken = p.take_profit_share is not None and gain >= p.take_profit_share * self.target
        if take is not None:
            taken = taken or passed(bar.high if self.take_side == BUY else bar.low, take, self.take_side)
        stopped = p.stop_share is not None and -gain >= p.stop_share * self.target
        if stop is not None and (p.on_stop != "close" or exchange.position == 0):
            stopped = stopped or passed(bar.high if self.stop_side == BUY else bar.low, stop, self.stop_side)
        if not taken and not stopped:
            return False
        self.finished = True
        if taken or p.on_stop == "close" or exchange.position == 0:
            self._leave(exchange, EXIT_TP if taken else EXIT_SL)
        else:
            self._keep(exchange)
        return True

    def _keep(self, exchange: Exchange) -> None:
        self.closing = self.kept = True
        for number in range(self.stop_slot):
            exchange.clear_order(number)
        if self.parameters.on_stop == "keep_with_stop":
            close, distance = exchange.bar.close, self.parameters.stop_loss
            if exchange.position > 0:
                self.low_stop = max(self.low_stop, whole_down(close * (1 - distance)))
            else:
                self.high_stop = min(self.high_stop, whole_up(close * (1 + distance)))
        self._set_stop(exchange)

    def _leave(self, exchange: Exchange, signal: str) -> None:
        if exchange.position == 0:
            self._end(exchange)
            return
        self.closing = True
        for number in range(self.slots):
            exchange.clear_order(number)
        side = SELL if exchange.position > 0 else BUY
        exchange.desired_order(self.close_slot, side, MARKET, 0, abs(exchange.position), signal)

    def _end(self, exchange: Exchange) -> None:
        """The grid is gone; the next one waits for the cooldown, counted from this bar's opening."""
        self._forget(exchange)
        self.cooldown_end = exchange.opened + self.parameters.cooldown_hours * HOUR

    def _forget(self, exchange: Exchange) -> None:
        for number in range(self.slots):
            exchange.clear_order(number)
        for cell in self.cells:
            cell.held = 0
            cell.entry_waits = cell.counter_waits = False
        self.range, self.closing, self.kept, self.core = None, False, False, 0


def passed(price: Decimal, level: Decimal, side: int) -> bool:
    """Whether a price has risen (BUY) or fallen (SELL) to a level, both in ticks."""
    return side * (price - level) >= -tolerance(level)
