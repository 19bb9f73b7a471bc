"""What a halt asks, and what each answer would do to the positions as they are now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.command_outcomes import Outcomes, outcome_in_words
from services.web.figures import money, signed
from services.web.words import PageWords


@dataclass(frozen=True)
class Choice:
    """One button: the command, what it would do, and whether it moves money."""

    command: str
    label: str
    consequence: str
    outcome: str  # computed on a copy of the pairs; empty where that says nothing more
    moves_money: bool
    marked: bool = False  # it is what was decided


def minutes_left(status: dict[str, Any]) -> float | None:
    """Minutes of the market until a halt that waits is held; None where none waits."""
    if status["decide_by"] is None or status["at"] is None:
        return None
    due, now = (datetime.fromisoformat(status[name]) for name in ("decide_by", "at"))
    return max((due - now).total_seconds() / 60.0, 0.0)


def held_positions(status: dict[str, Any]) -> list[dict[str, Any]]:
    """List the pairs that hold something, the largest first."""
    held = [one | {"value": abs(one["position"]) * one["price"]} for one in status["pairs"] if one["position"]]
    return sorted(held, key=lambda one: -one["value"])


def choices(status: dict[str, Any], outcomes: Outcomes, words: PageWords) -> list[Choice]:
    """Lay out the answers to a halt, the mildest first, and have computed what they would do to orders."""
    outcomes.begin(status)
    held = held_positions(status)
    whole = sum(one["value"] for one in held)
    floating = sum(one["position"] * (one["price"] - one["average"]) for one in held)
    count = {"count": len(held)}
    answer = status["answer"]
    return [
        Choice(
            *("hold", words("hold")),
            words("would_hold", value=money(whole), **count),
            computed("hold", status, outcomes, words),
            *(False, answer == "hold"),
        ),
        Choice(
            *("reduce-50", words("reduce_50")),
            words("would_reduce", value=money(whole / 2), whole=money(whole), **count),
            computed("reduce-50", status, outcomes, words),
            *(True, answer == "reduce_50"),
        ),
        Choice(
            *("close-all", words("close_all")),
            words("would_close", value=money(whole), floating=signed(floating), **count),
            computed("close-all", status, outcomes, words),
            *(True, answer == "close_all"),
        ),
        Choice(
            *("resume", words("resume")),
            f"{words('would_resume', equity=money(status['equity']))} {words('would_force')}",
            *("", False),
        ),
    ]


def computed(command: str, status: dict[str, Any], outcomes: Outcomes, words: PageWords) -> str:
    """Say what a command would do to orders, positions and money by the same kernels, or why that is not known."""
    found = outcomes.known(status, command)
    if found:
        return words("outcome_computed", what=outcome_in_words(found, words, money, signed))
    if found is not None:  # nothing is held and no order rests
        return ""
    why = outcomes.fault(status["bot"])
    return words("outcome_unknown", why=why) if why else words("outcome_asked")
