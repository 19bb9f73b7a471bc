"""Decisions in sentences of a language: English ones are the coordinator's, others the catalogue's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from bot.events import Decision
from coordinator.decisions import sentence
from services.words import Words

ROUGH = {"adx", "atr_pct", "confidence", "multiplier", "minutes"}  # of which three digits say enough


class Figures(NamedTuple):
    """How numbers are written."""

    exact: Callable[[float], str]
    money: Callable[[float], str]
    per_cent: Callable[[float], str]


def spoken(words: Words, row: dict[str, Any], figures: Figures) -> str:
    """Say a decision in a sentence; one of a kind that this version does not know is told by its name."""
    try:
        if words.language != "en":
            return words(f"decision-{row['kind']}", **_values(words, row["fields"], figures))
        if row["kind"] == "regime":  # its sentence speaks of strategies too, which only the bot knows
            before, after = (row["fields"][name].replace("_", " ") for name in ("before", "regime"))
            return f"regime {before} → {after}"
        return sentence(Decision(row["pair"] or "", row["at"], row["kind"], row["fields"]))
    except (KeyError, TypeError, ValueError):
        return str(row["kind"]).replace("_", " ")


def _values(words: Words, fields: dict[str, Any], figures: Figures) -> dict[str, str]:
    """Fields as a catalogue's sentences take them."""
    said: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, bool):
            said[name] = "yes" if value else "no"
        elif isinstance(value, list):
            said[name] = ", ".join(words.word(one) for one in value) or words("normal")
        elif isinstance(value, int | float):
            said[name] = figures.exact(float(f"{value:.{3 if name in ROUGH else 7}g}"))
            said |= {f"{name}_money": figures.money(value), f"{name}_share": figures.per_cent(100.0 * value)}
        elif name in ("rule", "origin", "asked", "refusal"):  # of which a sentence chooses
            said[name] = str(value)
        else:
            said[name] = words.word(str(value)) if value else "—"
    return said
