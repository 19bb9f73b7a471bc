"""Answers what needs the search's code, as a process of its own: `python -m services.app.research_answers DATA_DIR`.

A line of JSON `{question, said}` comes in, a line `{answer}` or `{refused}` goes out, until the input ends. The console
asks it (`services.app.research_process`), so that a process that serves pages loads neither searches nor data frames.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from backtesting.reports.page import run_page
from bot.errors import Misconfigured, cut, shown
from bot.sources import source_hash
from coordinator.config import PortfolioConfig, load_config, strategy_named
from coordinator.config_file import BUILT_IN
from coordinator.saved_strategy import SavedStrategy, saved_strategy, strategy_of
from search.numbered import Limits
from search.objective import HIGHEST_IS_BEST
from search.reading import read_space
from search.searchable import parameters_of
from services.app import live_answers, replay_answers, staged
from services.app.answering import answer_all, answered
from services.app.backtest import find_candles, find_series, find_series_of_one, run_portfolio, run_single
from services.app.data_answers import coverage, instruments, markets, symbols
from services.app.download_jobs import DOWNLOAD, REPAIR
from services.app.indicator_series import indicator_compute, indicator_estimate
from services.app.job_kinds import BATCH, KINDS, STAGED, read_request
from services.app.preset_library import own_folder, today
from services.app.scan import SCAN
from services.app.tested import backtest_file
from services.market_data.store import SYNTHETIC, CandleStore
from services.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from coordinator.config import BacktestConfig

METHODS = (
    *("grid", "random:500", "sobol:512", "tpe:500", "cmaes:500", "nsga2:500", "coarse_fine", "staged"),
)  # fmt: skip
PRESET_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
RUN = "run"  # a config without ranges
KEPT_REPORTS = 200
CURVE_POINTS = 1500  # of a line of equity
DEEPEST = 20  # levels of a request
STANDS_DAYS = 90  # that a preset saved from a page stands
A_FILE = re.compile(r"^[/~]|\.\.[/\\]|\.(?:py|ya?ml|toml|csv|parquet|json)\b", re.IGNORECASE)
REPORTS = Path("console") / "reports"  # in the data directory


def defaults(_data_dir: Path, _said: dict[str, Any]) -> dict[str, Any]:
    """Limits, rankings and methods as they stand unless a request says otherwise."""
    limits = Limits()
    return {
        "kinds": [str(one) for one in KINDS],
        "methods": list(METHODS),
        "rankings": list(staged.RANKINGS),
        "figures": {name: "highest" if highest else "lowest" for name, highest in HIGHEST_IS_BEST.items()},
        "limits": {
            "variants": limits.variants,
            "memory_mb": limits.memory_mb,
            "answered_rows": staged.ANSWERED,
            "kept_rows": staged.KEPT,
            "at_once_variants": staged.AT_ONCE_VARIANTS,
        },
    }


def parameters(_data_dir: Path, _said: dict[str, Any]) -> dict[str, Any]:
    """Every parameter of the strategies that are built in, as data."""
    return {one.name: parameters_of(one) for one in map(strategy_named, BUILT_IN)}


def pairs(data_dir: Path, _said: dict[str, Any]) -> list[dict[str, Any]]:
    """What the store has candles of, one row for each pair of a venue; generated candles last."""
    held = {(one.venue == SYNTHETIC, one.symbol, one.venue, one.market) for one in CandleStore(data_dir).series()}
    return [{"pair": pair, "exchange": venue, "market": market} for _, pair, venue, market in sorted(held)]


def request(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Read what a job is to play: what is stored of it, and how many variants it has; raises Misconfigured."""
    kind, asked = said["kind"], said["request"]
    refuse_files(asked)
    if kind == RUN:
        config = load_config(asked)
        _refuse_without_candles(config, CandleStore(data_dir))
        return {"document": asked, "variants": 1, "most": 1, "axes": []}
    document = read_request(kind, asked)
    if kind in (BATCH, DOWNLOAD, REPAIR, SCAN):
        return {"document": document, "variants": None, "most": None, "axes": []}
    space = staged.read_staged(asked).space if kind == STAGED else read_space(asked)
    for first in space.firsts:
        _refuse_without_candles(first, CandleStore(data_dir))
    axes = [{"key": axis.key, "values": len(axis.values)} for axis in space.axes]
    return {"document": document, "variants": space.size, "most": space.most, "axes": axes}


def refuse_files(value: Any, key: str = "request", depth: int = 0) -> None:
    """Raise Misconfigured where a request names a file: whoever asks a server may not read its disk."""
    if depth > DEEPEST:
        raise Misconfigured(f"{shown(key)} is nested more than {DEEPEST} deep; a config has a few levels.")
    if isinstance(value, dict):
        for inner, one in value.items():
            if inner == "candles":
                raise Misconfigured("candles names a file, which a request may not; import it into the store.")
            refuse_files(one, str(inner), depth + 1)
    elif isinstance(value, list):
        for one in value:
            refuse_files(one, key, depth + 1)
    elif isinstance(value, str) and A_FILE.search(value):
        raise Misconfigured(
            f"{cut(key)} is {shown(value)}, a file, which a request may not name; use the command line."
        )


def _refuse_without_candles(config: BacktestConfig | PortfolioConfig, store: CandleStore) -> None:
    if isinstance(config, PortfolioConfig):
        _, series = find_series_of_one(config, store)
    else:
        _, series = find_series(config, store)
    if series not in store.series():
        raise Misconfigured(
            f"pair is {series.symbol}, of which the store holds no candles of {series.venue} {series.market}; download "
            f"some first: traderagent data download {series.symbol}."
        )


