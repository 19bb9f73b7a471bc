"""What a grid does at each event: lay, answer a fill, move, close."""

from __future__ import annotations

import numpy as np

from bot.costs import CostRule, pays, round_trip
from bot.gate import allows
from bot.indicators import atr_update
from bot.kernel import Record, kernel
from bot.order import WHOLE_POSITION, OrderKind, Side, Signal, clear_order, clear_orders, set_order
from bot.strategy import Event, enter, equity_now, order_ticks, watch_everything, watch_nothing, whole_ms
from bot.times import DAY, HOUR, MINUTE
from strategies.grid.activation import activate, is_limited
from strategies.grid.cells import (
    begin_accounts,
    book_cycle,
    capital_of,
    counter_distance,
    direction_of,
    is_beyond_exits,
    plan,
    price_cell,
    reached,
    set_exit_sides,
    set_range,
    set_stops,
    sizes_follow,
    take_investment,
)
from strategies.grid.orders import missing, set_all, set_cell, set_stop, turn
from strategies.grid.parameters import CLOSE, KEEP_WITH_STOP, START_NOW, TRAIL_ATR, TRAIL_CELL
from strategies.grid.state import ENTRY_WAITS, capacity
from strategies.grid.window import (
    ask_costs_of_cells,
    endow,
    follow_cells,
    follow_constant_worth,
    next_moves,
    shifts,
)


@kernel
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """One event of the grid's life."""
    _follow_exits(pair, params, state, slots)
    if event.kind == Event.FILL:
        _on_fill(pair, params, state, slots, event.execution)
    elif event.kind == Event.SIGNAL:
        _on_signal(pair, params, state, slots, event.bar)
    elif event.kind == Event.BASE:
        if not state.laid:
            _wait(pair, params, state, slots, event.bar)
        elif not state.closing:
            _on_base(pair, params, state, slots, event.bar)
    elif event.kind == Event.VERDICT:
        _on_verdict(pair, params, state, slots)
    elif event.kind == Event.RESET:
        _forget(state, slots)
        state.finished = False
        state.invested = 0.0
    elif event.kind == Event.REFUSED and state.laid and state.infinite and not (state.bought or state.closing):
        _on_refusal(pair, state, slots, event.execution.slot)
    if state.laid and not state.closing and is_limited(params):
        activate(pair, params, state, slots)
    _watch(pair, params, state)


