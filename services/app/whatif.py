"""Asks what a pair would do at another price: its stored memory, its newest session for what it is made of, and a copy.

Nothing is asked of the bot: its own memory and its event loop are left alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from backtesting.command_outcome import OUTCOMES, PairOutcome, command_outcome
from backtesting.what_if import what_if
from bot.errors import Misconfigured
from coordinator.config import load_portfolio
from coordinator.session import VERSION, unpacked
from services.runtime.sessions import newest_session

if TYPE_CHECKING:
    from pathlib import Path

    from bot.instrument import Instrument
    from bot.ports import Saved
    from coordinator.config import PortfolioConfig

NEWS = ('"SetParameters"', '"InstrumentListed"')  # lines of a session that change what a pair is made of


def supposed(
    data_dir: Path, bot: str, pair: str, saved: Saved, price: float, price_now: float | None = None
) -> dict[str, Any]:
    """Say how a pair would stand at a price; raises Misconfigured for what cannot be asked."""
    config, instrument, given = _made_of(data_dir, bot, pair)
    params = None if given is None else unpacked(given, config.algorithm.record([pair]).dtype)
    return {"bot": bot, **asdict(what_if(config, instrument, saved, price, price_now, params))}


def outcomes(data_dir: Path, bot: str, kept: dict[str, Saved], prices: dict[str, float]) -> dict[str, Any]:
    """Say what each command that ends in a halt or closes would do to the pairs of `prices`, by command and pair."""
    found: dict[str, dict[str, Any]] = {str(command): {} for command in OUTCOMES}
    for pair, price in prices.items():
        if pair not in kept:
            raise Misconfigured(f"bot {bot!r} has never traded pair {pair}; choose one of its own.")
        config, instrument, given = _made_of(data_dir, bot, pair)
        params = None if given is None else unpacked(given, config.algorithm.record([pair]).dtype)
        for command in OUTCOMES:
            outcome: PairOutcome = command_outcome(config, instrument, kept[pair], command, price or None, params)
            found[command][pair] = asdict(outcome)
    return {"bot": bot, "commands": found}


def _made_of(data_dir: Path, bot: str, pair: str) -> tuple[PortfolioConfig, Instrument, Any]:
    """Read config, instrument and later parameters of a pair from its newest session."""
    file = newest_session(data_dir, bot, pair)
    given: Any = None
    try:
        with file.open(encoding="utf-8") as lines:
            first = json.loads(next(lines))
            if first["session"] != VERSION:
                raise Misconfigured(f"the session of {pair} is of another version; start the bot with this one.")
            config, instrument = load_portfolio(first["config"]), unpacked(first["instrument"])
            for line in lines:
                if line.startswith('{"in"') and any(one in line[:200] for one in NEWS):
                    message = json.loads(line)["in"]
                    if message["of"] == "SetParameters":
                        given = message["fields"]["params"]
                    else:
                        instrument = unpacked(message["fields"]["instrument"])
    except (OSError, ValueError, KeyError, TypeError, StopIteration) as error:
        raise Misconfigured(
            f"the session {file.name} cannot be read ({type(error).__name__}); a start of the bot begins another."
        ) from None
    return config, instrument, given
