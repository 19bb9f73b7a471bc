"""Grid: a ladder of cells, each buying at one price and selling at another, over and over.

A cell is known by its index and has a fixed pair of prices; a fill is answered in the same cell by its
counter for exactly the quantity filled. A venue-resident stop stands for the whole inventory. The rules are
section 4 of docs/execution.md.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Self

import numpy as np
from pydantic import Field, model_validator

from bot.costs import CostRule, check_distance, pays, round_trip, round_trip_of
from bot.errors import Misconfigured
from bot.indicators import ATR, atr_update
from bot.instrument import Instrument, Market
from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Side, Signal, clear_order, clear_orders, set_order
from bot.parameters import Fraction, Number, Parameters
from bot.strategy import (
    Event,
    JudgedAs,
    Strategy,
    Variation,
    affordable,
    away,
    dust,
    enter,
    equity_now,
    lots_for,
    watch_everything,
    watch_nothing,
    whole_down,
    whole_ms,
    whole_up,
)
from bot.times import DAY, HOUR, MINUTE

MAX_LEVELS = 100
CAUTION = 0.7


class Spacing(StrEnum):
    """Equal steps in price, or in per cent."""

    ARITHMETIC = "arithmetic"
    GEOMETRIC = "geometric"


class GridDirection(StrEnum):
    """Neutral sells above and buys below; long and short open on one side only."""

    NEUTRAL = "neutral"
    LONG = "long"
    SHORT = "short"


class Trailing(StrEnum):
    """What a grid does when the price leaves its range: stay, move, or move with a new width."""

    OFF = "off"
    FIXED = "fixed"
    ATR = "atr"


class TurningEntries(StrEnum):
    """What entries do that would turn the position of a neutral grid: wait until it is flat, or rest."""

    SUSPEND = "suspend"
    REST = "rest"


# Kernels see an enumeration as its index.
GEOMETRIC = list(Spacing).index(Spacing.GEOMETRIC)
LONG, SHORT = list(GridDirection).index(GridDirection.LONG), list(GridDirection).index(GridDirection.SHORT)
NEUTRAL = list(GridDirection).index(GridDirection.NEUTRAL)
SUSPEND = list(TurningEntries).index(TurningEntries.SUSPEND)
TRAIL_OFF, TRAIL_ATR = list(Trailing).index(Trailing.OFF), list(Trailing).index(Trailing.ATR)


WIDE_COUNTER = 0.05  # a counter so far away is more often a per cent sign forgotten than meant


class GridParameters(Parameters):
    """Everything a grid can be told."""

    levels: int = Field(15, ge=2, le=MAX_LEVELS, description="number of levels, one cell each")
    spacing: Spacing = Field(Spacing.ARITHMETIC, description="arithmetic (equal steps) or geometric (equal %)")
    range_factor: Number = Field(3.0, gt=0, le=100, description="half-width of the range, ATRs")
    atr_period: int = Field(14, ge=2, le=500, description="ATR period, signal bars")
    lower: Number | None = Field(None, gt=0, description="fixed lower bound, quote currency; with `upper`")
    upper: Number | None = Field(None, gt=0, description="fixed upper bound, quote currency; with `lower`")
    profit_per_grid: Fraction = Field(0.005, gt=0, le=0.5, description="distance of a counter, fraction of price")
    min_cell_profit: Number = Field(
        0.5, ge=0, le=1000, description="least profit of a cell after its costs, in round-trip costs"
    )
    direction: GridDirection = Field(GridDirection.NEUTRAL, description="neutral, long or short; spot is always long")
    turning_entries: TurningEntries = Field(
        TurningEntries.SUSPEND, description="neutral: entries against the position suspend until flat, or rest"
    )
    initial_inventory: bool = Field(True, description="long/short: fill cells beyond the price at market first")
    stop_loss: Fraction = Field(0.05, gt=0, lt=1, description="stop beyond the bound, fraction of the bound")
    max_drawdown: Fraction = Field(0.10, gt=0, le=1, description="loss that closes the grid, fraction of target")
    cooldown_hours: Number = Field(4.0, ge=0, le=10_000, description="pause after a stop or drawdown, hours")
    trailing: Trailing = Field(Trailing.ATR, description="off, fixed (same width) or atr (new width)")
    shift_threshold: Fraction = Field(0.005, ge=0, le=1, description="how far outside before a shift, fraction")
    shift_cooldown_minutes: Number = Field(60.0, ge=0, le=1e6, description="least time between shifts, minutes")
    max_age_days: Number = Field(30.0, gt=0, le=10_000, description="age at which the range is laid again, days")
    risk_budget: Fraction = Field(0.02, gt=0, le=1, description="loss of all inventory at its stop, of target")

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """LOW, MEDIUM, HIGH: for how much the market moves."""
        return {
            "low": {"levels": 20, "profit_per_grid": 0.002},
            "medium": {"levels": 15, "profit_per_grid": 0.005},
            "high": {"levels": 10, "profit_per_grid": 0.01},
        }

    def remarks(self, price: float) -> list[str]:
        """Say what a distance of a counter comes to in per cent, and that a fixed range lies elsewhere."""
        told = []
        if self.profit_per_grid >= WIDE_COUNTER:
            told.append(
                f"grid.profit_per_grid is {self.profit_per_grid:g}, which is {100 * self.profit_per_grid:g} %; for "
                f"{self.profit_per_grid:g} % write {self.profit_per_grid:g}%."
            )
        if self.lower is not None and self.upper is not None and not self.lower <= price <= self.upper:
            told.append(
                f"grid.lower ({self.lower:g}) and grid.upper ({self.upper:g}) do not hold the price, {price:g}; choose "
                "bounds around it."
            )
        return told

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if (self.lower is None) != (self.upper is None):
            missing, given = ("upper", "lower") if self.upper is None else ("lower", "upper")
            raise ValueError(f"{missing} is missing although {given} is given; give both bounds or neither")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower ({self.lower:g}) must lie below upper ({self.upper:g}); swap or widen them")
        return self


CELL = np.dtype(
    [
        ("entry", "i8"),  # ticks
        ("counter", "i8"),
        ("lots", "i8"),  # lots
        ("held", "i8"),
        ("side", "i8"),  # Side, or 0 for none
        ("priced_at", "i8"),  # ms: the laying its prices belong to
    ]
)

STATE = np.dtype(
    [
        ("atr", ATR),
        ("laid", "b1"),
        ("closing", "b1"),
        ("nets", "b1"),  # neutral on a linear contract: buys and sells meet in one position
        ("suspends", "b1"),  # entries that would turn the position wait until it is flat
        ("sign", "i8"),  # of the position for which the cells were set last
        ("levels", "i8"),  # of the present range; cells beyond it are of an earlier one and only leave
        ("spacing", "i8"),
        ("share", "f8"),  # of the full size, by the filter's verdict
        ("laid_at", "i8"),  # ms: last laying or shift
        ("cooldown_end", "i8"),  # ms
        ("lower", "f8"),
        ("upper", "f8"),
        ("centre", "f8"),
        ("cell_notional", "f8"),
        ("low_stop", "i8"),  # ticks, in force
        ("high_stop", "i8"),
        ("range_low_stop", "i8"),  # ticks, of the present range
        ("range_high_stop", "i8"),
        ("peak", "f8"),  # highest grid equity
        ("target", "f8"),  # at laying
        ("cells", CELL, (MAX_LEVELS,)),
    ],
    align=True,
)


@kernel
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """One event of the grid's life."""
    if event.kind == Event.FILL:
        _on_fill(pair, params, state, slots, event.execution)
    elif event.kind == Event.SIGNAL:
        _on_signal(pair, params, state, slots, event.bar)
    elif event.kind == Event.BASE and state.laid and not state.closing:
        _on_base(pair, params, state, slots)
    elif event.kind == Event.VERDICT:
        _on_verdict(pair, params, state, slots)
    elif event.kind == Event.RESET:
        _forget(state, slots)
    _watch(pair, params, state)


