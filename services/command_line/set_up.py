"""`traderagent init` and `install-service`: a bot's config, and the service that keeps it running on a server."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bot.errors import Misconfigured, cut, shown
from coordinator.config_file import AUTO, BUILT_IN, names_of_pairs, parsed, read_values, reference
from services.command_line.console import console, notes
from services.whole_file import write_whole

ENVIRONMENTS = ("demo", "testnet", "live")

CONFIG = """\
# The config of a bot. Try it on recorded candles, look for what is in the way, and let it trade:
#   traderagent backtest {file}
#   traderagent doctor {file}
#   traderagent run {file}
version: 1

# grid, dca, trend; auto, which chooses one by the market's regime; or FILE.py:NAME of your own.
# `traderagent parameters {strategy}` lists every key with its default, bounds and meaning.
strategy: {strategy}

# Symbols as the venue writes them; they share one account.
pairs: [{pairs}]

market: linear            # perpetual contracts, settled in USDT
{money}
leverage: 1

# What a strategy is told beside its defaults stands in a section of its name, such as:
# grid:
#   levels: 15              # one cell each
#   profit_per_grid: 0.5%   # 0.005 is the same, and 0.5 would be 50 %
#   stop_loss: 5%           # beyond the range

# Only `traderagent run`, `doctor` and their like read this section; a backtest does not.
bot:
  name: {quoted}{pad}# part of every order's id, so one bot has one name: up to 8 lower-case letters and digits
  environment: {environment}{room}# demo and testnet trade play money; live trades yours
  foreign: refuse         # refuse to start beside orders and positions that are not the bot's; or: ignore

# Keys come from the environment, never from this file: TRADERAGENT_KEY and TRADERAGENT_SECRET.
"""
ALONE = """\
capital: {capital}            # the most that all pairs together use, USDT
reinvest: false           # true: size by the present equity instead"""
WHOLE = """\
capital: {capital}            # of a backtest, USDT; a bot of `auto` trades the whole wallet, less a reserve"""


def init(
    out: Annotated[Path, typer.Argument(help="file to write", metavar="[FILE]")] = Path("bot.yaml"),
    strategy: Annotated[
        str | None, typer.Option(help="grid, dca, trend, auto, or FILE.py:NAME", metavar="NAME")
    ] = None,
    pairs: Annotated[str | None, typer.Option(help="symbols, with commas between", metavar="PAIRS")] = None,
    capital: Annotated[float | None, typer.Option(help="what it may use, USDT", metavar="AMOUNT")] = None,
    environment: Annotated[str | None, typer.Option(help=", ".join(ENVIRONMENTS), metavar="NAME")] = None,
    name: Annotated[str | None, typer.Option(help="of the bot", metavar="NAME")] = None,
    replace: Annotated[bool, typer.Option("--replace", help="write over a file that is there")] = False,
) -> None:
    """Ask five questions and write a bot's config, with comments.

    What an option answers is not asked; where nobody can answer, the defaults are taken.
    """
    if out.exists() and not replace:
        raise Misconfigured(f"{cut(str(out))} exists; choose another file, or give --replace.")
    answers = {
        "strategy": _answer("Which strategy: grid, dca, trend, auto, or FILE.py:NAME?", strategy, "grid", _strategy),
        "pairs": _answer("Which pairs, with commas between?", pairs, "BTCUSDT", _pairs),
        "capital": _answer("How much may it use, USDT?", capital, 1000.0, _capital),
        "environment": _answer(f"Where does it trade: {', '.join(ENVIRONMENTS)}?", environment, "demo", _environment),
        "name": _answer("How is the bot called?", name, "main", _name),
    }
    text = _written(out, answers)
    with notes().status("checking the config"):
        _check(text)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text)
    told = ", ".join(f"{key} {value}" for key, value in answers.items())
    console().print(f"{out}: {told}", soft_wrap=True, highlight=False, markup=False)
    console().print(f"next: traderagent backtest {out}, then doctor and run", soft_wrap=True, highlight=False)


