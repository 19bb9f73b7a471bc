"""Research as pages and the API share it: requests read, rows ranked, variants found in their session."""

from __future__ import annotations

import re
from typing import Any

from bot.errors import Misconfigured, cut
from services.web.access import ConsoleSession
from services.web.context import Console
from services.web.failures import Failure, not_found

# Rankings of a result; the best of the drawdown is its lowest.
RANKINGS = (
    *("total_return_pct", "max_drawdown_pct", "return_over_max_drawdown", "profit_factor", "alpha_pct"),
    "information_ratio",
)
LOWEST_IS_BEST = ("max_drawdown_pct",)
SHOWN = ("total_return_pct", "alpha_pct", "beta", "max_drawdown_pct", "information_ratio", "trades")  # of a row
KEY = re.compile(r"^([a-z_]+(?:\.[a-z_0-9]+(?:\[\d+\])?)*)(?:\[\d+\])?(?::| is | has | must | names | lies | belongs )")


def refusal(error: Misconfigured) -> Failure:
    """Answer a refusal of what was asked for, with the field that its sentence begins with."""
    sentence = str(error).encode(errors="replace").decode()  # half a character has no bytes
    found = KEY.match(sentence)
    return Failure(422, "invalid", cut(sentence, 1000), "change what the message names", found[1] if found else None)


async def read_request(console: Console, kind: str, request: dict[str, Any]) -> dict[str, Any]:
    """Read what a job is to play; raises Failure with the same sentence as the command line."""
    try:
        found: dict[str, Any] = await console.sources.answers.ask("request", {"kind": kind, "request": request})
    except Misconfigured as error:
        raise refusal(error) from None
    return found


async def known_search(console: Console, session: str) -> dict[str, Any]:
    """Return a session; raises Failure for one that is not here."""
    found = await console.sources.research.session(session)
    if found is None:
        raise not_found("session", session, "choose one of GET /api/v1/sessions")
    return found


async def known_job(console: Console, job: int) -> dict[str, Any]:
    """Return a job; raises Failure for one that is not here."""
    found = await console.sources.research.job(job)
    if found is None:
        raise Failure(404, "not_found", f"job {job} is not known here.", "choose one of GET /api/v1/jobs", "job")
    return found


async def of_variant(
    console: Console, question: str, session: str, variant: int, more: dict[str, Any] | None = None
) -> Any:
    """Ask something about a variant of a session; raises Failure."""
    found = await known_search(console, session)
    said = {
        "document": found["document"],
        "session": session,
        "kind": found["kind"],
        "variant": variant,
        "trials": found["trials"],
        "sentences": found["result"].get("verdict", [])[:3],
    }
    try:
        return await console.sources.answers.ask(question, {**said, **(more or {})})
    except Misconfigured as error:
        raise refusal(error) from None


def ranked(rows: list[dict[str, Any]], ranking: list[str]) -> list[dict[str, Any]]:
    """Order rows by one or two figures in sample; what is undefined, or fails the filters, is last."""

    def key(row: dict[str, Any]) -> tuple[Any, ...]:
        return (not row["passed"], *(_badness(row["in_sample"].get(one), one) for one in ranking), row["rank"])

    return sorted(rows, key=key)


def _badness(value: float | None, figure: str) -> tuple[bool, float]:
    if value is None:
        return True, 0.0
    return False, value if figure in LOWEST_IS_BEST else -value


def rows_of(result: dict[str, Any] | None, session: str, by: str = "", then: str = "") -> dict[str, Any]:
    """Lay out the best rows that a job or a session has kept, ranked as asked, else as they were found."""
    kept = result or {}
    ranking = [one for one in (by, then) if one]
    rows = kept.get("rows", [])
    return {
        "session": session,
        "ranking": ranking or kept.get("ranking", []),
        "sentences": kept.get("sentences", kept.get("verdict", [])),
        "items": ranked(rows, ranking) if ranking else rows,
        "windows": kept.get("windows", []),
    }


async def recorded(console: Console, by: ConsoleSession, address: str, action: str) -> None:
    """Write into the audit what somebody has asked for, before it is done."""
    await console.access.record(address, action, who=by.name)
