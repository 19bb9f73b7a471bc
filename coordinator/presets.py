"""Named sets of values for the whole algorithm: the defaults of version 0.1, and the levels of risk.

They lie under what a config gives. docs/findings.md has what each is worth.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from bot.errors import Misconfigured, shown

# A router by regimes of an hour, with the filter, over strategies that trade often.
CLASSIC: dict[str, dict[str, Any]] = {
    "auto": {"router": "regime", "regime_timeframe": "1h", "warmup_bars": 200},
    "smc": {"enabled": True},
    "allocation": {"strategy_cap": 0.40},
    "risk": {"pair_day_loss": 0.03},
    "grid": {"preset": "classic"},
    "trend": {"preset": "classic"},
}
PRESETS = {"classic": CLASSIC}


class RiskLevel(StrEnum):
    """How much of the account is at work."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


LEVELS: dict[RiskLevel, dict[str, dict[str, Any]]] = {
    RiskLevel.LOW: {"allocation": {"reserve": 0.55}},
    RiskLevel.MEDIUM: {},
    RiskLevel.HIGH: {
        "allocation": {"reserve": 0.0},
        "risk": {"group_exposure": 0.60, "exposure": 0.90},
        "trend": {"volatility_target": 0.60},
    },
}


def laid_under(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a config of `auto` with those of its preset and its level of risk where it gives none.

    Raises Misconfigured for a name that is unknown.
    """
    auto, level = values.get("auto"), values.get("risk_level", RiskLevel.MEDIUM)
    if level not in list(RiskLevel):
        raise Misconfigured(f"risk_level is {shown(level)}; choose one of: {', '.join(RiskLevel)}.")
    name = auto.get("preset") if isinstance(auto, dict) else None
    if name is not None and name not in list(PRESETS):
        raise Misconfigured(f"auto.preset is {shown(name)}; choose one of: {', '.join(PRESETS)}.")
    filled = dict(values)
    for named in (LEVELS[RiskLevel(level)], PRESETS[name] if name else {}):
        for section, own in named.items():
            given = filled.get(section)
            if given is None or isinstance(given, dict):  # anything else is refused where it is read
                filled[section] = {**own, **(given or {})}
    return filled
