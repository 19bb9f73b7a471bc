"""`traderagent demo`, `run`, `ctl`, `venue`: the bot and the exchange that can stand in for Bybit."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from bot.errors import Misconfigured
from bot.market import Market
from bot.times import DAY
from coordinator.config_file import names_of_pairs, read_values, symbol_of
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

if TYPE_CHECKING:
    import asyncio
    from contextlib import AsyncExitStack

    from coordinator.bot_status import BotStatus, CapitalPhaseStanding, LiveStatus
    from coordinator.config import PortfolioConfig
    from services.doctor import Finding
    from services.runtime.config import BotSettings
    from services.trials.demo import Demo

AWAY = 75  # exit code of a bot that could not reach what it needs: sysexits' EX_TEMPFAIL
SHOWN_EVERY = 60  # minutes, where the output is no terminal


def demo(
    speed: Annotated[float, typer.Option(help="market minutes a second", metavar="NUMBER")] = 20.0,
    minutes: Annotated[
        int, typer.Option(help="end after so many market minutes; 0 runs until Ctrl-C", metavar="NUMBER")
    ] = 0,
    seed: Annotated[int, typer.Option(help="seed of the market", metavar="NUMBER")] = 11,
    web: Annotated[bool, typer.Option("--web/--no-web", help="open the console beside it, where installed")] = True,
) -> None:
    """Trade a market of its own: no keys, no network.

    Within five minutes four correlated pairs go through a calm and a wild range, a trend, a crash and a recovery.
    The market waits for the bot, so nothing is missed at any speed. `traderagent ctl --bot demo halt` commands it.
    """
    if speed <= 0:
        raise Misconfigured(f"speed is {speed:g}; give market minutes a second, such as 20.")
    from services.logs import quieten

    quieten()
    try:
        run_loop(_demo(speed, minutes, seed, web=web))
    except KeyboardInterrupt:
        console().print("stopped")


async def _demo(speed: float, minutes: int, seed: int, *, web: bool) -> None:
    from contextlib import AsyncExitStack

    from rich.live import Live

    from bot import kernel_cache
    from services.runtime.stages import Stages
    from services.runtime.view import View
    from services.trials.demo import Pace, demonstration

    terminal = console().is_terminal
    stages = Stages() if terminal else Stages(lambda one: console().print(f"{one.name} ready, {one.seconds:.1f} s"))
    starting = Live(get_renderable=stages.table, console=console(), transient=True)
    if terminal:
        kernel_cache.tell = stages.compiling
        starting.start()
    try:
        async with AsyncExitStack() as stack:
            show = await stack.enter_async_context(demonstration(seed, Settings().data_dir, stages=stages))
            starting.stop()
            place = await _console_of(show, stack) if web else []
            equity, played, more, pace = [show.status()["equity"]], 0, True, Pace(speed)
            with Live(console=console(), auto_refresh=False, screen=False) as live:
                while more and (minutes == 0 or played < minutes):
                    more = await show.steps.minute()
                    played += 1
                    if terminal and (played % max(int(speed / 10), 1) == 0):
                        now = show.status()
                        if played % 15 == 0:
                            equity.append(now["equity"])
                        live.update(View(now, show.news, equity, stages, "".join(place)), refresh=True)
                    elif not terminal and played % SHOWN_EVERY == 0:
                        _say(show)
                    await pace.wait()
            _say(show)
    finally:
        starting.stop()


async def _console_of(show: Demo, stack: AsyncExitStack) -> list[str]:
    """Start the console of a demo, where it is installed; returns where what it says will stand. The market goes on."""
    from services.command_line.web import beside, installed

    place: list[str] = []

    def heard(saying: asyncio.Task[str]) -> None:
        if not saying.cancelled():
            place.append(saying.result())
            if not console().is_terminal:
                console().print(saying.result(), soft_wrap=True)

    if installed():
        saying = await stack.enter_async_context(beside(show.database, show.redis))
        saying.add_done_callback(heard)
    return place


def _say(show: Demo) -> None:
    """Say in one line how the demo stands."""
    console().print(_line(show.status(), show.news.fills), f" {show.compilation.sentence()}", soft_wrap=True)


def _line(now: BotStatus, fills: int) -> str:
    pairs = ", ".join(f"{one['pair']} {one['strategy']} {one['phase']}" for one in now["pairs"])
    return f"{now['at']}  equity {now['equity']:,.2f}  {' '.join(now['modes']) or 'normal'}  {fills} fills  {pairs}"


def run(
    config: Annotated[Path, typer.Argument(help="YAML file: strategy, pairs, and a section bot")],
    adopt: Annotated[
        bool, typer.Option("--adopt", help="take over orders and positions of this name that the database lacks")
    ] = False,
    untested: Annotated[
        bool, typer.Option("--untested", help="live: accept, from now on, a strategy without a finished backtest")
    ] = False,
) -> None:
    """Trade until Ctrl-C or `ctl stop`. Then entries are cancelled; stops and targets stay at the exchange.

    The key comes from TRADERAGENT_KEY and TRADERAGENT_SECRET, else from `traderagent keys`. With `environment: live`
    the strategy, whose content is all of its parameters, needs a finished backtest or search on each pair.
    """
    read_values(config)  # a file that cannot be read is told before all that trades is loaded
    from bot.ports import Unreachable
    from services.app.bot import run_bot

    if untested:
        from services.app.accepted import accept
        from services.runtime.config import load_bot

        accept(*load_bot(config))
    try:
        run_loop(run_bot(config, adopt=adopt))
    except Unreachable as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201, as a refusal is told, but the same again may work
        raise typer.Exit(AWAY) from None


def doctor(
    config: Annotated[Path, typer.Argument(help="YAML file of the bot")],
    probe: Annotated[bool, typer.Option("--probe", help="demo account: also ask, by four small trades")] = False,
) -> None:
    """Say what to mend before a bot trades. Changes nothing.

    Looks at keys, permissions, clock, pairs, limits, database and bus.

    With --probe it trades on the first pair, which has to be flat, to see what the exchange does with stops where its
    documentation is silent; on a demo or test account alone.
    """
    read_values(config)
    from rich.table import Table

    from services.app.key_access import secrets_of
    from services.doctor import examine, refuse
    from services.logs import passwords, quieten
    from services.runtime.config import load_bot

    settings, chosen = load_bot(config)
    secrets = secrets_of(settings)
    hidden = (secrets.key.get_secret_value(), secrets.secret.get_secret_value())
    quieten(secrets=[*hidden, *passwords(settings.database, settings.redis)])
    findings = run_loop(examine(settings, chosen, secrets))
    table = Table("what", "found", "remedy", box=None)
    for one in findings:
        table.add_row(one.what, one.found, _remedy(one))
    console().print(table)
    refuse(findings)
    if probe:
        _probe(settings, chosen)


def _remedy(one: Finding) -> str:
    from rich.markup import escape

    if one.remedy:
        return f"[red]{escape(one.remedy)}[/red]"
    return f"[yellow]{escape(one.warning)}[/yellow]" if one.warning else "[green]fine[/green]"


def _probe(settings: BotSettings, chosen: PortfolioConfig) -> None:
    from services.app.bot import account_of
    from services.app.key_access import secrets_of
    from services.runtime.config import Environment
    from services.trials.probe import Observation, probe

    async def ask() -> list[Observation]:
        gateway = account_of(settings, chosen, secrets_of(settings)).gateway()
        try:
            await gateway.measure_clock()
            return await probe(gateway, chosen.pairs[0], live=settings.environment is Environment.LIVE)
        finally:
            await gateway.close()

    answers = run_loop(ask())
    for one in answers:
        console().print(f"{'[green]yes[/green]' if one.holds else '[red]no[/red]'}  {one.question}")
    turning = next(one for one in answers if one.rule == "turning_stops_hold")
    if turning.holds:
        console().print("grid.turning_entries: rest is possible here", style="dim")


WORDS = (
    *("status", "pause", "resume", "close", "halt", "close-all", "hold", "reduce-50", "invest"),
    *("phase-up", "phase-down", "reload", "set", "stop", "shutdown"),
)


def ctl(
    word: Annotated[str, typer.Argument(help=", ".join(WORDS), metavar="COMMAND")],
    bot: Annotated[
        str | None, typer.Option(help="name of the bot [default: the only one that runs]", metavar="NAME")
    ] = None,
    pair: Annotated[
        str | None, typer.Option(help="pause or resume this pair alone, or close its position", metavar="PAIR")
    ] = None,
    leave_entries: Annotated[bool, typer.Option("--leave-entries", help="stop, and let entries rest")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="resume a second time on the same UTC day; phase-up: without what it asks for"),
    ] = False,
    amount: Annotated[
        float, typer.Option(help="invest: capital to add, negative to take out, quote currency", metavar="NUMBER")
    ] = 0.0,
    setting: Annotated[
        str, typer.Option(help="set: which value of the config, such as risk.halt_drawdown", metavar="KEY")
    ] = "",
    value: Annotated[str, typer.Option(help="set: what it is to be, as the config writes it", metavar="VALUE")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="status as JSON")] = False,
) -> None:
    """Ask a running bot how it stands, or tell it what to do."""
    from services.control.client import ask, file_of

    if word not in WORDS:
        raise Misconfigured(f"command {word!r} is unknown; choose one of {', '.join(WORDS)}.")
    if leave_entries and word != "stop":
        raise Misconfigured(f"--leave-entries belongs to stop, not to {word}; leave it out.")
    if (word == "invest") != (amount != 0.0):
        raise Misconfigured(f"--amount is {amount:g}; it belongs to invest alone, which needs one.")
    if (word == "set") != bool(setting and value):
        raise Misconfigured("--setting and --value belong to set alone, which needs both.")
    if leave_entries:
        word = "stop-leave-entries"
    file = file_of(Settings().data_dir, bot)
    if word != "status":
        chosen = {"pair": pair and symbol_of(pair), "force": force, "amount": amount}
        if word == "set":
            chosen |= {"setting": setting, "value": value}
        said: dict[str, Any] = {"command": word, **chosen, "source": "ctl", "who": signed_in()}
        done = ask(file, "/command", said).get("done")
        console().print(str(done), markup=False)
        return
    now = ask(file, "/status")
    if as_json:
        console().print_json(data=now)
        return
    try:
        _show(cast("LiveStatus", now))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise Misconfigured(f"the status of bot {file.stem!r} is of another version; look at it with --json.") from None


def signed_in() -> str | None:
    """Name of who runs this command, where the system knows it."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return None


