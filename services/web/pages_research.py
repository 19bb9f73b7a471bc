"""The pages of research: what waits and is played, what was found and is worth, and what is saved."""

from __future__ import annotations

import csv
import io
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import StringConstraints

from services.web import figures, research
from services.web.api_research import (
    Before,
    best_config,
    matrix_rows,
    scan_rows,
    search_shown,
    top_rows,
    variant_config,
)
from services.web.context import Console, console_of
from services.web.failures import not_found
from services.web.rendering import page, visitor
from services.web.research_models import SearchName
from services.web.words import PageWords

router = APIRouter(include_in_schema=False)
ROWS = 100  # of a page of a table
TOP = 100  # variants of a page
LATEST, SCANS = 200, 6  # jobs among which scans are looked for, and how many are shown
METHODS = ("grid", "random:500", "sobol:512", "tpe:500", "cmaes:500", "nsga2:500", "coarse_fine")
Figure = Annotated[str, Query(pattern=f"^({'|'.join(research.RANKINGS)})?$")]
CompareRun = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{16}-\d{1,18}$")]  # a session and its variant
MOST_RUNS = 6  # that are compared


@router.get("/backtest")
async def backtest(request: Request) -> Response:
    """A builder: a config or a search without writing one."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        return {"workers": await console.sources.research.workers()}

    return await page(request, "backtest", [], lay, rankings=research.RANKINGS, methods=METHODS)


@router.get("/jobs")
async def jobs(request: Request, all: bool = True, own: bool = False, cursor: Before = 0) -> Response:  # noqa: A002
    """What waits and is played, and how it has ended."""
    by = await visitor(request)

    async def lay(console: Console, words: PageWords) -> dict[str, Any]:
        rows = console.sources.research
        owner = by.name if own and by is not None else None
        found = await rows.jobs(owner, cursor, ROWS + 1, active=not all)
        following = found[ROWS - 1]["job"] if len(found) > ROWS else None
        told = [one | {"best_told": best_told(one["best"], words)} for one in found[:ROWS]]
        return {"rows": told, "following": following, "workers": await rows.workers()}

    named: dict[str, Any] = {"all": all, "own": own, "cursor": cursor}
    return await page(request, "jobs", [], lay, shared=not own, **named)


def best_told(best: dict[str, Any] | None, words: PageWords) -> tuple[str, str, dict[str, Any]] | None:
    """Figure, value and parameters of the best so far, which is in sample; None where there is none."""
    metric = next((name for name in best or {} if name not in ("variant", "parameters", "of")), None)
    if best is None or metric is None or not isinstance(best[metric], int | float):
        return None
    known = metric in (*research.SHOWN, *research.RANKINGS)
    label = words(f"figure_{metric}") if known else metric.replace("_", " ")
    return label, figures.figure(float(best[metric]), metric), best.get("parameters") or {}


@router.get("/results/{job}")
async def results(request: Request, job: int, by: Figure = "", then: Figure = "") -> Response:
    """The best of a finished job, by one or two figures."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        return table_of((await top_rows(console, job, by, then, TOP)).model_dump())

    return await page(request, "results", [], lay, job=job, by=by, then=then, rankings=research.RANKINGS)


def table_of(rows: dict[str, Any]) -> dict[str, Any]:
    """Lay out rows as a table: columns of parameters, then figures in sample beside held out."""
    keys = list(dict.fromkeys(key for row in rows["items"] for key in row["parameters"]))
    laid = {"rows": rows["items"], "keys": keys, "figures": research.SHOWN, "windows": rows["windows"]}
    return {**laid, "sentences": rows["sentences"], "of_session": rows["session"]}


@router.get("/sessions")
async def searches(request: Request, cursor: Before = 0) -> Response:
    """Every search that is stored, and what it is worth in a sentence."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        found = await console.sources.research.sessions(cursor or None, ROWS + 1)
        return {"rows": found[:ROWS], "following": found[ROWS - 1]["created"] if len(found) > ROWS else None}

    return await page(request, "searches", [], lay, cursor=cursor)


@router.get("/sessions/{search}")
async def search(request: Request, search: SearchName, by: Figure = "", then: Figure = "") -> Response:
    """A search: its verdict in sentences, and its best in sample beside held out."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        found = await research.known_search(console, search)
        rows = research.rows_of(found["result"], search, by, then)
        return {"one": search_shown(found), **table_of(rows)}

    return await page(request, "search", [], lay, search=search, by=by, then=then, rankings=research.RANKINGS)