@kernel
def _capacity(slots: Record) -> int:
    """Cells that the slots have room for: entry of cell i in slot i, counter in slot capacity + i."""
    return (len(slots) - 2) // 2


@kernel
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, fill: Record) -> None:
    position = pair.ledger.position
    if fill.part == WHOLE_POSITION:
        if position == 0:
            _end(params, state, slots, fill.ts)
        elif fill.signal >= Signal.EXIT_TRANSITION and not state.closing:
            _shed(pair, params, state, slots, fill.quantity)
        else:
            state.closing = True
            for index in range(2 * _capacity(slots)):
                clear_order(slots, index)
        return
    cell = state.cells[fill.part]
    cell.held += fill.quantity if fill.slot < _capacity(slots) else -fill.quantity
    if cell.held == 0 and cell.priced_at != state.laid_at:
        _price_cell(pair, params, state, fill.part)
    if state.closing:
        return
    loosened = position == 0 and _stops_differ(state)
    if loosened:
        state.low_stop = state.range_low_stop
        state.high_stop = state.range_high_stop
        _set(pair, state, slots)
        return
    if state.suspends and np.sign(position) != state.sign:
        _turn(pair, state, slots)
    _set_cell(pair, state, slots, fill.part)
    _set_stop(pair, state, slots)