def _show(now: LiveStatus) -> None:
    """Show a status as a table."""
    from rich.table import Table

    table = Table("pair", "price", "regime", "strategy", "phase", "position", "profit", "orders", "target", box=None)
    for one in now["pairs"]:
        numbers = (f"{one['position']:g}", f"{one['equity']:+.2f}", f"{one['entries']}+{one['exits']}")
        words = (one["regime"].replace("_", " "), one["strategy"], one["phase"] + ("*" if one["held_off"] else ""))
        table.add_row(one["pair"], f"{one['price']:.6g}", *words, *numbers, f"{one['target']:,.0f}")
    console().print(
        f"{now['bot']} at {now['at']}: equity {now['equity']:,.2f}, drawdown {now['drawdown_pct']:.2f} %, "
        f"{' '.join(now['modes']) or 'normal'}" + (f", halted ({now['answer']})" if now["halted"] else "")
    )
    console().print(table)
    if now["phase_standing"] is not None:
        console().print(phase_line(now["phase_standing"]), soft_wrap=True)
    for one in now["pairs"]:
        if one["held_off"]:
            console().print(f"* {one['pair']} opens nothing: {', '.join(one['held_off'])}", style="yellow")
    for one in now["pairs"]:
        if one["refused_for_costs"]:
            console().print(f"{one['pair']}: {one['refused_for_costs']} refused for their costs", style="dim")
        for name, count in one["counts"].items():
            if count:
                console().print(f"{one['pair']}: {count} {name.replace('_', ' ')}", style="dim")
    console().print("orders: entries + exits", style="dim")


