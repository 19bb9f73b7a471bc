"""`traderagent keys`: API keys of exchanges, encrypted in the data directory; what is given is never shown again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.errors import Misconfigured, cut, shown
from services.command_line.console import console
from services.settings import Settings

if TYPE_CHECKING:
    from services.keys.key_store import ApiKey, KeyName

app = typer.Typer(
    help="API keys of exchanges, encrypted in the data directory: add, list, remove, rotate, rekey.",
    no_args_is_help=True,
)

ENVIRONMENTS = ("demo", "testnet", "live", "venue")
MOST_BYTES = 4096  # of a file with a key

Environment = Annotated[str, typer.Option(help=", ".join(ENVIRONMENTS), metavar="NAME")]
Exchange = Annotated[str, typer.Option(help="which exchange", metavar="NAME")]
User = Annotated[str, typer.Option(help="whose: `bot.user` of the configs that use it", metavar="NAME")]
Purpose = Annotated[str, typer.Option(help="trading, or watching: the read-only key of the watchdog", metavar="NAME")]
File = Annotated[
    Path | None,
    typer.Option(help="file with the key and, on the next line, its secret, instead of asking", metavar="FILE"),
]


@app.command("add")
def add(
    environment: Environment = "demo",
    exchange: Exchange = "bybit",
    user: User = "owner",
    purpose: Purpose = "trading",
    file: File = None,
) -> None:
    """Keep a key, encrypted. It asks for key and secret without showing them."""
    from services.keys.key_store import KeyStore

    name, store = _named(user, exchange, environment, purpose), KeyStore(Settings().data_dir)
    if store.has(name):
        raise Misconfigured(f"the {name.told()} is there already; replace it with `traderagent keys rotate`.")
    store.add(name, _given(file))
    console().print(f"the {name.told()} is kept", soft_wrap=True, highlight=False, markup=False)


@app.command("rotate")
def rotate(
    environment: Environment = "demo",
    exchange: Exchange = "bybit",
    user: User = "owner",
    purpose: Purpose = "trading",
    file: File = None,
) -> None:
    """Put another key of the same account in the place of one.

    A running bot takes it at `traderagent ctl reload`, once it has seen that it works. Delete the former one at the
    exchange after that.
    """
    from services.keys.key_store import KeyStore

    name, store = _named(user, exchange, environment, purpose), KeyStore(Settings().data_dir)
    store.read(name)
    store.replace(name, _given(file))
    next_step = "next: traderagent ctl reload, then delete the former one at the exchange"
    if purpose != "trading":
        next_step = "next: delete the former one at the exchange; a running watchdog takes this one then"
    console().print(f"the {name.told()} is replaced; {next_step}", soft_wrap=True, highlight=False, markup=False)


@app.command("rekey")
def rekey(
    file: Annotated[
        Path | None, typer.Option(help="file with the new master key, instead of a random one", metavar="FILE")
    ] = None,
) -> None:
    """Encrypt every key by another master key, and the other secrets of the data directory too.

    An interruption leaves all of them by the former one or all by the new one. The keys themselves stay as they are.
    """
    import os
    import secrets

    from services.keys.master_key import BYTES, MAKE_ONE, VARIABLE, decoded
    from services.keys.sealed_secrets import reseal_all

    in_environment = bool(os.environ.get(VARIABLE))
    if file is not None:
        new = decoded(file.read_text(encoding="utf-8", errors="replace")[:MOST_BYTES], f"file {cut(str(file))}")
    elif in_environment:
        raise Misconfigured(
            f"the master key is that of {VARIABLE}, which this command cannot change; {MAKE_ONE}, write it to a file, "
            "and give that by --file."
        )
    else:
        new = secrets.token_bytes(BYTES)
    count = reseal_all(Settings().data_dir, new)
    next_step = "master.key has it; keep a copy of it elsewhere, and delete copies of the former one"
    if in_environment:
        next_step = f"next: put it in the place of the former one where {VARIABLE} is set, and start again what runs"
    console().print(
        f"secrets that another master key encrypts now: {count}; {next_step}", soft_wrap=True, highlight=False
    )


@app.command("list")
def list_keys(as_json: Annotated[bool, typer.Option("--json", help="as JSON")] = False) -> None:
    """List whose keys there are, of which venue, and since when; no key is shown."""
    from services.keys.key_store import KeyStore

    store = KeyStore(Settings().data_dir)
    rows = [(one.user, one.exchange, one.environment, one.purpose, store.added(one)) for one in store.names()]
    columns = ("user", "exchange", "environment", "purpose", "added")
    if as_json:
        console().print_json(data=[dict(zip(columns, row, strict=True)) for row in rows])
        return
    from rich.table import Table

    table = Table(*columns, box=None)
    for row in rows:
        table.add_row(*row)
    console().print(table)


@app.command("remove")
def remove(
    environment: Environment = "demo",
    exchange: Exchange = "bybit",
    user: User = "owner",
    purpose: Purpose = "trading",
) -> None:
    """Delete a key here; at the exchange it works until you delete it there."""
    from services.keys.key_store import KeyStore

    name = _named(user, exchange, environment, purpose)
    KeyStore(Settings().data_dir).remove(name)
    console().print(
        f"the {name.told()} is removed here; delete it at the exchange too", soft_wrap=True, highlight=False
    )


def _named(user: str, exchange: str, environment: str, purpose: str) -> KeyName:
    """Return the name of a key; raises Misconfigured."""
    from services.exchanges.registry import EXCHANGES
    from services.keys.key_store import KeyName

    if environment not in ENVIRONMENTS:
        raise Misconfigured(f"environment is {shown(environment)}; choose one of {', '.join(ENVIRONMENTS)}.")
    if exchange not in EXCHANGES:
        raise Misconfigured(f"exchange is {shown(exchange)}; choose one of {', '.join(sorted(EXCHANGES))}.")
    return KeyName(user, exchange, environment, purpose)


def _given(file: Path | None) -> ApiKey:
    """Ask for a key and its secret, or read them from a file; raises Misconfigured."""
    from services.keys.key_store import checked_key

    if file is None:
        asked = [typer.prompt(f"API {what}", hide_input=True, default="", show_default=False) for what in _PARTS]
        return checked_key(*(one.strip() for one in asked))
    with file.open("rb") as given:
        lines = given.read(MOST_BYTES).decode("utf-8", errors="replace").split()
    if len(lines) != len(_PARTS):
        raise Misconfigured(
            f"file {cut(str(file))} holds {len(lines)} words; write the key on its first line and the secret on its "
            "second, and nothing else."
        )
    return checked_key(*lines)


_PARTS = ("key", "secret")
