"""How much a pair may ask of the venue: a loop gone wild must not cost money. Pure: it counts and says.

Counted is by minutes of the market, so that a market played fast is no wild loop.
"""

from __future__ import annotations

from bot.times import MINUTE

MOST_EXITS = 3  # exits that fail, in a minute


class Breaker:
    """Counts what a pair places and amends, and its failed exits in the present minute."""

    def __init__(self, most_actions: int) -> None:
        self.most_actions = most_actions
        self._minute = 0
        self._actions = self._exits = 0

    def act(self, now: int) -> None:
        """Count an action at `now` (ms)."""
        self._turn(now)
        self._actions += 1

    def exit_failed(self, now: int) -> None:
        """Count an exit that was refused, or ended by the venue."""
        self._turn(now)
        self._exits += 1

    def wild(self, now: int) -> bool:
        """Whether this minute's actions are used up: cancellations and exits go on, entries wait."""
        self._turn(now)
        return self._actions >= self.most_actions

    def barred(self, now: int) -> bool:
        """Whether so many exits have failed that the next one waits for the next minute."""
        self._turn(now)
        return self._exits >= MOST_EXITS

    def _turn(self, now: int) -> None:
        if now // MINUTE != self._minute:
            self._minute = now // MINUTE
            self._actions = self._exits = 0
