"""What stands in the way of a bot, found before it trades: one line for each thing looked at, with its remedy."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bot.errors import Misconfigured, TradingError
from bot.instrument import PARTIAL_STOPS
from bot.ports import Unreachable
from services.app.bot import account_of
from services.messaging.bus import ping
from services.runtime.config import EMBEDDED, NONE, BotSettings, RuntimeKind, Secrets
from services.runtime.key_check import NEW_KEY, WORDS, expiry, remedy_of, risks
from services.storage.embedded import former_database, shared_by_all
from services.storage.store import is_writable

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from bot.ports import Gateway
    from coordinator.config import PortfolioConfig

CLOCK_MS = 500
NEAR = 100  # limits that are so many times what a pair may use are not worth a word


@dataclass(frozen=True)
class Finding:
    """One thing looked at; `remedy` is empty where nothing is wrong."""

    what: str
    found: str
    remedy: str = ""
    warning: str = ""  # what will be wrong before long, and what to do about it


async def examine(settings: BotSettings, config: PortfolioConfig, secrets: Secrets) -> list[Finding]:
    """Look at everything a bot needs, without changing anything; what builds on a broken thing is left out."""
    findings = [await _database(settings), await _bus(settings), *_ray(settings)]
    gateway = account_of(settings, config, secrets).gateway()
    looks: dict[str, Look] = {"clock": _clock, "key": partial(_key, settings), "account": _account, "pairs": _pairs}
    try:
        for name, look in looks.items():
            found = await _look(name, look, gateway, config)
            findings += found
            if any(one.remedy for one in found) and look is not _clock:
                break
    finally:
        await gateway.close()
    return findings


Look = Callable[["Gateway", "PortfolioConfig"], Awaitable[list[Finding]]]


async def _look(name: str, look: Look, gateway: Gateway, config: PortfolioConfig) -> list[Finding]:
    try:
        return await look(gateway, config)
    except TradingError as error:
        return [Finding(name, "failed", str(error))]


async def _clock(gateway: Gateway, _config: PortfolioConfig) -> list[Finding]:
    offset = await gateway.measure_clock()
    remedy = "set this machine's clock by NTP" if abs(offset) > CLOCK_MS else ""
    return [Finding("clock", f"{offset:+d} ms against the venue", remedy)]


async def _key(settings: BotSettings, gateway: Gateway, config: PortfolioConfig) -> list[Finding]:
    rights = await gateway.key_rights()
    if rights is None:
        return [Finding("key", "is known; what it may do is not told in demo trading")]
    if not rights.trade:
        permission = f"give the API key the permission to trade {config.market} (Orders and Positions)"
        return [Finding("key", "may only read", permission)]
    found, soon = risks(rights, settings), expiry(rights, int(time.time() * 1000))
    told = ", ".join(["may trade", *(WORDS[one][0] for one in found)])
    return [Finding("key", told, remedy_of(found), f"{soon}; {NEW_KEY}" if soon else "")]


async def _account(gateway: Gateway, _config: PortfolioConfig) -> list[Finding]:
    wallet = (await gateway.account()).wallet
    return [Finding("wallet", f"{wallet:,.2f} USDT", "" if wallet > 0 else "put USDT into the unified account")]


async def _pairs(gateway: Gateway, config: PortfolioConfig) -> list[Finding]:
    """Instruments: whether a pair's share of the wallet is enough for what trades it, and which limits bind."""
    wallet = (await gateway.account()).wallet
    instruments = await gateway.instruments(list(config.pairs))
    algorithm, count = config.algorithm, len(config.pairs)
    findings = []
    for symbol, one in instruments.items():
        capital = wallet * (1.0 - algorithm.allocation.reserve) / count
        if algorithm.alone is not None and algorithm.fixed_shares:
            capital = min(wallet, algorithm.alone.capital) * algorithm.fixed_share(symbol, count)
        share = capital * config.leverage
        price = await gateway.price(symbol)
        what = f"smallest order {one.smallest_order(price):,.2f} USDT, its share {share:,.2f}"
        remedy = ""
        for strategy, parameters in algorithm.trading():
            what = "; ".join([what, *(told.rstrip(".") for told in parameters.remarks(price))])
            try:
                strategy.check(parameters, one, capital, price, config.leverage)
            except Misconfigured as error:
                remedy = str(error)
        if one.max_leverage is not None and config.leverage > one.max_leverage:
            remedy = (
                f"leverage {config.leverage:g} is above the venue's {one.max_leverage:g}; lower it, or remove the pair"
            )
        findings.append(Finding(symbol, "; ".join([what, *_limits(one, price, share, config.leverage)]), remedy))
    return findings


def _limits(one: Instrument, price: float, share: float, leverage: float) -> list[str]:
    """Tell what binds the pair: how much its exits close, its risk tier, and the leverage that the venue allows."""
    lots_value = float(one.lot_size) * price
    holds = one.max_position_notional(leverage)
    if one.large_positions:
        exits = f"its stops close at most {{:,.2f}}, {PARTIAL_STOPS} market orders"
    else:
        exits = "one market exit closes at most {:,.2f}"
    limits = []
    for sentence, most in (
        (exits, int(one.record(leverage).max_position_lots) * lots_value),
        (f"the risk tier of leverage {leverage:g} holds at most {{:,.2f}}", holds),
    ):
        if most < share:
            limits.append(f"{sentence.format(most)}, less than its share: entries stop there")
        elif most < NEAR * share:
            limits.append(sentence.format(most))
    if one.max_leverage is not None:
        limits.append(f"leverage at most {one.max_leverage:g}")
    return limits


async def _database(settings: BotSettings) -> Finding:
    if settings.database == EMBEDDED:
        moves = former_database(settings.data_dir, settings.name).is_dir()
        later = f"; the bot's start moves it there from bots/{settings.name}" if moves else ""
        return Finding("database", f"embedded, in {shared_by_all(settings.data_dir)}{later}")
    try:
        writable = await is_writable(settings.database)
    except Unreachable as error:
        return Finding("database", str(error), "check bot.database, and that the server runs")
    return Finding("database", "answers", "" if writable else "it is read-only: give this user the right to write")


async def _bus(settings: BotSettings) -> Finding:
    if settings.redis in (EMBEDDED, NONE):
        return Finding("redis", settings.redis)
    try:
        await ping(settings.redis)
    except Unreachable as error:
        return Finding("redis", str(error), "check bot.redis; or set it to none, the bot needs no bus")
    return Finding("redis", "answers")


def _ray(settings: BotSettings) -> list[Finding]:
    if settings.runtime is not RuntimeKind.RAY:
        return []
    if importlib.util.find_spec("ray") is None:
        return [Finding("ray", "not installed", "`uv sync --extra ray`, or set bot.runtime to local")]
    return [Finding("ray", settings.ray_address or "on this machine")]


def refuse(findings: list[Finding]) -> None:
    """Raise Misconfigured with how many things stand in the way."""
    wrong = [one for one in findings if one.remedy]
    if wrong:
        raise Misconfigured(f"{len(wrong)} of {len(findings)} checks failed; see above what to do.")
