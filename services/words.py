"""What the program says to people in their language: Fluent catalogues in `locales/`, the same messages in each."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import ClassVar

from fluent.runtime import FluentBundle, FluentResource

LANGUAGES = {"en": "English", "ru": "Русский"}


@cache
def bundle_of(language: str, catalogues: tuple[str, ...]) -> FluentBundle:
    """The messages of some catalogues, of the first where two have one; a language may lack one of them."""
    bundle = FluentBundle([language], use_isolating=False)
    for name in catalogues:
        file = files("services").joinpath("locales", language, f"{name}.ftl")
        if file.is_file():
            bundle.add_resource(FluentResource(file.read_text(encoding="utf-8")))
    return bundle


class Words:
    """The messages of one language, for one place where they are said."""

    catalogues: ClassVar[tuple[str, ...]]

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else "en"
        self.bundle = bundle_of(self.language, self.catalogues)

    def __call__(self, message: str, **values: object) -> str:
        """Say a message; raises KeyError for one that is not in the catalogues, or that lacks a value."""
        name = _id(message)
        pattern = self.bundle.get_message(name).value if self.bundle.has_message(name) else None
        if pattern is None:
            raise KeyError(message)
        said, faults = self.bundle.format_pattern(pattern, values)
        if faults:
            raise KeyError(f"{message}: {faults[0]}")
        return str(said)

    def word(self, name: str) -> str:
        """Say a name of the bot's, such as a phase; one that the catalogues do not know is said as it is."""
        if not name or not self.bundle.has_message(_id(f"word-{name}")):
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
