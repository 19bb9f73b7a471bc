"""Builds the bot that trades: what a config, an account and this machine make together."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bot.errors import Misconfigured, cut
from coordinator.phase_gates import PhaseEvidence
from coordinator.saved_strategy import saved_strategy
from services.app.backing import Backing, backing, joined
from services.app.key_access import secrets_of
from services.app.shared_market_data import shared
from services.control.client import control_file, log_file
from services.control.server import ControlServer
from services.drift_days import newest_day
from services.logs import catch_the_rest, configure, passwords
from services.runtime.config import (
    AccountAccess,
    BotSettings,
    Environment,
    MarketDataSource,
    RuntimeKind,
    Secrets,
    load_bot,
)
from services.runtime.key_check import refuse_risks
from services.runtime.live import LiveBot, as_live
from services.runtime.local import LocalRuntime
from services.runtime.sessions import sessions_folder
from services.runtime.warm import compiled_meanwhile
from services.storage.strategies import RunRecorder, goes_on
from services.storage.tested_runs import kills_survived, untested_pairs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bot.ports import Gateway
    from coordinator.config import PortfolioConfig
    from services.runtime.protocol import MakeControl, Runtime

log = structlog.get_logger()


def account_of(settings: BotSettings, config: PortfolioConfig, secrets: Secrets) -> AccountAccess:
    """Say where the bot trades."""
    return AccountAccess(
        *(secrets.key, secrets.secret, config.market, settings.environment, settings.address),
        *(settings.requests_per_second, settings.large_positions, settings.exchange),
    )


def build_runtime(
    settings: BotSettings, config: PortfolioConfig, account: AccountAccess, behind: Backing, *, adopt: bool = False
) -> Runtime:
    """Build what the config asks for; Ray is loaded only then. `adopt`: what the store does not know of, see there."""
    sharing: Callable[[Gateway], Gateway] | None = None
    if settings.market_data is MarketDataSource.SHARED:
        sharing = partial(
            shared, exchange=settings.exchange, market=config.market, data_dir=settings.data_dir, redis=behind.redis
        )
    if settings.runtime is RuntimeKind.LOCAL:
        gateway = account.gateway()
        return LocalRuntime(
            *(settings.name, config, sharing(gateway) if sharing else gateway, behind.store, behind.bus),
            foreign=settings.foreign,
            most_actions=settings.max_actions_per_minute,
            adopt=adopt,
            sessions=sessions_folder(settings.data_dir, settings.name) if settings.sessions else None,
            first_share=settings.first_share,
        )
    try:
        from services.runtime.cluster import Plan, RayRuntime  # noqa: PLC0415
    except ModuleNotFoundError:
        raise Misconfigured("bot.runtime is ray, which is not installed; `uv sync --extra ray` does it.") from None
    share = 1.0 / (min(settings.workers, len(config.pairs)) + 1)
    hidden = [*account.secrets(), *passwords(behind.database, behind.redis)]
    join = partial(joined, behind.database, behind.redis, settings.name)
    return RayRuntime(
        Plan(
            *(settings.name, config, account, join, hidden, share, settings.max_actions_per_minute, adopt),
            first_share=settings.first_share,
            sharing=sharing,
            data_dir=settings.data_dir.absolute() if settings.sessions else None,
        ),
        account.gateway(share),
        behind.store,
        workers=settings.workers,
        address=settings.ray_address,
        foreign=settings.foreign,
    )


def control_of(settings: BotSettings, config: PortfolioConfig) -> MakeControl:
    """Say what makes the control interface of the bot."""
    venue = {"exchange": settings.exchange, "environment": settings.environment.value, "address": settings.address}
    file = control_file(settings.data_dir, settings.name)
    return partial(ControlServer, file, venue=venue | {"market": config.market.value})


async def refuse_untested(settings: BotSettings, config: PortfolioConfig, dsn: str) -> None:
    """Raise Misconfigured for a strategy that begins to trade real money on a pair on which nobody has tested it.

    A bot that goes on with what it traded live before is not asked: its positions need it.
    """
    if settings.environment is not Environment.LIVE:
        return
    one = saved_strategy(config)
    missing = untested_pairs(settings.data_dir, one.content, config.pairs)
    if missing and not await goes_on(dsn, settings.name, one.content, settings.environment):
        raise Misconfigured(
            f"bot.environment is live, and strategy {one.name} has no finished backtest on {cut(', '.join(missing))}; "
            "`traderagent backtest` this config on real candles first, or give --untested."
        )


def evidence_of(settings: BotSettings, config: PortfolioConfig) -> PhaseEvidence:
    """What is known of a bot that asks for more of its capital."""
    drift = newest_day(settings.data_dir, settings.name, int(time.time() * 1000))
    bps = None if drift is None else float(drift["bps"])
    return PhaseEvidence(bps, kills_survived(settings.data_dir, saved_strategy(config).content))


@asynccontextmanager
async def build_bot(path: Path, *, adopt: bool = False, make: type[LiveBot] = LiveBot) -> AsyncIterator[LiveBot]:
    """Build the bot of a config file, on a database and a bus that run; what it leans on ends with the context.

    `adopt`: take over orders and positions of its name that its database lacks. `make` is the kind of bot.
    Raises Misconfigured before anything is sent.
    """
    settings, config = load_bot(path)
    account = account_of(settings, config, secrets_of(settings))
    hidden = [*account.secrets(), *passwords(settings.database, settings.redis)]
    configure(hidden)
    async with AsyncExitStack() as stack:
        place = (settings.name, settings.data_dir, settings.database, settings.redis)
        behind = await stack.enter_async_context(backing(*place))
        await refuse_untested(settings, config, behind.database)
        await stack.enter_async_context(compiled_meanwhile(config))
        configure(hidden, keep=log_file(settings.data_dir, settings.name))  # it is this bot, and no second one
        runtime = build_runtime(settings, as_live(config), account, behind, adopt=adopt)
        bot = make(settings, as_live(config), runtime, control_of(settings, config), behind)
        bot.account, bot.read_account = account, lambda: account_of(settings, config, secrets_of(settings))
        bot.evidence = partial(evidence_of, settings, config)
        try:
            if settings.environment is Environment.LIVE:
                refuse_risks(await runtime.gateway.key_rights(), settings)
            content = saved_strategy(config).content
            run = (settings.name, content, settings.environment.value)
            async with RunRecorder.recording(behind.database, *run) as recorder:
                bot.tell = recorder.tell
                yield bot
        except BaseException as error:
            bot.reason = str(error) or type(error).__name__
            raise
        finally:
            await runtime.gateway.close()
            log.info("ended", bot=settings.name, reason=bot.reason)


async def run_bot(path: Path, *, adopt: bool = False, make: type[LiveBot] = LiveBot) -> None:
    """Run the bot of a config file until it is stopped; see `build_bot`.

    Raises Misconfigured or NotPermitted before anything is sent.
    """
    configure([])
    catch_the_rest(asyncio.get_running_loop())
    async with build_bot(path, adopt=adopt, make=make) as bot:
        await bot.run(path)