@kernel
def _stops_differ(state: Record) -> bool:
    """Whether inventory still keeps a stop that is tighter than the present range's."""
    return state.low_stop != state.range_low_stop or state.high_stop != state.range_high_stop


@kernel
def _on_signal(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    atr_update(state.atr, bar.high, bar.low, bar.close, params.atr_period)
    if state.laid:
        state.peak = max(state.peak, equity_now(pair))
        old = pair.time - state.laid_at >= whole_ms(params.max_age_days, DAY)
        if old and params.trailing != TRAIL_OFF and not state.closing:
            _shift(pair, params, state, slots)
    elif pair.may_enter and pair.ledger.position == 0 and pair.time >= state.cooldown_end:
        _lay(pair, params, state, slots)


@kernel
def _on_base(pair: Record, params: Record, state: Record, slots: Record) -> None:
    if state.peak - equity_now(pair) > params.max_drawdown * state.target:
        _close(pair, params, state, slots)
        return
    if params.trailing == TRAIL_OFF:
        return
    above = pair.price > state.upper * (1.0 + params.shift_threshold)
    below = pair.price < state.lower * (1.0 - params.shift_threshold)
    rested = pair.time - state.laid_at >= whole_ms(params.shift_cooldown_minutes, MINUTE)
    if (above or below) and rested:
        _shift(pair, params, state, slots)


@kernel
def _lay(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Lay a new grid around the price."""
    half = params.range_factor * state.atr.value
    lower = params.lower if not np.isnan(params.lower) else pair.price - half
    upper = params.upper if not np.isnan(params.upper) else pair.price + half
    if lower <= 0.0 or state.atr.value <= 0.0:
        return
    costs = round_trip(pair, OrderKind.LIMIT, OrderKind.LIMIT, 0.0)
    if not pays(pair, CostRule.CELL, params.profit_per_grid, 1.0 + params.min_cell_profit, costs):
        return
    state.laid = True
    state.closing = False
    state.share = 1.0
    state.peak = equity_now(pair)
    state.target = pair.target
    _set_range(pair, params, state, lower, upper, _capacity(slots))
    state.low_stop = state.range_low_stop
    state.high_stop = state.range_high_stop
    _set(pair, state, slots)
    pair.range_asked, pair.range_lower, pair.range_upper = True, lower, upper


@kernel
def _on_verdict(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Use only the share of the size that the verdict allows; a cell that gets too small refuses the grid whole."""
    if pair.range_share >= 1.0:
        return
    state.share = pair.range_share
    if state.share > 0.0:
        _set_range(pair, params, state, state.lower, state.upper, _capacity(slots))
        _set(pair, state, slots)
    for index in range(state.levels):
        if state.share <= 0.0 or (state.cells[index].side != 0 and state.cells[index].lots == 0):
            pair.range_share = 0.0
            _forget(state, slots)
            return


@kernel
def _shed(pair: Record, params: Record, state: Record, slots: Record, quantity: int) -> None:
    """Take `quantity` lots that left by another's order out of the cells, in their order, as trades are booked."""
    direction = 1 if pair.ledger.position > 0 else -1
    for index in range(_capacity(slots)):
        cell = state.cells[index]
        if cell.held > 0 and cell.side == direction:
            shed = min(cell.held, quantity)
            cell.held -= shed
            quantity -= shed
            if cell.held == 0 and cell.priced_at != state.laid_at:
                _price_cell(pair, params, state, index)
    _set(pair, state, slots)


@kernel
def _shift(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Lay the range again around the price; inventory keeps its exits and its stop never loosens."""
    half = (state.upper - state.lower) / 2.0
    if params.trailing == TRAIL_ATR and np.isnan(params.lower):
        half = params.range_factor * state.atr.value
    if pair.price - half <= 0.0 or half <= 0.0:
        return
    _set_range(pair, params, state, pair.price - half, pair.price + half, _capacity(slots))
    position = pair.ledger.position
    state.low_stop = max(state.low_stop, state.range_low_stop) if position > 0 else state.range_low_stop
    state.high_stop = min(state.high_stop, state.range_high_stop) if position < 0 else state.range_high_stop
    _set(pair, state, slots)


@kernel
def _set_range(pair: Record, params: Record, state: Record, lower: float, upper: float, capacity: int) -> None:
    """Take a range: its stops, the notional of a cell, and the prices of every cell that holds nothing.

    Only here do new parameters count, so they may change under a grid that stands.
    """
    state.levels, state.spacing = params.levels, params.spacing
    state.nets = params.direction == NEUTRAL and pair.instrument.linear
    state.suspends = state.nets and params.turning_entries == SUSPEND
    tick = pair.instrument.tick_size
    state.lower, state.upper, state.centre = lower, upper, pair.price
    state.laid_at = pair.time
    state.range_low_stop = whole_down(lower * (1.0 - params.stop_loss) / tick)
    state.range_high_stop = whole_up(upper * (1.0 + params.stop_loss) / tick)
    buys = sells = 0.0
    for index in range(params.levels):
        level = _level(state, index)
        side = _side(pair, params, state, level)
        if side > 0:
            entry = away(pair, side, level, False)
            buys += (entry - state.range_low_stop) / entry
        elif side < 0:
            entry = away(pair, side, level, False)
            sells += (state.range_high_stop - entry) / entry
    state.cell_notional = affordable(pair) / params.levels
    worst = max(buys, sells)
    if worst > 0.0:
        state.cell_notional = min(state.cell_notional, params.risk_budget * pair.target / worst)
    state.cell_notional *= state.share
    for index in range(capacity):
        if state.cells[index].held == 0:
            _price_cell(pair, params, state, index)


@kernel
def _level(state: Record, index: int) -> float:
    share = index / (state.levels - 1)
    if state.spacing == GEOMETRIC:
        return state.lower * (state.upper / state.lower) ** share
    return state.lower + index * (state.upper - state.lower) / (state.levels - 1)


@kernel
def _side(pair: Record, params: Record, state: Record, level: float) -> int:
    """Side of the entry at `level`, 0 where no cell is: at the centre, of which ticks decide, and under one tick."""
    tick = pair.instrument.tick_size
    off = (level - state.centre) / tick
    below, above = off <= -dust(state.centre / tick), off >= dust(state.centre / tick)
    if params.direction == LONG or not pair.instrument.linear:
        side = 1 if params.initial_inventory or below else 0
    elif params.direction == SHORT:
        side = -1 if params.initial_inventory or above else 0
    else:
        side = 1 if below else -1 if above else 0
    return 0 if side > 0 and whole_down(level / tick) < 1 else side


@kernel
def _price_cell(pair: Record, params: Record, state: Record, index: int) -> None:
    """Give an empty cell its place in the present range."""
    cell = state.cells[index]
    cell.priced_at = state.laid_at
    level = _level(state, index)
    cell.side = _side(pair, params, state, level) if index < state.levels else 0
    if cell.side == 0:
        cell.lots = 0
        return
    cell.entry = away(pair, cell.side, level, False)
    if cell.side > 0:
        cell.counter = whole_up(cell.entry * (1.0 + params.profit_per_grid))
    else:
        cell.counter = whole_down(cell.entry * (1.0 - params.profit_per_grid))
    cell.lots = lots_for(pair, state.cell_notional, cell.entry * pair.instrument.tick_size)


@kernel
def _set(pair: Record, state: Record, slots: Record) -> None:
    """Set every cell's entry and counter, and the stop of the inventory."""
    for index in range(_capacity(slots)):
        _set_cell(pair, state, slots, index)
    _set_stop(pair, state, slots)
    state.sign = np.sign(pair.ledger.position)


@kernel
def _turn(pair: Record, state: Record, slots: Record) -> None:
    """Follow a position that was opened, closed or turned: entries against it wait, counters against it only reduce."""
    sign = np.sign(pair.ledger.position)
    for index in range(_capacity(slots)):
        cell = state.cells[index]
        if cell.side * sign < 0 or cell.side * state.sign < 0:
            _set_entry(pair, state, slots, index)
        if cell.held > 0:
            _set_counter(pair, state, slots, index)
    state.sign = sign


@kernel
def _set_cell(pair: Record, state: Record, slots: Record, index: int) -> None:
    """Set what the cell still misses at its entry, and what it holds at its counter."""
    _set_entry(pair, state, slots, index)
    _set_counter(pair, state, slots, index)


@kernel
def _set_entry(pair: Record, state: Record, slots: Record, index: int) -> None:
    cell = state.cells[index]
    side, stop = cell.side, state.low_stop if cell.side > 0 else state.high_stop
    missing = cell.lots - cell.held if side * (cell.entry - stop) > 0 else 0
    if state.suspends and side * pair.ledger.position < 0:
        missing = 0
    slot = enter(pair, slots, index, side, OrderKind.LIMIT, cell.entry, missing, index)
    slot.stop = stop


@kernel
def _set_counter(pair: Record, state: Record, slots: Record, index: int) -> None:
    """Set the counter of what a cell holds; it is reduce-only except where a neutral grid may open by it."""
    cell, number = state.cells[index], _capacity(slots) + index
    side = -cell.side
    stop = state.low_stop if side > 0 else state.high_stop
    against = state.suspends and side * pair.ledger.position < 0
    reduces = not state.nets or against or side * (cell.counter - stop) <= 0
    if slots[number].active and slots[number].reduce_only != reduces:
        clear_order(slots, number)  # no venue amends this
    slot = set_order(slots, number, side, OrderKind.LIMIT, cell.counter, cell.held, Signal.GRID_COUNTER, index)
    slot.reduce_only = reduces
    slot.stop = 0 if reduces else stop


@kernel
def _set_stop(pair: Record, state: Record, slots: Record) -> None:
    """Set the stop of the whole inventory."""
    position, index = pair.ledger.position, 2 * _capacity(slots)
    side, price = (Side.SELL, state.low_stop) if position > 0 else (Side.BUY, state.high_stop)
    set_order(slots, index, side, OrderKind.STOP, price, abs(position), Signal.EXIT_SL, WHOLE_POSITION)


@kernel
def _close(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Leave at the market: the grid has lost its allowance."""
    position = pair.ledger.position
    if position == 0:
        _end(params, state, slots, pair.time - pair.bar_ms)
        return
    clear_orders(slots)
    state.closing = True
    side = Side.SELL if position > 0 else Side.BUY
    set_order(
        slots,
        2 * _capacity(slots) + 1,
        side,
        OrderKind.MARKET,
        0,
        abs(position),
        Signal.EXIT_SL,
        WHOLE_POSITION,
    )


@kernel
def _end(params: Record, state: Record, slots: Record, ts: int) -> None:
    """Clear every order, hold nothing, wait out the cooldown that starts at `ts`."""
    _forget(state, slots)
    state.cooldown_end = ts + whole_ms(params.cooldown_hours, HOUR)


@kernel
def _forget(state: Record, slots: Record) -> None:
    """No grid stands any more."""
    clear_orders(slots)
    for index in range(_capacity(slots)):
        state.cells[index].held = 0
    state.laid = False
    state.closing = False


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Ask for the base bars that could shift or close the grid."""
    watch_nothing(pair)
    if not state.laid or state.closing:
        return
    if params.trailing != TRAIL_OFF:
        pair.watch_above = state.upper * (1.0 + params.shift_threshold)
        pair.watch_below = state.lower * (1.0 - params.shift_threshold)
    ledger = pair.ledger
    floor = state.peak - params.max_drawdown * state.target - ledger.cash
    if ledger.position == 0:
        if floor > 0.0:
            watch_everything(pair)
        return
    price = floor / (ledger.position * pair.instrument.lot_size)
    if ledger.position > 0:
        pair.watch_below = max(pair.watch_below, price * (1.0 + 1e-9))
    else:
        pair.watch_above = min(pair.watch_above, price * (1.0 - 1e-9))


def check(parameters: GridParameters, instrument: Instrument, capital: float, price: float, leverage: float) -> None:
    """Refuse what cannot earn or cannot be placed; raises Misconfigured naming the field and the remedy.

    `price` is the first price (quote currency): it decides what a tick and the smallest order are worth.
    """
    least = 2 * float(instrument.maker_fee) + 2 * float(instrument.tick_size) / price
    if parameters.profit_per_grid <= least:
        raise Misconfigured(
            f"grid.profit_per_grid is {parameters.profit_per_grid:.6g} but two maker fees and two ticks cost "
            f"{least:.6g}; choose more than that break-even."
        )
    costs, multiple = round_trip_of(instrument, OrderKind.LIMIT, OrderKind.LIMIT, 0.0), 1.0 + parameters.min_cell_profit
    check_distance("grid.profit_per_grid", parameters.profit_per_grid, "grid.min_cell_profit", multiple, costs)
    if parameters.direction is GridDirection.SHORT and instrument.market is Market.SPOT:
        raise Misconfigured("grid.direction is short but spot cannot be sold short; use long, or market: linear.")
    least_notional = instrument.smallest_order(price)
    per_level = capital * leverage / parameters.levels
    if per_level < least_notional:
        raise Misconfigured(
            f"capital {capital:g} over {parameters.levels} levels gives {per_level:.4g} a level, under the venue's "
            f"minimum of {least_notional:.4g}; raise the capital or lower grid.levels."
        )


def slots(parameters: GridParameters) -> int:
    """Count the orders: entries, counters, stop, closing order."""
    return 2 * parameters.levels + 2


def _cautious(parameters: GridParameters) -> GridParameters:
    """Keep fewer levels in a narrower range."""
    return parameters.changed(
        levels=max(2, round(parameters.levels * CAUTION)), range_factor=parameters.range_factor * CAUTION
    )


def roles(count: int) -> tuple[str, ...]:
    """Name the slots of a table of `count`, as `_capacity` divides it."""
    cells = (count - 2) // 2
    named = (*(f"entry/{k}" for k in range(cells)), *(f"counter/{k}" for k in range(cells)), "stop", "close")
    return named + ("spare",) * (count % 2)


STRATEGY = Strategy(
    name="grid",
    version=1,
    parameters=GridParameters,
    state=STATE,
    slots=slots,
    decide=decide,
    check=check,
    judged_as=JudgedAs.RANGE,
    variations=(
        Variation("arithmetic", lambda parameters: parameters.changed(spacing=Spacing.ARITHMETIC)),
        Variation("geometric", lambda parameters: parameters.changed(spacing=Spacing.GEOMETRIC)),
        Variation("cautious", _cautious),
    ),
    own_stop=True,
    roles=roles,
)
