"""A config of passivbot as a DCA of ours: what can be carried over, and in words what cannot.

Reads version 7. Its grid of re-entries becomes a ladder of safety orders: each is as large as the position times the
double-down factor, and lies under the average of what is held (above it for a short).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from bot.errors import Misconfigured, shown
from strategies.dca_parameters import MAX_SAFETY_ORDERS, MAX_TARGETS

SIDES = ("long", "short")
QUOTE = "USDT"
DEEPEST = 0.85  # share of the price, the farthest that a re-entry may lie
BEYOND = 0.10  # of the stop beyond the last re-entry

# Keys of a side that are carried over, by the names used here; the first that is there counts.
CARRIED = {
    "exposure": ("total_wallet_exposure_limit",),
    "positions": ("n_positions",),
    "initial": ("entry_initial_qty_pct",),
    "double_down": ("entry_grid_double_down_factor",),
    "spacing": ("entry_grid_spacing_pct",),
    "widening": ("entry_grid_spacing_we_weight", "entry_grid_spacing_weight"),
    "markup": ("close_grid_markup_start",),
    "markup_end": ("close_grid_markup_end",),
    "close_share": ("close_grid_qty_pct",),
}


@dataclass(frozen=True)
class ImportedBot:
    """A config of ours, and sentences on what of the other bot is not in it."""

    config: dict[str, Any]
    left_out: list[str] = field(default_factory=list)


def imported(document: Any, pair: str | None = None, direction: str | None = None) -> ImportedBot:
    """Convert a config; raises Misconfigured for what is none of passivbot's, or trades nothing."""
    bot = document.get("bot") if isinstance(document, dict) else None
    if not isinstance(bot, dict):
        raise Misconfigured("the file has no section bot, so it is no config of passivbot 7; choose such a file.")
    side = _side(bot, direction)
    taken = {name: _taken(bot[side], name) for name in CARRIED}
    ladder = _ladder(taken, -1.0 if side == "long" else 1.0)
    said = [_stop_words(ladder), *_ladder_words(ladder), *_other_side(bot, side)]
    config = {
        "version": 1,
        "strategy": "dca",
        **_pairs(document, side, pair, said),
        "market": "linear",
        **_money(document, taken["exposure"]),
        "dca": _dca(side, taken, ladder),
    }
    known = {key for keys in CARRIED.values() for key in keys}
    unread = sorted(key for key, value in bot[side].items() if key not in known and value)
    return ImportedBot(config, [*said, f"Not carried over: {', '.join(unread)}."] if unread else said)


def _side(bot: dict[str, Any], direction: str | None) -> str:
    """Choose the side that trades, the long one where both do."""
    trading = [side for side in SIDES if _trades(bot.get(side))]
    if direction is not None and direction not in trading:
        raise Misconfigured(
            f"direction is {shown(direction)} but here only {', '.join(trading) or 'neither'} trades; choose that."
        )
    if not trading:
        raise Misconfigured("n_positions or total_wallet_exposure_limit is 0 on both sides; set both on one side.")
    return direction or trading[0]


def _trades(section: Any) -> bool:
    if not isinstance(section, dict):
        return False
    if "strategy" in section or "risk" in section:
        raise Misconfigured(
            "bot has sections strategy and risk, as passivbot 8 writes them; only version 7 can be read."
        )
    return _taken(section, "exposure") > 0.0 and _taken(section, "positions") > 0.0


def _taken(section: dict[str, Any], name: str) -> float:
    """Value of a parameter; the weight of the spacing may be missing."""
    key = next((key for key in CARRIED[name] if key in section), None)
    if key is None and name == "widening":
        return 0.0
    if key is None:
        raise Misconfigured(f"{CARRIED[name][0]} is missing; choose a config of passivbot 7.")
    return _number(key, section[key])