def _answer(question: str, given: Any, default: Any, check: Any) -> Any:
    """Return what an option says, else what a person answers, else the default; asks again until it can be used."""
    if given is not None:
        return check(given)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return check(default)
    while True:
        try:
            return check(typer.prompt(question, default=default))
        except Misconfigured as error:
            notes().print(f"{error}", style="yellow", highlight=False, markup=False)


def _strategy(value: str) -> str:
    if value == AUTO:
        return value
    place, sign, name = reference(value).rpartition(":")
    return f"{Path(place).resolve()}{sign}{name}" if place.endswith(".py") else value


def _pairs(value: str) -> str:
    names = names_of_pairs(value.upper())
    if not names:
        raise Misconfigured("pairs is empty; name at least one, such as BTCUSDT.")
    return ", ".join(names)


def _capital(value: Any) -> str:
    if not 0 < float(value) <= 1e12:
        raise Misconfigured(f"capital is {shown(value)}; give an amount of USDT, such as 1000.")
    return f"{float(value):.10g}"


def _environment(value: str) -> str:
    if value not in ENVIRONMENTS:
        raise Misconfigured(f"environment is {shown(value)}; choose one of {', '.join(ENVIRONMENTS)}.")
    return value


def _name(value: str) -> str:
    if not 1 <= len(value) <= 8 or not value.isascii() or not value.isalnum() or value != value.lower():
        raise Misconfigured(f"name is {shown(value)}; give 1 to 8 lower-case letters and digits.")
    return value


def _written(file: Path, answers: dict[str, Any]) -> str:
    money = (WHOLE if answers["strategy"] == AUTO else ALONE).format(capital=answers["capital"])
    strategy = answers["strategy"] if answers["strategy"] in (AUTO, *BUILT_IN) else f'"{answers["strategy"]}"'
    name = answers["name"]
    quoted = name if parsed(name) == name else f'"{name}"'  # such as 123, or no
    room = {"pad": quoted, "room": answers["environment"]}
    fills = {"pad": " " * max(1, 18 - len(room["pad"])), "room": " " * max(1, 11 - len(room["room"]))}
    return CONFIG.format(file=file, money=money, quoted=quoted, **{**answers, "strategy": strategy}, **fills)


def _check(text: str) -> None:
    """Raise Misconfigured unless a backtest and a bot take this config."""
    import tempfile

    from services.runtime.config import load_bot

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bot.yaml"
        path.write_text(text, encoding="utf-8")
        load_bot(path)


BOT = "bot"
FLEET = "fleet run --stop-bots"
# Services and their commands.
OTHERS = {"fleet": FLEET, "watchdog": "watchdog", "telegram": "telegram run", "worker": "worker"}
UNIT = """\
[Unit]
Description=traderagent {name}
Wants=network-online.target time-sync.target
After=network-online.target time-sync.target

[Service]
Type=exec
WorkingDirectory={folder}
Environment="TRADERAGENT_DATA_DIR={data_dir}"
{environment}ExecStart={command}
# {crash}
Restart=on-failure
RestartSec=5
RestartPreventExitStatus=2
{ending}KillMode={kill}
TimeoutStopSec=120
{user}
[Install]
WantedBy={target}
"""
KEYS = """\
# TRADERAGENT_KEY=... and TRADERAGENT_SECRET=..., or TRADERAGENT_MASTER_KEY=..., a line each; readable by you alone
# (chmod 600). Not needed where `traderagent keys` has the key.
EnvironmentFile=-{keys}
"""
MASTER = """\
# TRADERAGENT_MASTER_KEY=..., where the data directory has no file master.key; readable by you alone (chmod 600).
EnvironmentFile=-{place}
"""
BOOKS_AGAIN = "A crash is followed by a start, which books what was missed; bad input (exit code 2) is not."
STARTS_AGAIN = "A crash is followed by a start; bad input (exit code 2) is not."
FLEET_ENDING = """\
# `systemctl stop` ends the bots in order. When the fleet alone is killed they trade on, and are found again.
"""
ENDING = "# Entries are cancelled and everything is stored before it ends; stops and targets stay at the venue.\n"


