"""`traderagent check`: whether a backtest of a strategy may be believed, by replays of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured, cut
from bot.times import DAY
from coordinator.config_file import AUTO, KEYS, config_values, names_of_pairs
from services.command_line.backtest import assignment
from services.command_line.console import console, progress
from services.settings import Settings

if TYPE_CHECKING:
    from backtesting.strategy_checks import CheckResult
    from bot.candles import Candles
    from coordinator.config import BacktestConfig

MADE = "BTCUSDT"
FILES = (".yaml", ".yml")  # of configs
OF_PORTFOLIOS = ("risk", "allocation", "smc", "investments")  # sections that a strategy alone does not have
SEED = 7
COLOURS = {"pass": "green", "review": "yellow", "fail": "red"}


def check(
    strategy: Annotated[
        str, typer.Argument(help="grid, dca, trend, rules, your own FILE.py:NAME, or a config, CONFIG.yaml")
    ],
    pair: Annotated[
        str | None,
        typer.Option(help="of the store [default: that of the config; else candles are made]", metavar="PAIR"),
    ] = None,
    days: Annotated[int, typer.Option(min=2, max=120, help="length of what is traded, days", metavar="NUMBER")] = 60,
    every: Annotated[
        int | None,
        typer.Option(min=1, help="cut at one of so many events [default: about 60 cuts a kind]", metavar="NUMBER"),
    ] = None,
    walks: Annotated[int, typer.Option(min=10, max=10_000, help="random walks to trade", metavar="NUMBER")] = 100,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="any key, such as grid.levels=20", metavar="KEY=VALUE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of the table")] = False,
) -> None:
    """Check a strategy for look-ahead, warm-up, scale, determinism, gains on random walks, and costs.

    It is replayed with the future cut and randomised: what was decided before must be the same bits. Each check says
    pass, fail or review. Exit code 1 when one fails.
    """
    sections = dict(assignment(text) for text in changes or [])
    given = _given(strategy, pair, sections)  # a mistake is told before the rest is loaded
    from backtesting.instruments import instrument_for
    from backtesting.simulator import PreparedCandles
    from backtesting.strategy_checks import CheckVerdict, check_strategy
    from bot.candles import iso
    from coordinator.config import load_single
    from services.market_data.instruments import load_instruments

    config = load_single(given, sections)
    made = pair is None and not strategy.endswith(FILES)
    config, candles = _history(config, days, stored=not made)
    stated = None if made else load_instruments(Settings().data_dir, config.exchange, config.market).get(config.pair)
    instrument, _ = instrument_for(config.pair, config.market, candles, config.instrument, stated)
    prepared = PreparedCandles.of(candles, instrument)
    with progress("checking") as show:
        found = list(check_strategy(config, prepared, every=every, walks=walks, progress=show))
    worst = next((one for one in ("fail", "review") if any(finding.verdict == one for finding in found)), "pass")
    period = {"from": iso(int(candles.ts[0])), "to": iso(int(candles.ts[-1]) + candles.bar_ms)}
    if as_json:
        whose = "made" if made else str(config.candles or config.exchange)
        of = {"strategy": strategy, "pair": config.pair, "candles": whose, **period}
        checks = [
            {"check": one.check, "verdict": one.verdict, "sentence": one.sentence, **one.figures} for one in found
        ]
        print(json.dumps({**of, "verdict": worst, "checks": checks}, indent=2))  # noqa: T201, for other programs
    else:
        _print(found)
        source = "made candles" if made else f"{config.pair} of {config.candles or config.exchange}"
        console().print(
            f"{strategy} on {source}, {period['from'][:16]} to {period['to'][:16]}: {worst}", highlight=False
        )
    raise typer.Exit(1 if worst == CheckVerdict.FAIL else 0)


def _given(strategy: str, pair: str | None, sections: dict[str, Any]) -> dict[str, Any]:
    """Keys and values of one strategy on one pair: of a name, or of a config without what only portfolios have."""
    is_config = strategy.endswith(FILES)
    values = config_values(Path(strategy) if is_config else {"strategy": strategy}, sections)
    if values["strategy"] == AUTO:
        raise Misconfigured(
            f"strategy {AUTO}{f' of {cut(strategy)}' if is_config else ''} is checked by what it is made of; choose "
            "grid, dca, trend, rules or FILE.py:NAME."
        )
    named = names_of_pairs(values.get("pairs") or [values.get("pair", MADE)])
    values["pairs"] = names_of_pairs([pair]) if pair else named[:1]
    others = set(OF_PORTFOLIOS) | (set(sections) - set(KEYS))  # keys whose section is found later
    if pair and named != values["pairs"]:  # these are of another pair
        others |= {"instrument"} if isinstance(values.get("candles"), dict) else {"instrument", "candles"}
    return {key: value for key, value in values.items() if key not in others}


def _history(config: BacktestConfig, days: int, *, stored: bool) -> tuple[BacktestConfig, Candles]:
    """Candles to trade `days` of, after twice the stated warm-up where they are there, and whose they are."""
    from backtesting.candles import read_candles
    from backtesting.run import warmup_start
    from bot.candles import Candles
    from services.app.backtest import find_candles
    from services.market_data.store import CandleStore
    from services.market_data.synth import START_MS, generate

    if stored:
        config, held = find_candles(config.changed(start=None, end=None), CandleStore(Settings().data_dir))
        candles = held if isinstance(held, Candles) else read_candles(held)
        start = int(candles.ts[-1]) + candles.bar_ms - days * DAY
    else:
        start = START_MS
    warmup = start - (warmup_start(config.changed(start=start, end=None)) or start)
    if not stored:
        history = -(-2 * warmup // DAY)
        return config, generate([config.pair], days + history, SEED, START_MS - history * DAY)[config.pair]
    if int(candles.ts[0]) > start - warmup:
        there = (int(candles.ts[-1]) - int(candles.ts[0])) / DAY
        raise Misconfigured(
            f"days is {days} but {there:.1f} days of {config.pair} are stored, and the strategy warms up for "
            f"{warmup / DAY:.1f}; choose fewer days or download more."
        )
    return config, candles.between(start - 2 * warmup, None)


def _print(found: list[CheckResult]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("check", "", "what was found", title_justify="left")
    for one in found:
        table.add_row(one.check, f"[{COLOURS[one.verdict]}]{one.verdict}[/]", escape(one.sentence))
    console().print(table)
