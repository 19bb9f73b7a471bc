"""The loop over one pair's bars: funding, path, close, decisions. A template, compiled once per strategy.

Bars that reach no order, wake nobody and complete nothing are passed over by two comparisons; a run with
`every_bar` set visits them all and must give the same fills.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np

from backtesting.exchange import Outcome, World, most_fills, move, refresh_band, trade_bar
from bot.kernel import Record, kernel, template, unowned
from bot.ledger import book_funding, deposit, equity, imbalance
from bot.strategy import Decide, Event, outside_watch_band, watch_everything, whole_down

if TYPE_CHECKING:
    from coordinator.roster import TakeInputs

# Cash and position after each bar that changed them: equity at every close follows from these.
CHANGE = np.dtype([("bar", "i8"), ("cash", "f8"), ("position", "i8"), ("pair", "i8")])
DESIRED = np.dtype(
    [("bar", "i8"), ("slot", "i4"), ("pair", "i4"), ("price", "i8"), ("side", "i1"), ("kind", "i1")], align=True
)

# The strategy's kernel, and what its signal bars bring besides: `specialise` binds them.
decide = cast("Decide", None)
take_inputs = cast("TakeInputs", None)


@template
def loop(  # noqa: C901, PLR0912, PLR0915, the one loop: what it calls is elsewhere
    ts: Record,
    open_: Record,
    high: Record,
    low: Record,
    close: Record,
    volume: Record,
    signal_bars: Record,
    signal_ends: Record,
    signal_counts: Record,
    payments: Record,
    settings_: Record,
    pairs: Record,
    params_: Record,
    states: Record,
    slots: Record,
    events: Record,
    runs: Record,
    fills: Record,
    changes: Record,
    desired_orders: Record,
    shown: Record,
) -> tuple[Record, Record, Record]:
    """Run one pair over its bars; returns the (possibly regrown) fills, changes and desired orders.

    Shapes: ts … volume (n,), prices in ticks; signal_bars (m,) in quote currency, with inputs, signal_ends (m,) the bar
    index that completes each, and signal_counts (m,) how many there are up to it; payments (f,) of funding, ascending
    by bar, several of one bar where a gap swallowed some; the records with a trailing underscore or plural are arrays
    of one.
    """
    run = runs[0]
    n, signal, payment = len(ts), 0, 0
    slots = unowned(slots)
    world = World(pairs[0], params_[0], states[0], slots, events[0], run, settings_[0], unowned(fills))
    deposit(pairs[0].ledger, settings_[0].capital)
    watch_everything(pairs[0])
    run.up, run.down = -np.inf, np.inf
    i = 0
    while i < n:
        end = n - 1
        if signal < len(signal_ends):
            end = min(end, signal_ends[signal])
        if payment < len(payments):
            end = min(end, payments[payment].bar)
        up, down = run.up, run.down
        while i < end and high[i] < up and low[i] > down:
            i += 1
        while run.fills + 2 * most_fills(slots) > len(fills):
            fills = grown(fills)
            world = World(pairs[0], params_[0], states[0], slots, events[0], run, settings_[0], unowned(fills))
        cash, position = pairs[0].ledger.cash, pairs[0].ledger.position
        begin_bar(world, i, ts[i], volume[i])
        due, rate = payment, 0.0
        while payment < len(payments) and payments[payment].bar == i:
            rate += payments[payment].rate
            payment += 1
        paid = payment > due and pay_funding(world, open_[i], rate)
        if paid:  # money has moved, and the liquidation price with it: the band of before is not to be trusted
            up = run.up = -np.inf
        if volume[i] > 0.0 and (high[i] >= up or low[i] <= down):
            trade_bar(world, open_[i], high[i], low[i], close[i])
        end_bar(world, close[i])
        if run.outcome == Outcome.COMPLETE:
            if settings_[0].at_once and not pairs[0].may_enter and i > 0 and ts[i - 1] >= settings_[0].start:
                allow(world, close[i])
            base_decision(world, paid, open_[i], high[i], low[i], close[i])
            if signal < len(signal_ends) and signal_ends[signal] == i:
                events[0].bar = signal_bars[signal].bar
                take_inputs(events[0], signal_bars[signal])
                signal += 1
                signal_decision(world, signal_counts[signal - 1], close[i])
            if run.decided or run.up == -np.inf:
                refresh_band(world, close[i])
            if settings_[0].fill_at_close and i < n - 1 and volume[i] > 0.0:
                move(world, close[i], close[i])
        if pairs[0].ledger.cash != cash or pairs[0].ledger.position != position:
            changes = note_change(changes, pairs[0].ledger, run, 0)
        if settings_[0].keep_desired_orders:
            desired_orders = note_desired_orders(slots, run, desired_orders, shown, 0)
        run.bars = i + 1
        if run.outcome != Outcome.COMPLETE:
            break
        i += 1
    run.imbalance = imbalance(pairs[0].ledger, close[run.bars - 1], pairs[0].instrument.tick_value)
    return fills, changes, desired_orders


@kernel
def begin_bar(world: World, index: int, ts: int, volume: float) -> None:
    """Set the counters of a new bar."""
    run = world.run
    run.bar, run.ts, run.volume, run.bar_fills = index, ts, volume, 0
    run.decided = False
    run.budget = whole_down(volume * world.settings.participation / world.pair.instrument.lot_size)
    world.pair.time = ts


@kernel
def pay_funding(world: World, price: float, rate: float) -> bool:
    """Pay `rate` of the position's worth at `price` (ticks), or receive it when short; whether there was a position."""
    ledger = world.pair.ledger
    worth = ledger.position * price * world.pair.instrument.tick_value
    if ledger.position != 0:
        book_funding(ledger, -worth * rate)
    return ledger.position != 0


