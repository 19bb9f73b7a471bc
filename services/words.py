"""What the program says to people in their language: Fluent catalogues in `locales/`, the same messages in each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from fluent.runtime import FluentBundle, FluentResource

LANGUAGES = {"en": "English", "ru": "Русский"}


@cache
def _bundle(catalogue: str, language: str) -> FluentBundle:
    text = files("services").joinpath("locales", language, f"{catalogue}.ftl").read_text(encoding="utf-8")
    bundle = FluentBundle([language], use_isolating=False)
    bundle.add_resource(FluentResource(text))
    return bundle


class Words:
    """The messages of one catalogue in one language."""

    def __init__(self, catalogue: str, language: str) -> None:
        self.catalogue, self.language = catalogue, language if language in LANGUAGES else "en"

    def __call__(self, message: str, **values: object) -> str:
        """Say a message; raises KeyError for one that is not in the catalogue, or that lacks a value."""
        bundle, name = _bundle(self.catalogue, self.language), _id(message)
        pattern = bundle.get_message(name).value if bundle.has_message(name) else None
        if pattern is None:
            raise KeyError(message)
        said, faults = bundle.format_pattern(pattern, values)
        if faults:
            raise KeyError(f"{message}: {faults[0]}")
        return str(said)

    def word(self, name: str) -> str:
        """Say a name of the bot's, such as a phase; one that the catalogue does not know is said as it is."""
        if not name or not _bundle(self.catalogue, self.language).has_message(_id(f"word-{name}")):
            return name.replace("_", " ")
        return self(f"word-{name}")


def _id(message: str) -> str:
    return message.replace("_", "-")