def phase_line(standing: CapitalPhaseStanding) -> str:
    """Say in which phase the capital is, and what is missing for the next."""
    told = f"capital phase {standing['number']} of {standing['of']}, {standing['share']:.0%} at work"
    if standing["number"] == standing["of"]:
        return told
    if not standing["missing"]:
        return f"{told}; `phase-up` goes on to the next"
    return f"{told}; the next asks for {'; '.join(standing['missing'])}"


def venue(
    pairs: Annotated[str, typer.Option(help="names with commas between", metavar="PAIRS")] = "BTCUSDT,ETHUSDT,SOLUSDT",
    speed: Annotated[
        float, typer.Option(help="times real time; 0 waits for POST /venue/advance", metavar="NUMBER")
    ] = 60.0,
    port: Annotated[int, typer.Option(help="port on 127.0.0.1; 0 takes a free one", metavar="PORT")] = 8700,
    days: Annotated[int, typer.Option(help="days of made candles", metavar="DAYS")] = 60,
    history: Annotated[int, typer.Option(help="days of them that are past when it opens", metavar="DAYS")] = 20,
    seed: Annotated[int, typer.Option(help="seed of the market", metavar="NUMBER")] = 7,
    exchange: Annotated[
        str | None, typer.Option(help="candles of this exchange from the store instead", metavar="VENUE")
    ] = None,
    market: Annotated[Market, typer.Option(help="spot or linear")] = Market.LINEAR,
    capital: Annotated[float, typer.Option(help="what the account holds, USDT", metavar="AMOUNT")] = 10_000.0,
    key: Annotated[str, typer.Option(help="API key that it takes", metavar="TEXT")] = "venue-key",
    secret: Annotated[str, typer.Option(help="its secret", metavar="TEXT")] = "venue-secret",  # noqa: S107, it guards play money
) -> None:
    """Open a Bybit v5-compatible exchange on this machine.

    Stock clients need only its address.
    """
    names = names_of_pairs(pairs)
    if not 0 <= history < days:
        raise Misconfigured(f"history is {history} of {days} days; leave some days to play.")
    run_loop(_venue(names, speed, port, days, history, seed, exchange, market, capital, (key, secret)))


