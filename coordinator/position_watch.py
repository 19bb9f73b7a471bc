"""Holds a pair's position at the venue against the bot's, and sees that it has its stop. Absence is zero.

What nothing explains holds the pair off: entries are cancelled, and what is held at the venue is protected where it
stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot.order import OrderKind
from bot.ports import Execution, Position, Refusal, Refused
from bot.times import MINUTE
from coordinator.instructions import FetchExecutions, FetchPosition
from coordinator.reconcile import position_stop
from coordinator.vocabulary import HeldOff

if TYPE_CHECKING:
    from coordinator.books import Books
    from coordinator.executor import Executor
    from coordinator.instructions import Steps

DIFFERENT = 3  # looks at a position that differs, before the difference is believed

Report = Callable[..., None]  # reason, sentence, over


class PositionWatch:
    """The position of one pair."""

    def __init__(
        self,
        books: Books,
        executor: Executor,
        report: Report,
        request_recovery: Callable[[], None],
        *,
        adopt: bool,
    ) -> None:
        """`report` holds the pair off, `look` asks for another look; `adopt`: take over what nothing explains, once."""
        self.books, self.machine, self.executor = books, books.machine, executor
        self.actual: Position | None = None  # what the venue holds, where it is not what the bot knows of
        self.adopt = adopt
        self._others_traded = False
        self._told_paused = self._awaits_pause = False  # by the last directive; by the one that answers a report
        self._report, self._request_recovery = report, request_recovery

    @property
    def differs(self) -> bool:
        """Whether the venue holds something that nothing explains."""
        return self.actual is not None

    @property
    def lots(self) -> int:
        """Lots that the venue holds, signed."""
        return self.machine.position if self.actual is None else self.actual.lots

    # Whose it is

    def compare(self, since: int) -> Steps[bool]:
        """Look at the venue's position; executions from `since` (ms) that explain a difference are asked for first.

        Returns whether any was booked.
        """
        booked = False
        for look in range(DIFFERENT + 1):
            seen: Position = yield FetchPosition()
            self.books.stop, self.executor.partial = seen.stop, None
            if seen.lots == self.machine.position:
                self.adopt = False  # nothing was to be taken over at the start
                self.clear_difference()
                return booked
            if look:
                yield from self.executor.pause()
            if look < DIFFERENT:
                found = yield FetchExecutions(since - MINUTE)
                booked = self.books.book_all(found) or booked
        if self.adopt:
            self._take_over(seen)
            return True
        theirs, ours = (self.machine.readable(lots) for lots in (seen.lots, self.machine.position))
        self._report(
            HeldOff.POSITION, f"the venue holds {theirs}, the bot knows of {ours}; make them equal, then resume."
        )
        self.actual = seen
        return booked

    def clear_difference(self) -> None:
        """The positions are equal; what held the pair off for that alone is over."""
        if self.actual is not None and not self._others_traded:
            self._report(HeldOff.POSITION, "the positions are equal again", over=True)
        self.actual = None

    def followed(self, directive: Any) -> Any:
        """Return the directive (1,) to follow: paused, where it was sent before the portfolio knew that others trade.

        One that lets the pair trade again is the operator's word: what others traded is forgotten.
        """
        self._told_paused = bool(directive[0].paused)
        if self._told_paused:
            self._awaits_pause = False
        elif self._awaits_pause:
            directive = directive.copy()
            directive[0].paused = True
        else:
            self._others_traded = False
        return directive

    def tell_of_others(self) -> None:
        """Hold the pair off for what somebody else has traded since the last time."""
        foreign = self.books.take_foreign()
        if foreign is not None:
            self._others_traded, self._awaits_pause = True, not self._told_paused
            self._report(HeldOff.POSITION, foreign)

    def _take_over(self, seen: Position) -> None:
        """Book a position that nothing explains, as if the difference had been traded at its average just now."""
        self.adopt, machine = False, self.machine
        difference = seen.lots - machine.position
        ticks = round(seen.price / float(machine.instrument.tick_size)) or machine.ticks
        symbol, now = self.books.symbol, machine.time
        self.books.book(
            Execution(
                *(f"adopted-{symbol}-{now}", symbol, "", 1 if difference > 0 else -1, ticks, abs(difference), 0.0),
                maker=True,
                ts=now,
            )
        )
        self.books.stop, self.actual = seen.stop, None

    # Its stop

    def protect(self, opening: int) -> Steps[bool]:
        """See that the position has its stop; False when it cannot have one and is to close at the market now.

        `opening`: lots that may be filled before this is asked again.
        """
        lots = self.lots
        try:
            if (yield from self.executor.protect(self.stop_of(lots), lots)) and (
                not self.machine.large_positions or (yield from self.executor.cover(lots, opening))
            ):
                return True
        except Refused as refusal:
            if refusal.reason is not Refusal.NOTHING_TO_REDUCE:
                raise
            self._request_recovery()  # the position is not what it was
            return True
        found = position_stop(self.machine.slots, lots)
        if found is not None and self.machine.position * lots > 0:
            self.machine.slots[found.slot].kind = OrderKind.MARKET
        else:
            self.machine.close(lots)
        return False

    def stop_of(self, lots: int) -> int:
        """Ticks of the stop that a position of `lots` at the venue should carry; 0 leaves it as it is."""
        ours = self.machine.position
        found = position_stop(self.machine.slots, ours)
        if found is not None and ours * lots > 0:
            return found.price
        if lots == 0 or self.books.stop or self.machine.exits_at_market(lots):
            return 0
        average = self.machine.average if self.actual is None else self.actual.price
        return self.machine.guard(lots, average)

    @property
    def stop_differs(self) -> bool:
        """Whether the position carries another stop than it should."""
        return self.stop_of(self.lots) not in (0, self.books.stop)
