"""`traderagent strategies`: saved strategies, what they were tested by, and which bots run them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from coordinator.config_file import AUTO, BUILT_IN, config_values
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from coordinator.saved_strategy import SavedStrategy
    from services.storage.strategies import StoredRun, StoredStrategy, StrategyStore

app = typer.Typer(
    help="Strategies that are saved, never changed: list, show, save, clone, delete; and what a search may vary.",
    no_args_is_help=True,
)

RUNNING = "running"
Name = Annotated[str, typer.Argument(help="a strategy's name, or how it begins", metavar="STRATEGY")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("list")
def list_strategies(as_json: AsJson = False) -> None:
    """List saved strategies, newest first: draft, tested (a backtest or search is finished on it) or running."""
    saved, runs = _read()
    rows = [_row(one, runs) for one in saved]
    if as_json:
        print(json.dumps(rows, default=str))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("strategy", "status", "tests", "tested on", "bots", "cloned from", "saved"):
        table.add_column(name, no_wrap=name == "strategy", justify="right" if name == "tests" else "left")
    for row in rows:
        bots = ", ".join(f"{one['bot']} {one['state']}" for one in row["runs"])
        cells = (row["status"], f"{len(row['tests']):,}", " ".join(row["tested_on"]), bots, row["cloned_from"] or "")
        table.add_row(row["name"], *cells, f"{row['created']:%Y-%m-%d %H:%M}")
    console().print(table if rows else "no strategy is saved; `traderagent strategies save CONFIG` saves one")


@app.command("show")
def show(name: Name, as_json: AsJson = False) -> None:
    """Print a strategy as sections of a config, to which pairs, capital and venue are added."""
    saved, runs = _read()
    one = _named(saved, name)
    row = _row(one, runs)
    if as_json:
        print(json.dumps({**row, "document": one.document}, default=str))  # noqa: T201, for programs
        return
    import yaml

    said = [f"{one.name}: {row['status']}, content {one.content}, saved {one.created:%Y-%m-%d %H:%M} UTC"]
    said += [_test_told(test) for test in row["tests"]]
    said += [_run_told(run) for run in row["runs"]]
    print("".join(f"# {line}\n" for line in said) + yaml.safe_dump(one.document, sort_keys=False), end="")  # noqa: T201, a config


@app.command("save")
def save(config: Annotated[Path, typer.Argument(help="a config; its pairs, capital and venue are left aside")]) -> None:
    """Save the strategy of a config, every preset and default resolved, under a name that is made of its content."""
    config_values(config)  # a mistake is told before the rest is loaded
    from coordinator.saved_strategy import strategy_of

    _save(strategy_of(config), None)


@app.command("clone")
def clone(
    name: Name,
    changes: Annotated[list[str], typer.Option("--set", help="any key, such as trend.stop=3", metavar="KEY=VALUE")],
) -> None:
    """Save a strategy with some values changed, as another one."""
    from coordinator.saved_strategy import strategy_of
    from services.command_line.backtest import assignment

    one = _named(_read()[0], name)
    _save(strategy_of(one.document, dict(assignment(text) for text in changes)), one.name)


@app.command("delete")
def delete(
    name: Name, yes: Annotated[bool, typer.Option("--yes", help="do it; without this, show what would go")] = False
) -> None:
    """Forget a strategy that no bot runs. Its tests stay: the same strategy saved again is tested."""
    saved, runs = _read()
    one = _named(saved, name)
    row = _row(one, runs)
    if row["status"] == RUNNING:
        bots = ", ".join(run["bot"] for run in row["runs"])
        raise Misconfigured(f"strategy {one.name} is run by {cut(bots)}; stop it first (`traderagent ctl stop`).")
    if not yes:
        console().print(f"would forget {one.name}, {row['status']}; give --yes to do it", highlight=False)
        return
    run_loop(_with_store(lambda store: store.delete(one.content)))
    console().print(f"forgot {one.name}", highlight=False)


@app.command("parameters")
def parameters(
    strategy: Annotated[
        str | None, typer.Argument(help="grid, dca, trend, rules or your own FILE.py:NAME [default: all built in]")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List what a search may vary: unit, bounds, default, and the ranges of each class of pairs."""
    if strategy == AUTO:
        raise Misconfigured("strategy is auto, which trades by others; name one of them, or leave it out for all.")
    from coordinator.config import strategy_named
    from search.searchable import parameters_of

    found = {one.name: parameters_of(one) for one in map(strategy_named, [strategy] if strategy else BUILT_IN)}
    if as_json:
        print(json.dumps(found))  # noqa: T201, for programs
        return
    from rich.table import Table

    for name, rows in found.items():
        table = Table("key", "unit", "bounds", "default", "search", title=name, title_justify="left", box=None)
        for row in rows:
            default = "" if row["default"] in (None, []) else str(row["default"])
            table.add_row(row["name"], row["unit"] or "", _bounds(row), default, row["search"])
        console().print(table, highlight=False)


def _bounds(row: dict[str, Any]) -> str:
    if row["words"]:
        return " ".join(row["words"])
    lower = "" if row["lower"] is None else f"{'>=' if row['lower_included'] else '>'} {row['lower']:g}"
    upper = "" if row["upper"] is None else f"{'<=' if row['upper_included'] else '<'} {row['upper']:g}"
    return ", ".join(one for one in (lower, upper) if one)


def _read() -> tuple[list[StoredStrategy], list[StoredRun]]:
    async def both(store: StrategyStore) -> tuple[list[StoredStrategy], list[StoredRun]]:
        return await store.strategies(), await store.runs()

    found: tuple[list[StoredStrategy], list[StoredRun]] = run_loop(_with_store(both))
    return found


async def _with_store(ask: Callable[[StrategyStore], Coroutine[Any, Any, Any]]) -> Any:
    from services.app.strategies import strategy_store
    from services.logs import passwords, quieten

    quieten(secrets=passwords(Settings().database))
    async with strategy_store(Settings().data_dir, Settings().database) as store:
        return await ask(store)


def _named(saved: list[StoredStrategy], name: str) -> StoredStrategy:
    """Find the one strategy whose name begins so; raises Misconfigured."""
    found = [one for one in saved if one.name == name] or [one for one in saved if one.name.startswith(name)]
    if len(found) != 1:
        said = "no saved strategy's name begins" if not found else f"the names of {len(found)} strategies begin"
        raise Misconfigured(f"{said} with {cut(name)}; `traderagent strategies list` has them.")
    return found[0]


def _save(one: SavedStrategy, cloned_from: str | None) -> None:
    stored, new = run_loop(_with_store(lambda store: store.save(one, cloned_from)))
    console().print(stored.name if new else f"{stored.name} is saved already", highlight=False)


def _row(one: StoredStrategy, runs: list[StoredRun]) -> dict[str, Any]:
    from services.app.strategies import listed_strategy

    return listed_strategy(one, runs, Settings().data_dir)


def _test_told(test: dict[str, Any]) -> str:
    figures = test["figures"]
    part = "held out" if test["kind"] == "session" else "whole period"
    earned = f"return {figures['total_return_pct']:,.1f} %, drawdown {figures['max_drawdown_pct']:,.1f} %"
    period = f"{test['start'][:10]} to {test['end'][:10]}"
    return f"{test['kind']} {test['id']} on {', '.join(test['pairs'])}, {period}, {part}: {earned}"


def _run_told(run: dict[str, Any]) -> str:
    reason = f": {cut(run['reason'])}" if run["reason"] else ""
    return f"bot {run['bot']}: {run['state']} since {run['since']:%Y-%m-%d %H:%M} UTC{reason}"