@router.get("/sessions/{search}/rows.csv")
async def rows_file(request: Request, search: SearchName) -> Response:
    """The rows that a session has kept, every figure in sample and held out, for other programs."""
    if await visitor(request) is None:
        return RedirectResponse("/sign-in", 303)
    found = await research.known_search(console_of(request), search)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    for place, row in enumerate(research.rows_of(found["result"], search)["items"]):
        parts = [(f"{name}_{part}", one) for part in ("in_sample", "held_out") for name, one in row[part].items()]
        told = {
            "rank": row["rank"],
            "variant": row["variant"],
            "passed": row["passed"],
            **row["parameters"],
            **dict(parts),
        }
        if place == 0:
            writer.writerow(told)
        writer.writerow(told.values())
    headers = {"Content-Disposition": f'attachment; filename="{search}.csv"'}
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


@router.get("/sessions/{search}/best.yaml")
async def best_file(request: Request, search: SearchName) -> Response:
    """The config of the best, as a file."""
    by = await visitor(request)
    return RedirectResponse("/sign-in", 303) if by is None else await best_config(request, by, search)


@router.get("/sessions/{search}/variants/{variant}.yaml")
async def variant_file(request: Request, search: SearchName, variant: int) -> Response:
    """The config of a variant, as a file."""
    by = await visitor(request)
    return RedirectResponse("/sign-in", 303) if by is None else await variant_config(request, by, search, variant)


@router.get("/compare")
async def compare(
    request: Request, run: Annotated[list[CompareRun], Query(min_length=1, max_length=MOST_RUNS)]
) -> Response:
    """Up to six variants side by side: figures in sample beside held out, and their equity in one chart."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        return {"runs": [await _compared(console, one) for one in dict.fromkeys(run)]}

    return await page(request, "compare", [], lay, figures=research.SHOWN, run=run)


async def _compared(console: Console, run: str) -> dict[str, Any]:
    """A variant of a session, with what its row has kept; raises Failure where that has no row of it."""
    session, _, number = run.partition("-")
    found = await research.known_search(console, session)
    row = next((one for one in found["result"].get("rows") or [] if one["variant"] == int(number)), None)
    if row is None:
        raise not_found("run", run, "choose variants that a page of results shows")
    shown = search_shown(found)
    return {"run": run, "session": session, "strategy": shown["strategy"], "pair": shown["pair"], **row}


@router.get("/scan")
async def scan(request: Request, job: Annotated[int | None, Query(ge=1, le=2**62)] = None) -> Response:
    """Pairs ranked by what a config would have earned of late; the newest scan without a number."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        rows = console.sources.research
        jobs = [one for one in await rows.jobs(None, 0, LATEST, active=False) if one["kind"] == "scan"][:SCANS]
        number = job or next((one["job"] for one in jobs if one["status"] == "succeeded"), None)
        found = None if number is None else (await scan_rows(console, number)).model_dump()
        return {"jobs": jobs, "found": found, "workers": await rows.workers()}

    return await page(request, "scan", [], lay)


@router.get("/matrix")
async def matrix(
    request: Request, pair: Annotated[str, Query(max_length=400)] = "", by: Figure = "",
    strategy: Annotated[str, Query(max_length=200)] = "", timeframe: Annotated[str, Query(max_length=20)] = "",
) -> Response:  # fmt: skip
    """Strategies by timeframes of a pair, out of sample; the sessions of a cell that is chosen."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        found = await matrix_rows(console, pair, by)
        cells = [one for row in found["rows"] for one in row["cells"] if one is not None]
        names = [one["sessions"] for one in cells if (one["strategy"], one["timeframe"]) == (strategy, timeframe)]
        chosen = [one for one in await console.sources.research.scores() if names and one["session"] in names[0]]
        own = [one for one in chosen if (one["strategy"], one["timeframe"]) == (strategy, timeframe)]
        return {"found": found, "sessions": own}

    return await page(request, "matrix", [], lay, rankings=research.RANKINGS, strategy=strategy, timeframe=timeframe)


@router.get("/strategies")
async def strategies(request: Request) -> Response:
    """Saved strategies: draft, tested or running."""

    async def lay(console: Console, _words: PageWords) -> dict[str, Any]:
        return {"rows": await console.sources.research.strategies()}

    return await page(request, "strategies", [], lay)
