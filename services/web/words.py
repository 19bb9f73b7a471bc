"""What the console says, in English and Russian: Fluent catalogues in `locales/`, the same messages in each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fluent.runtime import FluentBundle, FluentResource

LANGUAGES = {"en": "English", "ru": "Русский"}
CATALOGUES = ("console.ftl", "decisions.ftl")  # the second where the first language has none: see `telling`
CHART_TEXTS = 39  # messages chart-0 to chart-38: what the chart says, in the order of the first catalogue

CHART_NAMES = (
    *("unknown", "tight_range", "wide_range", "quiet_transition", "volatile_transition", "bull_trend", "bear_trend"),
    *("entry", "grid_counter", "exit_tp", "exit_sl", "exit_transition", "exit_emergency", "forced"),
)


@cache
def _bundle(language: str) -> FluentBundle:
    bundle = FluentBundle([language], use_isolating=False)
    for name in CATALOGUES:
        file = files("services.web").joinpath("locales", language, name)
        if file.is_file():
            bundle.add_resource(FluentResource(file.read_text(encoding="utf-8")))
    return bundle


class Words:
    """The messages of one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"

    def __call__(self, message: str, **values: object) -> str:
        """Say a message; raises KeyError for one that is not in the catalogue, or that lacks a value."""
        bundle = _bundle(self.language)
        pattern = bundle.get_message(message.replace("_", "-")).value if bundle.has_message(_id(message)) else None
        if pattern is None:
            raise KeyError(message)
        said, faults = bundle.format_pattern(pattern, values)
        if faults:
            raise KeyError(f"{message}: {faults[0]}")
        return str(said)

    def chart(self) -> dict[str, str]:
        """What the chart says, by its English text; nothing where that is the language."""
        if self.language == "en":
            return {}
        english = Words("en")
        said = {english(f"chart-{one}"): self(f"chart-{one}") for one in range(CHART_TEXTS)}
        return said | {name.replace("_", " "): self.word(name) for name in CHART_NAMES}

    def word(self, name: str) -> str:
        """Say a name of the bot's, such as a phase; one that the catalogue does not know is said as it is."""
        if not name or not _bundle(self.language).has_message(_id(f"word-{name}")):
            return name.replace("_", " ")
        return self(f"word-{name}")


def _id(message: str) -> str:
    return message.replace("_", "-")


def chosen(accepted: str, kept: str | None) -> str:
    """Return the language of a page: the one chosen, else the first of the browser's that there is."""
    if kept in LANGUAGES:
        return kept
    for part in accepted[:200].split(","):
        name = part.split(";")[0].strip().lower()[:2]
        if name in LANGUAGES:
            return name
    return "en"
