"""`traderagent sweep` and `walkforward`: search for parameters, and try the best on days that had not chosen them."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console, progress
from services.command_line.interrupt import run_loop
from services.command_line.jobs import Database
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from search.exploration import Progress
    from search.sweep import Sweep
    from search.walk_forward import WalkForward
    from services.app.research import SearchKind

SHOWN = ("total_return_pct", "beta", "alpha_pct", "information_ratio", "max_drawdown_pct", "trades")

WIDE = 150  # columns of a terminal that shows all of them

SpaceFile = Annotated[Path, typer.Argument(help="YAML file: a config with ranges in place of values", metavar="SPACE")]
CandleFile = Annotated[Path | None, typer.Option(help="a candle file instead of the store", metavar="FILE")]
MethodName = Annotated[
    str, typer.Option(help="grid, random:N, sobol:N, tpe:N, cmaes:N, nsga2:N, coarse_fine or staged", metavar="METHOD")
]
Objective = Annotated[str, typer.Option(help="figure or formula that ranks", metavar="FIGURE")]
Top = Annotated[int, typer.Option(help="variants shown, and tried on the days held out", metavar="NUMBER", min=0)]
Workers = Annotated[int, typer.Option(help="threads [default: processors]", metavar="NUMBER", min=0)]
Ray = Annotated[str, typer.Option(help="spread over a Ray cluster: its address, or local", metavar="ADDRESS")]
Replace = Annotated[bool, typer.Option("--replace", help="write over a folder that is there")]


def sweep(
    space: SpaceFile,
    candles: CandleFile = None,
    out: Annotated[Path, typer.Option(help="folder for page, rows and config", metavar="FOLDER")] = Path("sweep"),
    method: MethodName = "",
    objective: Objective = "",
    top: Top = 0,
    workers: Workers = 0,
    ray: Ray = "",
    database: Database = "",
    replace: Replace = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the best as JSON")] = False,
) -> None:
    """Search a space for the best variant, and try the best on the days held out.

    Writes report.html, rows.csv with every variant, and best.yaml, a config for `backtest`, `run` and `demo`. Figures
    in sample have chosen the variants and flatter them; those held out have not. The same search again goes on where
    it was interrupted, or answers from what is stored.
    """
    chosen = _begun(space, out, {"method": method, "objective": objective, "top": top}, replace=replace)
    sweep_into(chosen, out, candles, workers=workers, ray=ray, database=database, as_json=as_json)


def sweep_into(
    chosen: Any,
    out: Path,
    candles: Path | None = None,
    *,
    workers: int = 0,
    ray: str = "",
    database: str = "",
    as_json: bool = False,
) -> None:
    """Sweep a space that was read, and write what was found into a folder."""
    from search.report import sweep_page
    from services.app.research import SearchKind, config_of_sweep

    found: Sweep
    found, session = _search(SearchKind.SWEEP, chosen, candles, workers, ray, database)
    _keep_search(found, session)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "rows.csv", found.frame.write_csv())
    write_whole(out / "best.yaml", config_of_sweep(found))
    write_whole(out / "report.html", sweep_page(found))
    if as_json:
        best = found.frame.head(len(found.held_out)).to_dicts()
        print(json.dumps({"verdict": found.verdict, "best": best}, default=str))  # noqa: T201, for programs
    else:
        _show_sweep(found, out)


def walkforward(
    space: SpaceFile,
    candles: CandleFile = None,
    out: Annotated[Path, typer.Option(help="folder for page, rows and config", metavar="FOLDER")] = Path("walkforward"),
    method: MethodName = "",
    objective: Objective = "",
    workers: Workers = 0,
    ray: Ray = "",
    database: Database = "",
    replace: Replace = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the windows as JSON")] = False,
) -> None:
    """Search before every window of the period, and trade the window by what was best: `search.walk_forward`.

    Writes report.html, windows.csv, and next.yaml, what a search of the last days would trade next, a config for
    `backtest`, `run` and `demo`. The same again goes on where it was interrupted, or answers from what is stored.
    """
    chosen = _begun(space, out, {"method": method, "objective": objective}, replace=replace)
    walk_forward_into(chosen, out, candles, workers=workers, ray=ray, database=database, as_json=as_json)


def walk_forward_into(
    chosen: Any,
    out: Path,
    candles: Path | None = None,
    *,
    workers: int = 0,
    ray: str = "",
    database: str = "",
    as_json: bool = False,
) -> None:
    """Walk a space that was read forward, and write what was found into a folder."""
    from search.report import walk_forward_page
    from services.app.research import SearchKind, config_of_windows

    found: WalkForward
    found, _ = _search(SearchKind.WALK_FORWARD, chosen, candles, workers, ray, database)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "windows.csv", found.frame.write_csv())
    write_whole(out / "next.yaml", config_of_windows(found))
    write_whole(out / "report.html", walk_forward_page(found))
    if as_json:
        print(json.dumps({"verdict": found.verdict, "windows": found.frame.to_dicts()}, default=str))  # noqa: T201, for programs
    else:
        _show_windows(found, out)


def _begun(space: Path, out: Path, told: dict[str, Any], *, replace: bool) -> Any:
    """Read a space, with what options say of its search; raises Misconfigured."""
    from coordinator.config_file import read_values

    read_values(space)  # a file that cannot be read is told before the rest is loaded
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another folder, or give --replace.")
    from search.reading import read_space

    return read_space(space, {key: value for key, value in told.items() if value})


def _search(
    kind: SearchKind, space: Any, candles: Path | None, workers: int, ray: str, database: str
) -> tuple[Any, str]:
    """Run a search whose rows the database keeps, and show how far it is; returns its session's name too."""
    from services.app.research import ready_search
    from services.logs import passwords, quieten
    from services.runtime.config import EMBEDDED

    quieten(secrets=passwords(database))
    data_dir = Settings().data_dir
    search = ready_search(kind, space, candles, data_dir)
    with _shown(space.objective.metrics[0].text) as told:
        running = search.run(data_dir, told, workers=workers, ray=ray, address=database or EMBEDDED)
        return run_loop(running), search.session.name


