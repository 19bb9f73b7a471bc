"""Decisions on pages: each in a sentence, and those that explain what a bot holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bot.candles import iso
from coordinator.decisions import explain
from services import decision_words
from services.web.figures import exact, money, per_cent, when
from services.web.words import PageWords

FIGURES = decision_words.Figures(exact, money, per_cent)
CHOSEN = ("start", "transition", "closing", "flat", "variant")  # of which the last says what runs


def spoken(words: PageWords, row: dict[str, Any]) -> str:
    """Say a decision in a sentence, its numbers as pages show them."""
    return decision_words.spoken(words, row, FIGURES)


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
        *holds("full"),
        *holds("allocation"),
        *holds("verdict"),
        *holds("mode"),
        *holds("halt", ended_by("resume")),
    ]
