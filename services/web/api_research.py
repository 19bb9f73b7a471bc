"""Jobs, sessions of searches, backtests, saved strategies and indicators."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from bot.errors import Misconfigured
from bot.indicator_registry import INDICATORS
from services.web import research
from services.web.context import Console, Controller, Reader, address, console_of
from services.web.failures import Failure, not_found
from services.web.matrix import matrix_of
from services.web.research_models import (
    CloneGiven,
    Content,
    EquityCurve,
    EstimateGiven,
    IndicatorComputed,
    IndicatorEstimate,
    IndicatorGiven,
    IndicatorList,
    IndicatorSetting,
    IndicatorShown,
    JobDetail,
    JobGiven,
    JobList,
    JobNumber,
    JobShown,
    MatrixShown,
    ParameterList,
    PresetGiven,
    PresetSaved,
    ProposalGiven,
    ReportShown,
    RequestRead,
    ResearchDefaults,
    RunGiven,
    ScanShown,
    SearchDetail,
    SearchList,
    SearchName,
    StoredPairs,
    StrategyList,
    StrategySaved,
    VariantGiven,
    VariantRows,
)

router = APIRouter()

# A report is a page of ours with its script inside: it runs by itself, and reaches nothing of the console.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
)
Limit = Annotated[int, Query(ge=1, le=500, description="rows of a page")]
Before = Annotated[int, Query(ge=0, le=253_402_300_799_000, description="`next` of the page before; 0: the newest")]
Ranking = Annotated[str, Query(pattern="^[a-z_]{0,30}$", description="a figure in sample; left out: as it was found")]
ReportName = Annotated[str, Query(pattern="^[0-9a-f]{32}$", description="`report` of an answer")]

MATRIX_FIGURE = "information_ratio"

# Jobs


@router.get("/jobs", tags=["jobs"])
async def jobs(
    request: Request, by: Reader, own: Annotated[bool, Query(description="those of this user alone")] = False,
    active: Annotated[bool, Query(description="those that wait and run alone")] = False, cursor: Before = 0,
    limit: Limit = 100,
) -> JobList:  # fmt: skip
    """List jobs, the newest first, and how many workers are connected."""
    rows = console_of(request).sources.research
    found = await rows.jobs(by.name if own else None, cursor, limit + 1, active=active)
    following = str(found[limit - 1]["job"]) if len(found) > limit else None
    items = [JobShown.model_validate(one) for one in found[:limit]]
    return JobList(items=items, next=following, workers=await rows.workers())


@router.get("/jobs/{job}", tags=["jobs"])
async def job(request: Request, _by: Reader, job: JobNumber) -> JobDetail:
    """Show how far a job is, and what came of it."""
    return _shown(await research.known_job(console_of(request), job))


def _shown(found: dict[str, Any]) -> JobDetail:
    result = found["result"]
    short = None if result is None else {key: one for key, one in result.items() if key != "rows"}
    return JobDetail.model_validate({**found, "result": short})


@router.post("/jobs", tags=["jobs"])
async def submit_job(request: Request, by: Controller, given: JobGiven) -> JobDetail:
    """Queue a request; the same one of this user that waits or runs already is found, not queued twice."""
    console = console_of(request)
    read = await research.read_request(console, given.kind, given.request)
    await research.recorded(console, by, address(request), f"job of kind {given.kind}")
    try:
        queued = await console.sources.research.submit(by.name, given.kind, read["document"])
    except Misconfigured as error:
        raise research.refusal(error) from None
    return _shown({**queued, "strategy": given.request.get("strategy"), "pair": _pairs_of(given.request)})


@router.post("/jobs/{job}/cancel", tags=["jobs"])
async def cancel_job(request: Request, by: Controller, job: JobNumber) -> JobDetail:
    """End a job that waits or runs; one that has ended stays as it is."""
    return await _changed(request, by, job, "cancel")


@router.post("/jobs/{job}/retry", tags=["jobs"])
async def retry_job(request: Request, by: Controller, job: JobNumber) -> JobDetail:
    """Queue a failed or cancelled job anew; a search goes on from the rows that it has."""
    return await _changed(request, by, job, "retry")


async def _changed(request: Request, by: Controller, job: int, what: str) -> JobDetail:
    console = console_of(request)
    await research.known_job(console, job)
    await research.recorded(console, by, address(request), f"{what} job {job}")
    rows = console.sources.research
    await (rows.cancel(job) if what == "cancel" else rows.retry(job))
    return _shown(await research.known_job(console, job))


# Sessions of searches


@router.get("/sessions", tags=["sessions"])
async def searches(request: Request, _by: Reader, cursor: Before = 0, limit: Limit = 100) -> SearchList:
    """List the sessions of searches, the newest first."""
    found = await console_of(request).sources.research.sessions(cursor or None, limit + 1)
    following = str(found[limit - 1]["created"]) if len(found) > limit else None
    return SearchList.model_validate({"items": found[:limit], "next": following})


@router.get("/sessions/{search}", tags=["sessions"])
async def search(request: Request, _by: Reader, search: SearchName) -> SearchDetail:
    """Show what was asked, and what came of it."""
    return SearchDetail.model_validate(search_shown(await research.known_search(console_of(request), search)))


def search_shown(found: dict[str, Any]) -> dict[str, Any]:
    """Lay out a session as its page and the API show it."""
    document, result = found["document"], found["result"]
    return {
        **found,
        "strategy": document.get("strategy"),
        "pair": _pairs_of(document),
        "method": (document.get("search") or {}).get("method"),
        "verdict": result.get("verdict", []),
        "config": result.get("config"),
    }


def _pairs_of(document: dict[str, Any]) -> str | None:
    """The pair that is asked for, or all of them with commas between."""
    pairs = document.get("pair") or document.get("pairs")
    return ", ".join(map(str, pairs)) if isinstance(pairs, list) else pairs


@router.get("/sessions/{search}/rows", tags=["sessions"])
async def search_rows(
    request: Request, _by: Reader, search: SearchName, by: Ranking = "", then: Ranking = ""
) -> VariantRows:
    """Give the best rows of a session, each figure in sample beside its twin on days that have chosen nothing."""
    found = await research.known_search(console_of(request), search)
    return VariantRows.model_validate(research.rows_of(found["result"], search, _figure(by), _figure(then)))


def _figure(name: str) -> str:
    if name and name not in research.RANKINGS:
        raise Failure(
            422, "invalid", f"the ranking is {name!r}.", f"choose one of {', '.join(research.RANKINGS)}", "by"
        )
    return name


# Backtests


@router.get("/backtests/runtime-defaults", tags=["backtests"])
async def runtime_defaults(request: Request, _by: Reader) -> ResearchDefaults:
    """Give limits, rankings and methods as they stand unless a request says otherwise."""
    return ResearchDefaults.model_validate(await console_of(request).sources.answers.ask("defaults"))


@router.get("/backtests/pairs", tags=["backtests"])
async def stored_pairs(request: Request, _by: Reader) -> StoredPairs:
    """List the pairs of which the store has candles."""
    return StoredPairs.model_validate({"items": await console_of(request).sources.answers.ask("pairs")})


@router.post("/backtests/estimate", tags=["backtests"])
async def read_job(request: Request, _by: Controller, given: EstimateGiven) -> RequestRead:
    """Read a request without playing it: how many variants it has, or what is wrong with which field."""
    console = console_of(request)
    read = await research.read_request(console, given.kind, given.request)
    strategy, most = given.request.get("strategy"), read["most"]
    pace = await console.sources.research.pace(given.kind, strategy) if most and isinstance(strategy, str) else None
    return RequestRead.model_validate({**read, "seconds": None if pace is None else pace * most})


@router.get("/backtests/top", tags=["backtests"])
async def top(
    request: Request, _by: Reader, job: Annotated[int, Query(ge=1, le=2**62)], by: Ranking = "", then: Ranking = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 300,
) -> VariantRows:  # fmt: skip
    """Give the best rows of a finished job, by one or two figures, in sample beside held out."""
    return await top_rows(console_of(request), job, _figure(by), _figure(then), limit)


async def top_rows(console: Console, job: int, by: str, then: str, limit: int) -> VariantRows:
    """Rank the rows of a finished job; raises Failure for one that has none."""
    found = await research.known_job(console, job)
    if found["status"] != "succeeded" or not (found["result"] or {}).get("session"):
        sentence = f"job {job} is a {found['kind']} that is {found['status']}; a search that has succeeded has rows."
        raise Failure(409, "no_rows", sentence, "wait until it has ended, or choose another", "job")
    rows = research.rows_of(found["result"], found["result"]["session"], by, then)
    return VariantRows.model_validate({**rows, "items": rows["items"][:limit]})


@router.get("/backtests/scan", tags=["backtests"])
async def scan(request: Request, _by: Reader, job: Annotated[int, Query(ge=1, le=2**62)]) -> ScanShown:
    """Give the pairs of a finished scan, the highest alpha first, each with the config that is proposed."""
    return await scan_rows(console_of(request), job)


async def scan_rows(console: Console, job: int) -> ScanShown:
    """Read a finished scan; raises Failure for any other job."""
    found = await research.known_job(console, job)
    if found["kind"] != "scan" or found["status"] != "succeeded":
        sentence = f"job {job} is a {found['kind']} that is {found['status']}; a scan that has succeeded has pairs."
        raise Failure(409, "no_rows", sentence, "wait until it has ended, or choose another", "job")
    result = found["result"]
    told = {"job": job, "verdict": result["verdict"], "items": result["pairs"], "failed": result["failed"]}
    return ScanShown.model_validate(told)


@router.post("/backtests/scan-presets", tags=["backtests"])
async def save_proposal(request: Request, by: Controller, given: ProposalGiven) -> PresetSaved:
    """Save what a scan has proposed for a pair among your presets."""
    console = console_of(request)
    rows = (await scan_rows(console, given.job)).items
    if given.place > len(rows):
        sentence = f"place is {given.place}, but the scan has {len(rows)} pairs."
        raise Failure(422, "invalid", sentence, "choose one of its ranks", "place")
    said = {"name": given.name, "replace": given.replace, "text": rows[given.place - 1].config}
    try:
        saved = await console.sources.answers.ask("proposal", said)
    except Misconfigured as error:
        raise research.refusal(error) from None
    await research.recorded(console, by, address(request), f"preset {saved['name']} of scan {given.job}")
    return PresetSaved.model_validate(saved)


@router.get("/backtests/matrix", tags=["backtests"])
async def matrix(
    request: Request, _by: Reader,
    pair: Annotated[str, Query(max_length=400, description="left out: the first")] = "", by: Ranking = "",
) -> MatrixShown:  # fmt: skip
    """Score strategies by timeframes of a pair on days that have chosen nothing, over the newest 1,000 sessions."""
    return MatrixShown.model_validate(await matrix_rows(console_of(request), pair, _figure(by)))


async def matrix_rows(console: Console, pair: str, by: str) -> dict[str, Any]:
    """Lay out the matrix of a pair, the first without one; raises Failure for a pair that has no session."""
    scores = await console.sources.research.scores()
    pairs = sorted({one["pair"] for one in scores})
    if pair and pair not in pairs:
        raise not_found("pair", pair, "choose one of GET /api/v1/backtests/matrix")
    chosen = pair or next(iter(pairs), "")
    return {**matrix_of(scores, chosen, by or MATRIX_FIGURE), "pairs": pairs}


@router.post("/backtests/variant-report", tags=["backtests"])
async def variant_report(request: Request, by: Controller, given: VariantGiven) -> ReportShown:
    """Give a variant's config, and begin to play its report, once; asked again, it says how that stands."""
    console = console_of(request)
    named = await research.of_variant(console, "report_key", given.session, given.variant)
    return await _begun(request, by, named, f"report of variant {given.variant} of {given.session}")


