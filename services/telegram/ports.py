"""What Telegram needs of the world: `services.sources`. `services.app.telegram` brings it."""

from __future__ import annotations

from dataclasses import dataclass

from services.sources import BotLink, CandleSource, EventSource, HistoryRows, TwinAnswers


@dataclass(frozen=True)
class TelegramWorld:
    """All of it."""

    bots: BotLink
    past: HistoryRows
    told: EventSource | None  # None: there is no bus, and nothing is heard of as it happens
    candles: CandleSource
    twins: TwinAnswers