def _number(key: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Misconfigured(f"{key} is {shown(str(value))} but has to be a number; correct the file.")
    return float(value)


def _ladder(taken: dict[str, float], away: float) -> list[float]:
    """Distances of the re-entries from the first entry, as shares of its price, until the exposure is full.

    A re-entry lies spacing x (1 + share of the exposure x weight) from the average price.
    """
    filled, factor = taken["initial"], taken["double_down"]
    if not 0.0 < filled <= 1.0 or factor <= 0.0 or taken["spacing"] <= 0.0:
        raise Misconfigured(
            f"entry_initial_qty_pct {filled:g}, entry_grid_double_down_factor {factor:g} and entry_grid_spacing_pct "
            f"{taken['spacing']:g} have to be above 0, the first at most 1; correct the file."
        )
    average = 1.0
    distances: list[float] = []
    while filled * (1.0 + factor) <= 1.0 + 1e-9 and len(distances) < MAX_SAFETY_ORDERS:
        price = average * (1.0 + away * taken["spacing"] * (1.0 + filled * taken["widening"]))
        distance = (price - 1.0) * away
        if distance <= (distances[-1] if distances else 0.0) or distance > DEEPEST:
            break
        distances.append(distance)
        average = (average + factor * price) / (1.0 + factor)
        filled *= 1.0 + factor
    return distances


def _dca(side: str, taken: dict[str, float], ladder: list[float]) -> dict[str, Any]:
    """The ladder, its sizes and its take profits as parameters of ours."""
    steps: dict[str, Any] = {"max_safety_orders": len(ladder)}
    if ladder:
        steps |= {"step": round(ladder[0], 6), "step_multiplier": round(_growth(ladder), 6)}
    return {
        "direction": side,
        "start": "immediately",
        **steps,
        "safety_ratio": round(taken["double_down"], 6),
        "volume_multiplier": round(1.0 + taken["double_down"], 6),
        **_targets(taken),
        "stop_loss": _stop(ladder),
        "risk_budget": 1.0,
    }


def _growth(ladder: list[float]) -> float:
    """Growth of the distances with which the last safety order lies where the last re-entry does, by halving."""
    low, high = 0.01, 10.0
    for _ in range(60):
        middle = (low + high) / 2.0
        deep = ladder[0] * sum(middle**k for k in range(len(ladder)))
        low, high = (middle, high) if deep < ladder[-1] else (low, middle)
    return low if len(ladder) > 1 else 1.0


def _targets(taken: dict[str, float]) -> dict[str, Any]:
    """One take profit, or several at even distances where passivbot spreads them."""
    low, high = sorted((taken["markup"], taken["markup_end"]))
    count = min(MAX_TARGETS, max(1, round(1.0 / taken["close_share"]))) if taken["close_share"] > 0 else 1
    if count == 1 or high - low < 1e-9:
        return {"take_profit": round((low + high) / 2.0, 6)}
    at = [round(low + (high - low) * k / (count - 1), 6) for k in range(count)]
    shares = [round(1.0 / count, 6)] * (count - 1)
    last = round(1.0 - sum(shares), 6)
    return {"targets": [{"at": one, "share": share} for one, share in zip(at, [*shares, last], strict=True)]}


def _stop(ladder: list[float]) -> float:
    return round((ladder[-1] if ladder else 0.0) + BEYOND, 4)


def _ladder_words(ladder: list[float]) -> list[str]:
    """Say how far safety orders lie from the re-entries between the first and the last."""
    if not ladder:
        return ["The first entry fills the exposure, so there are no safety orders."]
    growth = _growth(ladder)
    laid = [ladder[0] * sum(growth**k for k in range(count + 1)) for count in range(len(ladder))]
    apart = max(abs(one - other) for one, other in zip(laid, ladder, strict=True)) * 100.0
    sentence = (
        f"{len(ladder)} safety orders from {ladder[0] * 100:.2f} % to {ladder[-1] * 100:.2f} % from the first entry; "
        f"those between lie up to {apart:.2f} % of the price from passivbot's, whose distances follow the average."
    )
    return [sentence]


def _stop_words(ladder: list[float]) -> str:
    return (
        f"Passivbot has no stop; here a deal has one, {_stop(ladder) * 100:.1f} % from its first entry, a tenth of the "
        "price beyond the last safety order: set dca.stop_loss as you wish."
    )


def _other_side(bot: dict[str, Any], side: str) -> list[str]:
    other = SIDES[1 - SIDES.index(side)]
    if _trades(bot.get(other)):
        return [f"The {other} side is not carried over: a DCA has one direction; import it into another file."]
    return []


def _pairs(document: dict[str, Any], side: str, pair: str | None, said: list[str]) -> dict[str, Any]:
    """Pairs from the approved coins, or the one that is asked for."""
    live = document.get("live")
    coins = live.get("approved_coins") if isinstance(live, dict) else None
    listed = coins.get(side) if isinstance(coins, dict) else coins
    found = [pair] if pair else [_symbol(one) for one in listed] if isinstance(listed, list) else []
    if not found:
        raise Misconfigured("live.approved_coins names no coin; say which pair it is to trade: --pair BTCUSDT.")
    positions = int(document["bot"][side]["n_positions"])
    if positions < len(found):
        said.append(
            f"Passivbot holds {positions} of {len(found)} coins at a time; here every pair trades with its share."
        )
    return {"pair": found[0]} if len(found) == 1 else {"pairs": found}


def _symbol(coin: Any) -> str:
    plain = str(coin).split(":")[0].replace("/", "").upper()
    return plain if plain.endswith((QUOTE, "USDC")) else f"{plain}{QUOTE}"


def _money(document: dict[str, Any], exposure: float) -> dict[str, Any]:
    """What its wallet exposure limit allows: that share of the balance, or that leverage on all of it."""
    backtest = document.get("backtest")
    balance = backtest.get("starting_balance", 10_000.0) if isinstance(backtest, dict) else 10_000.0
    capital = _number("backtest.starting_balance", balance) * min(exposure, 1.0)
    return {"capital": round(capital, 2), "leverage": round(max(exposure, 1.0), 4)}
