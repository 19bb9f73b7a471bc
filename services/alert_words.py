"""Alerts in a language: English ones are those of the table and of the bots, others stand in a catalogue."""

from __future__ import annotations

from typing import ClassVar

from services.alert_conditions import BY_ID, by_id
from services.words import Words


class AlertWords(Words):
    """The words of alerts."""

    catalogues: ClassVar[tuple[str, ...]] = ("alerts",)


def alert_sentence(words: Words, name: str, told: str) -> str:
    """Say what has happened; `told` are the words of whoever noticed, which have the numbers and stay beside it."""
    said = _found(words, f"alert-{name}") or (words.word(name) if _found(words, f"word-{name}") else "")
    if words.language == "en" or not said:
        return told
    return said if name in BY_ID and told == BY_ID[name].meaning else f"{said} ({told})"


def alert_remedy(words: Words, name: str, told: str = "") -> str:
    """Say what to do about it; `told`: what whoever noticed says, of the table where it says nothing."""
    found = "" if words.language == "en" else _found(words, f"remedy-{name}")
    return found or told or by_id(name).remedy


def _found(words: Words, message: str) -> str:
    try:
        return words(message)
    except KeyError:
        return ""
