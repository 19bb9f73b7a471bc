"""Builds the bot that trades: what a config, an account and this machine make together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from bot.errors import Misconfigured
from services.app.backing import Backing, backing, joined
from services.app.shared_market_data import shared
from services.control.client import control_file, log_file
from services.control.server import ControlServer
from services.logs import catch_the_rest, configure, passwords
from services.runtime.config import AccountAccess, BotSettings, MarketDataSource, RuntimeKind, Secrets, load_bot
from services.runtime.live import LiveBot, as_live
from services.runtime.local import LocalRuntime
from services.runtime.warm import compiled_meanwhile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

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
    if settings.runtime is RuntimeKind.LOCAL:
        gateway = account.gateway()
        if settings.market_data is MarketDataSource.SHARED:
            gateway = shared(gateway, settings.exchange, config.market, settings.data_dir, behind.redis)
        return LocalRuntime(
            *(settings.name, config, gateway, behind.store, behind.bus),
            foreign=settings.foreign,
            most_actions=settings.max_actions_per_minute,
            adopt=adopt,
            sessions=settings.data_dir / "bots" / settings.name / "sessions" if settings.sessions else None,
        )
    try:
        from services.runtime.cluster import Plan, RayRuntime  # noqa: PLC0415
    except ModuleNotFoundError:
        raise Misconfigured("bot.runtime is ray, which is not installed; `uv sync --extra ray` does it.") from None
    share = 1.0 / (min(settings.workers, len(config.pairs)) + 1)
    hidden = [*account.secrets(), *passwords(behind.database, behind.redis)]
    join = partial(joined, behind.database, behind.redis, settings.name)
    return RayRuntime(
        Plan(settings.name, config, account, join, hidden, share, settings.max_actions_per_minute, adopt),
        account.gateway(share),
        behind.store,
        workers=settings.workers,
        address=settings.ray_address,
        foreign=settings.foreign,
    )


def control_of(settings: BotSettings) -> MakeControl:
    """Say what makes the control interface of the bot."""
    return partial(ControlServer, control_file(settings.data_dir, settings.name))


@asynccontextmanager
async def build_bot(path: Path, *, adopt: bool = False, make: type[LiveBot] = LiveBot) -> AsyncIterator[LiveBot]:
    """Build the bot of a config file, on a database and a bus that run; what it leans on ends with the context.

    `adopt`: take over orders and positions of its name that its database lacks. `make` is the kind of bot.
    Raises Misconfigured before anything is sent.
    """
    settings, config = load_bot(path)
    account = account_of(settings, config, Secrets().present())
    hidden = [*account.secrets(), *passwords(settings.database, settings.redis)]
    configure(hidden)
    async with (
        backing(settings.name, settings.data_dir, settings.database, settings.redis) as behind,
        compiled_meanwhile(config),
    ):
        configure(hidden, keep=log_file(settings.data_dir, settings.name))  # it is this bot, and no second one
        runtime = build_runtime(settings, as_live(config), account, behind, adopt=adopt)
        bot = make(settings, as_live(config), runtime, control_of(settings), behind)
        try:
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