async def _venue(
    names: list[str],
    speed: float,
    port: int,
    days: int,
    history: int,
    seed: int,
    source: str | None,
    market: Market,
    capital: float,
    key: tuple[str, str],
) -> None:
    import asyncio
    import gc

    from backtesting.instruments import instrument_for
    from coordinator.config import SimulationRules
    from services.market_data.store import CandleStore
    from services.market_data.synth import generate
    from services.simulated_bybit.exchange import Exchange, exchange_settings
    from services.simulated_bybit.records import Key
    from services.simulated_bybit.server import VenueServer

    if source is None:
        candles = generate(names, days, seed)
    else:
        store = CandleStore(Settings().data_dir)
        candles = {name: store.read(store.finest(source, str(market), name)) for name in names}
    instruments = {name: instrument_for(name, market, candles[name])[0] for name in names}
    traded = Exchange(instruments, candles, capital, exchange_settings(SimulationRules()))
    traded.begin(int(traded.clock[0]) + history * DAY)
    server = VenueServer(traded, [Key(*key)], speed=speed)
    try:
        opened = await server.start(port)
        gc.freeze()  # candles and markets stay; each search of them for rubbish takes 0.4 s
    except OSError as error:
        raise Misconfigured(
            f"port {port} cannot be opened ({os.strerror(error.errno or 0)}); give another with --port."
        ) from None
    console().print(f"venue at http://127.0.0.1:{opened}  key {key[0]}  secret {key[1]}  pairs {', '.join(names)}")
    try:
        await asyncio.Event().wait()
    finally:
        await server.stop()
