"""Plays rules that trade whole positions at the market, many variants in one compiled call, and scores them.

The loop of `backtesting` looks at every event. This goes from one signal that matters to the next, by the strategy's
and the exchange's own kernels, in the same order. What it is not made for, such as an order that fills in parts or a
liquidation, it leaves: such a variant is played by the ordinary loop. Figures agree with it to rounding.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from backtesting.exchange import affords, liquidation_price, slipped
from backtesting.funding import with_constant
from backtesting.loop import CHANGE, set_target
from backtesting.simulator import settings_record
from bot.kernel import Record, fetch, kernel, specialise, template, unowned
from bot.ledger import book_fill, book_funding, deposit
from bot.order import SLOT, OrderKind, Signal
from bot.record import new_records, read_only
from bot.strategy import PAIR, average_entry, guard_price, order_ticks, whole_down
from bot.times import DAY
from coordinator.config import FillPolicy
from coordinator.parameters import RiskParameters
from search.score import SCORE, score_account, score_profits
from strategies.rules import BY_TWAP, STATE, STRATEGY, entry_lots, opens_by, settle_profit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from backtesting.run import Prepared
    from backtesting.simulator import UniversalSimulator
    from bot.conditions import WhenInput
    from search.signals import Signals

BLOCK = 64  # bars whose lowest low and highest high are known together
LEFT = -1  # something happened that this is not made for
PROTECTIVE_STOP = RiskParameters().protective_stop
# What is noted beside the account.
NOTES = np.dtype(
    [
        ("changes", "i8"),
        ("fills", "i8"),
        ("payment", "i8"),  # number of the next payment of funding
        ("bar_lots", "i8"),  # that the present bar has filled
        ("entry_value", "f8"),  # of the open trade, as are fees and funding; quote currency
        ("fees", "f8"),
        ("funding", "f8"),
        ("closed", "i8"),
        ("wins", "i8"),
        ("won", "f8"),
        ("lost", "f8"),
    ],
    align=True,
)


class Tape(NamedTuple):
    """What all variants are played on: bars (n,), prices in ticks, extremes of blocks of them, and signal bars (m,)."""

    ts: Record
    open: Record
    high: Record
    low: Record
    close: Record
    volume: Record
    highs: Record
    lows: Record
    ends: Record  # bar that completes each signal bar
    payments: Record


class Course(NamedTuple):
    """What one variant changes, and what it is played by."""

    pair: Record
    params: Record
    state: Record
    order: Record  # a market order, as the exchange's kernels ask for one
    settings: Record
    notes: Record
    changes: Record


class MarketRules:
    """One tape, one timeframe and the rest of a config, on which such rules are played."""

    def __init__(self, made: Prepared, simulator: UniversalSimulator, signals: Signals) -> None:
        self.made, self.signals = made, signals
        prepared, config = made.candles, made.config
        candles = prepared.candles
        starts = np.arange(0, len(candles), BLOCK)
        self._bar_ms, self._days = candles.bar_ms, int(candles.ts[-1] // DAY - candles.ts[made.first] // DAY + 1)
        rolled = prepared.rollup(signals.timeframe_ms)
        highs, lows = np.maximum.reduceat(prepared.high, starts), np.minimum.reduceat(prepared.low, starts)
        payments = with_constant(prepared.payments, config.execution.funding_rate)
        self._tape = Tape(
            *(candles.ts, prepared.open, prepared.high, prepared.low, prepared.close, candles.volume),
            *(read_only(highs), read_only(lows), rolled.ends, read_only(payments)),
        )
        self._settings = settings_record(config, every_bar=False, keep_desired_orders=False)
        self._settings[0].reinvest = config.reinvest
        self._pairs = new_records(PAIR, 1)
        self._pairs[0]["instrument"] = prepared.instrument.record(config.leverage)
        self._pairs[0].bar_ms = candles.bar_ms
        warm = max(simulator.parameters.warmup_bars - 1, 0)
        self._allowed = max(warm, int(np.searchsorted(candles.ts[rolled.ends], self._settings[0].start)))

    @staticmethod
    def of(made: Prepared, simulator: UniversalSimulator, signals: Signals | None) -> MarketRules | None:
        """Make rules ready to be played on these; None for another strategy, or where orders fill at the close."""
        closes = made.config.execution.fill_policy is FillPolicy.CLOSE
        if signals is None or simulator.strategy is not STRATEGY or closes:
            return None
        return MarketRules(made, simulator, signals)

    @staticmethod
    def takes(record: Any) -> bool:
        """Whether a variant with this record of its parameters trades whole positions at the market alone."""
        by_twap = BY_TWAP in (record["enter_by"], record["leave_by"])
        return not (by_twap or record["stop"] > 0.0 or record["target"] > 0.0)

    def play(self, records: Any, variants: Sequence[Any]) -> list[tuple[Any, NDArray[np.float64]] | None]:
        """Score variants (k,) that are taken, with RulesParameters, and their daily returns; None for each left."""
        whens: list[WhenInput] = [one.combined() for one in variants]
        table: dict[int, int] = {}
        sides: list[NDArray[np.int64]] = []
        which = np.zeros((len(whens), max(len(one.conditions) for one in whens)), np.int64)
        for row, when in enumerate(whens):
            for column, bits in enumerate(self.signals.sides(when)):
                if id(bits) not in table:
                    table[id(bits)] = len(sides)
                    sides.append(bits)  # held here, or what is forgotten meanwhile would leave its id to another
                which[row, column] = table[id(bits)]
        counts = np.array([(len(one.conditions), one.least) for one in whens], np.int64)
        scores, daily = new_records(SCORE, len(whens)), np.zeros((len(whens), self._days))
        left = np.zeros(len(whens), np.bool_)
        _player()(
            *(self._tape, self._settings, self._pairs, records.view(np.recarray)),
            *(np.stack([one[:2] for one in sides]), which, counts),
            *(self.made.first, self._allowed, self._bar_ms, new_records(SLOT, 1), new_records(STATE, 2)),
            *(new_records(PAIR, 1), new_records(NOTES, 2), new_records(CHANGE, len(self._tape.ts))),
            *(np.empty((3, self.signals.words), np.int64), scores, daily, left),
        )
        return [None if left[row] else (scores[row], daily[row]) for row in range(len(whens))]


@cache
def _player() -> Any:
    return specialise(play_all, "market_rules")


@template
def play_all(
    tape: Tape,
    settings: Record,
    begun: Record,
    params: Record,
    sides: Record,
    which: Record,
    counts: Record,
    first: int,
    allowed: int,
    bar_ms: int,
    orders: Record,
    states: Record,
    pairs: Record,
    notes: Record,
    changes: Record,
    signals: Record,
    scores: Record,
    daily: Record,
    left: Record,
) -> None:
    """Play variants (k,) and write the SCORE and the daily returns (d,) of each, or that it was left.

    `begun`: the PAIR before the first bar; `sides` (u, 2, words): bits of conditions; `which` (k, c): those of each
    variant, and `counts` (k, 2) how many it has and how many must hold; `first`: bar at which the period begins;
    `allowed`: signal bar from which entries are allowed; `orders` to `changes` (n,) and `signals` (3, words): room for
    what one variant changes, with a blank second record of `states` and of `notes`.
    """
    orders[0].kind, orders[0].signal = OrderKind.MARKET, Signal.ENTRY
    tape = Tape(
        *(unowned(tape.ts), unowned(tape.open), unowned(tape.high), unowned(tape.low), unowned(tape.close)),
        *(unowned(tape.volume), unowned(tape.highs), unowned(tape.lows), unowned(tape.ends), unowned(tape.payments)),
    )
    sides, which, changes, signals = unowned(sides), unowned(which), unowned(changes), unowned(signals)
    for k in range(len(params)):
        pairs[0], states[0], notes[0] = begun[0], states[1], notes[1]
        course = Course(pairs[0], params[k], states[0], orders[0], settings[0], notes[0], changes)
        deposit(pairs[0].ledger, settings[0].capital)
        states[0].capital = settings[0].capital
        combine(sides, which[k], counts[k, 0], counts[k, 1], params[k], signals)
        left[k] = not play(tape, course, signals, allowed)
        if not left[k]:
            note = notes[0]
            scores[k].fills = note.fills
            score_account(
                *(tape.ts, tape.open, tape.close, changes[: note.changes], first, bar_ms, pairs[0], len(tape.ts) - 1),
                *(pairs[0].instrument.tick_value, scores[k], daily[k]),
            )
            score_profits(note.closed, note.wins, note.won, note.lost, scores[k])


@kernel
def combine(sides: Record, which: Record, count: int, least: int, params: Record, signals: Record) -> None:
    """Write into `signals` (3, words) the bars that say LONG, those that say SHORT, and those that open something."""
    for k in range(signals.shape[1]):
        long, short = at_least(sides, which, count, least, 0, k), at_least(sides, which, count, least, 1, k)
        both = long & short  # which counts as neither
        long, short = long ^ both, short ^ both
        signals[0, k], signals[1, k] = long, short
        signals[2, k] = (long if opens_by(params, 1) else 0) | (short if opens_by(params, -1) else 0)


@kernel
def at_least(sides: Record, which: Record, count: int, least: int, side: int, k: int) -> int:
    """Bits of word `k` at which so many of the conditions say this side.

    They are counted in binary, all bars of the word at once: five numbers hold the digits of their counts, since there
    are 20 conditions at most.
    """
    if least == count:
        every = int(sides[which[0], side, k])
        for c in range(1, count):
            every &= sides[which[c], side, k]
        return every
    digits = (0, 0, 0, 0, 0)
    for c in range(count):
        digits = added(digits, sides[which[c], side, k])
    ones, twos, fours, eights, sixteens = digits
    found = (0, -1)  # bars that have more, and those that have as many in the digits seen so far
    found = compared(found, sixteens, least & 16)
    found = compared(found, eights, least & 8)
    found = compared(found, fours, least & 4)
    found = compared(found, twos, least & 2)
    found = compared(found, ones, least & 1)
    return found[0] | found[1]


@kernel
def added(digits: tuple[int, int, int, int, int], bits: int) -> tuple[int, int, int, int, int]:
    """Add one to the counts at these bits."""
    ones, twos, fours, eights, sixteens = digits
    ones, bits = ones ^ bits, ones & bits
    twos, bits = twos ^ bits, twos & bits
    fours, bits = fours ^ bits, fours & bits
    eights, bits = eights ^ bits, eights & bits
    return ones, twos, fours, eights, sixteens | bits


@kernel
def compared(found: tuple[int, int], digit: int, wanted: int) -> tuple[int, int]:
    """Compare one more digit of the counts with that of the number that is wanted."""
    more, equal = found
    if wanted != 0:
        return more, equal & digit
    return more | (equal & digit), equal & ~digit


@kernel
def next_set(words: Record, j: int, m: int) -> int:
    """Number of the first set bit from `j` on, of `m` bits in all; `m` where there is none."""
    if j >= m:
        return m
    k = j // 64
    word = words[k] & (np.int64(-1) << (j % 64))
    while word == 0:
        k += 1
        if k == len(words):
            return m
        word = words[k]
    at, width = 64 * k, 32
    while width > 0:
        empty = width if word & ((np.int64(1) << width) - 1) == 0 else 0  # no jump, which nobody could foresee
        word >>= empty
        at += empty
        width //= 2
    return at


@kernel
def play(tape: Tape, course: Course, signals: Record, allowed: int) -> bool:
    """Play one variant from its first signal bar that may open something; False where it is left."""
    pair, state, last, m = course.pair, course.state, len(tape.ts) - 1, len(tape.ends)
    j = next_set(signals[2], allowed, m)
    while j < m and tape.ends[j] < last:
        bar = tape.ends[j]
        direction = 1 if signals[0, j // 64] >> (j % 64) & 1 else -1
        decide_at(tape, course, bar)
        state.traded = pair.ledger.realised - pair.ledger.fees + pair.ledger.funding
        lots = entry_lots(pair, course.params, state, pair.price)
        j += 1
        if lots > 0:
            foresee(tape, next_set(signals[1 if direction > 0 else 0], j, m))
            skip_payments(tape, course.notes, bar + 1)
            course.notes.bar_lots = 0
            if not trade(tape, course, bar + 1, direction, lots, tape.open[bar + 1], True):
                return False
            note_change(course, bar + 1)
            j = hold(tape, course, signals, j, bar + 1)
            if j == LEFT:
                return False
        j = next_set(signals[2], j, m)
    return True


@kernel
def hold(tape: Tape, course: Course, signals: Record, j: int, entered: int) -> int:
    """Hold the position that was entered at this bar, and those that it is turned into, until one is closed.

    `j`: first signal bar that ends then or later. Returns the first that may open something again, or LEFT.
    """
    pair, last, m = course.pair, len(tape.ts) - 1, len(tape.ends)
    while True:
        direction = 1 if pair.ledger.position > 0 else -1
        j = next_set(signals[1 if direction > 0 else 0], j, m)
        until = tape.ends[j] if j < m else last
        stopped = stay(tape, course, entered, until)
        if stopped == LEFT:
            return LEFT
        if stopped <= until:
            return int(np.searchsorted(tape.ends, stopped))
        if until == last:
            return m
        decide_at(tape, course, until)
        entered, j = until + 1, j + 1
        foresee(tape, next_set(signals[2], j, m))
        pay_due(tape, course, entered)
        course.notes.bar_lots = 0
        at, lots = tape.open[entered], abs(pair.ledger.position)
        if not trade(tape, course, entered, -direction, lots, at, False):
            return LEFT
        lots = entry_lots(pair, course.params, course.state, pair.price) if opens_by(course.params, -direction) else 0
        if lots > 0 and not trade(tape, course, entered, -direction, lots, at, True):
            return LEFT
        note_change(course, entered)
        if lots == 0:
            return j


@kernel
def foresee(tape: Tape, j: int) -> None:
    """Ask the memory for what a trade at a signal bar reads, while something else is done."""
    if j < len(tape.ends):
        bar = tape.ends[j]
        fetch(tape.close, bar)
        fetch(tape.open, bar + 1)
        fetch(tape.volume, bar + 1)


@kernel
def decide_at(tape: Tape, course: Course, bar: int) -> None:
    """Refresh the target and the price at the close of a signal bar that says LONG or SHORT."""
    pair = course.pair
    set_target(pair, course.settings, tape.close[bar])
    pair.price = tape.close[bar] * pair.instrument.tick_size
    course.state.most = pair.target


@kernel
def trade(tape: Tape, course: Course, bar: int, side: int, lots: int, at: float, opens: bool) -> bool:
    """Fill a market order whole in a bar that reaches it at `at` (ticks); False where volume or money has less."""
    pair, notes, settings, instrument = course.pair, course.notes, course.settings, course.pair.instrument
    volume = tape.volume[bar]
    budget = whole_down(volume * settings.participation / instrument.lot_size) - notes.bar_lots
    if not volume > 0.0 or lots > budget or (opens and side < 0 and not instrument.linear):
        return False
    course.order.side = side
    price = float(slipped(course.order, settings, at, lots * instrument.lot_size / volume))
    fee = price * lots * instrument.tick_value * instrument.taker_fee
    if not affords(pair, side, lots, price, at, fee):
        return False
    book_fill(pair.ledger, side, price, lots, instrument.tick_value, fee)
    pair.price = price * instrument.tick_size
    notes.bar_lots += lots
    notes.fills += 1
    value = price * lots * instrument.tick_value
    if opens:
        notes.entry_value, notes.fees, notes.funding = value, fee, 0.0
        return True
    note_trade(notes, -side * (value - notes.entry_value) - (notes.fees + fee) + notes.funding)
    settle_profit(pair, course.params, course.state)
    return bool(pair.ledger.cash > 0.0)


@kernel
def note_trade(notes: Record, profit: float) -> None:
    """Count a closed trade."""
    notes.closed += 1
    notes.wins += profit > 0.0
    notes.won += max(profit, 0.0)
    notes.lost -= min(profit, 0.0)


@kernel
def note_change(course: Course, bar: int) -> None:
    """Write down cash and position after a bar."""
    change, ledger = course.changes[course.notes.changes], course.pair.ledger
    change.bar, change.cash, change.position = bar, ledger.cash, ledger.position
    course.notes.changes += 1


@kernel
def stay(tape: Tape, course: Course, entered: int, until: int) -> int:
    """Hold from the bar of the entry to the close of bar `until`, and pay funding.

    Returns the bar at which the protective stop closed the position, a later one than `until` if none, or LEFT.
    """
    pair, notes, payments = course.pair, course.notes, tape.payments
    direction, average = 1 if pair.ledger.position > 0 else -1, average_entry(pair)
    guard = guard_price(pair.ledger.position, average, average, PROTECTIVE_STOP)
    stop = order_ticks(pair, -direction, guard, True)
    prices, extremes = (tape.low, tape.lows) if direction > 0 else (tape.high, tape.highs)
    worst, end = farthest(prices, extremes, entered, until, direction), until + 1
    if stop > 0 and direction * (worst - stop) <= 0.0:
        end = entered
        while end <= until and not (direction * (prices[end] - stop) <= 0.0 and tape.volume[end] > 0.0):
            end += 1
    if end == entered or ends_account(pair, worst, direction):
        return LEFT
    while notes.payment < len(payments) and payments[notes.payment].bar <= min(end, until):
        bar = payments[notes.payment].bar
        pay_due(tape, course, bar)
        if bar < end:
            note_change(course, bar)
        if ends_account(pair, worst, direction):
            return LEFT
    if end <= until:
        notes.bar_lots = 0
        at = min(tape.open[end], stop) if direction > 0 else max(tape.open[end], stop)
        if not trade(tape, course, end, -direction, abs(pair.ledger.position), at, False):
            return LEFT
        note_change(course, end)
    return end


@kernel
def farthest(prices: Record, extremes: Record, begin: int, end: int, direction: int) -> float:
    """Worst of these prices (n,) for a position of this direction, from bar `begin` to `end`, both included."""
    worst, i = prices[begin], begin + 1
    while i <= end:
        if i % BLOCK == 0 and i + BLOCK - 1 <= end:
            price = extremes[i // BLOCK]
            i += BLOCK
        else:
            price = prices[i]
            i += 1
        worst = min(worst, price) if direction > 0 else max(worst, price)
    return worst


@kernel
def ends_account(pair: Record, worst: float, direction: int) -> bool:
    """Whether the position is liquidated, or its equity may reach zero, at this price (ticks)."""
    price = liquidation_price(pair)
    reached = not np.isnan(price) and direction * (worst - price) <= 0.0
    return reached or (direction < 0 and pair.ledger.cash <= 0.0)


@kernel
def skip_payments(tape: Tape, notes: Record, bar: int) -> None:
    """Pass by what was paid up to a bar, at whose open nothing was held."""
    while notes.payment < len(tape.payments) and tape.payments[notes.payment].bar <= bar:
        notes.payment += 1


@kernel
def pay_due(tape: Tape, course: Course, bar: int) -> None:
    """Pay the funding of a bar on what is held at its open, or receive it."""
    pair, notes, payments, rate = course.pair, course.notes, tape.payments, 0.0
    tick_value, due = pair.instrument.tick_value, notes.payment
    while notes.payment < len(payments) and payments[notes.payment].bar == bar:
        rate += payments[notes.payment].rate
        notes.payment += 1
    if notes.payment > due:
        book_funding(pair.ledger, -(pair.ledger.position * tape.open[bar] * tick_value) * rate)
        notes.funding += pair.ledger.position * (-tape.open[bar] * tick_value * rate)
