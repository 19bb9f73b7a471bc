"""A scan of stored pairs: one config played on the last days of each, ranked by alpha, a config proposed for each."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import yaml

from bot.candles import iso, parse_time
from bot.errors import Misconfigured, shown
from bot.times import DAY
from coordinator.config_file import config_values, names_of_pairs, read_values
from search.batch import BatchPeriod, BatchRun, FailedRun, without_pairs
from search.pair_scan import PESSIMISTIC, ScannedPair, ranked, said_of_all, scanned
from services.app.batch import WORKERS, BatchPlayer, play_all
from services.app.search import in_thread_telling
from services.app.stored_pairs import stored_pairs
from services.market_data.store import CandleStore, SeriesName

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from services.app.worker import Told

SCAN = "scan"
LEAST_VALID_DAYS = 30.0  # of a proposal
USUAL_DAYS, LEAST_DAYS, MOST_DAYS = 90.0, 2.0, 3650.0
OF_THE_SCAN = ("days", "pairs", "exchange", "market")
MOST_PAIRS = 500


def runs_of(values: dict[str, Any], series: Sequence[SeriesName], days: float) -> list[BatchRun]:
    """One run for each pair; raises Misconfigured where the config works for none."""
    rules = values.get("execution")
    if rules is not None and not isinstance(rules, dict):
        raise Misconfigured("execution must be a section of keys and values; write it so, or leave it out.")
    asked = {**without_pairs(values), "execution": {**(rules or {}), **PESSIMISTIC}}
    period, runs = BatchPeriod(last_days=days), []
    for one in series:
        own = {**asked, "exchange": one.venue, "market": one.market}
        if "bar" not in own:
            own["bar"] = one.bar
        runs.append(BatchRun(f"{one.venue} {one.market}", one.symbol, None, period, own))
    runs[0].config()
    return runs


def scan_of(
    runs: Sequence[BatchRun], data_dir: Path, workers: int, told: Callable[[int, int], None],
    failed: Callable[[FailedRun], None] = lambda _failed: None,
) -> tuple[list[ScannedPair], list[FailedRun]]:  # fmt: skip
    """Play every run; those that were played, ranked, and those that failed. `told` may raise to end it."""
    player = BatchPlayer(data_dir, needs_result=lambda _run, _run_id: True)
    found, refused = [], []
    for done, outcome in enumerate(play_all(runs, player.play, workers), 1):
        if isinstance(outcome, FailedRun):
            failed(outcome)
            refused.append(outcome)
        else:
            assert outcome.result is not None
            found.append(scanned(outcome.run.symbol, outcome.figures["run_id"], outcome.result))
        told(done, len(runs))
    return ranked(found), sorted(refused, key=lambda one: one.run.label)


def proposal_of(one: ScannedPair, runs: Sequence[BatchRun], days: float, next_: str = "") -> str:
    """Write the config of a pair, with what was measured and until when it stands."""
    figures, alpha = one.figures, one.alpha
    told = "" if alpha is None else f" {alpha.value:.1f} % a year ({alpha.low:.1f} to {alpha.high:.1f})"
    until = iso(parse_time(figures["to"]) + int(max(days, LEAST_VALID_DAYS) * DAY))[:10]
    period = f"{figures['from'][:10]} to {figures['to'][:10]}"
    earned = f"return {figures['total_return_pct']:.1f} %, largest drawdown {figures['max_drawdown_pct']:.1f} %"
    lines = (
        f"{one.symbol}, {one.exchange} {one.market}, as `traderagent scan` ranked it among {len(runs)} pairs.",
        *([f"  {next_}"] if next_ else []),
        f"In sample, {period}, pessimistic fills, costs included: {earned}.",
        f"Alpha{told}: {one.words}. Trials: {len(runs)}.",
        f"Expires {until}: scan again by then.",
    )
    return "".join(f"# {line}\n" for line in lines) + yaml.safe_dump(document_of(one, runs), sort_keys=False)


def document_of(one: ScannedPair, runs: Sequence[BatchRun]) -> dict[str, Any]:
    """The config that was played on a pair, without the pessimism of its fills."""
    place = (one.symbol, one.exchange, one.market)
    own = next(run for run in runs if (run.symbol, run.values["exchange"], run.values["market"]) == place)
    return {key: value for key, value in own.config().document().items() if key != "execution"}


# As a job


def read_scan(source: dict[str, Any] | Path) -> dict[str, Any]:
    """Read what a job is to scan, a config with `days` and `pairs`, as it is stored; raises Misconfigured."""
    values = dict(source) if isinstance(source, dict) else read_values(source)
    days, pairs = values.get("days", USUAL_DAYS), values.get("pairs") or []
    if isinstance(days, bool) or not isinstance(days, int | float) or not LEAST_DAYS <= days <= MOST_DAYS:
        raise Misconfigured(f"days is {shown(days)}; give {LEAST_DAYS:g} to {MOST_DAYS:g}.")
    if not isinstance(pairs, list) or len(pairs) > MOST_PAIRS or not all(isinstance(one, str) for one in pairs):
        raise Misconfigured(f"pairs is {shown(pairs)}; list at most {MOST_PAIRS} names, or leave it out for all.")
    for name, known in (("exchange", None), ("market", ("spot", "linear"))):
        if name in values and (not isinstance(values[name], str) or (known and values[name] not in known)):
            raise Misconfigured(f"{name} is {shown(values[name])}; give {' or '.join(known or ('a name',))}.")
    config = config_values({key: one for key, one in values.items() if key not in OF_THE_SCAN})
    place: dict[str, Any] = {key: values[key] for key in ("exchange", "market") if key in values}
    runs_of(config, [SeriesName(place.get("exchange", "bybit"), place.get("market", "linear"), "BTCUSDT")], days)
    return {**config, **place, "days": float(days), "pairs": sorted(names_of_pairs(",".join(pairs)))}


async def play_scan(data_dir: Path, request: dict[str, Any], told: Told) -> dict[str, Any]:
    """Scan in a thread; one that is cancelled ends after the runs that are being played."""
    return await in_thread_telling(partial(_played, data_dir, request), told)


def _played(data_dir: Path, request: dict[str, Any], tell: Callable[[int, int], None]) -> dict[str, Any]:
    values = {key: one for key, one in request.items() if key not in OF_THE_SCAN}
    series = stored_pairs(CandleStore(data_dir), request["pairs"], request.get("exchange"), request.get("market"))
    runs, days = runs_of(values, series[:MOST_PAIRS], request["days"]), request["days"]
    found, refused = scan_of(runs, data_dir, WORKERS, tell)
    pairs = [{**one.row(), "config": proposal_of(one, runs, days), "document": document_of(one, runs)} for one in found]
    failed = [{"symbol": one.run.symbol, "reason": one.reason} for one in refused]
    return {"pairs": pairs, "failed": failed, "verdict": [said_of_all(found)]}
