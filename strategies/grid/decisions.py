"""What a grid does at each event: lay, answer a fill, shift, close."""

from __future__ import annotations

import numpy as np

from bot.indicators import atr_update
from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Side, Signal, clear_order, clear_orders, set_order
from bot.strategy import Event, equity_now, watch_everything, watch_nothing, whole_ms
from bot.times import DAY, HOUR, MINUTE
from strategies.grid.cells import price_cell, set_range
from strategies.grid.orders import set_all, set_cell, set_stop, turn
from strategies.grid.parameters import TRAIL_ATR, TRAIL_OFF
from strategies.grid.state import capacity


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
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, fill: Record) -> None:
    position = pair.ledger.position
    if fill.part == WHOLE_POSITION:
        if position == 0:
            _end(params, state, slots, fill.ts)
        elif fill.signal >= Signal.EXIT_TRANSITION and not state.closing:
            _shed(pair, params, state, slots, fill.quantity)
        else:
            state.closing = True
            for index in range(2 * capacity(slots)):
                clear_order(slots, index)
        return
    cell = state.cells[fill.part]
    cell.held += fill.quantity if fill.slot < capacity(slots) else -fill.quantity
    if cell.held == 0 and cell.priced_at != state.laid_at:
        price_cell(pair, params, state, fill.part)
    if state.closing:
        return
    loosened = position == 0 and _stops_differ(state)
    if loosened:
        state.low_stop = state.range_low_stop
        state.high_stop = state.range_high_stop
        set_all(pair, state, slots)
        return
    if state.suspends and np.sign(position) != state.sign:
        turn(pair, state, slots)
    set_cell(pair, state, slots, fill.part)
    set_stop(pair, state, slots)


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
    state.laid = True
    state.closing = False
    state.share = 1.0
    state.peak = equity_now(pair)
    state.target = pair.target
    set_range(pair, params, state, lower, upper, capacity(slots))
    state.low_stop = state.range_low_stop
    state.high_stop = state.range_high_stop
    set_all(pair, state, slots)
    pair.range_asked, pair.range_lower, pair.range_upper = True, lower, upper


@kernel
def _on_verdict(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Use only the share of the size that the verdict allows; a cell that gets too small refuses the grid whole."""
    if pair.range_share >= 1.0:
        return
    state.share = pair.range_share
    if state.share > 0.0:
        set_range(pair, params, state, state.lower, state.upper, capacity(slots))
        set_all(pair, state, slots)
    for index in range(state.levels):
        if state.share <= 0.0 or (state.cells[index].side != 0 and state.cells[index].lots == 0):
            pair.range_share = 0.0
            _forget(state, slots)
            return


@kernel
def _shed(pair: Record, params: Record, state: Record, slots: Record, quantity: int) -> None:
    """Take `quantity` lots that left by another's order out of the cells, in their order, as trades are booked."""
    direction = 1 if pair.ledger.position > 0 else -1
    for index in range(capacity(slots)):
        cell = state.cells[index]
        if cell.held > 0 and cell.side == direction:
            shed = min(cell.held, quantity)
            cell.held -= shed
            quantity -= shed
            if cell.held == 0 and cell.priced_at != state.laid_at:
                price_cell(pair, params, state, index)
    set_all(pair, state, slots)


@kernel
def _shift(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Lay the range again around the price; inventory keeps its exits and its stop never loosens."""
    half = (state.upper - state.lower) / 2.0
    if params.trailing == TRAIL_ATR and np.isnan(params.lower):
        half = params.range_factor * state.atr.value
    if pair.price - half <= 0.0 or half <= 0.0:
        return
    set_range(pair, params, state, pair.price - half, pair.price + half, capacity(slots))
    position = pair.ledger.position
    state.low_stop = max(state.low_stop, state.range_low_stop) if position > 0 else state.range_low_stop
    state.high_stop = min(state.high_stop, state.range_high_stop) if position < 0 else state.range_high_stop
    set_all(pair, state, slots)


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
        2 * capacity(slots) + 1,
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
    for index in range(capacity(slots)):
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