@kernel
def _follow_exits(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Follow a stop or profit of the whole grid that was given or taken out while it stands."""
    stop_changes = np.isnan(params.stop_price) != (state.stop_side == 0)
    take_changes = np.isnan(params.take_profit) != (state.take_side == 0)
    if state.laid and not state.closing and (stop_changes or take_changes):
        set_exit_sides(pair, params, state)
        set_stops(pair, params, state)
        _tighten(pair, state)
        set_all(pair, state, slots)


@kernel
def _is_purchase(slots: Record, slot: int) -> bool:
    """Whether a slot is that of the closing order, by which an infinite grid buys what it begins with."""
    return slot == 2 * capacity(slots) + 1


@kernel
def _on_refusal(pair: Record, state: Record, slots: Record, slot: int) -> None:
    """Go without a first purchase that was refused: with what was bought of it, or without a grid."""
    if _is_purchase(slots, slot) and pair.ledger.position == 0:
        _forget(state, slots)
    elif _is_purchase(slots, slot):
        state.purchase = 0
        _take_purchase(pair, state, slots, 0)


@kernel
def _on_fill(pair: Record, params: Record, state: Record, slots: Record, fill: Record) -> None:
    cells = capacity(slots)
    ours = state.infinite and fill.signal <= Signal.GRID_COUNTER and fill.slot < len(slots)
    if ours and _is_purchase(slots, fill.slot):
        _take_purchase(pair, state, slots, fill.quantity)
    elif fill.part == WHOLE_POSITION and not ours:
        _on_exit(pair, params, state, slots, fill)
    elif not state.laid:  # on its way when the grid ended
        state.laid = True
        _close_whole(pair, state, slots, Signal.EXIT_SL)
    else:
        index = fill.slot % cells if state.infinite else fill.part
        _fill_cell(pair, params, state, cells, index, fill)
        if not state.closing:
            _answer(pair, params, state, slots, index)
        elif state.kept:
            set_stop(pair, state, slots)
        elif pair.ledger.position == 0:
            _end(params, state, slots, fill.ts)
        else:
            _close_whole(pair, state, slots, Signal.EXIT_SL)


@kernel
def _on_exit(pair: Record, params: Record, state: Record, slots: Record, fill: Record) -> None:
    """An exit of the position has filled, of the grid's or of another's."""
    if pair.ledger.position == 0:
        if fill.slot == 2 * capacity(slots) and fill.side == state.stop_side:
            state.finished = True
        _end(params, state, slots, fill.ts)
    elif fill.signal >= Signal.EXIT_TRANSITION and not state.closing:
        _shed(pair, state, slots, fill.quantity)
    else:
        state.closing = True
        for index in range(2 * capacity(slots)):
            clear_order(slots, index)
        if state.kept:
            set_stop(pair, state, slots)
        elif not _closes_whole(pair, slots):
            _close_whole(pair, state, slots, fill.signal)


@kernel
def _closes_whole(pair: Record, slots: Record) -> bool:
    """Whether the stop or the closing order still takes all that is held."""
    for index in range(2 * capacity(slots), 2 * capacity(slots) + 2):
        if slots[index].active and slots[index].quantity >= abs(pair.ledger.position):
            return True
    return False


@kernel
def _close_whole(pair: Record, state: Record, slots: Record, signal: int) -> None:
    """Close all that is held at the market, whatever the orders before were for."""
    position, closing = pair.ledger.position, 2 * capacity(slots) + 1
    state.closing = True
    side = Side.SELL if position > 0 else Side.BUY
    stays = slots[closing].active and slots[closing].side == side
    reason = slots[closing].signal + 0 if stays else signal + 0  # one type of number for the compiler
    for index in range(closing):
        clear_order(slots, index)
    set_order(slots, closing, side, OrderKind.MARKET, 0, abs(position), reason, WHOLE_POSITION)


@kernel
def _fill_cell(pair: Record, params: Record, state: Record, cells: int, index: int, fill: Record) -> None:
    """Book the fill of a cell's entry or counter."""
    cell, closes = state.cells[index], fill.slot >= cells
    cell.held += -fill.quantity if closes else fill.quantity
    resized = closes and sizes_follow(params)
    if resized:
        book_cycle(pair, params, state, index, fill)
    if cell.held == 0 and (resized or cell.priced_at != state.laid_at):
        price_cell(pair, params, state, index)


@kernel
def _answer(pair: Record, params: Record, state: Record, slots: Record, index: int) -> None:
    """Set the orders that follow from the fill of a cell; with nothing left, also those of cells that were shed."""
    position = pair.ledger.position
    loosened = position == 0 and _stops_differ(state)
    if position == 0:
        for number in range(capacity(slots)):
            if state.cells[number].held == 0 and state.cells[number].priced_at != state.laid_at:
                price_cell(pair, params, state, number)
                loosened = True
    if loosened:
        state.low_stop = state.range_low_stop
        state.high_stop = state.range_high_stop
        set_all(pair, state, slots)
        return
    if state.suspends and np.sign(position) != state.sign:
        turn(pair, state, slots)
    set_cell(pair, state, slots, index)
    set_stop(pair, state, slots)


@kernel
def _take_purchase(pair: Record, state: Record, slots: Record, quantity: int) -> None:
    """Take what an infinite grid begins with; when it is complete, the cells above the price get their part."""
    state.core += quantity
    state.purchase -= quantity
    state.bought = state.purchase <= 0
    if state.bought:
        endow(state)
        set_all(pair, state, slots)
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
        if not state.closing:
            _set_missing(pair, params, state, slots)
            if not state.infinite:
                _keep_up(pair, params, state, slots)
    elif _may_lay(pair, params, state) and (np.isnan(params.trigger_price) or state.triggered):
        _lay(pair, params, state, slots)


@kernel
def _set_missing(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Set anew what was refused, and what no limit of orders holds back any more."""
    changed, may_set = False, pair.may_enter or pair.coordinated
    for index in range(capacity(slots)):
        cell = state.cells[index]
        if cell.waits != 0 and not is_limited(params):
            cell.waits = 0
            changed = True
        waits = slots[index].active or slots[index].suspended or cell.waits & ENTRY_WAITS
        changed = changed or (may_set and not waits and missing(pair, state, index) > 0)
    if changed:
        set_all(pair, state, slots)


@kernel
def _keep_up(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Lay a range again that is old, or size its empty cells by capital that was added or taken out."""
    added = take_investment(pair, state)
    if shifts(params) and pair.time - state.laid_at >= whole_ms(params.max_age_days, DAY):
        _shift(pair, params, state, slots)
    elif added:
        plan(pair, params, state, capacity(slots))
        set_all(pair, state, slots)


@kernel
def _may_lay(pair: Record, params: Record, state: Record) -> bool:
    """Whether a grid may be laid now, but for its trigger."""
    idle = pair.ledger.position == 0 and not state.finished
    return (
        pair.may_enter and idle and pair.time >= state.cooldown_end and allows(state.gate, direction_of(pair, params))
    )


@kernel
def _wait(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    """Look at a base bar without a grid: the price may have reached the trigger, and a grid may start at once."""
    if not _may_lay(pair, params, state):
        return
    if not np.isnan(params.trigger_price) and not state.triggered:
        if state.trigger_side == 0:
            state.trigger_side = 1 if params.trigger_price > pair.price else -1
            state.triggered = reached(pair, pair.price, params.trigger_price, state.trigger_side)
        else:
            extreme = bar.high if state.trigger_side > 0 else bar.low
            state.triggered = reached(pair, extreme, params.trigger_price, state.trigger_side)
        if not state.triggered:
            return
    if params.start == START_NOW:
        _lay(pair, params, state, slots)


@kernel
def _on_base(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> None:
    if state.peak - equity_now(pair) > params.max_drawdown * state.target:
        _close(pair, params, state, slots, Signal.EXIT_SL)
        return
    if _ends(pair, params, state, slots, bar):
        return
    if state.infinite:
        follow_constant_worth(pair, params, state, slots)
        return
    if params.trailing == TRAIL_CELL:
        if follow_cells(pair, params, state):
            plan(pair, params, state, capacity(slots))
            _tighten(pair, state)
            set_all(pair, state, slots)
        return
    if not shifts(params):
        return
    above = pair.price > state.upper * (1.0 + params.shift_threshold)
    below = pair.price < state.lower * (1.0 - params.shift_threshold)
    rested = pair.time - state.laid_at >= whole_ms(params.shift_cooldown_minutes, MINUTE)
    if (above or below) and rested:
        _shift(pair, params, state, slots)


@kernel
def _ends(pair: Record, params: Record, state: Record, slots: Record, bar: Record) -> bool:
    """End the whole grid for good where its profit or its loss is what it was told, or the price is."""
    gain = equity_now(pair) - state.laid_equity
    taken = gain >= params.take_profit_share * state.target  # never where there is none: NaN
    if state.take_side != 0:
        extreme = bar.high if state.take_side > 0 else bar.low
        taken = taken or reached(pair, extreme, params.take_profit, state.take_side)
    if taken:
        state.finished = True
        _close(pair, params, state, slots, Signal.EXIT_TP)
        return True
    stopped = -gain >= params.stop_share * state.target
    if state.stop_side != 0 and (params.on_stop != CLOSE or pair.ledger.position == 0):
        extreme = bar.high if state.stop_side > 0 else bar.low
        stopped = stopped or reached(pair, extreme, params.stop_price, state.stop_side)
    if not stopped:
        return False
    state.finished = True
    if params.on_stop == CLOSE or pair.ledger.position == 0:
        _close(pair, params, state, slots, Signal.EXIT_SL)
    else:
        _keep(pair, params, state, slots)
    return True


@kernel
def _keep(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Cancel the grid and keep what it holds: behind the stop that rests, or a nearer one."""
    for index in range(2 * capacity(slots)):
        clear_order(slots, index)
    clear_order(slots, 2 * capacity(slots) + 1)  # what an infinite grid still buys
    state.closing = state.kept = True
    if params.on_stop == KEEP_WITH_STOP:
        side = -1 if pair.ledger.position > 0 else 1
        near = order_ticks(pair, side, pair.price * (1.0 + side * params.stop_loss), True)
        if side < 0:
            state.low_stop = max(state.low_stop, near)
        else:
            state.high_stop = min(state.high_stop, near)
    set_stop(pair, state, slots)


@kernel
def _lay(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Lay a new grid around the price."""
    set_exit_sides(pair, params, state)
    if is_beyond_exits(pair, params, state):
        return
    half = params.range_factor * state.atr.value
    lower = params.lower if not np.isnan(params.lower) else pair.price - half
    upper = params.upper if not np.isnan(params.upper) else pair.price + half
    needs_atr = params.start != START_NOW or np.isnan(params.lower)
    if lower <= 0.0 or (needs_atr and state.atr.value <= 0.0):
        return
    if params.infinity:
        if reached(pair, pair.price, lower, -1):
            return
        upper = lower * (1.0 + params.profit_per_grid) ** (params.levels - 1)
    if not _cells_pay(pair, params, lower, upper):
        return
    state.laid = True
    state.closing = state.kept = state.bought = False
    state.share = 1.0
    if state.invested <= 0.0:
        begin_accounts(pair, state)
    else:
        take_investment(pair, state)
    state.peak = state.laid_equity = equity_now(pair)
    state.target = capital_of(pair, params, state)
    set_range(pair, params, state, lower, upper, capacity(slots))
    state.low_stop = state.range_low_stop
    state.high_stop = state.range_high_stop
    if state.infinite:
        _buy(pair, state, slots)
    set_all(pair, state, slots)
    pair.range_asked, pair.range_lower, pair.range_upper = True, lower, upper


@kernel
def _cells_pay(pair: Record, params: Record, lower: float, upper: float) -> bool:
    """Whether the cells of a range lie far enough apart for what a round trip costs."""
    costs = round_trip(pair, OrderKind.LIMIT, OrderKind.LIMIT, 0.0)
    return pays(pair, CostRule.CELL, counter_distance(params, lower, upper), 1.0 + params.min_cell_profit, costs)


@kernel
def _buy(pair: Record, state: Record, slots: Record) -> None:
    """Buy at the market what an infinite grid begins with."""
    state.core = 0
    slot = enter(*(pair, slots, 2 * capacity(slots) + 1, Side.BUY, OrderKind.MARKET, 0, state.purchase, WHOLE_POSITION))
    slot.stop = state.low_stop


@kernel
def _on_verdict(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Use only the share of the size that the verdict allows; a cell that gets too small refuses the grid whole."""
    if pair.range_share >= 1.0 or not state.laid:
        return
    state.share = pair.range_share
    if state.share > 0.0:
        set_range(pair, params, state, state.lower, state.upper, capacity(slots))
        if state.infinite:
            _buy(pair, state, slots)
        set_all(pair, state, slots)
    for index in range(state.levels):
        if state.share <= 0.0 or (state.cells[index].side != 0 and state.cells[index].lots == 0):
            pair.range_share = 0.0
            _forget(state, slots)
            return


@kernel
def _shed(pair: Record, state: Record, slots: Record, quantity: int) -> None:
    """Take `quantity` lots that left by another's order out of the cells, in their order, as trades are booked.

    They come back when what is left of the cell has closed, or with nothing held: not at the price they have just left.
    """
    direction = 1 if pair.ledger.position > 0 else -1
    for index in range(capacity(slots)):
        cell = state.cells[index]
        if cell.held > 0 and cell.side == direction:
            shed = min(cell.held, quantity)
            cell.held -= shed
            cell.lots = max(cell.lots - shed, cell.held)
            cell.priced_at = -1
            quantity -= shed
    state.core = max(state.core - quantity, 0)
    set_all(pair, state, slots)


@kernel
def _shift(pair: Record, params: Record, state: Record, slots: Record) -> None:
    """Lay the range again around the price, without cells that would not pay there.

    Inventory keeps its exits and its stop never loosens.
    """
    half = (state.upper - state.lower) / 2.0
    if params.trailing == TRAIL_ATR and np.isnan(params.lower):
        wanted = params.range_factor * state.atr.value
        if wanted >= pair.price or _cells_pay(pair, params, pair.price - wanted, pair.price + wanted):
            half = wanted
    if pair.price - half <= 0.0 or half <= 0.0:
        return
    set_range(pair, params, state, pair.price - half, pair.price + half, capacity(slots))
    ask_costs_of_cells(pair, params, state)
    _tighten(pair, state)
    set_all(pair, state, slots)


@kernel
def _tighten(pair: Record, state: Record) -> None:
    """Take the stops of a range that has moved; that of a position never loosens."""
    position = pair.ledger.position
    state.low_stop = max(state.low_stop, state.range_low_stop) if position > 0 else state.range_low_stop
    state.high_stop = min(state.high_stop, state.range_high_stop) if position < 0 else state.range_high_stop


@kernel
def _close(pair: Record, params: Record, state: Record, slots: Record, signal: int) -> None:
    """Exit at the market."""
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
        signal,
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
        state.cells[index].waits = 0
    state.laid = False
    state.closing = False
    state.kept = False
    state.core = 0


@kernel
def _watch(pair: Record, params: Record, state: Record) -> None:
    """Ask for the base bars that could lay, move or end the grid."""
    watch_nothing(pair)
    if not state.laid:
        _watch_start(pair, params, state)
        return
    if state.closing:
        return
    if is_limited(params):
        watch_everything(pair)
        return
    if state.infinite or params.trailing == TRAIL_CELL:
        above, below = next_moves(params, state)
        pair.watch_above, pair.watch_below = above * (1.0 - 1e-9), below * (1.0 + 1e-9)
    elif shifts(params):
        pair.watch_above = state.upper * (1.0 + params.shift_threshold)
        pair.watch_below = state.lower * (1.0 - params.shift_threshold)
    _watch_price(pair, params.take_profit, state.take_side)
    _watch_price(pair, params.stop_price, state.stop_side)
    _watch_equity(pair, state.peak - params.max_drawdown * state.target, -1)
    _watch_equity(pair, state.laid_equity - params.stop_share * state.target, -1)
    _watch_equity(pair, state.laid_equity + params.take_profit_share * state.target, 1)


@kernel
def _watch_start(pair: Record, params: Record, state: Record) -> None:
    """Ask for the base bars at which a grid may be laid, or its trigger may be reached."""
    waits = not np.isnan(params.trigger_price) and not state.triggered
    if state.finished or not (waits or params.start == START_NOW):
        return
    if waits and state.trigger_side != 0:
        _watch_price(pair, params.trigger_price, state.trigger_side)
    else:
        watch_everything(pair)


@kernel
def _watch_price(pair: Record, level: float, side: int) -> None:
    """Ask for the base bars that rise (side 1) or fall (-1) to a level."""
    if side > 0:
        pair.watch_above = min(pair.watch_above, level * (1.0 - 1e-9))
    elif side < 0:
        pair.watch_below = max(pair.watch_below, level * (1.0 + 1e-9))


@kernel
def _watch_equity(pair: Record, level: float, side: int) -> None:
    """Ask for the base bars whose close may bring the equity up (side 1) or down (-1) to a level."""
    if np.isnan(level):
        return
    ledger = pair.ledger
    missing = level - ledger.cash
    if ledger.position == 0:
        if side * missing < 0.0 or (side > 0 and missing == 0.0):
            watch_everything(pair)
        return
    price = missing / (ledger.position * pair.instrument.lot_size)
    _watch_price(pair, price, 1 if (ledger.position > 0) == (side > 0) else -1)
