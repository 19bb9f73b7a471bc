"""Makes the venue match what a pair desires: the position's stop first, then cancellations, exits and entries.

It decides nothing about trading. What the venue refuses, and names that are used up, go back to the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from bot.ports import Gone, Order, Refusal, Refused, Unanswered, Unreachable
from coordinator.instructions import (
    Amend,
    Cancel,
    FetchExecutionsOf,
    FetchPosition,
    Place,
    SetPartialStops,
    SetStop,
    Wait,
)
from coordinator.protection import partial_sizes
from coordinator.reaction import Reactions
from coordinator.reconcile import Action, Change, as_open_order, difference

if TYPE_CHECKING:
    from bot.ports import Clock
    from coordinator.books import Books
    from coordinator.breaker import Breaker
    from coordinator.instructions import Steps

log = structlog.get_logger()

PATIENCE_SECONDS = 2.0  # with a position that has no stop
PAUSE_SECONDS = 0.1  # between two attempts to protect one, or to learn of a fill
LOOKS = 3  # for the executions of an order that the venue calls filled


@dataclass
class CarriedOut:
    """What came of matching the desired orders."""

    refused: list[tuple[Order, Refused]] = field(default_factory=list)
    renamed: bool = False  # orders go under new names now
    booked: bool = False  # fills were learnt of on the way


class Executor:
    """One pair's hand at the venue."""

    def __init__(
        self,
        books: Books,
        breaker: Breaker,
        clock: Clock,
        told: Callable[[str], None],
    ) -> None:
        """`told` hears that entries are held back because the loop asks for too much."""
        self.books, self.breaker = books, breaker
        self.symbol = books.symbol
        self.reactions = Reactions()
        self._rounded = (0, 0)  # ticks: a stop as it was asked for, and as the venue showed it
        self.partial: tuple[int, tuple[int, ...]] | None = None  # partial stops: ticks and lots; None: not known
        self.bare_since: float | None = None  # seconds of the clock: the position has had no stop since
        self._clock, self._told = clock, told
        self._log = log.bind(pair=self.symbol)

    # The position's stop

    def protect(self, price: int, lots: int) -> Steps[bool]:
        """See that the position of `lots` has its stop at `price` (ticks; 0: none is desired, what rests stays).

        False when it has none after two seconds of trying, or the venue says that the trigger has passed: then the
        position has to close. One that has an older stop is not closed: raises Unreachable, Unanswered or Refused.
        """
        if lots == 0 or price in (0, self.books.stop) or self._rounded == (price, self.books.stop):
            self.bare_since = None
            return True
        bare = self.books.stop == 0
        if bare and self.bare_since is None:
            self.bare_since = self._clock()
        while True:
            try:
                yield from self._set_stop(price, bare=bare)
            except (Refused, Gone, Unreachable, Unanswered, TimeoutError) as trouble:
                reason = trouble.reason if isinstance(trouble, Refused) else None
                if reason is Refusal.TRIGGER_PASSED:
                    self.bare_since = None
                    return False
                if not bare or (reason is Refusal.NOTHING_TO_REDUCE and (yield from self._is_flat())):
                    self.bare_since = None
                    raise
                self._log.warning("stop_fails", reason=str(trouble) or "no answer in time")
            else:
                return True
            if self._left() <= 0.0:
                self._log.error("stop_does_not_rest", remedy="closing the position")
                self.bare_since = None
                return False
            yield Wait(min(PAUSE_SECONDS, self._left()))

    def cover(self, lots: int, opening: int) -> Steps[bool]:
        """See that a position of `lots`, too large for one market order, has its partial stops, and any other none.

        `opening`: lots that may be filled before this is asked again. False when the venue says that the trigger has
        passed: then the position has to close. Raises Unreachable, Unanswered or Refused; the stops of before cover
        what is held, and nothing new may be opened.
        """
        largest = int(self.books.machine.pairs[0].instrument.max_market_lots)
        sizes = partial_sizes(abs(lots), opening, largest)
        wanted = (self.books.stop if sizes else 0, sizes)
        if wanted == self.partial or (sizes and self.books.stop == 0):  # without a stop the position is leaving
            return True
        self.partial = None
        try:
            yield SetPartialStops(*wanted)
        except Refused as refusal:
            if refusal.reason is Refusal.TRIGGER_PASSED:
                return False
            raise
        self.partial = wanted
        return True

    def _is_flat(self) -> Steps[bool]:
        """Whether the venue shows no position, as its refusal says; one that it cannot show counts as held."""
        try:
            return bool((yield FetchPosition()).lots == 0)
        except (Unreachable, Refused):
            return False

    def _left(self) -> float:
        """Seconds of patience that are left."""
        assert self.bare_since is not None
        return PATIENCE_SECONDS - (self._clock() - self.bare_since)

    def _set_stop(self, price: int, *, bare: bool) -> Steps[None]:
        self.reactions.sent(self._clock())
        shown = yield SetStop(price, max(self._left(), PAUSE_SECONDS) if bare else None)
        self.books.stop, self.bare_since, self._rounded = shown, None, (price, shown)

    # Orders

    def carry_out(self, desired: list[Order]) -> Steps[CarriedOut]:
        """Cancel, amend and place until exactly these rest, as far as the venue lets.

        A cancellation that fails holds up what opens, never an exit. Fills that are learnt of on the way have changed
        what is desired: the rest is left to another round.
        """
        outcome = CarriedOut()
        trouble: Unreachable | Unanswered | None = None
        for change in difference(desired, self.books.open_orders):
            opens = change.order is not None and not change.order.reduce_only
            if (opens and trouble is not None) or not self._may(change):
                continue
            try:
                outcome.renamed = (yield from self._ask(change)) or outcome.renamed
            except Refused as refusal:
                if change.order is None:
                    trouble = Unreachable(f"{change.client_order_id} could not be cancelled: {refusal}")
                else:
                    self._refused(change.action, change.order, refusal, outcome)
            except (Unreachable, Unanswered) as error:
                if change.order is not None:
                    raise
                trouble = error
            except Gone as gone:
                yield from self._gone(change, gone, outcome)
                if outcome.booked:
                    return outcome
        if trouble is not None:
            raise trouble
        return outcome

    def _may(self, change: Change) -> bool:
        """Whether a loop gone wild may do this now; what reduces always may, a failing exit a few times."""
        now, order = self.books.machine.time, change.order
        if order is None:
            return True
        if not order.reduce_only and self.breaker.wild(now):
            self._told("more order actions in a minute than a sound loop needs; look, then resume")
            return False
        if order.reduce_only and self.breaker.barred(now):
            return False
        self.breaker.act(now)
        return True

    def _ask(self, change: Change) -> Steps[bool]:
        """Send a change; whether the order goes under a new name now: one that is held back has used up its own."""
        if change.action is Action.CANCEL:
            yield Cancel(change.client_order_id)
            self.books.open_orders.pop(change.client_order_id, None)
            held_back = self.books.sent(change.client_order_id)
            if held_back is None or not self.books.machine.desires(held_back):
                return False
            self.books.machine.set_anew(held_back)
            return True
        assert change.order is not None
        self.reactions.sent(self._clock())
        yield Place(change.order) if change.action is Action.PLACE else Amend(change.order)
        self.books.open_orders[change.client_order_id] = as_open_order(
            change.order, self.books.filled.get(change.client_order_id, 0)
        )
        return False

    def _refused(self, action: Action, order: Order, refusal: Refused, outcome: CarriedOut) -> None:
        """A change that is refused: an order that may not be amended goes under a new name instead."""
        if action is Action.AMEND and refusal.reason is Refusal.NOT_AMENDABLE:
            self.books.machine.set_anew(order)
            outcome.renamed = True
            return
        outcome.refused.append((order, refusal))

    def _gone(self, change: Change, gone: Gone, outcome: CarriedOut) -> Steps[None]:
        """An order that is no longer there: learn of its fills first, and only then use another name.

        Raises Unanswered for a fill that shows in the position and not among the executions yet: it is not sent twice.
        """
        self.books.open_orders.pop(change.client_order_id, None)
        filled = gone.order.filled if gone.order is not None else 0
        booked, learnt = yield from self.learn_fills(change.client_order_id, filled)
        outcome.booked = outcome.booked or booked
        order = change.order
        # Of one that was to be cancelled the venue may not say how it ended: then the position alone tells of a fill.
        untold = order is None and gone.order is None and not booked
        if (learnt < filled or untold) and (yield FetchPosition()).lots != self.books.machine.position:
            raise Unanswered(f"{self.symbol}: the fill of {change.client_order_id} is not told yet")
        if order is not None and change.action is Action.PLACE and self.books.machine.desires(order):
            self._log.warning("order_had_ended", order=change.client_order_id, filled=filled)
            self.books.machine.set_anew(order)
            outcome.renamed = True

    def learn_fills(self, client_order_id: str, filled: int = 0) -> Steps[tuple[bool, int]]:
        """Ask for an order's executions until they make up `filled` lots, a few times.

        Returns whether any was new, and how many lots they make up.
        """
        booked, learnt = False, 0
        for look in range(LOOKS):
            executions = yield FetchExecutionsOf(client_order_id)
            booked = self.books.book_all(executions) or booked
            learnt = sum(one.lots for one in executions)
            if learnt >= filled:
                break
            if look + 1 < LOOKS:
                yield from self.pause()
        return booked, learnt

    def pause(self) -> Steps[None]:
        """Give the venue's lists a moment."""
        yield Wait(PAUSE_SECONDS)
