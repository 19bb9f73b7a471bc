"""`traderagent import-bot`: a config of another bot as one of ours, and what could not be carried over."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured, cut
from services.command_line.console import console
from services.whole_file import write_whole


def import_bot(
    file: Annotated[Path, typer.Argument(help="a config of passivbot 7, JSON")],
    pair: Annotated[
        str | None, typer.Option(help="what it is to trade [default: its approved coins]", metavar="PAIR")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(help="long or short [default: the side that trades]", metavar="NAME")
    ] = None,
    out: Annotated[Path, typer.Option(help="file to write", metavar="FILE")] = Path("bot.yaml"),
    replace: Annotated[bool, typer.Option("--replace", help="write over a file that is there")] = False,
) -> None:
    """Read a config of passivbot, write it as a DCA of ours, and say what is not in it."""
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another file, or give --replace.")
    import json

    import yaml

    from coordinator.config import load_config
    from services.passivbot import imported

    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Misconfigured(f"{cut(str(file))} is no JSON ({cut(str(error))}); choose a config of passivbot.") from None
    found = imported(document, pair, direction)
    load_config(found.config)  # which says what no bot of ours can do
    write_whole(out, yaml.safe_dump(found.config, sort_keys=False))
    for sentence in found.left_out:
        console().print(sentence, highlight=False, markup=False, soft_wrap=True)
    console().print(f"wrote {out}; next: traderagent backtest {out}", highlight=False, markup=False, soft_wrap=True)
