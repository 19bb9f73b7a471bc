"""Validates a run directory: finds its candles, and keeps report, page and answers in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtesting.candles import read_candles, to_frame
from backtesting.reports.confirmation_page import confirmation_page
from backtesting.run_tables import read_tables
from backtesting.validation import ANSWERS, TradeName, sampled_trades, samples_outcome
from bot.candles import Candles
from bot.errors import BadCandles, Misconfigured, cut, shown, suggestion
from coordinator.config import PortfolioConfig, load_config
from services.app.backtest import find_series, find_series_of_one
from services.market_data.store import CandleStore
from services.whole_file import write_whole

if TYPE_CHECKING:
    import polars as pl

    from backtesting.validation import QualityReport, RunTables
    from services.app.criteria import JudgedBy

REPORT, PAGE, ANSWERS_FILE = "validation.json", "validation.html", "confirmation.json"


def run_folder(data_dir: Path, run: str) -> Path:
    """The directory of a run that is named by its path, or as `runs list` shows it; raises Misconfigured."""
    runs = data_dir / "runs"
    if (Path(run) / "result.json").is_file():
        return Path(run)
    known = sorted(one.parent.name for one in runs.glob("*/result.json"))
    if run in known:
        return runs / run
    remedy = suggestion(run, known) if known and len(known) < 10 else "`traderagent runs list` shows those kept"
    raise Misconfigured(f"run {shown(run)} is no run directory and none that is kept; {remedy}.")


def validate_run(folder: Path, data_dir: Path, judged_by: JudgedBy, answers: Path | None = None) -> QualityReport:
    """Check a run directory and keep the report in it; with a page of sampled trades where some are asked for.

    `answers`: what a person has said on that page, which is kept too. Raises Misconfigured.
    """
    tables = read_tables(folder, candles_of_run(folder, data_dir))
    report, asked = judged_by.examined(tables), sampled_trades(tables, judged_by.criteria.samples)
    given = _answers(folder, tables, answers)
    if asked:
        url = _write_page(folder, tables, asked) if tables.candles is not None else None
        report = report.with_outcomes(
            samples_outcome(asked, {one: row["answer"] for one, row in given.items()}), url=url
        )
    write_whole(folder / REPORT, json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n")
    return report


def _write_page(folder: Path, tables: RunTables, asked: list[TradeName]) -> str:
    page = folder / PAGE
    command = f"traderagent validate {folder.name} --confirm answers-{tables.run_id}.json"
    write_whole(page, confirmation_page(tables, asked, folder.name, command))
    return page.resolve().as_uri()


def candles_of_run(folder: Path, data_dir: Path) -> dict[str, pl.DataFrame] | None:
    """Candles of each pair over a run's period; None where one is no longer there."""
    try:
        config = load_config(folder / "config.yaml")
        pairs = config.pairs if isinstance(config, PortfolioConfig) else (config.pair,)
        found = {pair: _candles(config, pair, CandleStore(data_dir)) for pair in pairs}
    except (Misconfigured, BadCandles):
        return None
    return {pair: to_frame(one.between(config.start, config.end)) for pair, one in found.items()}


def _candles(config: Any, pair: str, store: CandleStore) -> Candles:
    files = config.candles
    path = files.get(pair) if isinstance(files, dict) else files
    if path is not None:
        return read_candles(path)
    alone = config.changed(pairs=(pair,)) if isinstance(config, PortfolioConfig) else config
    find: Any = find_series_of_one if isinstance(config, PortfolioConfig) else find_series
    return store.read(find(alone, store)[1], config.start, config.end)


def _answers(folder: Path, tables: RunTables, given: Path | None) -> dict[TradeName, dict[str, Any]]:
    """What a person said of trades, those kept before and those given now, which are kept."""
    kept = folder / ANSWERS_FILE
    found = _read_answers(kept, tables) if kept.exists() else {}
    if given is None:
        return found
    found |= _read_answers(given, tables)
    whole = {"run_id": tables.run_id, "answers": [found[one] for one in sorted(found)]}
    write_whole(kept, json.dumps(whole, indent=2, ensure_ascii=False) + "\n")
    return found


def _read_answers(path: Path, tables: RunTables) -> dict[TradeName, dict[str, Any]]:
    """Read what the page has saved; raises Misconfigured for answers of another run, or that are none."""
    place = f"confirm {cut(str(path))}"
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Misconfigured(f"{place} does not exist; give the file that the page has saved.") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Misconfigured(f"{place} cannot be read ({cut(str(error))}); save the answers again.") from None
    if not isinstance(whole, dict) or not isinstance(whole.get("answers"), list):
        raise Misconfigured(f"{place} holds no answers; give the file that the page has saved.")
    if whole.get("run_id") != tables.run_id:
        raise Misconfigured(f"{place} answers run {shown(whole.get('run_id'))}, not {tables.run_id}; give its own.")
    known = set(tables.closed.select("pair", "trade_id").iter_rows())
    found = {}
    for row in whole["answers"]:
        names = ("pair", "trade_id", "answer")
        pair, trade, answer = (row.get(name) if isinstance(row, dict) else None for name in names)
        if type(trade) is not int or type(pair) is not str or (pair, trade) not in known:
            raise Misconfigured(
                f"{place} names trade {shown(trade)} of {shown(pair)}, which the run has not closed; save them again."
            )
        if answer not in ANSWERS:
            raise Misconfigured(f"{place}: trade {trade} is {shown(answer)}; choose one of {', '.join(ANSWERS)}.")
        note = cut(str(row.get("note", "")), 500)
        found[pair, trade] = {"pair": pair, "trade_id": trade, "answer": answer, "note": note}
    return found