def _keep_search(found: Sweep, session: str) -> None:
    """Keep that the best of a search was tested on the days held out, where it could be played there."""
    from math import isnan

    from bot.candles import iso
    from services.app.tested import FIGURES
    from services.command_line.tested import keep_test
    from services.storage.tested_runs import SESSION

    if not len(found.held_out) or isnan(found.held_out[0]["total_return_pct"]):
        return
    figures = {name: float(found.held_out[0][name]) for name in FIGURES}
    keep_test(Settings().data_dir, found.best, (SESSION, session), (iso(found.split), iso(found.end)), figures)


@contextmanager
def _shown(objective: str) -> Iterator[Callable[[Progress], None]]:
    """Show how far a search is, how fast it goes, and the best so far, in sample."""
    began = time.monotonic()
    with progress("playing") as show:

        def told(now: Progress) -> None:
            rate = now.done / max(time.monotonic() - began, 1e-3)
            best = "" if now.best is None else f", best {objective} in sample {now.best:,.4g}"
            show(now.done / max(now.total, 1), f"{now.done:,} of {now.total:,}, {rate:,.0f}/s{best}")

        yield told


def _show_sweep(found: Sweep, out: Path) -> None:
    from rich.table import Table

    from bot.candles import iso
    from search.axes import short_key

    days = [iso(one)[:10] for one in (found.start, found.split, found.end)]
    table, shown = Table(box=None), SHOWN if console().width >= WIDE else SHOWN[:3]
    for axis in found.space.axes:
        table.add_column(short_key(axis.key), justify="right")
    for part in ("in sample", "held out"):
        for name in shown:
            table.add_column(f"{name.removesuffix('_pct').replace('_', ' ')}\n{part}", justify="right")
    for row in found.frame.head(len(found.held_out)).to_dicts():
        numbers = [row[f"{name}_{part}"] for part in ("in_sample", "held_out") for name in shown]
        style = None if row["passed"] else "dim"
        table.add_row(*(_value(row[axis.key]) for axis in found.space.axes), *map(_number, numbers), style=style)
    said, count = console(), len(found.numbers)
    said.print(f"{count:,} variants, chosen on {days[0]} to {days[1]}; the best tried on {days[1]} to {days[2]}")
    if found.found.excluded:
        said.print(f"{found.found.excluded:,} combinations contradict themselves", style="dim")
    if found.found.unplayable:
        told = f"{found.found.unplayable:,} variants could not be played; why the last could not: {found.found.refusal}"
        said.print(told, style="dim")
    said.print(table)
    _say(found.verdict)
    said.print(f"{out / 'report.html'}: the whole search on a page", soft_wrap=True, highlight=False)
    said.print(f"{out / 'best.yaml'}: next: traderagent backtest {out / 'best.yaml'}", soft_wrap=True, highlight=False)


def _show_windows(found: WalkForward, out: Path) -> None:
    from rich.table import Table

    table = Table(box=None)
    for name in ("window", "variant"):
        table.add_column(name, justify="right")
    for part in ("in sample", "out of sample"):
        for name in SHOWN[:3]:
            table.add_column(f"{name.removesuffix('_pct').replace('_', ' ')}\n{part}", justify="right")
    table.add_column("return\nof the pair", justify="right")
    for row in found.frame.to_dicts():
        numbers = [row[f"{name}_{part}"] for part in ("in_sample", "out_of_sample") for name in SHOWN[:3]]
        numbers.append(row["pair_return_pct"])
        table.add_row(f"{row['train_to']} to {row['test_to']}", str(row["variant"]), *map(_number, numbers))
    said = console()
    said.print(table)
    _say(found.verdict)
    said.print(f"{out / 'report.html'}: the whole search on a page", soft_wrap=True, highlight=False)
    said.print(f"{out / 'next.yaml'}: what the last days chose, for the days to come", soft_wrap=True, highlight=False)


def _say(verdict: list[str]) -> None:
    for sentence in verdict:
        console().print(f"- {sentence}", highlight=False)


def _value(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