@router.post("/backtests/run", tags=["backtests"])
async def run_report(request: Request, by: Controller, given: RunGiven) -> ReportShown:
    """Begin to play a config without ranges; asked again, it says how that stands."""
    try:
        named = await console_of(request).sources.answers.ask("report_key", {"request": given.request})
    except Misconfigured as error:
        raise research.refusal(error) from None
    return await _begun(request, by, named, "backtest of a config")


async def _begun(request: Request, by: Controller, named: dict[str, str], action: str) -> ReportShown:
    console = console_of(request)
    try:
        state = console.sources.reports.state(named["report"])
    except Misconfigured:
        await research.recorded(console, by, address(request), action)
        state = console.sources.reports.begin(named["report"], named["config"])
    if state["state"] == "failed":  # said once; asked again, it is played again
        state = console.sources.reports.begin(named["report"], named["config"])
    return _report(state, named["config"])


def _report(state: dict[str, Any], config: str | None) -> ReportShown:
    place = f"/api/v1/backtests/reports/{state['report']}"
    return ReportShown.model_validate({**state, "place": place, "config": config})


@router.get("/backtests/report-state", tags=["backtests"])
async def report_state(request: Request, _by: Reader, report: ReportName) -> ReportShown:
    """Say how a report stands."""
    try:
        return _report(console_of(request).sources.reports.state(report), None)
    except Misconfigured:
        raise not_found("report", report, "ask for it again") from None


