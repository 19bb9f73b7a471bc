"""Speaking to a running bot, or to the supervisor of a fleet, over its control interface."""

from __future__ import annotations

import http.client
import json
import os
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from bot.errors import Misconfigured, cut, shown

LARGEST_ANSWER = 16 << 20  # bytes
HEALTH_SECONDS = 2.0  # for a process to say that it is there
FLEET_SECONDS = 10.0
SECONDS = 120.0  # a shutdown waits for positions to close
NAME = re.compile(r"[a-z0-9]{1,8}")  # of a bot
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d{1,5}")
BY_OPERATOR = ("`ctl stop` was said", "`ctl shutdown` was said", "Ctrl-C")  # reasons why a bot has ended
# No proxy of the environment's: it would get the token.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def control_file(data_dir: Path, bot: str) -> Path:
    """Where a running bot leaves its address and token."""
    return data_dir / "bots" / f"{bot}.json"


def log_file(data_dir: Path, bot: str) -> Path:
    """Where a bot writes what it logs."""
    return data_dir / "bots" / f"{bot}.log"


def fleet_file(data_dir: Path) -> Path:
    """Where a running supervisor of a fleet leaves its address and token."""
    return data_dir / "fleet.json"


def ask_fleet(data_dir: Path, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Ask the fleet's supervisor something, or tell it; raises Misconfigured with its refusal, or where none runs."""
    file = fleet_file(data_dir)
    if process_of(file) is None:
        raise Misconfigured(f"no fleet runs on {cut(str(data_dir))}; start one with `traderagent fleet run`.")
    return ask(file, path, body, FLEET_SECONDS, who="fleet")


def process_of(file: Path) -> int | None:
    """Process that has left a control file, where it lives; a later one by the same number is another."""
    from services.processes import lives, lives_since  # noqa: PLC0415, slow to load for who asks a bot

    try:
        number = json.loads(file.read_text(encoding="utf-8"))["process"]
        if lives_since(number, file.stat().st_mtime):
            return int(number)
        return number if lives(number) and answers(file) else None  # the clock may have been set since it began
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def answers(file: Path) -> bool:
    """Whether what has left a control file says that it lives."""
    try:
        return ask(file, "/health", seconds=HEALTH_SECONDS).get("alive") is True
    except Misconfigured:
        return False


def file_of(data_dir: Path, bot: str | None) -> Path:
    """Return the control file of a bot: the one named, else of the only one that runs.

    Raises Misconfigured where none or several run, with why the last one ended.
    """
    if bot is not None and not NAME.fullmatch(bot):
        raise Misconfigured(f"bot {shown(bot)} is no name; a bot's has 1 to 8 lower-case letters and digits.")
    running = running_bots(data_dir)
    if bot is None and len(running) > 1:
        raise Misconfigured(f"{len(running)} bots run: {', '.join(running)}; say which one with --bot.")
    if bot is None and running:
        return control_file(data_dir, running[0])
    if bot is not None and (bot in running or not log_file(data_dir, bot).exists()):
        return control_file(data_dir, bot)
    ended = [bot] if bot is not None else _bots(data_dir, ".log")
    if not ended:
        return control_file(data_dir, "main")
    last = max(ended, key=lambda name: log_file(data_dir, name).stat().st_mtime)
    raise Misconfigured(f"no bot runs here; {how_it_ended(data_dir, last)}")


def known_bots(data_dir: Path) -> list[str]:
    """Names of the bots that run, or were killed while they did."""
    return _bots(data_dir, ".json")


def running_bots(data_dir: Path) -> list[str]:
    """Names of the bots that run."""
    return [name for name in _bots(data_dir, ".json") if _lives(control_file(data_dir, name))]


def how_it_ended(data_dir: Path, bot: str) -> str:
    """Say when and why a bot that does not run has ended: by its own last word, else by the last line of its log."""
    lines = tail(log_file(data_dir, bot), 1)
    last = as_event(lines[-1]) if lines else {}
    at = cut(str(last.get("timestamp", "an unknown time")), 40)
    if last.get("event") == "ended":
        why = cut(str(last.get("reason", "it said no more")), 400).rstrip(".")
        return f"{bot!r} was running, ended at {at} because {why}."
    said = cut(str(last.get("event", "nothing")))
    why = f"it was killed or this machine stopped; its last line was {said!r}"
    return f"{bot!r} was running, ended at {at} because {why}. Start it again with `traderagent run`."


def ended_by_operator(data_dir: Path, bot: str) -> bool:
    """Whether the last word of a bot that does not run is that somebody has stopped it on purpose."""
    file = log_file(data_dir, bot)
    if control_file(data_dir, bot).exists() or not file.exists():
        return False
    try:
        last = as_event(next(iter(tail(file, 1)), ""))
    except FileNotFoundError:  # it is begun anew just now
        return False
    return last.get("event") == "ended" and last.get("reason") in BY_OPERATOR


def tail(file: Path, count: int) -> list[str]:
    """Return the last lines of a file, as many as fit into its last megabyte."""
    with file.open("rb") as kept:
        kept.seek(max(kept.seek(0, os.SEEK_END) - (1 << 20), 0))
        return kept.read().decode(errors="replace").splitlines()[-count:]


def as_event(line: str) -> dict[str, Any]:
    """Read a line of a log; what is no event of ours is one by its text."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"event": line}


def _bots(data_dir: Path, ending: str) -> list[str]:
    """Names of bots that have left such a file."""
    found = (path.name.removesuffix(ending) for path in (data_dir / "bots").glob(f"*{ending}"))
    return sorted(name for name in found if NAME.fullmatch(name))


def _lives(file: Path) -> bool:
    """Whether the process that has left a control file is there; where that cannot be told, it is asked."""
    if os.name == "nt":  # where asking by signal 0 would interrupt it
        return file.exists()
    try:
        number = json.loads(file.read_text(encoding="utf-8"))["process"]
        os.kill(number, 0)
    except (ProcessLookupError, FileNotFoundError):
        return False
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return True
    return True


def ask(
    file: Path, path: str, body: dict[str, Any] | None = None, seconds: float = SECONDS, who: str = "bot"
) -> dict[str, Any]:
    """Ask the bot something, or tell it; raises Misconfigured with its refusal, or when it does not run.

    `who` is asked, as sentences call it.
    """
    address, token = _known(file, who)
    request = urllib.request.Request(  # noqa: S310, the address is our own file's
        address + path,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    try:
        with OPENER.open(request, timeout=seconds) as answer:
            return _object(file, answer.read(LARGEST_ANSWER), who)
    except urllib.error.HTTPError as error:
        with error:
            refused = _object(file, error.read(LARGEST_ANSWER), who)
        sentence = refused.get("error")
        raise (Misconfigured(sentence) if isinstance(sentence, str) else _unreadable(file, who)) from None
    except http.client.HTTPException:
        raise _unreadable(file, who) from None
    except OSError:
        raise Misconfigured(f"the {who} of {file} does not answer; it may have been killed. Start it again.") from None


def venue_of(file: Path) -> dict[str, str | None] | None:
    """Where the bot of a control file trades: exchange, environment, address, market; None where it does not say."""
    try:
        venue = json.loads(file.read_text(encoding="utf-8"))["venue"]
        return {name: venue[name] for name in ("exchange", "environment", "address", "market")}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _known(file: Path, who: str) -> tuple[str, str]:
    """Address and token that the bot has left; raises Misconfigured."""
    try:
        known = json.loads(file.read_text(encoding="utf-8"))
        address, token = known["address"], known["token"]
        if ADDRESS.fullmatch(address) and token.isascii() and token.isprintable():
            return address, token
    except OSError:
        command = "run" if who == "bot" else f"{who} run"
        raise Misconfigured(f"no {who} runs here ({file} is missing); start it with `traderagent {command}`.") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        pass
    raise Misconfigured(f"{file} is damaged; stop the {who} by a signal and start it again.")


def _object(file: Path, data: bytes, who: str) -> dict[str, Any]:
    """Read an answer, which is a JSON object; raises Misconfigured."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _unreadable(file, who)
    return found


def _unreadable(file: Path, who: str) -> Misconfigured:
    return Misconfigured(
        f"what answers at the address in {file} is not this {who}, or one of another version; start the {who} again."
    )
