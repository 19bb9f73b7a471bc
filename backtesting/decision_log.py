"""Replays that note what a strategy wanted after each of its events, and the worlds they are played in.

A world is prepared candles with another future, another date, another scale: what was decided before the difference
must be the same bits.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting import loop as loop_module
from backtesting.simulator import Found, PreparedCandles, Recording, UniversalSimulator, bindings_of, inputs_over
from bot.kernel import Record, interpreted, kernel
from bot.order import OrderKind
from bot.strategy import Event, Strategy
from coordinator.roster import VARIANTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coordinator.config import BacktestConfig

ROOM = 1 << 18  # events that are noted; no more are compared
PRIME, FACTOR = 2_147_483_647, 1_000_003
DECIDED = np.dtype([("time", "i8"), ("kind", "i8"), ("code", "i8")])  # ms, Event, code of all orders after it
ORDER = np.dtype([("side", "i8"), ("kind", "i8"), ("price", "i8"), ("quantity", "i8")])  # side 0: no order


@kernel
def _mixed(code: int, value: int) -> int:
    """Code of a sequence of numbers, one number further."""
    return (int(code) * FACTOR + int(value)) % PRIME


@kernel
def note_decision(state: Record, pair: Record, slots: Record, event: Record) -> None:
    """Note what is wanted after this event; the orders themselves where this is the event `state.wanted`, from 1."""
    state.seen += 1
    code = 0
    for index in range(len(slots)):
        slot = slots[index]
        if state.seen == state.wanted and slot.active:
            order = state.kept[index]
            order.side, order.kind, order.price, order.quantity = slot.side, slot.kind, slot.price, slot.quantity
        if slot.active:
            code = _mixed(_mixed(_mixed(code, index + 1), slot.side), slot.quantity)
            code = _mixed(_mixed(code, slot.kind), 0 if slot.kind == OrderKind.MARKET else slot.price)
            code = _mixed(_mixed(_mixed(code, slot.signal), slot.part), slot.stop + slot.post_only)
    if state.seen <= len(state.log):
        noted = state.log[state.seen - 1]
        noted.time, noted.kind, noted.code = pair.time, event.kind, code


@cache
def noting(strategy: Strategy, count: int) -> Strategy:
    """Return a strategy that decides as this one does with `count` slots, and notes it."""
    decide = strategy.decide

    def noted(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
        decide(pair, params, state.own, slots, event)
        note_decision(state, pair, slots, event)

    fields: list[Any] = [("own", strategy.state), ("seen", "i8"), ("wanted", "i8")]
    fields += [("log", DECIDED, (ROOM,)), ("kept", ORDER, (count,))]
    return replace(strategy, state=np.dtype(fields, align=True), decide=kernel(noted))


class Replay(UniversalSimulator):
    """A run whose decisions are noted; inputs are computed by `source`, another copy of the same strategy.

    `wanted`: the event whose orders are kept, from 1. A `plain` run is interpreted: it does not read beyond arrays.
    """

    def __init__(
        self, config: BacktestConfig, strategy: Strategy, source: Strategy, wanted: int = 0, *, plain: bool = False
    ) -> None:
        super().__init__(config)
        self.plain = plain
        self.strategy = noting(strategy, strategy.slots(config.parameters))
        self.source, self.wanted = source, wanted
        self.found: Found | None = None

    def _inputs(self, prepared: PreparedCandles) -> Found:
        self.found = inputs_over(prepared, [(self.source, [self.config.parameters] * VARIANTS)])
        return self.found

    def _played(self, *arguments: Any) -> Any:
        if not self.plain:
            return super()._played(*arguments)
        return interpreted(loop_module.loop, **bindings_of(self.strategy))(*arguments)

    def _new_states(self) -> Any:
        states = super()._new_states()
        states[0].wanted = self.wanted
        return states


def decisions(recording: Recording) -> Any:
    """What was wanted after each event of a replay, DECIDED (k,)."""
    state = recording.state
    return state.log[: min(int(state.seen), ROOM)]


def bars_of(log: Any, prepared: PreparedCandles) -> NDArray[np.int64]:
    """Number of the bar in which each noted event happened, (k,); of a fill at the close, the bar after it."""
    ts, bar_ms = prepared.candles.ts, prepared.candles.bar_ms
    closed = (log["kind"] == Event.BASE) | (log["kind"] == Event.SIGNAL)
    return np.searchsorted(ts, log["time"] - np.where(closed, bar_ms, 0))


# Worlds


def with_bars(prepared: PreparedCandles, ts: Any, volume: Any, *prices: Any) -> PreparedCandles:
    """Return other bars of the same pair: arrays (n,), prices in ticks."""
    arrays = [np.ascontiguousarray(one) for one in (ts, volume, *prices)]
    payments = prepared.payments
    return replace(prepared.laid(*arrays), payments=payments[payments["bar"] < len(ts)], rolled={})


def part_of(prepared: PreparedCandles, first: int, end: int) -> PreparedCandles:
    """Return the bars [first, end) alone."""
    one, chosen = prepared, slice(first, end)
    payments = one.payments[one.payments["bar"] >= first].copy()
    payments["bar"] -= first
    columns = (one.candles.ts, one.candles.volume, one.open, one.high, one.low, one.close)
    return with_bars(replace(prepared, payments=payments.view(np.recarray)), *(column[chosen] for column in columns))


def at_another_date(prepared: PreparedCandles, later_ms: int) -> PreparedCandles:
    """Return the same bars at a later date."""
    one = prepared
    return with_bars(one, one.candles.ts + later_ms, one.candles.volume, one.open, one.high, one.low, one.close)


def with_another_future(prepared: PreparedCandles, bars: int, end: int, seed: int) -> PreparedCandles:
    """Return the bars before `bars` as they are, and up to `end` those of a random walk."""
    one, ts = prepared, prepared.candles.ts[:end]
    rng = np.random.default_rng(seed)
    volume = rng.permutation(prepared.candles.volume)[: len(ts) - bars]
    future = walk(rng, len(ts) - bars, float(one.close[bars - 1]), volatility_of(prepared))
    past = (one.open[:bars], one.high[:bars], one.low[:bars], one.close[:bars])
    joined = (np.concatenate(both) for both in zip(past, future, strict=True))
    return with_bars(one, ts, np.concatenate((one.candles.volume[:bars], volume)), *joined)


def random_world(prepared: PreparedCandles, seed: int) -> PreparedCandles:
    """Return as many bars of a random walk without drift, as volatile as these, with their volumes in another order."""
    rng = np.random.default_rng(seed)
    prices = walk(rng, len(prepared.candles.ts), float(prepared.open[0]), volatility_of(prepared))
    return with_bars(prepared, prepared.candles.ts, rng.permutation(prepared.candles.volume), *prices)


STEPS = 8  # price steps inside a bar of a walk


def walk(rng: np.random.Generator, bars: int, first: float, volatility: float) -> tuple[Any, ...]:
    """Open, high, low and close (bars,) in whole ticks of a walk whose price is expected to stay where it is.

    `volatility` is the standard deviation of a bar's logarithmic return.
    """
    step = volatility / np.sqrt(STEPS)
    path = np.cumsum(rng.standard_normal(bars * STEPS) * step - step * step / 2.0)
    prices = np.maximum(np.rint(first * np.exp(path)), 1.0).reshape(bars, STEPS)
    close = prices[:, -1]
    opened = np.concatenate(([max(np.rint(first), 1.0)], close[:-1]))
    high, low = np.maximum(opened, prices.max(axis=1)), np.minimum(opened, prices.min(axis=1))
    return opened, high, low, close


def volatility_of(prepared: PreparedCandles) -> float:
    """Standard deviation of the logarithmic returns from close to close; 0.001 where it cannot be told."""
    if len(prepared.close) < 3:
        return 0.001
    found = float(np.std(np.diff(np.log(np.maximum(prepared.close, 1.0)))))
    return found if found > 0.0 else 0.001
