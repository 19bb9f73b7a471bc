"""The Bus port where nobody listens."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bot.events import BotEvent


class SilentBus:
    """Tells nobody."""

    def publish(self, event: BotEvent) -> None:
        """Drop it."""
