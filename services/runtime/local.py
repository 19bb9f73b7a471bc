"""All loops of a bot as tasks of one process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from coordinator.saving import PATIENCE_SECONDS
from services.runtime.config import MOST_ACTIONS, Foreign
from services.runtime.hosts import PairHost, PortfolioHost
from services.runtime.preflight import changes, preflight
from services.runtime.status import gateway_status, merged, no_such_pair
from services.runtime.supervisor import Supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from bot.ports import Bus, Clock, Gateway, Store
    from coordinator.bot_status import BotStatus, PairOrders
    from coordinator.config import PortfolioConfig
    from coordinator.master_loop import MasterLoop
    from coordinator.operator import OperatorCommand
    from coordinator.pair_core import Message as ToPair
    from coordinator.portfolio_core import Message as ToPortfolio
    from coordinator.strategy_loop import StrategyLoop
    from services.runtime.config import AccountAccess


class LocalRuntime:
    """The portfolio and its pairs, side by side."""

    def __init__(
        self,
        name: str,
        config: PortfolioConfig,
        gateway: Gateway,
        store: Store,
        bus: Bus,
        *,
        foreign: Foreign = Foreign.REFUSE,
        most_actions: int = MOST_ACTIONS,
        clock: Clock = time.monotonic,
        patience: float | None = PATIENCE_SECONDS,
        adopt: bool = False,
        sessions: Path | None = None,
        first_share: float = 0.0,
    ) -> None:
        """`patience`: seconds with the store before entries are cancelled; None where the market waits for the bot.

        `adopt`: take over orders and positions under this name that the store does not know. `sessions`: the folder
        in which each pair's session is kept; None keeps none. `first_share`: of the capital in its first phase; 0 for
        no phases.
        """
        self.adopt_unknown = adopt
        self.name, self.config, self.gateway, self.store, self.foreign = name, config, gateway, store, foreign
        self.supervisor = Supervisor()
        self.portfolio = PortfolioHost(
            *(config, store, bus, self._tell_pair, self.supervisor), patience=patience, first_share=first_share
        )
        self.pairs = PairHost(
            *(name, config, gateway, store, bus, self.portfolio.tell, self.supervisor),
            most_actions=most_actions,
            clock=clock,
            patience=patience,
            adopt=adopt,
            sessions=sessions,
        )

    async def start(self) -> None:
        """Check the account, load what is remembered, catch up with the venue, and begin."""
        startup = await preflight(
            *(self.name, self.config, self.gateway, self.store, self.foreign), adopt=self.adopt_unknown
        )
        await self.portfolio.start(startup)
        await self.pairs.start(list(self.config.pairs), startup)

    @property
    def master(self) -> MasterLoop:
        """The portfolio's loop."""
        return self.portfolio.loop

    @property
    def loops(self) -> dict[str, StrategyLoop]:
        """The pairs' loops."""
        return self.pairs.loops

    def _tell_pair(self, symbol: str, message: ToPair) -> None:
        self.pairs.tell(symbol, message)

    def tell(self, message: ToPortfolio) -> None:
        """Hand a message to the portfolio."""
        self.portfolio.tell(message)

    async def apply_command(self, said: OperatorCommand) -> str:
        """Do what the operator says; raises Misconfigured for an unknown word, CommandRejected for a senseless one."""
        return await self.portfolio.apply_command(said)

    async def adopt(self, config: PortfolioConfig) -> list[str]:
        """Follow another config of the same pairs; raises Misconfigured for what needs a restart."""
        changed = changes(self.config, config)
        self.config = config
        self.portfolio.adopt(config)
        self.pairs.adopt(config)
        return changed

    async def use_key(self, account: AccountAccess) -> None:
        """Sign by another key of the same account from now on; orders and stops stay as they are."""
        await self.gateway.use_key(*account.secrets())

    async def poll(self, only: str | None = None) -> None:
        """Let every pair, or one, ask the venue for what the streams may not have told."""
        self.pairs.poll(only)

    async def check_listings(self) -> None:
        """See whether instruments and leverage are still what they were."""
        await self.pairs.check_listings()

    async def cancel_entries(self, *, close: bool = False) -> None:
        """Cancel what could increase exposure and, with `close`, close every position; ends when that is done."""
        self.pairs.cancel_entries(close=close)
        await self.supervisor.settled(self.pairs.mailboxes)

    async def status(self) -> BotStatus:
        """How the bot stands."""
        return status(self)

    async def orders(self, symbol: str) -> PairOrders:
        """What should be open for a pair, and what is; raises Misconfigured for a pair that is not the bot's."""
        if symbol not in self.loops:
            raise no_such_pair(symbol, self.config.pairs)
        return self.pairs.orders(symbol)

    async def snapshot(self, only: str | None = None) -> None:
        """Keep a readable copy of every state, or of one pair's or the portfolio's."""
        await self.pairs.snapshot(only)
        await self.portfolio.snapshot(only)

    async def heard(self) -> dict[str, int]:
        """Messages that each kind of stream has told so far."""
        return dict(self.gateway.health().messages)

    async def settled(self) -> None:
        """Wait until nothing is left to do about what has been heard."""
        await self.supervisor.settled(lambda: [*self.portfolio.mailboxes(), *self.pairs.mailboxes()])

    async def stop(self) -> None:
        """Stop all loops; what rests at the venue stays there."""
        await self.supervisor.stop()
        await self.pairs.stop()


def status(runtime: LocalRuntime) -> BotStatus:
    """Everything a person asks of a bot at a glance."""
    return merged(runtime.name, runtime.portfolio.status(), runtime.pairs.status(), [gateway_status(runtime.gateway)])
