"""`traderagent indicators`: what rules may name, one explained, and `compute`, which gives a series of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, shown
from bot.indicator_registry import INDICATORS, Indicator, indicator_named
from bot.market import Market
from coordinator.config_file import names_of_pairs
from services.command_line.backtest import assignment
from services.command_line.console import console
from services.settings import Settings

if TYPE_CHECKING:
    import polars as pl

SHOWN = 10  # rows at the end of a series that are printed


class _NameOrCommand(typer.core.TyperGroup):
    """Take a first word that is no command for the name of an indicator."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command, `show` by default."""
        return super().resolve_command(ctx, args if args[0] in self.commands else ["show", *args])


app = typer.Typer(
    cls=_NameOrCommand,
    help="List the indicators that rules may name, or explain one: indicators RSI.",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def _list(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    from rich.table import Table

    for group in dict.fromkeys(one.group for one in INDICATORS.values()):
        table = Table("name", "parameters", "by default", title=group, title_justify="left")
        table.columns[0].no_wrap = True
        for one in INDICATORS.values():
            if one.group == group:
                settings = " ".join(f"{setting.name}={setting.default:g}" for setting in one.settings)
                table.add_row(one.name, settings, one.rule.sentence)
        console().print(table)
    console().print(f"{len(INDICATORS)} indicators; `traderagent indicators NAME` explains one.", highlight=False)


@app.command(hidden=True)
def show(name: Annotated[str, typer.Argument(help="such as RSI")]) -> None:
    """Explain an indicator: outputs, parameters with bounds and steps, and what is long and short."""
    one = indicator_named(name)
    from rich.table import Table

    console().print(
        f"{one.name}, {one.group}: {one.source}. Causal: a value depends on closed bars alone.", soft_wrap=True
    )
    within = "" if one.least == -float("inf") and one.most == float("inf") else f", from {one.least:g} to {one.most:g}"
    console().print(f"outputs: {', '.join(one.outputs)}{within}", highlight=False, soft_wrap=True)
    console().print(f"rule ({one.rule.kind}): {one.rule.sentence}", highlight=False, soft_wrap=True)
    if not one.settings:
        return
    searched = one.searched(one.rule)
    table = Table("parameter", "default", "bounds", "step", "")
    for setting in one.settings:
        said = "" if setting.name in searched else "not searched: it cannot change what this rule says"
        bounds = f"{setting.least:g} … {setting.most:g}"
        table.add_row(setting.name, f"{setting.default:g}", bounds, f"{setting.step:g}", said)
    console().print(table)


@app.command()
def compute(
    name: Annotated[str, typer.Argument(help="such as RSI")],
    pair: Annotated[str, typer.Option(help="such as BTCUSDT", metavar="PAIR")],
    timeframe: Annotated[str, typer.Option(help="length of its bars", metavar="LENGTH")] = "1h",
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="a parameter, such as timeperiod=14", metavar="NAME=VALUE")
    ] = None,
    start: Annotated[str | None, typer.Option("--from", help="first bar, UTC", metavar="DATE")] = None,
    end: Annotated[str | None, typer.Option("--to", help="end, not included, UTC", metavar="DATE")] = None,
    exchange: Annotated[str | None, typer.Option(help="whose candles, from the store", metavar="VENUE")] = None,
    market: Annotated[Market, typer.Option(help="spot or linear")] = Market.LINEAR,
    candles: Annotated[Path | None, typer.Option(help="a candle file instead of the store", metavar="FILE")] = None,
    out: Annotated[Path | None, typer.Option(help="a CSV or Parquet file to write", metavar="FILE")] = None,
) -> None:
    """Compute an indicator over candles, as strategies and rules see it: time, close, outputs.

    Values before enough history is known are left out.
    """
    one, given = indicator_named(name), dict(assignment(text) for text in changes or [])
    values = one.values(given)
    if out is not None and out.suffix not in (".csv", ".parquet"):
        raise Misconfigured(f"--out is {shown(str(out))}; name a file that ends with .csv or .parquet.")
    asked = {"pair": names_of_pairs([pair])[0], "from": start, "to": end, "exchange": exchange, "market": str(market)}
    asked["candles"] = str(candles.resolve()) if candles else None
    chosen = {key: value for key, value in asked.items() if value is not None}
    from services.app.indicator_series import indicator_series

    frame = indicator_series(Settings().data_dir, one, values, timeframe, chosen)
    if out is None:
        _print(one, frame)
        return
    if out.suffix == ".csv":
        frame.write_csv(out)
    else:
        frame.write_parquet(out, compression="zstd")
    console().print(f"{one.name}: {len(frame):,} bars of {timeframe} in {out}", highlight=False, soft_wrap=True)


def _print(one: Indicator, frame: pl.DataFrame) -> None:
    from rich.table import Table

    table = Table(
        "time", "close", *one.outputs, title=f"{one.name}, the last of {len(frame):,} bars", title_justify="left"
    )
    for time, *numbers in frame.tail(SHOWN).iter_rows():
        table.add_row(f"{time:%Y-%m-%d %H:%M}", *(f"{number:.8g}" for number in numbers))
    console().print(table)
    if not len(frame):
        console().print("No bar has all the history that it needs; import or download earlier candles.")
