"""What research pages and their API show in tests: answers without the search's code, and rows in the tables."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from hashlib import sha256

from bot.errors import Misconfigured

FIGURES = {
    "total_return_pct": 12.5, "alpha_pct": 4.0, "beta": 0.3, "max_drawdown_pct": 6.0, "information_ratio": 1.1,
    "trades": 40.0, "return_over_max_drawdown": 2.0, "profit_factor": 1.5,
}  # fmt: skip
DEFAULTS = {
    "kinds": ["sweep"], "methods": ["grid"], "rankings": ["total_return_pct"], "figures": {"beta": "lowest"},
    "limits": {"variants": 100_000},
}  # fmt: skip
PARAMETER = {
    "name": "grid.levels", "meaning": "number of levels", "unit": None, "lower": 2, "lower_included": True,
    "upper": 100, "upper_included": True, "whole": True, "words": [], "default": 15, "search": "range or list",
    "risk": False, "by_class": {},
}  # fmt: skip
TAKEN = {"content": "0" * 16, "strategy": "grid", "timeframe": "1h", "document": {"grid": {"levels": 7}}}


class MadeAnswers:
    """Answers as the search's process gives them, without it."""

    async def close(self):
        """There is no process."""

    async def ask(self, question, said=None):  # noqa: PLR0911
        match question:
            case "defaults":
                return DEFAULTS
            case "parameters":
                return {"grid": [PARAMETER]}
            case "pairs":
                return [{"pair": "BTCUSDT", "exchange": "bybit", "market": "linear"}]
            case "request" if "grid" in said["request"]:
                return {"document": said["request"], "variants": 8, "most": 8, "axes": []}
            case "variant":
                return "strategy: grid\n"
            case "strategy":
                return TAKEN | {"content": sha256(json.dumps(said).encode()).hexdigest()[:16]}
            case "preset":
                return {"name": said["name"], "text": "# x\n"}
        raise Misconfigured("grid.levels is 500: input should be less than or equal to 100; change it.")


def row(variant, total, drawdown=6.0, passed=True):
    inside = FIGURES | {"total_return_pct": total, "max_drawdown_pct": drawdown}
    return {
        "rank": variant, "variant": variant, "variant_key": f"{variant:016x}", "parameters": {"grid.levels": variant},
        "passed": passed, "in_sample": inside, "held_out": FIGURES | {"total_return_pct": -3.25},
    }  # fmt: skip


async def write_search(pool, session, status="finished", result=None):
    """A session as a sweep leaves it."""
    document = {"strategy": "grid", "pair": "BTCUSDT", "search": {"method": "grid"}, "grid": {"levels": [5, 7]}}
    rows = [row(1, 10.0), row(2, 30.0, 20.0), row(3, 20.0, 2.0), row(4, 99.0, passed=False)]
    result = result or {
        "verdict": ["It has passed on held-out days.", "Second."],
        "config": "# best\ngrid: {}\n",
        "rows": rows,
    }
    await pool.fetch(
        "INSERT INTO sessions (session, kind, snapshot, code, document, status, created, ended, result) "
        "VALUES ($1, 'sweep', 's', 'c', $2, $3, $4, $4, $5) ON CONFLICT DO NOTHING",
        session, json.dumps(document), status, datetime.now(UTC), json.dumps(result),
    )  # fmt: skip
    return {"session": session, **result}
