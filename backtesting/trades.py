"""Trades of a run from its fills. Funding goes to the open trades by what they held."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.funding import with_constant
from bot.kernel import Record, kernel, specialise, template
from bot.record import new_records
from bot.trade import TRADE, book_trade

if TYPE_CHECKING:
    from backtesting.simulator import Recording


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
    closed: Record,
    trades: Record,
) -> int:
    """Match (k,) fills into `trades` (closed ones by exit, then the open ones); returns how many.

    `funding_bars`, `funding`: bar and amount per lot (quote currency) of each payment, ascending; `high`, `low`: bars
    in ticks; `last`: index of the last bar of the run; `parts`, `closed`: zeroed TRADE records, one more than parts.
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
        for index in range(book_trade(parts, fills[k], tick_value, closed)):
            excursions(closed[index], high, low, closed[index].exit_bar, tick_value)
            trades[count] = closed[index]
            count += 1
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
    arguments = matching(recording)
    count = _matcher()(*arguments)
    return arguments[-1][:count]


def matching(recording: Recording) -> tuple[Any, ...]:
    """What `match` is given for a run; the trades are the last."""
    prepared, fills = recording.prepared, recording.fills
    tick_value = prepared.instrument.tick_value
    parts = new_records(TRADE, int(fills["part"].max(initial=-1)) + 2)
    trades = np.empty(len(fills) + len(parts), TRADE).view(np.recarray)
    payments = with_constant(prepared.payments[prepared.payments["bar"] < recording.bars], recording.funding_rate)
    bars = np.ascontiguousarray(payments["bar"])
    per_lot = -prepared.open[bars] * tick_value * payments["rate"]
    return (
        *(fills, bars, per_lot, prepared.high, prepared.low, recording.bars - 1, tick_value),
        *(parts, parts.copy(), trades),
    )
