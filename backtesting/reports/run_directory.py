"""The directory of a run: config, result, fills, trades, equity, pictures and report, written whole or not at all.

Everything in it follows from the result, so writing the same result twice gives the same bytes.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from backtesting.portfolio_result import PortfolioResult
from backtesting.reports.charts import png
from backtesting.reports.page import run_page
from backtesting.reports.pictures import pictures
from backtesting.reports.run_view import view_of
from backtesting.reports.samples import sample_pictures, sample_rows, write_samples
from backtesting.signal_export import export_document, exported_trades, is_of_signals
from bot.errors import Misconfigured
from coordinator.decisions import as_row, decisions_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from backtesting.result import BacktestResult, SamplePicture

MARKER = "result.json"


def write_run(result: BacktestResult | PortfolioResult, directory: str | Path, *, samples: int | None = None) -> Path:
    """Write the run directory whole or not at all; an earlier run there is replaced.

    `samples`: picture every n-th trade. Raises Misconfigured when `directory` holds something that is no run, or the
    pictures would be too many.
    """
    return write_whole(Path(directory), partial(write_files, result, samples=samples))


def write_report(result: BacktestResult | PortfolioResult, path: str | Path) -> Path:
    """Write the self-contained HTML report to `path`."""
    Path(path).write_text(run_page(result), encoding="utf-8")
    return Path(path)


def write_files(result: BacktestResult | PortfolioResult, folder: Path, *, samples: int | None = None) -> None:
    """Write every file of a run into `folder`, with pictures of every n-th trade where they are asked for."""
    view, document = view_of(result), result.document
    pictured = None if samples is None else sample_rows(view, samples)
    if pictured is not None:
        document = document.model_copy(update={"samples": sample_pictures(pictured)})
        write_samples(view, pictured, folder)
    text = yaml.safe_dump(result.config.document(), sort_keys=False, allow_unicode=True)
    (folder / "config.yaml").write_text(text, encoding="utf-8")
    (folder / MARKER).write_text(document.model_dump_json(indent=2, by_alias=True) + "\n", encoding="utf-8")
    if isinstance(result, PortfolioResult):
        _write_decisions(result, folder / "events.jsonl")
        fills, trades, equity = result.frame("fills"), result.trade_frame, result.equity_frame
    else:
        fills, trades, equity = result.fills, result.trades, result.equity
    if pictured is not None:
        pictures_of = pictured.select("trade_id", "pair", sample_png="annotated")
        trades = trades.join(pictures_of, on=["trade_id", "pair"], how="left", maintain_order="left")
    fills.write_csv(folder / "fills.csv")
    trades.write_csv(folder / "trades.csv")
    equity.write_parquet(folder / "equity.parquet", compression="zstd")
    if is_of_signals(result):
        _write_export(result, document.samples, folder)
    write_report(result, folder / "report.html")
    for name, draw in pictures(view).items():
        (folder / f"{name}.png").write_bytes(png(draw()))


def _write_export(result: Any, samples: list[SamplePicture], folder: Path) -> None:
    """Write what other programs read of a run of signals."""
    text = json.dumps(export_document(result, samples), indent=2, ensure_ascii=False)
    (folder / "export.json").write_text(text + "\n", encoding="utf-8")
    exported_trades(result).write_csv(folder / "export.csv")


def _write_decisions(result: PortfolioResult, path: Path) -> None:
    recording = result.recording
    with path.open("w", encoding="utf-8") as file:
        for one in decisions_of(recording.decisions, recording.pairs, result.config.algorithm.roster):
            file.write(json.dumps(as_row(one)) + "\n")


def write_whole(directory: Path, write: Callable[[Path], None]) -> Path:
    """Let `write` fill a new folder and put it in the place of `directory`, whole or not at all.

    Raises Misconfigured when `directory` holds something that is no run.
    """
    if directory.exists() and not (directory / MARKER).exists() and (directory.is_file() or any(directory.iterdir())):
        raise Misconfigured(f"out is {directory} but something that is no run lies there; name another folder.")
    directory.parent.mkdir(parents=True, exist_ok=True)
    partial = directory.parent / f".{directory.name}-{os.getpid()}"
    old = directory.parent / f".{directory.name}-{os.getpid()}-old"

    def remove() -> None:
        shutil.rmtree(partial, ignore_errors=True)
        if old.exists() and not directory.exists():
            old.rename(directory)
        shutil.rmtree(old, ignore_errors=True)

    atexit.register(remove)  # before it is made: an interruption at any moment finds what to remove
    try:
        partial.mkdir()
        write(partial)
        if directory.exists():
            directory.rename(old)
        partial.rename(directory)
    finally:
        remove()
        atexit.unregister(remove)
    return directory
