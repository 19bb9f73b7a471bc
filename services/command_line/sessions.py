"""`traderagent sessions`: the searches that are stored, what came of them, and their best as a config."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.command_line.whole_file import write_whole
from services.settings import Settings

if TYPE_CHECKING:
    from services.storage.trials import Listed

app = typer.Typer(help="Searches that are stored: list, show, export the best, purge.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="a session's name, or how it begins", metavar="SESSION")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON")]


@app.command("list")
def list_sessions(as_json: AsJson = False) -> None:
    """List every search, newest first."""
    found = _read()
    if as_json:
        print(json.dumps([asdict(one) for one in found], default=str))  # noqa: T201, for programs
        return
    from rich.table import Table

    table = Table(box=None)
    for name in ("session", "kind", "strategy", "method", "status", "trials", "begun"):
        table.add_column(name, justify="right" if name == "trials" else "left")
    for one in found:
        document = one.document
        table.add_row(
            *(one.session, one.kind, str(document.get("strategy")), document["search"]["method"], one.status),
            *(f"{one.trials:,}", f"{one.created:%Y-%m-%d %H:%M}"),
        )
    console().print(table if found else "no search is stored")


@app.command("show")
def show(session: Name, as_json: AsJson = False) -> None:
    """Show what was asked and what came of it."""
    one = _named(session)
    if as_json:
        print(json.dumps(asdict(one), default=str))  # noqa: T201, for programs
        return
    import yaml

    said = console()
    said.print(
        f"{one.session}: {one.kind}, {one.status}, {one.trials:,} trials, begun {one.created:%Y-%m-%d %H:%M} UTC"
    )
    said.print(yaml.safe_dump(one.document, sort_keys=False), highlight=False)
    for sentence in (one.result or {}).get("verdict", ["It has not come to its end; the same search again goes on."]):
        said.print(f"- {sentence}", highlight=False)


@app.command("best")
def best(
    session: Name,
    out: Annotated[Path, typer.Option(help="config to write", metavar="FILE")] = Path("best.yaml"),
    replace: Annotated[bool, typer.Option("--replace", help="write over a file that is there")] = False,
) -> None:
    """Write the best of a search as a config for `backtest`, `run` and `demo`."""
    one = _named(session)
    config = (one.result or {}).get("config")
    if config is None:
        raise Misconfigured(f"session {one.session} is a {one.kind} that is {one.status}; what is finished has a best.")
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another file, or give --replace.")
    write_whole(out, config)
    console().print(f"{out}: next: traderagent backtest {out}", soft_wrap=True, highlight=False)


@app.command("purge")
def purge(
    session: Name, yes: Annotated[bool, typer.Option("--yes", help="do it; without this, show what would go")] = False
) -> None:
    """Forget a search and its trials: they no longer count among those that looked at the same candles."""
    one = _named(session)
    what = f"session {one.session}, a {one.kind} with {one.trials:,} trials"
    if not yes:
        console().print(f"would forget {what}; give --yes to do it")
        return
    run_loop(_with_store(lambda store: store.purge(one.session)))
    console().print(f"forgot {what}")


def _read() -> list[Listed]:
    found: list[Listed] = run_loop(_with_store(lambda store: store.sessions()))
    return found


async def _with_store(ask: Any) -> Any:
    from services.app.search import trial_store
    from services.logs import quieten

    quieten()
    async with trial_store(Settings().data_dir) as store:
        return await ask(store)


def _named(name: str) -> Listed:
    """Find the one session whose name begins so; raises Misconfigured."""
    found = [one for one in _read() if one.session.startswith(name)]
    if len(found) != 1:
        said = "no session's name begins" if not found else f"the names of {len(found)} sessions begin"
        raise Misconfigured(f"{said} with {cut(name)}; `traderagent sessions list` has them.")
    return found[0]