@kernel
def end_bar(world: World, close: float) -> None:
    """Value the pair at the close; an equity of zero ends the run."""
    pair = world.pair
    pair.time = world.run.ts + pair.bar_ms
    pair.price = close * pair.instrument.tick_size
    if pair.shared or world.run.outcome != Outcome.COMPLETE:
        return
    if equity(pair.ledger, close, pair.instrument.tick_value) + pair.credit <= 0.0:
        world.run.outcome = Outcome.RUINED


@kernel
def allow(world: World, close: float) -> None:
    """Let the strategy enter from a base bar on that follows the first one of the period, once it is warm."""
    pair, settings = world.pair, world.settings
    if pair.signal_bars >= settings.warmup_bars:
        pair.may_enter = True
        set_target(pair, settings, close)


@kernel
def set_target(pair: Record, settings: Record, close: float) -> None:
    """Give the pair its capital, by the equity of the moment."""
    worth = equity(pair.ledger, close, pair.instrument.tick_value)
    pair.target = worth if settings.reinvest else min(worth, settings.capital)


@template
def base_decision(world: World, paid: bool, open_: float, high: float, low: float, close: float) -> None:
    """Tell the strategy of a closed base bar, if it watches for one like this."""
    pair, event, tick = world.pair, world.event, world.pair.instrument.tick_size
    bar = event.bar
    bar.ts, bar.volume = world.run.ts, world.run.volume
    bar.open, bar.high, bar.low, bar.close = open_ * tick, high * tick, low * tick, close * tick
    if paid or outside_watch_band(pair, bar):
        world.run.decided = True
        event.kind = Event.BASE
        decide(pair, world.params, world.state, world.slots, event)


@template
def signal_decision(world: World, seen: int, close: float) -> None:
    """Refresh target and permission, then tell the strategy of a closed signal bar, already in the event."""
    pair, settings = world.pair, world.settings
    pair.signal_bars = seen
    pair.may_enter = seen >= settings.warmup_bars and world.run.ts >= settings.start
    set_target(pair, settings, close)
    world.run.decided = True
    world.event.kind = Event.SIGNAL
    decide(pair, world.params, world.state, world.slots, world.event)


@kernel
def note_change(changes: Record, ledger: Record, run: Record, pair: int) -> Record:
    """Write down cash and position after this bar; returns the list, regrown if it was full."""
    if run.changes == len(changes):
        changes = grown(changes)
    write_change(changes, ledger, run, pair)
    return changes


@kernel
def write_change(changes: Record, ledger: Record, run: Record, pair: int) -> None:
    """Write down cash and position after this bar."""
    change = changes[run.changes]
    change.bar, change.cash, change.position, change.pair = run.bar, ledger.cash, ledger.position, pair
    run.changes += 1


@kernel
def grown(records: Record) -> Record:
    """Copy into twice the room."""
    larger = np.empty(2 * len(records), records.dtype)
    larger[: len(records)] = records
    return larger


@kernel
def note_desired_orders(slots: Record, run: Record, desired_orders: Record, shown: Record, pair: int) -> Record:
    """Write down each slot whose price has changed by the end of this bar (0: no order); returns the list."""
    if run.desired_orders + len(slots) > len(desired_orders):
        desired_orders = grown(desired_orders)
    write_desired_orders(slots, run, desired_orders, shown, pair)
    return desired_orders


@kernel
def write_desired_orders(slots: Record, run: Record, desired_orders: Record, shown: Record, pair: int) -> None:
    """Write down each slot whose price has changed by the end of this bar (0: no order)."""
    for index in range(len(slots)):
        slot = slots[index]
        price = slot.price if slot.active else 0
        if price != shown[index]:
            shown[index] = price
            desired_order = desired_orders[run.desired_orders]
            desired_order.bar, desired_order.slot, desired_order.price, desired_order.pair = run.bar, index, price, pair
            desired_order.side, desired_order.kind = slot.side, slot.kind
            run.desired_orders += 1
