"""Trades from fills: each part of a position (a grid's cell, or the whole) from flat to flat.

Within a part entries are averaged and exits close them in proportion. An exit of the whole position closes the
parts it stands against in their order; when it leaves nothing, every part is closed at its price. Funding
goes to the parts by what they held.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.kernel import Record, kernel, specialise, template
from bot.order import WHOLE_POSITION
from bot.record import new_records

if TYPE_CHECKING:
    from backtesting.simulator import Recording

TRADE = np.dtype(
    [
        ("part", "i8"),
        ("entry", "i8"),  # kind of the first entry
        ("side", "i8"),
        ("entry_bar", "i8"),
        ("entry_ts", "i8"),
        ("exit_bar", "i8"),
        ("exit_ts", "i8"),
        ("held", "i8"),  # lots still open; 0 is a closed trade
        ("quantity", "i8"),  # lots entered
        ("entries", "i8"),  # entry fills
        ("safety", "i8"),  # entry fills of a kind other than the first
        ("entry_value", "f8"),  # quote currency
        ("exit_value", "f8"),
        ("fees", "f8"),
        ("funding", "f8"),
        ("risk", "f8"),  # loss at the planned stops, 0 where none was planned
        ("exit_signal", "i8"),
        ("mae", "f8"),  # worst and best move of the price against the average entry, fractions
        ("mfe", "f8"),
    ]
)


@kernel
def enter_trade(open_: Record, fill: Record, quantity: int, tick_value: float) -> None:
    """Add `quantity` lots of an entry fill to the open trade of its part."""
    if open_.held == 0:
        open_.part, open_.entry, open_.side = fill.part, fill.entry, fill.side
        open_.entry_bar, open_.entry_ts = fill.bar, fill.ts
        open_.quantity = open_.entries = open_.safety = 0
        open_.entry_value = open_.exit_value = open_.fees = open_.funding = open_.risk = 0.0
    share = quantity / fill.quantity
    open_.held += quantity
    open_.quantity += quantity
    open_.entries += 1
    if fill.entry != open_.entry:
        open_.safety += 1
    open_.entry_value += fill.price * quantity * tick_value
    open_.fees += fill.fee * share
    if fill.stop > 0:
        open_.risk += abs(fill.price - fill.stop) * quantity * tick_value


@kernel
def leave_trade(open_: Record, fill: Record, quantity: int, paid: int, tick_value: float) -> None:
    """Take `quantity` lots out of an open trade at the fill's price; `paid` of them bear the fill's fee.

    Parts that stand against each other close without an order, and so without a fee.
    """
    open_.held -= quantity
    open_.exit_value += fill.price * quantity * tick_value
    open_.exit_bar, open_.exit_ts, open_.exit_signal = fill.bar, fill.ts, fill.signal
    open_.fees += fill.fee * paid / fill.quantity


@kernel
def excursions(trade: Record, high: Record, low: Record, last: int, tick_value: float) -> None:
    """Set MAE and MFE from the bars of entry to exit, both included, against the average entry price."""
    average = trade.entry_value / (trade.quantity * tick_value)
    highest, lowest = -np.inf, np.inf
    for bar in range(trade.entry_bar, (trade.exit_bar if trade.held == 0 else last) + 1):
        highest = max(highest, high[bar])
        lowest = min(lowest, low[bar])
    up, down = highest / average - 1.0, lowest / average - 1.0
    trade.mfe, trade.mae = (up, down) if trade.side > 0 else (-down, -up)


@kernel
def close_if_flat(trades: Record, count: int, open_: Record, high: Record, low: Record, tick_value: float) -> int:
    """Write the trade down when nothing of it is left; returns the new count."""
    if open_.held != 0 or open_.quantity == 0:
        return count
    excursions(open_, high, low, open_.exit_bar, tick_value)
    trades[count] = open_
    open_.quantity = 0
    return count + 1


@kernel
def leave_whole(
    trades: Record, count: int, parts: Record, fill: Record, high: Record, low: Record, tick_value: float
) -> int:
    """Spread an exit of the whole position over the parts; returns the new count of trades."""
    left = fill.quantity
    for index in range(len(parts)):
        open_ = parts[index]
        if open_.held == 0 or (open_.side == fill.side and fill.position != 0):
            continue
        quantity = open_.held if fill.position == 0 else min(open_.held, left)
        if quantity == 0:
            continue
        paid = 0 if open_.side == fill.side else min(quantity, left)
        leave_trade(open_, fill, quantity, paid, tick_value)
        left -= paid
        count = close_if_flat(trades, count, open_, high, low, tick_value)
    return count


@template
def match(
    fills: Record,
    funding_bars: Record,
    funding: Record,
    high: Record,
    low: Record,
    last: int,
    tick_value: float,
    parts: Record,
    trades: Record,
) -> int:
    """Match (k,) fills into `trades` (closed ones by exit, then the open ones); returns how many.

    `funding_bars`, `funding`: bar and amount per lot (quote currency) of each payment, ascending; `high`, `low`: bars
    in ticks; `last`: index of the last bar of the run; `parts`: zeroed TRADE records, one more than the parts.
    """
    count, payment = 0, 0
    for k in range(len(fills) + 1):
        bar = fills[k].bar if k < len(fills) else last
        while payment < len(funding_bars) and funding_bars[payment] <= bar:
            for index in range(len(parts)):
                parts[index].funding += parts[index].side * parts[index].held * funding[payment]
            payment += 1
        if k == len(fills):
            break
        fill = fills[k]
        open_ = parts[fill.part + 1]
        if fill.part == WHOLE_POSITION and fill.signal > 1:
            count = leave_whole(trades, count, parts, fill, high, low, tick_value)
            continue
        left = fill.quantity
        if open_.held > 0 and open_.side != fill.side:
            quantity = min(open_.held, left)
            leave_trade(open_, fill, quantity, quantity, tick_value)
            left -= quantity
            count = close_if_flat(trades, count, open_, high, low, tick_value)
        if left > 0:
            enter_trade(open_, fill, left, tick_value)
    for index in range(len(parts)):
        if parts[index].held > 0:
            excursions(parts[index], high, low, last, tick_value)
            trades[count] = parts[index]
            count += 1
    return count


@cache
def _matcher() -> Any:
    return specialise(match, "trades")


def trades_of(recording: Recording) -> Any:
    """Trades of a run, structured array (k,) of TRADE: closed ones in order of their exit, then open ones."""
    tape, fills = recording.tape, recording.fills
    tick_value = float(tape.instrument.tick_size * tape.instrument.lot_size)
    parts = new_records(TRADE, int(fills["part"].max(initial=-1)) + 2)
    trades = new_records(TRADE, len(fills) + len(parts))
    bars = tape.funding_bars[tape.funding_bars < recording.bars]
    per_lot = -tape.open[bars] * tick_value * recording.funding_rate
    count = _matcher()(
        *(fills, bars, per_lot, tape.high, tape.low, recording.bars - 1, tick_value),
        *(parts, trades),
    )
    return trades[:count]
