"""What a stored session earned on days that have chosen nothing, by strategy, pair and timeframe."""

from __future__ import annotations

from typing import Any

import yaml

OUT = "_out_of_sample"  # how a window's columns end
AUTO = "auto"


def scores_of(kind: str, document: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
    """One score for each pair and timeframe of a finished session: out of sample, of its best or of its windows."""
    strategy = document.get("strategy")
    pair = document.get("pair") or ", ".join(map(str, document.get("pairs") or []))
    if not isinstance(strategy, str) or not pair:
        return []
    usual = _timeframe(strategy, yaml.safe_load(result.get("config") or "{}"))
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for window in result.get("windows") or []:
        figures = {name.removesuffix(OUT): one for name, one in window.items() if name.endswith(OUT)}
        found.setdefault((_pair(window, pair), _varied(strategy, window, usual)), []).append(figures)
    for row in sorted(result.get("rows") or [], key=lambda one: not one["passed"]):  # the best of each, by its rank
        parameters = row["parameters"]
        found.setdefault((_pair(parameters, pair), _varied(strategy, parameters, usual)), [row["held_out"]])
    return [
        {"kind": kind, "strategy": strategy, "pair": own, "timeframe": timeframe, "values": values}
        for (own, timeframe), values in found.items()
    ]


def _pair(parameters: dict[str, Any], usual: Any) -> str:
    """The pair of a row: its own where the search varied it."""
    return str(parameters.get("pair", usual))


def _key(strategy: str) -> str:
    return "regime_timeframe" if strategy == AUTO else "timeframe"


def _timeframe(strategy: str, config: Any) -> str:
    """The timeframe of a config that has every value."""
    section = config.get(strategy) if isinstance(config, dict) else None
    found = section.get(_key(strategy)) if isinstance(section, dict) else None
    return str(found) if found else ""


def _varied(strategy: str, parameters: dict[str, Any], usual: str) -> str:
    """The timeframe of a row: its own where the search varied it."""
    return str(parameters.get(f"{strategy}.{_key(strategy)}", usual))