def variant(_data_dir: Path, said: dict[str, Any]) -> str:
    """Return the config of a session's variant as YAML; raises Misconfigured for one that it does not have."""
    number = said["variant"]
    origin = f"# Variant {number} of {said['kind']} {said['session']}, which has not chosen it by itself.\n"
    return origin + yaml.safe_dump(_variant(said).document(), sort_keys=False)


def _variant(said: dict[str, Any]) -> BacktestConfig | PortfolioConfig:
    space, number = read_space(said["document"]), said["variant"]
    if not 0 <= number < space.size:
        raise Misconfigured(f"variant is {number}, but session {said['session']} has 0 to {space.size - 1}.")
    return space.config(number)


def preset(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Save a variant among the user's presets, with where it comes from and until when it stands."""
    config = _variant(said)
    lines = [
        f"Variant {said['variant']} of {said['kind']} {said['session']}, chosen by a person on a page of results.",
        *said["sentences"],
        f"Trials: {said['trials']:,}; sessions {said['session']}.",
        f"Expires {today() + timedelta(days=STANDS_DAYS)}: search again by then.",
    ]
    text = "".join(f"# {cut(line, 400)}\n" for line in lines) + yaml.safe_dump(config.document(), sort_keys=False)
    return _kept(data_dir, said, text)


def proposal(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Save what a scan has proposed for a pair among the user's presets."""
    return _kept(data_dir, said, said["text"])


def _kept(data_dir: Path, said: dict[str, Any], text: str) -> dict[str, Any]:
    """Write a preset; raises Misconfigured for a name that is none, or that one has already."""
    name = said["name"]
    if not PRESET_NAME.fullmatch(name):
        raise Misconfigured(
            f"name is {shown(name)}; give up to 60 small letters, digits, - and _, beginning with a letter or digit."
        )
    path = own_folder(data_dir) / f"{name}.yaml"
    if path.exists() and not said["replace"]:
        raise Misconfigured(f"name is {name}, which a preset of yours has already; choose another, or replace it.")
    write(path, text)
    return {"name": name, "text": text}


def strategy(_data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Take the strategy out of a variant, or of a saved document with changes; raises Misconfigured."""
    if "document" in said and "variant" in said:
        return _saved(saved_strategy(_variant(said)))
    refuse_files(said["changes"], "changes")
    return _saved(strategy_of(said["saved"], said["changes"]))


def _saved(one: SavedStrategy) -> dict[str, Any]:
    return {
        "content": one.content,
        "strategy": one.strategy,
        "timeframe": one.timeframe,
        "document": json.loads(json.dumps(one.document, default=str)),
    }


def report_key(_data_dir: Path, said: dict[str, Any]) -> dict[str, str]:
    """Name the report of a config, or of a variant: a hash of the config and of the program."""
    if "request" in said:
        refuse_files(said["request"])
        config = load_config(said["request"])
    else:
        config = _variant(said)
    document = json.loads(json.dumps(config.document(), default=str))
    until = None if config.end else str(today())  # candles that come later are of another run
    text = json.dumps([document, source_hash([]), until], sort_keys=True)
    return {"report": hashlib.sha256(text.encode()).hexdigest()[:32], "config": yaml.safe_dump(config.document())}


def report(data_dir: Path, said: dict[str, Any]) -> str:
    """Play a config, write the page of its run, and keep that its strategy was tested; returns the file's name."""
    config = load_config(yaml.safe_load(said["config"]))
    if isinstance(config, PortfolioConfig):
        result: Any = run_portfolio(config, data_dir)
    else:
        config, candles = find_candles(config, CandleStore(data_dir))
        result = run_single(config, candles, data_dir, bounds=False)
    path = data_dir / REPORTS / f"{said['report']}.html"
    write(path.with_suffix(".json"), json.dumps(curve_of(result)))
    write(path, run_page(result))  # the last: a report is ready with its page
    for old in sorted(path.parent.glob("*.html"), key=lambda one: one.stat().st_mtime)[:-KEPT_REPORTS]:
        old.with_suffix(".json").unlink(missing_ok=True)
        old.unlink(missing_ok=True)
    tested = backtest_file(data_dir, result)
    if tested is not None:
        write(*tested)
    return path.name


def curve_of(result: Any) -> dict[str, list[float]]:
    """Equity of a run over its initial capital, %, at most CURVE_POINTS moments (ms) with the last one among them."""
    frame = result.equity_frame if isinstance(result.config, PortfolioConfig) else result.equity
    at, equity = frame["ts"].to_list(), frame["equity"].to_list()
    capital = float(result.config.capital)
    chosen = sorted({*range(0, len(at), max(len(at) // CURVE_POINTS, 1) + 1), len(at) - 1}) if at else []
    return {
        "at": [at[k] for k in chosen],
        "equity_pct": [round(100.0 * (equity[k] / capital - 1.0), 4) for k in chosen],
    }


def write(path: Path, text: str) -> None:
    """Put a file in its place when it is whole, in a folder that may be new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


QUESTIONS: dict[str, Callable[[Path, dict[str, Any]], Any]] = {
    one.__name__: one
    for one in (
        *(defaults, parameters, pairs, request, variant, preset, strategy, report_key, report),
        *(proposal, markets, symbols, instruments, coverage, indicator_estimate, indicator_compute),
        *(live_answers.drift, live_answers.whatif, live_answers.command_outcomes),
    )
} | replay_answers.QUESTIONS


def answer(line: str, data_dir: Path) -> dict[str, Any]:
    """Answer one line."""
    return answered(line, data_dir, QUESTIONS)


if __name__ == "__main__":
    answer_all(QUESTIONS)