def install_service(
    config: Annotated[Path | None, typer.Argument(help="YAML file of the bot, or of the watchdog")] = None,
    out: Annotated[Path | None, typer.Option(help="file to write instead of printing", metavar="FILE")] = None,
    service: Annotated[
        str, typer.Option(help="what it runs: bot, fleet, watchdog, telegram or worker", metavar="NAME")
    ] = "bot",
    write: Annotated[bool, typer.Option("--write", help="write it to systemd's folder")] = False,
    system: Annotated[
        str | None, typer.Option(help="a unit of the machine that runs as this user", metavar="USER")
    ] = None,
) -> None:
    """Print, or write, a systemd unit that keeps a bot running, a whole fleet, or what stands beside it.

    It is a unit of your own user, without root. Such a unit ends when you log out, unless `loginctl enable-linger` has
    told systemd to keep your services running and to start them with the machine.
    """
    name, text = _service_of(service, None if config is None else config.resolve(), system)
    unit = f"traderagent-{name}.service" if service == BOT else f"traderagent_{name}.service"  # a bot may be called so
    own = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "systemd" / "user"
    place = out or ((Path("/etc/systemd/system") if system else own) / unit if write else None)
    if place is None:
        print(text, end="")  # noqa: T201, to be piped into a file
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    manager = "sudo systemctl" if system else "systemctl --user"
    steps = []
    if service == BOT and config is not None:
        keys = _keys(config.resolve(), name)
        steps.append(f"`traderagent keys add`, or write the key to {keys} and `chmod 600` it")
    steps += [f"{manager} daemon-reload", f"{manager} enable --now {unit}"]
    if not system:
        steps.append("sudo loginctl enable-linger $USER: else it ends when you log out, and no boot starts it")
    console().print("\n".join([f"{place} is written; now:", *steps]), soft_wrap=True, highlight=False, markup=False)


def _keys(config: Path, name: str) -> Path:
    return config.parent / f"{name}.env"


def _service_of(service: str, config: Path | None, user: str | None) -> tuple[str, str]:
    """Return the name of a unit and its text; raises Misconfigured."""
    if service != BOT and service not in OTHERS:
        raise Misconfigured(f"service is {shown(service)}; choose one of {', '.join([BOT, *OTHERS])}.")
    if service == BOT:
        if config is None:
            raise Misconfigured("config is missing; give the YAML file of the bot, or a --service that needs none.")
        bot = read_values(config).get("bot") or {}
        name = _name(str(bot.get("name", "main") if isinstance(bot, dict) else "main"))
        return name, _unit(f"bot {name}", "run", config, user, KEYS.format(keys=_keys(config, name)))
    if config is not None and service != "watchdog":
        raise Misconfigured(f"config {shown(str(config))} is of no use to {service}; leave it out.")
    if config is not None:
        read_values(config)
    return service, _unit(service, OTHERS[service], config, user, "")


def _unit(what: str, words: str, config: Path | None, user: str | None, environment: str) -> str:
    """Return the text of a unit; `words` are its command, `environment` where a bot's key comes from."""
    from services.settings import Settings

    data_dir = Settings().data_dir.resolve()
    folder = data_dir if config is None else config.parent
    paths = [folder, data_dir, *([] if config is None else [config])]
    odd = next((str(path) for path in paths if any(one in str(path) for one in "\n\r%$\"'\\")), None)
    if odd is not None:
        raise Misconfigured(f"path {shown(odd)} has a character that systemd reads as another; move it elsewhere.")
    program = Path(sys.executable).with_name("traderagent")
    given = "" if config is None else f' "{config}"' if " " in str(config) else f" {config}"
    return UNIT.format(
        name=what,
        folder=folder,
        data_dir=data_dir,
        environment=environment or MASTER.format(place=data_dir / f"{words.partition(' ')[0]}.env"),
        command=f"{program if program.exists() else f'{sys.executable} -m bot'} {words}{given}",
        crash=BOOKS_AGAIN if words == "run" else STARTS_AGAIN,
        ending={"run": ENDING, FLEET: FLEET_ENDING}.get(words, ""),
        kill="process\nOOMPolicy=continue" if words == FLEET else "mixed",
        user=f"User={user}\n" if user else "",
        target="multi-user.target" if user else "default.target",
    )