@router.get(
    "/backtests/reports/{report}",
    tags=["backtests"],
    response_class=Response,
    responses={200: {"description": "The page of a run.", "content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def report_page(request: Request, _by: Reader, report: str) -> Response:
    """Give the page of a report that is ready."""
    _refuse_unready(console_of(request), report)
    return Response(
        await console_of(request).sources.reports.read(report),
        media_type="text/html",
        headers={"Content-Security-Policy": REPORT_POLICY},
    )


@router.get("/backtests/reports/{report}/equity", tags=["backtests"])
async def report_equity(request: Request, _by: Reader, report: str) -> EquityCurve:
    """Give the line of equity of a report that is ready."""
    _refuse_unready(console_of(request), report)
    return EquityCurve.model_validate(await console_of(request).sources.reports.curve(report))


def _refuse_unready(console: Console, report: str) -> None:
    """Raise Failure for a report that is not there."""
    try:
        ready = console.sources.reports.state(report)["state"] == "ready"
    except Misconfigured:
        ready = False
    if not ready:
        raise not_found("report", report, "ask for it by POST /api/v1/backtests/variant-report")


@router.get(
    "/sessions/{search}/variants/{variant}/config.yaml",
    tags=["backtests"],
    response_class=Response,
    responses={200: {"description": "A config.", "content": {"application/yaml": {"schema": {"type": "string"}}}}},
)
async def variant_config(request: Request, _by: Reader, search: SearchName, variant: int) -> Response:
    """Give the config of a variant, for `backtest`, `run` and `demo`."""
    if not 0 <= variant < 2**62:
        raise Failure(422, "invalid", f"variant is {variant}.", "give one of the session's rows", "variant")
    text = await research.of_variant(console_of(request), "variant", search, variant)
    return _yaml(text, f"{search}-{variant}.yaml")


@router.get(
    "/sessions/{search}/best.yaml",
    tags=["sessions"],
    response_class=Response,
    responses={200: {"description": "A config.", "content": {"application/yaml": {"schema": {"type": "string"}}}}},
)
async def best_config(request: Request, _by: Reader, search: SearchName) -> Response:
    """Give the config of a session's best, which says in comments how it was chosen."""
    found = await research.known_search(console_of(request), search)
    if not found["result"].get("config"):
        sentence = f"session {search} is a {found['kind']} that is {found['status']}; what is finished has a best."
        raise Failure(409, "unfinished", sentence, "wait until it has ended", "search")
    return _yaml(found["result"]["config"], f"best-{search}.yaml")


def _yaml(text: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, media_type="application/yaml", headers=headers)


@router.post("/backtests/presets", tags=["backtests"])
async def save_preset(request: Request, by: Controller, given: PresetGiven) -> PresetSaved:
    """Save a variant among your presets, with where it comes from and until when it stands."""
    console = console_of(request)
    more = {"name": given.name, "replace": given.replace}
    saved = await research.of_variant(console, "preset", given.session, given.variant, more)
    await research.recorded(console, by, address(request), f"preset {saved['name']} of {given.session}")
    return PresetSaved.model_validate(saved)


# Strategies and indicators


@router.get("/strategies", tags=["strategies"])
async def strategies(request: Request, _by: Reader) -> StrategyList:
    """List saved strategies, newest first: draft, tested or running."""
    return StrategyList.model_validate({"items": await console_of(request).sources.research.strategies()})


@router.get("/strategies/parameters", tags=["strategies"])
async def strategy_parameters(request: Request, _by: Reader) -> ParameterList:
    """Give every parameter of the strategies that are built in: unit, bounds, default, what a search may vary."""
    return ParameterList.model_validate({"strategies": await console_of(request).sources.answers.ask("parameters")})


@router.post("/strategies", tags=["strategies"])
async def save_strategy(request: Request, by: Controller, given: VariantGiven) -> StrategySaved:
    """Save the strategy of a variant, under a name that is made of its content."""
    console = console_of(request)
    taken = await research.of_variant(console, "strategy", given.session, given.variant)
    return await _saved(request, by, taken, None)


@router.post("/strategies/{content}/clone", tags=["strategies"])
async def clone_strategy(request: Request, by: Controller, content: Content, given: CloneGiven) -> StrategySaved:
    """Save a strategy with some values changed, as another one."""
    console = console_of(request)
    one = await _known_strategy(console, content)
    try:
        said = {"saved": one["document"], "changes": given.changes}
        taken = await console.sources.answers.ask("strategy", said)
    except Misconfigured as error:
        raise research.refusal(error) from None
    return await _saved(request, by, taken, one["name"])


async def _saved(request: Request, by: Controller, taken: dict[str, Any], cloned_from: str | None) -> StrategySaved:
    console = console_of(request)
    name, new = await console.sources.research.save(taken, cloned_from)
    await research.recorded(console, by, address(request), f"strategy {name} saved")
    return StrategySaved(name=name, new=new)


@router.delete("/strategies/{content}", tags=["strategies"], status_code=204)
async def delete_strategy(request: Request, by: Controller, content: Content) -> None:
    """Forget a strategy that no bot runs. Its tests stay: the same strategy saved again is tested."""
    console = console_of(request)
    one = await _known_strategy(console, content)
    await research.recorded(console, by, address(request), f"strategy {one['name']} deleted")
    await console.sources.research.delete(content)


async def _known_strategy(console: Console, content: str) -> dict[str, Any]:
    for one in await console.sources.research.strategies():
        if one["content"] == content:
            return one
    raise not_found("strategy", content, "choose one of GET /api/v1/strategies")


@router.get("/indicators", tags=["indicators"])
async def indicators(_by: Reader) -> IndicatorList:
    """List the indicators that rules may name, with outputs, parameters and what is long and short."""
    items = []
    for one in INDICATORS.values():
        settings = [
            IndicatorSetting(name=by.name, default=by.default, least=by.least, most=by.most, step=by.step)
            for by in one.settings
        ]
        named = {"name": one.name, "group": one.group, "outputs": list(one.outputs), "rule": one.rule.sentence}
        items.append(IndicatorShown.model_validate({**named, "settings": settings}))
    return IndicatorList(items=items)


@router.post("/indicators/estimate", tags=["indicators"])
async def estimate_indicator(request: Request, _by: Controller, given: IndicatorGiven) -> IndicatorEstimate:
    """Say how many bars computing an indicator reads and gives, or what is wrong with which field."""
    return IndicatorEstimate.model_validate(await _of_indicator(request, "indicator_estimate", given))


@router.post("/indicators/compute", tags=["indicators"])
async def compute_indicator(request: Request, _by: Controller, given: IndicatorGiven) -> IndicatorComputed:
    """Compute an indicator over stored candles, as strategies see it; the last 20,000 bars."""
    return IndicatorComputed.model_validate(await _of_indicator(request, "indicator_compute", given))


async def _of_indicator(request: Request, question: str, given: IndicatorGiven) -> Any:
    said = {**given.model_dump(exclude={"start", "end"}), "from": given.start, "to": given.end}
    try:
        return await console_of(request).sources.answers.ask(question, said)
    except Misconfigured as error:
        raise research.refusal(error) from None
