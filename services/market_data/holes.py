"""Which minutes of one symbol are missing, why, and when to ask for them: no I/O, no clock.

Every minute from the first one expected is either heard or inside exactly one hole. Holes are ascending and disjoint.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from bot.times import DAY, HOUR, MINUTE, SECOND

PATIENCE_MS: Final = 5 * SECOND  # after its end, until a minute that was not heard is missing
# Between two questions for the same hole, by how often the venue has said that it has no such minutes.
PAUSES_MS: Final = (10 * SECOND, 30 * SECOND, 2 * MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY)
UNREACHABLE_PAUSE_MS: Final = 10 * SECOND


class HoleCause(StrEnum):
    """Why minutes are missing."""

    NOT_HEARD = "not heard"  # the stream ran and did not tell them
    STREAM_LOST = "stream lost"
    COLLECTOR_OFF = "collector off"
    VENUE_UNREACHABLE = "venue unreachable"  # it does not answer, or is in maintenance
    VENUE_HAS_NONE = "venue has none"  # it was asked, and answered without them


@dataclass(frozen=True, slots=True)
class Hole:
    """Missing minutes that open in [first, after), ms; when they were found missing, and when they are asked for."""

    first: int
    after: int
    cause: HoleCause
    found_ms: int
    ask_ms: int
    answers: int = 0  # of the venue, without these minutes

    @property
    def minutes(self) -> int:
        """How many are missing."""
        return (self.after - self.first) // MINUTE


class SeriesHoles:
    """The holes of one symbol."""

    def __init__(self, first: int) -> None:
        self.first = self.next = first  # the first minute that is expected, and the first that is not yet due
        self.holes: list[Hole] = []
        self.ended = False  # it is no longer traded: nothing more is expected

    def expect(self, until: int, cause: HoleCause, now: int) -> None:
        """Account for the minutes before `until`: those that were not heard are a hole."""
        if until <= self.next or self.ended:
            return
        self._add(Hole(self.next, until, cause, now, now))
        self.next = until

    def look(self, now: int, cause: HoleCause) -> None:
        """Account for every minute that has ended and was not heard in `PATIENCE_MS`."""
        self.expect((now - PATIENCE_MS) // MINUTE * MINUTE, cause, now)

    def heard(self, ts: int, cause: HoleCause, now: int) -> None:
        """Note that a minute is there; minutes left out before it are a hole."""
        if ts >= self.next:
            self.expect(ts, cause, now)
            self.next = max(self.next, ts + MINUTE)
            return
        at = self._at(ts)
        if at is None:
            return
        hole = self.holes[at]
        parts = [replace(hole, after=ts), replace(hole, first=ts + MINUTE)]
        self.holes[at : at + 1] = [one for one in parts if one.minutes]

    def due(self, now: int) -> list[Hole]:
        """Holes that are to be asked for now."""
        return [one for one in self.holes if one.ask_ms <= now]

    def answered(self, first: int, after: int, now: int) -> None:
        """Note that the venue has told what it has of [first, after): what is still missing it does not have."""

        def later(hole: Hole) -> Hole:
            pause = PAUSES_MS[min(hole.answers, len(PAUSES_MS) - 1)]
            return replace(hole, cause=HoleCause.VENUE_HAS_NONE, ask_ms=now + pause, answers=hole.answers + 1)

        self._change(first, after, later)

    def unanswered(self, first: int, after: int, now: int) -> None:
        """Note that the venue did not answer a question for [first, after)."""

        def later(hole: Hole) -> Hole:
            return replace(hole, cause=HoleCause.VENUE_UNREACHABLE, ask_ms=now + UNREACHABLE_PAUSE_MS)

        self._change(first, after, later)

    def end(self, last: int) -> None:
        """Expect nothing more: the symbol is no longer traded. `last` is its newest minute, ms.

        What the venue has not after that minute was never traded, and is no hole.
        """
        self.ended = True
        after = last + MINUTE
        cut = [replace(one, first=max(one.first, after)) if one.after > after else one for one in self.holes]
        never = {one.after for one in cut if one.first >= after and one.cause is HoleCause.VENUE_HAS_NONE}
        kept = [one for one in self.holes if one.after not in never]
        kept += [replace(one, after=after) for one in self.holes if one.after in never and one.first < after]
        self.holes = sorted(kept, key=lambda one: one.first)

    def lacks(self, ts: int) -> bool:
        """Whether a minute was not heard yet."""
        return ts >= self.next or self._at(ts) is not None

    @property
    def missing(self) -> int:
        """How many minutes are missing."""
        return sum(one.minutes for one in self.holes)

    @property
    def completeness(self) -> float:
        """Share of the minutes expected so far that is there; 1 before any is."""
        expected = (self.next - self.first) // MINUTE
        return 1.0 - self.missing / expected if expected else 1.0

    def _at(self, ts: int) -> int | None:
        at = bisect_right(self.holes, ts, key=lambda one: one.first) - 1
        return at if at >= 0 and ts < self.holes[at].after else None

    def _add(self, hole: Hole) -> None:
        """Append a hole, or make the last one longer where both were found for the same cause and nobody asked yet."""
        last = self.holes[-1] if self.holes else None
        if last is not None and (last.after, last.cause, last.answers) == (hole.first, hole.cause, 0):
            self.holes[-1] = replace(last, after=hole.after)
        else:
            self.holes.append(hole)

    def _change(self, first: int, after: int, change: Callable[[Hole], Hole]) -> None:
        """Change the parts of holes that lie in [first, after)."""
        changed: list[Hole] = []
        for hole in self.holes:
            inside = replace(hole, first=max(hole.first, first), after=min(hole.after, after))
            if inside.minutes <= 0:
                changed.append(hole)
                continue
            parts = [replace(hole, after=inside.first), change(inside), replace(hole, first=inside.after)]
            changed += [one for one in parts if one.minutes > 0]
        self.holes = changed
