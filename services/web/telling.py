"""Decisions in sentences of a page's language: English ones are the coordinator's, others the catalogue's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.candles import iso
from bot.events import Decision
from coordinator.decisions import explain, sentence
from services.web.figures import exact, money, per_cent, when
from services.web.words import PageWords

ROUGH = {"adx", "atr_pct", "confidence", "multiplier", "minutes"}  # of which three digits say enough
CHOSEN = ("start", "transition", "closing", "flat", "variant")  # of which the last says what runs


def spoken(words: PageWords, row: dict[str, Any]) -> str:
    """Say a decision in a sentence; one of a kind that this version does not know is told by its name."""
    try:
        if words.language != "en":
            return words(f"decision-{row['kind']}", **_values(words, row["fields"]))
        if row["kind"] == "regime":  # its sentence speaks of strategies too, which only the bot knows
            before, after = (row["fields"][name].replace("_", " ") for name in ("before", "regime"))
            return f"regime {before} → {after}"
        return sentence(Decision(row["pair"] or "", row["at"], row["kind"], row["fields"]))
    except (KeyError, TypeError, ValueError):
        return str(row["kind"]).replace("_", " ")


def _values(words: PageWords, fields: dict[str, Any]) -> dict[str, str]:
    """Fields as a catalogue's sentences take them."""
    said: dict[str, str] = {}
    for name, value in fields.items():
        if isinstance(value, bool):
            said[name] = "yes" if value else "no"
        elif isinstance(value, list):
            said[name] = ", ".join(words.word(one) for one in value) or words("normal")
        elif isinstance(value, int | float):
            said |= {name: exact(float(f"{value:.{3 if name in ROUGH else 7}g}")), f"{name}_money": money(value)}
            said[f"{name}_share"] = per_cent(100.0 * value)
        elif name in ("rule", "origin", "asked", "refusal"):  # of which a sentence chooses
            said[name] = str(value)
        else:
            said[name] = words.word(str(value)) if value else "—"
    return said


def reasons(words: PageWords, rows: list[dict[str, Any]], pair: str) -> list[str]:
    """Why a bot holds what it holds on a pair, from the last decision of each kind, oldest first."""
    if not rows:
        return []
    if words.language == "en":
        told = [{"at": iso(one["at"]), "event": one["kind"], "pair": one["pair"], **one["fields"]} for one in rows]
        try:
            return explain(told, pair, told[-1]["at"])
        except (KeyError, TypeError, ValueError):  # rows of another version, or some are missing
            return [f"{when(one['at'])}: {spoken(words, one)}." for one in _in_force(rows)]
    return [words("since", at=when(one["at"]), said=spoken(words, one)) for one in _in_force(rows)]


def _in_force(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that still hold, in the order in which they explain."""
    last = {one["kind"]: one for one in rows}
    running = [one for one in rows if one["kind"] in CHOSEN][-1:]

    def holds(kind: str, unless: Callable[[dict[str, Any]], bool] = lambda _: False) -> list[dict[str, Any]]:
        return [last[kind]] if kind in last and not unless(last[kind]) else []

    def ended_by(kind: str) -> Callable[[dict[str, Any]], bool]:
        return lambda one: kind in last and last[kind]["id"] > one["id"]

    return [
        *holds("regime"),
        *running,
        *holds("blocked", lambda one: not one["fields"]["begins"]),
        *holds("pause", ended_by("unpause")),
        *holds("costs"),
        *holds("allocation"),
        *holds("verdict"),
        *holds("mode"),
        *holds("halt", ended_by("resume")),
    ]
