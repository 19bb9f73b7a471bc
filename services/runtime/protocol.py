"""What a bot's process is made of: the runtime that holds its loops, and what surrounds them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from prometheus_client import CollectorRegistry

    from bot.ports import Bus, Gateway, Store
    from coordinator.bot_status import BotStatus, PairOrders
    from coordinator.config import PortfolioConfig
    from coordinator.operator import OperatorCommand
    from coordinator.portfolio_core import Message as ToPortfolio
    from services.runtime.config import AccountAccess
    from services.runtime.supervisor import Supervisor

    Ask = Callable[[], Awaitable[BotStatus]]
    Act = Callable[[OperatorCommand], Awaitable[str]]
    AskOrders = Callable[[str], Awaitable[PairOrders]]
    AskConfig = Callable[[], list[Any]]


class Runtime(Protocol):
    """The loops of a bot, in one process or in many; the same demands are tested on every implementation."""

    @property
    def gateway(self) -> Gateway:
        """The account's own adapter."""
        ...

    @property
    def supervisor(self) -> Supervisor:
        """The tasks of this process."""
        ...

    async def start(self) -> None:
        """Check the account, load what is remembered, catch up with the venue, and begin.

        Raises Misconfigured or NotPermitted before anything is sent, Unreachable where the venue does not answer.
        """
        ...

    def tell(self, message: ToPortfolio) -> None:
        """Hand a message to the portfolio."""
        ...

    async def apply_command(self, said: OperatorCommand) -> str:
        """Do what the operator says; raises Misconfigured for an unknown word, CommandRejected for a senseless one."""
        ...

    async def adopt(self, config: PortfolioConfig) -> list[str]:
        """Follow another config of the same pairs, and name what changed; raises Misconfigured for what may not."""
        ...

    async def use_key(self, account: AccountAccess) -> None:
        """Sign by another key of the same account from now on; orders and stops stay as they are."""
        ...

    async def poll(self, only: str | None = None) -> None:
        """Let every pair, or one, ask the venue for what the streams may not have told."""
        ...

    async def check_listings(self) -> None:
        """See whether instruments and leverage are still what they were."""
        ...

    async def cancel_entries(self, *, close: bool = False) -> None:
        """Cancel what could increase exposure and, with `close`, close every position; ends when that is done."""
        ...

    async def status(self) -> BotStatus:
        """How the bot stands."""
        ...

    async def orders(self, symbol: str) -> PairOrders:
        """What should be open for a pair, and what is; raises Misconfigured for a pair that is not the bot's."""
        ...

    async def snapshot(self, only: str | None = None) -> None:
        """Keep a readable copy of every state, or of one pair's or the portfolio's."""
        ...

    async def heard(self) -> dict[str, int]:
        """Messages that each kind of stream has told so far."""
        ...

    async def settled(self) -> None:
        """Wait until nothing is left to do about what has been heard."""
        ...

    async def stop(self) -> None:
        """Stop all loops; what rests at the venue stays there."""
        ...


class Recorder(Store, Protocol):
    """A store that also records what operators say."""

    async def begin_command(self, said: OperatorCommand, at: int) -> str | None:
        """Record a command that begins at `at` (ms); the outcome of one with this key that was done before."""
        ...

    async def end_command(self, key: str, outcome: str, *, refused: bool) -> None:
        """Record how it ended."""
        ...


class NameLock(Protocol):
    """The right to be the bot of a name."""

    async def keep(self) -> None:
        """Hold it for ever; raises Misconfigured when another process has taken it."""
        ...


class Control(Protocol):
    """The interface over which a bot is asked and commanded."""

    async def start(self, port: int = 0) -> int:
        """Open it; returns the port. Raises Misconfigured for one that is taken."""
        ...

    def last(self) -> BotStatus | None:
        """How the bot stood when last asked."""
        ...

    async def stop(self) -> None:
        """Close it."""
        ...


class MakeControl(Protocol):
    """What makes the control interface of a bot: how to ask it, how to command it, and its metrics."""

    def __call__(
        self, status: Ask, act: Act, registry: CollectorRegistry, *, orders: AskOrders, config: AskConfig
    ) -> Control:
        """Make it; it is not open yet."""
        ...


class Surroundings(Protocol):
    """What a bot leans on besides its exchange."""

    @property
    def store(self) -> Recorder:
        """Where it remembers."""
        ...

    @property
    def bus(self) -> Bus:
        """Where it tells."""
        ...

    @property
    def lock(self) -> NameLock:
        """Its name."""
        ...
