"""One symbol of the venue: its orders and positions, on the simulated exchange, a minute at a time.

The price walks the bar's path and stops at every fill, so that traders may answer before it goes on. Between equal
orders the one with the smaller client order id goes first.
"""

from __future__ import annotations

import itertools
from bisect import insort
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.exchange import NOTHING, RUN, Outcome, World
from backtesting.funding import SPAN_MS, payments_over, settlements, with_constant
from backtesting.loop import begin_bar, pay_funding
from backtesting.stepwise import LIQUIDATION, compiled_next_fill
from bot.instrument import in_ticks
from bot.ledger import book_fill, equity
from bot.order import FILL, SLOT, WHOLE_POSITION, OrderKind, Side, Signal
from bot.record import new_records
from bot.strategy import EVENT, PAIR
from coordinator.gate import margin_rate
from services.simulated_bybit import stops
from services.simulated_bybit.records import (
    CANCELLED,
    FILLED,
    PARTIAL,
    PARTIAL_STOP,
    STOP_LOSS,
    Happened,
    Trade,
    VenueOrder,
    order_id,
)
from services.simulated_bybit.unverified import Unverified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from backtesting.funding import FundingHistory
    from bot.candles import Candles
    from bot.instrument import Instrument


class Book:
    """Orders, position and candles of one symbol."""

    def __init__(
        self,
        instrument: Instrument,
        candles: Candles,
        settings: Any,
        leverage: float,
        numbers: Iterator[int] | None = None,
        unverified: Unverified | None = None,
        history: FundingHistory | None = None,
    ) -> None:
        self.numbers = numbers or itertools.count(1)  # of orders
        self.unverified = unverified or Unverified()
        self.instrument, self.candles, self.settings = instrument, candles, settings
        tick = float(instrument.tick_size)
        self.ticks = [in_ticks(getattr(candles, name), tick) for name in ("open", "high", "low", "close")]
        self.pairs, self.runs = new_records(PAIR, 1), new_records(RUN, 1)
        self.pairs[0]["instrument"] = instrument.record(leverage)
        self.pairs[0].bar_ms = candles.bar_ms
        self.pairs[0].shared = True  # the account is margined as a whole
        self.events, self.fills = new_records(EVENT, 1), new_records(FILL, 4)
        self.slots = new_records(SLOT, 0)
        self.live: list[VenueOrder] = []
        self.here = float(self.ticks[0][0])  # price, ticks
        self.history, self.payments = history, payments_over(candles.ts, history)
        self.trades = 0

    @property
    def pair(self) -> Any:
        """The account's records for this symbol."""
        return self.pairs[0]

    @property
    def position(self) -> int:
        """Lots held, signed."""
        return int(self.pair.ledger.position)

    def turnover(self, start: int, end: int) -> float:
        """Quote currency that its bars between two times traded, ms."""
        candles = self.candles.between(start, end)
        return float(np.dot(candles.volume, candles.close))

    @property
    def worth(self) -> float:
        """What the symbol adds to the account's equity, quote currency."""
        return float(equity(self.pair.ledger, self.here, self.pair.instrument.tick_value))

    @property
    def free(self) -> float:
        """What of it stands behind other symbols' orders."""
        ledger = self.pair.ledger
        if ledger.position == 0:
            return float(ledger.cash)
        held = ledger.position * self.pair.instrument.tick_value * self.here
        return self.worth - abs(held) * float(margin_rate(self.pair.instrument))

    @property
    def realised(self) -> float:
        """What the symbol has added to the wallet."""
        ledger = self.pair.ledger
        return float(ledger.realised - ledger.fees + ledger.funding)

    def settled(self, first: int, last: int) -> list[tuple[int, float]]:
        """Time (ms) and rate of every settlement in (first, last], newest first."""
        ts, rates = settlements(first, last, self.history)
        rates = np.where(np.isnan(rates), self.settings[0].funding_rate, rates)
        return list(zip(ts.tolist(), rates.tolist(), strict=True))[::-1]

    @property
    def next_settlement(self) -> tuple[int, float]:
        """Time (ms) and rate of the settlement that comes next."""
        now = int(self.pair.time)
        return self.settled(now, now + 2 * SPAN_MS)[-1]

    # Orders

    def add(self, order: VenueOrder) -> None:
        """Take an order in; a limit that crosses is a taker, and one that must not be is cancelled."""
        insort(self.live, order)
        index = self.live.index(order)
        slot = new_records(SLOT, 1)
        slot[0].price, slot[0].side, slot[0].kind = order.price, order.side, order.kind
        slot[0].part = WHOLE_POSITION if stops.is_whole(self, order) else 0  # others keep their quantity
        slot[0].signal = Signal.ENTRY  # a venue does not know why
        slot[0].reduce_only, slot[0].post_only, slot[0].quantity = order.reduce_only, order.post_only, order.lots
        slot[0].active = True
        self.slots = np.insert(self.slots, index, slot[0]).view(np.recarray)
        self.arrived(order)

    def arrived(self, order: VenueOrder) -> None:
        """Hold a new or moved order against the market."""
        slot = self.slots[self.live.index(order)]
        slot.crossing = order.kind == OrderKind.LIMIT and order.side * (order.price - self.here) >= 0
        if slot.crossing and order.post_only:
            self.remove(order, CANCELLED, "EC_PostOnlyWillTakeLiquidity")

    def moved(self, order: VenueOrder, price: int, lots: int, ts: int) -> None:
        """Amend an order's price and its whole quantity."""
        slot = self.slots[self.live.index(order)]
        fresh = price != order.price
        order.price, order.lots, order.updated = price, lots, ts
        slot.price, slot.quantity = price, lots - order.filled
        if fresh:
            self.arrived(order)

    def remove(self, order: VenueOrder, status: str, reason: str = "EC_NoError", cancel_type: str = "UNKNOWN") -> None:
        """Let an order rest no more."""
        index = self.live.index(order)
        self.slots = np.delete(self.slots, index).view(np.recarray)
        self.live.pop(index)
        order.status, order.reason, order.cancel_type = status, reason, cancel_type

    # Time

    def minute(self, index: int, credit: float) -> Iterator[list[Happened]]:
        """Play bar `index`; stops, with what happened, at funding and at every fill or refusal.

        `credit`: money of the account that other symbols leave free, quote currency.
        """
        ts, volume = int(self.candles.ts[index]), float(self.candles.volume[index])
        open_, high, low, close = (float(column[index]) for column in self.ticks)
        self.pair.credit = credit
        nothing = self.events[0]
        world = World(
            self.pair, nothing, nothing, self.slots, self.events[0], self.runs[0], self.settings[0], self.fills
        )
        begin_bar(world, index, ts, volume)
        due = self.payments[slice(*np.searchsorted(self.payments["bar"], (index, index + 1)))]
        rate = float(with_constant(due, float(self.settings[0].funding_rate))["rate"].sum())
        paid = self.pair.ledger.funding
        if len(due) and self.instrument.linear and pay_funding(world, open_, rate):
            amount = float(paid - self.pair.ledger.funding)
            yield [self._trade("Funding", -_sign(self.position), round(open_), 0, amount, ts, maker=True)]
        if volume > 0.0:
            yield from self._path(open_, high, low, close, ts)
        self.here = close
        self.pair.time, self.pair.price = ts + self.candles.bar_ms, close * float(self.instrument.tick_size)

    def _path(self, open_: float, high: float, low: float, close: float, ts: int) -> Iterator[list[Happened]]:
        low_first = open_ - low < high - open_ or (open_ - low == high - open_ and close >= open_)
        if self.settings[0].adverse and self.position != 0:
            low_first = self.position > 0
        first, second = (low, high) if low_first else (high, low)
        self.here = open_
        self.runs[0].at_open = True
        for target in (open_, first, second, close):
            more = True
            while more:
                happened, more = self._step(target, ts)
                if happened:
                    yield happened
            self.runs[0].at_open = False

    def _step(self, target: float, ts: int) -> tuple[list[Happened], bool]:
        """Walk to the next fill or to `target`; what happened, and whether there may be more on the way."""
        index, at = compiled_next_fill()(
            *(self.pairs, self.events[0], self.slots, self.events, self.runs, self.settings, self.fills),
            *(self.here, target),
        )
        self.here = at
        if index == NOTHING:
            return [], False
        if index == LIQUIDATION:
            record = self.fills[0]
            side, lots, fee, price = int(record.side), int(record.quantity), float(record.fee), int(record.price)
            trade = self._trade("BustTrade", side, price, lots, fee, ts, realised=float(record.realised), closed=lots)
            return [trade, *stops.follow(self, -side * lots, None, ts)], True
        order = self.live[index]
        order.updated = ts
        if self.runs[0].fills == 0:
            self.remove(order, CANCELLED, "EC_InsufficientBalance")
            return [order], True
        return self._filled(order, self.slots[index], ts), True

    def _filled(self, order: VenueOrder, slot: Any, ts: int) -> list[Happened]:
        record = self.fills[0]
        lots, fee, price = int(record.quantity), float(record.fee), int(record.price)
        order.filled += lots
        order.fee += fee
        order.value += price * lots * float(self.pair.instrument.tick_value)
        order.kind = int(slot.kind)
        order.status = PARTIAL
        left = order.lots - order.filled
        if not slot.active:
            self.remove(order, FILLED)
        elif order.stop_type in (STOP_LOSS, PARTIAL_STOP):  # a triggered stop is immediate-or-cancel
            self.remove(order, CANCELLED, "EC_NoImmediateQtyToFill")
        before = int(record.position) - order.side * lots
        trade = self._trade(
            *("Trade", order.side, price, lots, fee, ts),
            maker=int(record.liquidity) == 0,
            order=order,
            left=left,
            realised=float(record.realised),
            closed=_closed(before, order.side * lots),
        )
        return [trade, order, *stops.follow(self, before, order, ts)]

    def execute(
        self, side: int, lots: int, ts: int, *, kind: str, created_by: str, charged: bool, as_order: bool
    ) -> list[Happened]:
        """Execute at the present price what no trader of the interface asked for; what happened."""
        before, price, tick_value = self.position, round(self.here), float(self.pair.instrument.tick_value)
        fee = price * lots * tick_value * float(self.pair.instrument.taker_fee) if charged else 0.0
        closed = _closed(before, side * lots)
        realised = float(book_fill(self.pair.ledger, int(side), float(price), lots, tick_value, fee))
        order = None
        if as_order:
            order = VenueOrder(
                *(order_id(next(self.numbers)), "", self.instrument.symbol, side, OrderKind.MARKET, 0, lots),
                reduce_only=closed == lots,
                post_only=False,
                created=ts,
                updated=ts,
                status=FILLED,
                filled=lots,
                value=price * lots * tick_value,
                fee=fee,
                created_by=created_by,
            )
        trade = self._trade(
            *(kind, side, price, lots, fee, ts), order=order, created_by=created_by, realised=realised, closed=closed
        )
        return [trade, *([order] if order else []), *stops.follow(self, before, order, ts)]

    def _trade(
        self,
        kind: str,
        side: int,
        price: int,
        lots: int,
        fee: float,
        ts: int,
        *,
        maker: bool = False,
        order: VenueOrder | None = None,
        left: int = 0,
        realised: float = 0.0,
        closed: int = 0,
        created_by: str = "",
    ) -> Trade:
        self.trades += 1
        return Trade(
            id=f"{self.instrument.symbol}-{self.trades:09d}",
            order=order.id if order else "",
            client_order_id=order.client_order_id if order else "",
            symbol=self.instrument.symbol,
            side=side,
            price=price,
            lots=lots,
            fee=fee,
            maker=maker,
            ts=ts,
            kind=kind,
            left=left,
            stop_type=order.stop_type if order else "",
            created_by=order.created_by if order else created_by,
            realised=realised,
            closed=closed,
        )

    @property
    def ended(self) -> bool:
        """Whether the account was liquidated here."""
        return int(self.runs[0].outcome) != Outcome.COMPLETE


def _sign(lots: int) -> int:
    return Side.BUY if lots >= 0 else Side.SELL


def _closed(before: int, change: int) -> int:
    """Lots of a change that reduce the position of before."""
    return min(abs(before), abs(change)) if before * change < 0 else 0
