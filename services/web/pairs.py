"""A pair for a page: desired orders beside open ones, and what protects its position."""

from __future__ import annotations

from typing import Any

from coordinator.bot_status import PairOrders
from services.web.figures import exact, per_cent, rough
from services.web.words import PageWords


def laid_orders(told: PairOrders) -> list[dict[str, Any]]:
    """Orders from the highest price to the lowest, each with `state`: as_desired, missing or not_desired."""
    desired = {one["client_order_id"]: one for one in told["desired"]}
    open_ = {one["client_order_id"]: one for one in told["open"]}
    rows = [
        {**one, "state": "as_desired" if name in open_ else "missing", "filled": open_.get(name, one)["filled"]}
        for name, one in desired.items()
    ]
    rows += [{**one, "state": "not_desired"} for name, one in open_.items() if name not in desired]
    return sorted(rows, key=lambda one: -one["price"])


def distance(one: dict[str, Any]) -> float | None:
    """How far the price is from the position's stop, in per cent of the price; None without either."""
    if not one["position"] or not one["stop"] or not one["price"]:
        return None
    return 100.0 * abs(one["price"] - one["stop"]) / float(one["price"])


def counted(one: dict[str, Any], words: PageWords) -> list[str]:
    """Say what was refused for its costs, and what strategies have counted."""
    counts = {"refused_for_costs": one["refused_for_costs"], **one["counts"]}
    return [words("counted", what=words.word(name), count=count) for name, count in counts.items() if count]


def protection(one: dict[str, Any], words: PageWords) -> list[str]:
    """Say what is held, and what protects it."""
    if not one["position"]:
        return [words("flat")]
    direction = "long" if one["position"] > 0 else "short"
    held = words(
        "held", direction=direction, quantity=exact(abs(one["position"])), average=exact(rough(one["average"]))
    )
    away = distance(one)
    if away is None:
        return [held, words("unprotected")]
    return [held, words("protected_at", price=exact(one["stop"]), distance=per_cent(away))]
