"""The simulated exchange: one bar's path, and which orders it reaches. Kernels only.

A bar is a path through its four prices; orders are met in path order, and what a strategy answers to a fill
joins the rest of the path. Prices inside are ticks as float64, whole where the candle is on the grid, so
comparing them with an order's ticks is exact. The rules are sections 2 and 3 of docs/execution.md.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple, cast

import numpy as np

from bot.kernel import Record, kernel, template
from bot.ledger import book_fill, equity
from bot.order import WHOLE_POSITION, Liquidity, OrderKind, Side, Signal, stops_position
from bot.strategy import Decide, Event, whole_down, whole_up


class Outcome(IntEnum):
    """How a run ended."""

    COMPLETE = 0
    LIQUIDATED = 1
    RUINED = 2  # equity reached zero at a close
    RESTLESS = 3  # the strategy answered fills without end inside one bar


SETTINGS = np.dtype(
    [
        ("capital", "f8"),
        ("reinvest", "b1"),
        ("through", "f8"),  # ticks by which the price must pass a limit: 1 or 0
        ("adverse", "b1"),
        ("fill_at_close", "b1"),
        ("slippage", "f8"),  # fraction of the price
        ("slippage_ticks", "f8"),  # besides
        ("impact", "f8"),  # fraction of the price per share of the bar's volume
        ("forced_exit", "f8"),  # fraction of the price
        ("participation", "f8"),  # share of the bar's volume
        ("funding_rate", "f8"),  # per 8 hours
        ("start", "i8"),  # ms: entries are allowed from the bar that opens here
        ("warmup_bars", "i8"),
        ("at_once", "b1"),  # entries are allowed at base bars before the first signal bar
        ("every_bar", "b1"),  # ask the exchange about every bar, also where nothing can happen
        ("keep_desired_orders", "b1"),
    ],
    align=True,
)

# What the loop carries besides the pair: counters, and the state of the present bar.
RUN = np.dtype(
    [
        ("fills", "i8"),
        ("changes", "i8"),
        ("desired_orders", "i8"),
        ("refused", "i8"),
        ("outcome", "i8"),
        ("imbalance", "f8"),  # equity by its parts - equity by the money that moved, at the end
        ("bars", "i8"),  # bars gone through
        ("bar", "i8"),
        ("ts", "i8"),
        ("volume", "f8"),
        ("budget", "i8"),  # lots the bar may still fill
        ("bar_fills", "i8"),
        ("at_open", "b1"),
        ("decided", "b1"),  # the strategy was asked at this close
        ("up", "f8"),  # ticks: bars inside (down, up) reach no order
        ("down", "f8"),
        ("order_up", "f8"),  # the same for orders alone
        ("order_down", "f8"),
        ("band_version", "i8"),  # version of the table of desired orders by which these were found
        ("over", "f8"),  # ticks: a coordinator's pair also needs evaluation at a bar that lies whole above or below
        ("under", "f8"),
    ],
    align=True,
)


class World(NamedTuple):
    """Everything a bar touches: records, and the growing list of fills."""

    pair: Record
    params: Record
    state: Record
    slots: Record
    event: Record
    run: Record
    settings: Record
    fills: Record


# The strategy's kernel: `specialise` binds it.
decide = cast("Decide", None)

LIQUIDATION = -2  # in place of a slot
NOTHING = -1


@template
def refuse(world: World, index: int) -> None:
    """Withdraw what the venue will not have, and tell the strategy."""
    slots, event = world.slots, world.event
    slots[index].active = False
    world.run.refused += 1
    event.kind = Event.REFUSED
    event.execution.slot = index
    event.execution.generation = slots[index].generation
    event.execution.ts = world.run.ts
    decide(world.pair, world.params, world.state, slots, event)


@kernel
def liquidation_price(pair: Record) -> float:
    """Ticks at which equity is no more than the maintenance margin; NaN where no price is.

    An account of several pairs is liquidated as a whole, which its loop looks after.
    """
    ledger, instrument = pair.ledger, pair.instrument
    if not instrument.linear or ledger.position == 0 or pair.shared:
        return np.nan
    worth, cash = instrument.tick_value * abs(ledger.position), ledger.cash + pair.credit
    if ledger.position > 0:
        price = -cash / (worth * (1.0 - instrument.maintenance_margin))
        return float(whole_up(price)) if price > 0.0 else np.nan
    price = cash / (worth * (1.0 + instrument.maintenance_margin))
    return float(whole_down(price)) if price > 0.0 else np.nan


@kernel
def passes(pair: Record, slot: Record) -> bool:
    """Whether the exchange passes an order over: it would only reduce, and there is nothing to reduce."""
    position = pair.ledger.position
    if slot.reduce_only and position * slot.side >= 0:
        return True
    return slot.side < 0 and position <= 0 and not pair.instrument.linear


@kernel
def settle(slot: Record, x: float) -> None:
    """Let a limit that crossed rest, once the price stands at an `x` (ticks) that it does not allow."""
    if slot.crossing and slot.side * (slot.price - x) < 0.0:
        slot.crossing = False


@kernel
def first_reached(pair: Record, slots: Record, filling: bool, through: float, x: float, y: float) -> tuple[int, float]:
    """Slot that a price moving from `x` to `y` reaches first, and where (ticks); (NOTHING, y) if none.

    Distances are signed along the movement: negative for orders that `x` has passed already, and -inf for those that
    go at once. Without `filling` no order is reached, and only a liquidation may be.
    """
    chosen, at, nearest, chosen_stop = NOTHING, y, np.inf, False
    for index in range(len(slots)):
        slot = slots[index]
        if not slot.active:
            continue
        settle(slot, x)
        if not filling or passes(pair, slot):
            continue
        if slot.kind == OrderKind.MARKET or slot.crossing:
            if nearest > -np.inf:
                chosen, at, nearest = index, x, -np.inf
            continue
        side, stop = slot.side, slot.kind == OrderKind.STOP
        reach = float(slot.price) if stop else slot.price - side * through
        falling = (side < 0) == stop
        distance = x - reach if falling else reach - x
        room = x - y if falling else y - x
        if distance > 0.0 and distance > room:
            continue
        if distance < nearest or (distance == nearest and stop and not chosen_stop):
            chosen, nearest, chosen_stop = index, distance, stop
            at = reach if distance > 0.0 else x
    liquidation = liquidation_price(pair)
    if not np.isnan(liquidation):
        falling = pair.ledger.position > 0
        distance = x - liquidation if falling else liquidation - x
        room = x - y if falling else y - x
        if (distance <= 0.0 or distance <= room) and distance < nearest:
            return LIQUIDATION, liquidation
    return chosen, at


@template
def refresh_band(world: World, market: float) -> None:
    """Receive what is desired anew at market price `market` (ticks) and find the band that reaches nothing.

    While the path stays inside (run.down, run.up), ticks, no order is reached and no bar wakes the strategy.
    """
    pair, run = world.pair, world.run
    if pair.shared and run.band_version == world.slots[0].version and run.up > -np.inf:
        band(pair, run)
    else:
        receive(world, market)


@template
def receive(world: World, market: float) -> None:
    """Go through the whole table of desired orders.

    A fresh limit that crosses is marked, with post-only refused; one that does not cross any more rests.
    """
    pair, slots, run = world.pair, world.slots, world.run
    up, down, index = np.inf, -np.inf, 0
    while index < len(slots):
        slot = slots[index]
        index += 1
        if not slot.active:
            continue
        if slot.fresh:
            slot.fresh = False
            slot.crossing = slot.kind == OrderKind.LIMIT and slot.side * (slot.price - market) >= 0.0
            if slot.crossing and slot.post_only:
                refuse(world, index - 1)
                up, down, index = np.inf, -np.inf, 0
                continue
        settle(slot, market)
        if slot.crossing or slot.kind == OrderKind.MARKET:
            up = -np.inf
            continue
        stop = slot.kind == OrderKind.STOP
        reach = float(slot.price) if stop else slot.price - slot.side * world.settings.through
        if (slot.side < 0) == stop:
            down = max(down, reach)
        else:
            up = min(up, reach)
    liquidation = liquidation_price(pair)
    if not np.isnan(liquidation):
        if pair.ledger.position > 0:
            down = max(down, liquidation)
        else:
            up = min(up, liquidation)
    run.order_up, run.order_down, run.band_version = up, down, slots[0].version
    band(pair, run)
    if world.settings.every_bar:
        run.up = -np.inf


@kernel
def band(pair: Record, run: Record) -> None:
    """Set the prices between which a bar changes nothing: those of the orders and those that the pair watches."""
    tick = pair.instrument.tick_size
    run.up = min(run.order_up, pair.watch_above / tick * (1.0 - 1e-12))
    run.down = max(run.order_down, pair.watch_below / tick * (1.0 + 1e-12))
    run.over = pair.left_above / tick * (1.0 - 1e-12)
    run.under = pair.left_below / tick * (1.0 + 1e-12)


@kernel
def aimed_price(slot: Record, x: float, at: float, at_open: bool) -> float:
    """Price an order aims at when the path, coming from `x`, reaches it at `at`; ticks."""
    if slot.kind != OrderKind.LIMIT or slot.crossing:
        return at
    if at != x or not at_open:
        return float(slot.price)
    return float(max(min(whole_up(x), slot.price), 1) if slot.side > 0 else max(whole_down(x), slot.price))


@kernel
def slipped(slot: Record, settings: Record, aim: float, share: float) -> int:
    """Ticks that a taker pays or gets: `aim` moved against it; a limit never beyond its price."""
    slip = settings.slippage + settings.impact * share
    if slot.signal >= Signal.EXIT_TRANSITION:
        slip += settings.forced_exit
    if slot.side > 0:
        price = max(whole_up(aim * (1.0 + slip) + settings.slippage_ticks), 1)
        return min(price, slot.price) if slot.kind == OrderKind.LIMIT else price
    price = max(whole_down(aim * (1.0 - slip) - settings.slippage_ticks), 1)
    return max(price, slot.price) if slot.kind == OrderKind.LIMIT else price


@kernel
def affords(pair: Record, side: int, quantity: int, price: float, x: float, fee: float) -> bool:
    """Whether the money covers what the order would add to the position."""
    ledger, instrument = pair.ledger, pair.instrument
    after = ledger.position + side * quantity
    if abs(after) <= abs(ledger.position):
        return True
    notional = price * quantity * instrument.tick_value
    if not instrument.linear:
        return notional + fee <= ledger.cash + pair.credit + 1e-9 * notional
    margin = abs(after) * price * instrument.tick_value / instrument.leverage
    return margin <= equity(ledger, x, instrument.tick_value) + pair.credit - fee + 1e-9 * notional


@template
def fill(world: World, index: int, x: float, at: float) -> None:
    """Fill slot `index`, reached at `at` on the way from `x`, and let the strategy answer."""
    pair, slots, event, run = world.pair, world.slots, world.event, world.run
    slot, instrument = slots[index], pair.instrument
    aim = aimed_price(slot, x, at, run.at_open)
    maker = slot.kind == OrderKind.LIMIT and not slot.crossing
    if slot.kind == OrderKind.STOP:
        if instrument.linear and stops_position(slot):
            slot.quantity = abs(pair.ledger.position)
        slot.kind = OrderKind.MARKET
    quantity = min(slot.quantity, run.budget)
    if slot.reduce_only or (slot.side < 0 and not instrument.linear):
        quantity = min(quantity, abs(pair.ledger.position))
    price = aim
    if not maker:
        price = float(slipped(slot, world.settings, aim, quantity * instrument.lot_size / run.volume))
    rate = instrument.maker_fee if maker else instrument.taker_fee
    fee = price * quantity * instrument.tick_value * rate
    if not affords(pair, slot.side, quantity, price, at, fee):
        refuse(world, index)
        return
    slot.quantity -= quantity
    slot.active = slot.quantity > 0
    record = event.execution
    record.slot, record.generation, record.part, record.entry = index, slot.generation, slot.part, slot.entry
    record.side, record.kind, record.signal, record.stop = slot.side, slot.kind, slot.signal, slot.stop
    record.liquidity = Liquidity.MAKER if maker else Liquidity.TAKER
    book(world, price, quantity, fee, abs(price - aim))
    pair.price = price * instrument.tick_size  # all that a bot knows of the price when it hears of its fill
    event.kind = Event.FILL
    decide(pair, world.params, world.state, slots, event)


@kernel
def book(world: World, price: float, quantity: int, fee: float, slip: float) -> None:
    """Enter a fill in the ledger and in the list."""
    run, record = world.run, world.event.execution
    ledger, tick_value = world.pair.ledger, world.pair.instrument.tick_value
    record.ts, record.bar = run.ts, run.bar
    record.price, record.quantity, record.fee = int(price), quantity, fee
    record.slippage = slip * quantity * tick_value
    record.realised = book_fill(ledger, record.side, price, quantity, tick_value, fee)
    ledger.slippage += record.slippage
    record.position = ledger.position
    world.fills[run.fills] = record
    run.fills += 1
    run.bar_fills += 1
    run.budget -= quantity


@kernel
def liquidate(world: World, price: float) -> None:
    """Close everything at the liquidation price; what is left of the money goes as fee, and the run ends."""
    left = equity(world.pair.ledger, price, world.pair.instrument.tick_value) + world.pair.credit
    close_out(world, price, max(left, 0.0))
    world.run.outcome = Outcome.LIQUIDATED


@kernel
def close_out(world: World, price: float, left: float) -> None:
    """Close the whole position as the venue does that liquidates it; `left` goes as fee."""
    ledger, record = world.pair.ledger, world.event.execution
    side = Side.SELL if ledger.position > 0 else Side.BUY
    record.slot, record.generation, record.part, record.entry = LIQUIDATION, 0, WHOLE_POSITION, 0
    record.side, record.kind, record.signal, record.stop = side, OrderKind.MARKET, Signal.EXIT_EMERGENCY, 0
    record.liquidity = Liquidity.TAKER
    book(world, price, abs(ledger.position), left, 0.0)


@kernel
def most_fills(slots: Record) -> int:
    """Count the fills in one bar after which a strategy is taken to answer itself without end."""
    return 64 + 8 * len(slots)


@template
def move(world: World, x: float, y: float) -> float:
    """Let the price go from `x` to `y` and fill what it reaches on the way; returns where it stands."""
    pair, slots, run = world.pair, world.slots, world.run
    while run.outcome == Outcome.COMPLETE:
        if max(x, y) < run.up and min(x, y) > run.down:
            return y
        index, at = first_reached(pair, slots, run.budget > 0, world.settings.through, x, y)
        if index == NOTHING:
            return y
        if index == LIQUIDATION:
            liquidate(world, at)
            return at
        if run.bar_fills >= most_fills(slots):
            run.outcome = Outcome.RESTLESS
            return y
        fill(world, index, x, at)
        if at != x:
            run.at_open = False
        x = at
        refresh_band(world, x)
    return x


@template
def trade_bar(world: World, open_: float, high: float, low: float, close: float) -> None:
    """Walk one bar's path: open, one extreme, the other, close."""
    run, position = world.run, world.pair.ledger.position
    low_first = open_ - low < high - open_ or (open_ - low == high - open_ and close >= open_)
    if world.settings.adverse and position != 0:
        low_first = position > 0
    first, second = (low, high) if low_first else (high, low)
    here = open_
    run.at_open = True
    for target in (open_, first, second, close):
        here = move(world, here, target)
        run.at_open = False
