"""`traderagent sweep`: every variant of a space, and what the best did on days that had not chosen them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console, progress
from services.command_line.whole_file import write_whole
from services.settings import Settings

if TYPE_CHECKING:
    from search.sweep import Sweep

SHOWN = ("total_return_pct", "beta", "alpha_pct", "information_ratio", "max_drawdown_pct", "trades")


def sweep(
    space: Annotated[Path, typer.Argument(help="YAML file: a config with ranges in its strategy's section")],
    candles: Annotated[Path | None, typer.Option(help="a candle file instead of the store", metavar="FILE")] = None,
    out: Annotated[Path, typer.Option(help="folder for the rows and the best config", metavar="FOLDER")] = Path(
        "sweep"
    ),
    workers: Annotated[int, typer.Option(help="threads [default: processors]", metavar="NUMBER", min=0)] = 0,
    replace: Annotated[bool, typer.Option("--replace", help="write over a folder that is there")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the best as JSON")] = False,
) -> None:
    """Play every variant of a space, and the best of them again on the days held out.

    Writes rows.csv, with every variant, and best.yaml, a config. Figures in sample have chosen the variants and flatter
    them; those held out have not.
    """
    from coordinator.config_file import read_values

    read_values(space)  # a file that cannot be read is told before the rest is loaded
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another folder, or give --replace.")
    import yaml

    from search.space import read_space
    from services.app.backtest import run_sweep

    chosen = read_space(space)
    with progress("playing") as show:
        found = run_sweep(chosen, candles, Settings().data_dir, workers or None, show)
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / "rows.csv", found.frame.write_csv())
    write_whole(out / "best.yaml", yaml.safe_dump(found.best.document(), sort_keys=False))
    if as_json:
        print(json.dumps(found.frame.head(found.space.search.top).to_dicts(), default=str))  # noqa: T201, for programs
    else:
        _show(found, out)


def _show(found: Sweep, out: Path) -> None:
    from rich.table import Table

    from bot.candles import iso

    days = [iso(one)[:10] for one in (found.start, found.split, found.end)]
    table = Table(box=None)
    for axis in found.space.axes:
        table.add_column(axis.key.partition(".")[2], justify="right")
    for part in ("in sample", "held out"):
        for name in SHOWN:
            table.add_column(f"{name.removesuffix('_pct').replace('_', ' ')}\n{part}", justify="right")
    for row in found.frame.head(len(found.held_out)).to_dicts():
        numbers = [row[f"{name}_{part}"] for part in ("in_sample", "held_out") for name in SHOWN]
        style = None if row["passed"] else "dim"
        table.add_row(*(_value(row[axis.key]) for axis in found.space.axes), *map(_number, numbers), style=style)
    said = console()
    said.print(
        f"{len(found.numbers):,} variants, chosen on {days[0]} to {days[1]}; the best tried on {days[1]} to {days[2]}"
    )
    if found.excluded:
        said.print(f"{found.excluded:,} combinations contradict themselves", style="dim")
    if found.unplayable:
        said.print(f"{found.unplayable:,} variants cannot work with this capital on this pair", style="dim")
    said.print(table)
    said.print(f"{out / 'best.yaml'}: next: traderagent backtest {out / 'best.yaml'}", soft_wrap=True, highlight=False)


def _value(value: object) -> str:
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
