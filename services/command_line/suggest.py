"""`traderagent suggest`: a config chosen by exact simulation of the last days, and tried on days it has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from bot.times import DAY
from coordinator.config_file import config_values, names_of_pairs
from services.command_line.console import console, progress
from services.settings import Settings
from services.whole_file import write_whole

if TYPE_CHECKING:
    from search.exploration import Progress
    from search.suggested import SuggestedConfig
    from search.window import MarketHistory

app = typer.Typer(help="Suggest a config from the last days of candles.", no_args_is_help=True)

Pair = Annotated[str, typer.Option(help="symbol, such as BTCUSDT", metavar="PAIR")]
Days = Annotated[float, typer.Option(help="how many of the last days", min=2, max=3650, metavar="DAYS")]
Capital = Annotated[float, typer.Option(help="what it may use, quote currency", metavar="AMOUNT")]
Leverage = Annotated[float, typer.Option(help="leverage, linear only", metavar="NUMBER")]
MarketName = Annotated[str, typer.Option("--market", help="spot or linear", metavar="NAME")]
Exchange = Annotated[str | None, typer.Option(help="whose candles, from the store", metavar="VENUE")]
Objective = Annotated[str, typer.Option(help="figure or formula that ranks", metavar="FIGURE")]
Out = Annotated[Path, typer.Option(help="file to write", metavar="FILE")]
Replace = Annotated[bool, typer.Option("--replace", help="write over a file that is there")]


@app.command("grid")
def grid(
    pair: Pair,
    days: Annotated[float, typer.Option(help="how many of the last days", min=1, max=3650, metavar="DAYS")] = 30.0,
    direction: Annotated[str, typer.Option(help="neutral, long or short", metavar="NAME")] = "neutral",
    capital: Capital = 10_000.0,
    leverage: Leverage = 1.0,
    market: MarketName = "linear",
    exchange: Exchange = None,
    out: Out = Path("grid.yaml"),
    replace: Replace = False,
) -> None:
    """Find a range and spacing of a grid in the last days, and write its config.

    Grids as on an exchange are played exactly, at the pessimistic bound, on the first two thirds of the days; the best
    is then played on the last third, which tells what it earns where it was not chosen.
    """
    asked = _asked("grid", pair, (capital, leverage, market, exchange), out, replace=replace)
    asked["grid"] = {"preset": "exchange", "direction": direction}
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


@app.command("trend")
def trend(
    pair: Pair,
    days: Days = 730.0,
    objective: Objective = "information_ratio",
    capital: Capital = 10_000.0,
    leverage: Leverage = 1.0,
    market: MarketName = "linear",
    exchange: Exchange = None,
    out: Out = Path("trend.yaml"),
    replace: Replace = False,
) -> None:
    """Find channels, stop and sizing of a trend follower in the last days, and write its config.

    The search ranges of the pair's class (`classify`) are played exactly, by the pessimistic fill rules, on the first
    two thirds of the days; the best is then played on the last third, which tells what it earns where it was not
    chosen.
    """
    _by_class(_asked("trend", pair, (capital, leverage, market, exchange), out, replace=replace), days, objective, out)


@app.command("dca")
def dca(
    pair: Pair,
    days: Days = 730.0,
    objective: Objective = "information_ratio",
    capital: Capital = 10_000.0,
    leverage: Leverage = 1.0,
    market: MarketName = "linear",
    exchange: Exchange = None,
    out: Out = Path("dca.yaml"),
    replace: Replace = False,
) -> None:
    """Find steps, target and stop of a DCA in the last days, as `suggest trend` does, and write its config."""
    _by_class(_asked("dca", pair, (capital, leverage, market, exchange), out, replace=replace), days, objective, out)


@app.command("rules")
def rules(
    pair: Pair,
    days: Days = 730.0,
    objective: Objective = "information_ratio",
    capital: Capital = 10_000.0,
    leverage: Leverage = 1.0,
    market: MarketName = "linear",
    exchange: Exchange = None,
    out: Out = Path("rules.yaml"),
    replace: Replace = False,
) -> None:
    """Find a Supertrend and its stop in the last days, as `suggest trend` does, and write its config."""
    _by_class(_asked("rules", pair, (capital, leverage, market, exchange), out, replace=replace), days, objective, out)


def _asked(
    strategy: str, pair: str, place: tuple[float, float, str, str | None], out: Path, *, replace: bool
) -> dict[str, Any]:
    """Values of a config before its parameters; raises Misconfigured for a file that is there."""
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another file, or give --replace.")
    capital, leverage, market, exchange = place
    asked = {
        "strategy": strategy,
        "pair": names_of_pairs([pair])[0],
        "capital": capital,
        "leverage": leverage,
        "market": market,
        **({} if exchange is None else {"exchange": exchange}),
    }
    return config_values(asked)  # a mistake is told before the rest is loaded


def _by_class(asked: dict[str, Any], days: float, objective: str, out: Path) -> None:
    """Search the ranges of the pair's class, write the best as a config, and say what it is worth."""
    import yaml

    from search.suggested import suggested

    place, market = _market(asked, days)
    with progress("playing") as show:

        def told(now: Progress) -> None:
            show(now.done / max(now.total, 1), f"{now.done:,} of {now.total:,}")

        found = suggested(place, asked["strategy"], objective, market, told)
    write_whole(out, _comments(found) + yaml.safe_dump(found.found.best.document(), sort_keys=False))
    chosen = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                       for key, value in found.values.items())  # fmt: skip
    _say(f"{place['pair']}, {found.kind}: {chosen}, the best of {len(found.found.numbers):,}")
    for sentence in found.words:
        _say(sentence)
    _say(f"{out}: next: traderagent backtest {out}")


def _market(asked: dict[str, Any], days: float) -> tuple[dict[str, Any], MarketHistory]:
    """What a space says of the pair, and the last days of its candles with what is known of it."""
    from search.pair_classes import PairClass
    from search.pipeline import class_space
    from search.reading import read_space
    from search.window import market_of
    from services.app.backtest import histories_of
    from services.app.stored_pairs import stored_pairs
    from services.market_data.instruments import load_instruments
    from services.market_data.store import CandleStore

    data_dir, pair = Settings().data_dir, asked["pair"]
    store = CandleStore(data_dir)
    held = stored_pairs(store, [pair], asked.get("exchange"), asked["market"])
    series = min(held, key=lambda one: (one.venue != "bybit", one.venue))
    place = {**asked, "exchange": series.venue, "bar": series.bar}
    config: Any = read_space(class_space(place, asked["strategy"], PairClass.STABLE, {})).first
    candles = store.read(series, store.end(series) - int(days * DAY))
    stated = load_instruments(data_dir, series.venue, config.market).get(pair)
    return place, market_of(config, candles, stated, histories_of(config, data_dir).get(pair))


def _comments(found: SuggestedConfig) -> str:
    first = f"Suggested by `traderagent suggest`. Trials: {found.found.evidence.trials:,}."
    return "".join(f"# {sentence}\n" for sentence in (first, *found.words))


def _say(line: str) -> None:
    console().print(line, soft_wrap=True, highlight=False, markup=False)
