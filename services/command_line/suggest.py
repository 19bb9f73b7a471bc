"""`traderagent suggest`: a config chosen by exact simulation of the last days, and tried on days it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bot.errors import Misconfigured, cut
from bot.times import DAY
from coordinator.config_file import config_values, names_of_pairs
from services.command_line.console import console, progress
from services.command_line.whole_file import write_whole
from services.settings import Settings

app = typer.Typer(help="Suggest a config from the last days of candles.", no_args_is_help=True)


@app.callback()
def _root() -> None:
    """Keep the name of the only command."""


@app.command("grid")
def grid(
    pair: Annotated[str, typer.Option(help="symbol, such as BTCUSDT", metavar="PAIR")],
    days: Annotated[float, typer.Option(help="how many of the last days", min=1, max=3650, metavar="DAYS")] = 30.0,
    direction: Annotated[str, typer.Option(help="neutral, long or short", metavar="NAME")] = "neutral",
    capital: Annotated[float, typer.Option(help="what it may use, quote currency", metavar="AMOUNT")] = 10_000.0,
    leverage: Annotated[float, typer.Option(help="leverage, linear only", metavar="NUMBER")] = 1.0,
    market: Annotated[str, typer.Option(help="spot or linear", metavar="NAME")] = "linear",
    exchange: Annotated[str | None, typer.Option(help="whose candles, from the store", metavar="VENUE")] = None,
    out: Annotated[Path, typer.Option(help="file to write", metavar="FILE")] = Path("grid.yaml"),
    replace: Annotated[bool, typer.Option("--replace", help="write over a file that is there")] = False,
) -> None:
    """Find a range and spacing of a grid in the last days, and write its config.

    Grids as on an exchange are played exactly, at the pessimistic bound, on the first two thirds of the days; the best
    is then played on the last third, which tells what it earns where it was not chosen.
    """
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another file, or give --replace.")
    asked = {
        "strategy": "grid",
        "pair": names_of_pairs([pair])[0],
        "capital": capital,
        "leverage": leverage,
        "market": market,
        **({} if exchange is None else {"exchange": exchange}),
        "grid": {"preset": "exchange", "direction": direction},
    }
    config_values(asked)  # a mistake is told before the rest is loaded
    import yaml

    from backtesting.suggestion import suggest
    from bot.candles import Candles, iso
    from coordinator.config import load_single
    from services.app.backtest import find_candles, histories_of
    from services.market_data.instruments import load_instruments
    from services.market_data.store import CandleStore

    data_dir = Settings().data_dir
    config, candles = find_candles(load_single(asked), CandleStore(data_dir))
    assert isinstance(candles, Candles)
    candles = candles.between(int(candles.ts[-1]) + candles.bar_ms - int(days * DAY), None)
    stated = load_instruments(data_dir, config.exchange, config.market).get(config.pair)
    funding = histories_of(config, data_dir).get(config.pair)
    asked["exchange"] = config.exchange
    with progress("playing grids") as show:
        found = suggest(asked, candles, fetched=stated, funding=funding, progress=show)
    written = {key: value for key, value in found.config.document().items() if key != "execution"}
    write_whole(out, yaml.safe_dump(written, sort_keys=False))
    grid_ = found.config.parameters.model_dump()
    start, end = iso(int(candles.ts[0])), iso(int(candles.ts[-1]) + candles.bar_ms)
    _say(
        f"{config.pair}: {grid_['levels']} levels, {grid_['spacing']}, from {grid_['lower']:g} to {grid_['upper']:g}, "
        f"the best of {found.tried} grids"
    )
    _say(f"chosen on {start} to {iso(found.split)}: {found.chosen_on:+.2f} %")
    _say(
        f"afterwards, to {end}: {found.afterwards:+.2f} % with {found.fills} fills, while holding gave "
        f"{found.holding:+.2f} %"
    )
    _say(f"{out}: next: traderagent backtest {out}")


def _say(line: str) -> None:
    console().print(line, soft_wrap=True, highlight=False, markup=False)
