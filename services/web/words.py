"""What the console says: its catalogue, and the chart's texts by their English ones."""

from __future__ import annotations

from typing import ClassVar

from services.words import Words

CHART_TEXTS = 41  # messages chart-0 to chart-40: what the chart says, in the order of the first catalogue

CHART_NAMES = (
    *("unknown", "tight_range", "wide_range", "quiet_transition", "volatile_transition", "bull_trend", "bear_trend"),
    *("entry", "grid_counter", "exit_tp", "exit_sl", "exit_transition", "exit_emergency", "forced"),
)


class PageWords(Words):
    """The words of pages."""

    # The second where the first language has none: see `telling`.
    catalogues: ClassVar[tuple[str, ...]] = ("console", "decisions")

    def chart(self) -> dict[str, str]:
        """What the chart says, by its English text; nothing where that is the language."""
        if self.language == "en":
            return {}
        english = PageWords("en")
        said = {english(f"chart-{one}"): self(f"chart-{one}") for one in range(CHART_TEXTS)}
        return said | {name.replace("_", " "): self.word(name) for name in CHART_NAMES}
