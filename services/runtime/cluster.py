"""All loops of a bot as Ray actors: the portfolio in one, the pairs spread over others. The only file that knows Ray.

What an actor holds is a host, as in one process. Here stand only the post between them, who wakes whom again, and what
the driver asks them. The driver keeps the account's own gateway; every pair actor has one for its pairs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

os.environ.setdefault("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")  # or Ray packs the working directory for each worker
os.environ.setdefault("RAY_worker_niceness", "0")  # a trader gives way to nobody

import numpy.rec  # noqa: F401, a record array is pickled by reference only where its module is loaded
import ray
import structlog
from ray._private.ray_logging import global_worker_stdstream_dispatcher
from ray.exceptions import AuthenticationError, RayActorError, RayError, RayTaskError
from tenacity import retry, retry_if_exception_type, wait_fixed

from bot.errors import Misconfigured, TradingError
from bot.ports import Unreachable
from coordinator.messages import LoopRenewed
from coordinator.pair_core import Message as ToPair
from coordinator.portfolio_core import Message as ToPortfolio
from services.logs import conceal, configure, relay
from services.runtime.config import Foreign
from services.runtime.hosts import PairHost, PortfolioHost
from services.runtime.preflight import StartupSnapshot, changes, preflight
from services.runtime.sessions import sessions_folder
from services.runtime.status import gateway_status, merged, no_such_pair
from services.runtime.supervisor import LIVES, Supervisor

if TYPE_CHECKING:
    from pathlib import Path

    from bot.ports import Bus, Gateway, Store
    from coordinator.bot_status import BotStatus, GatewayStatus, LoopPair, PairOrders, PortfolioStatus
    from coordinator.config import PortfolioConfig
    from coordinator.operator import OperatorCommand
    from services.runtime.config import AccountAccess

log = structlog.get_logger()

PULSE_SECONDS = 1.0
AGAIN_SECONDS = 0.2
CONNECT_SECONDS = 5.0
SHARE_OF_CPU = 0.001  # next to nothing, but a head that was started with `--num-cpus=0` gets no actor
LIFE = 1 << 40  # reports of a later life have higher numbers


class NotStarted(Unreachable):
    """The actor is new, or was made anew, and has not been started yet."""


@dataclass(frozen=True)
class Plan:
    """What an actor needs to know of the bot."""

    name: str
    config: PortfolioConfig
    account: AccountAccess
    join: Callable[[], AbstractAsyncContextManager[tuple[Store, Bus]]]  # the database and the bus, from any machine
    hidden: list[str]  # what no log may show
    share: float  # of the account's requests a second
    most_actions: int
    adopt: bool = False  # orders and positions under this name that the store does not know
    first_share: float = 0.0  # of the capital in its first phase; 0 for no phases
    sharing: Callable[[Gateway], Gateway] | None = None  # what lets a gateway take candles from a collector too
    data_dir: Path | None = None  # in which sessions are kept, on every node that has it; None keeps none


class Outbox:
    """Letters to one actor, in order, each at least once: one that has died gets them when it is back."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.messages: asyncio.Queue[Any] = asyncio.Queue()

    async def run(self) -> None:
        """Carry letters for ever."""
        while True:
            batch = [await self.messages.get()]
            while not self.messages.empty():
                batch.append(self.messages.get_nowait())
            await self._carry(batch)
            for _ in batch:
                self.messages.task_done()

    @retry(retry=retry_if_exception_type((RayActorError, NotStarted)), wait=wait_fixed(AGAIN_SECONDS))
    async def _carry(self, batch: list[Any]) -> None:
        await self.actor.take.remote(batch)


class _Actor:
    """What both kinds of actor have in common."""

    def __init__(self, plan: Plan) -> None:
        configure(plan.hidden)
        self.plan, self.supervisor, self.stack = plan, Supervisor(), AsyncExitStack()
        self.outboxes: list[Outbox] = []
        self.taken, self.started = 0, False
        self._host: Any = None

    def _outbox(self, actor: Any) -> Outbox:
        self.outboxes.append(Outbox(actor))
        self.supervisor.add(self.outboxes[-1].run())
        return self.outboxes[-1]

    @property
    def host(self) -> Any:
        """What it hosts; raises NotStarted."""
        if not self.started:
            raise NotStarted("an actor is being started again; ask again in a moment.")
        return self._host

    async def pulse(self) -> bool:
        """Whether it has been started; raises what broke it for good."""
        self.supervisor.check()
        return self.started

    async def settled(self) -> int:
        """Wait until nothing is left to do; how many letters it has taken so far."""
        await self.supervisor.settled(lambda: [*self.host.mailboxes(), *(outbox.messages for outbox in self.outboxes)])
        return self.taken

    async def snapshot(self, only: str | None = None) -> None:
        """Store memory, and a readable copy of it, of everything or of one name."""
        await self.host.snapshot(only)

    async def adopt(self, config: PortfolioConfig) -> None:
        """Follow another config."""
        self.host.adopt(config)


@ray.remote(max_restarts=-1, num_cpus=SHARE_OF_CPU)
class PortfolioActor(_Actor):
    """The master loop."""

    async def start(self, startup: StartupSnapshot, pairs: list[tuple[list[str], Any]]) -> None:
        """Begin; `pairs`: symbols, and the actor that trades them."""
        store, bus = await self.stack.enter_async_context(self.plan.join())
        ways = {}
        for symbols, actor in pairs:
            ways.update(dict.fromkeys(symbols, self._outbox(actor)))

        def tell(symbol: str, message: ToPair) -> None:
            ways[symbol].messages.put_nowait((symbol, message))

        self._host = PortfolioHost(
            *(self.plan.config, store, bus, tell, self.supervisor), first_share=self.plan.first_share
        )
        await self._host.start(startup)
        self.started = True

    async def take(self, messages: list[ToPortfolio]) -> None:
        """Hand letters to the loop."""
        for message in messages:
            self.host.tell(message)
        self.taken += len(messages)

    async def call(self) -> None:
        """Let every pair report again."""
        self.host.call()

    async def apply_command(self, said: OperatorCommand) -> str:
        """Do what the operator says."""
        return str(await self.host.apply_command(said))

    async def status(self) -> PortfolioStatus:
        """How the portfolio stands."""
        return self.host.status()

    async def stop(self) -> None:
        """End."""
        await self.supervisor.stop()
        await self.stack.aclose()


@ray.remote(max_restarts=-1, num_cpus=SHARE_OF_CPU, scheduling_strategy="SPREAD")
class PairActor(_Actor):
    """The strategy loops of some pairs, with a gateway of their own."""

    async def start(
        self, symbols: list[str], startup: StartupSnapshot, portfolio: Any, life: int, account: AccountAccess
    ) -> None:
        """Load what is remembered, catch up with the venue, and begin, with the key that is used now."""
        conceal(account.secrets())
        store, bus = await self.stack.enter_async_context(self.plan.join())
        gateway = account.gateway(self.plan.share)
        if self.plan.sharing is not None:
            gateway = self.plan.sharing(gateway)
        report = self._outbox(portfolio).messages.put_nowait
        self._host = PairHost(
            *(self.plan.name, self.plan.config, gateway, store, bus, report, self.supervisor),
            most_actions=self.plan.most_actions,
            adopt=self.plan.adopt,
            sessions=self._sessions(symbols),
        )
        await gateway.measure_clock()
        await self._host.start(symbols, startup, life * LIFE)
        self.started = True

    def _sessions(self, symbols: list[str]) -> Path | None:
        """Where sessions of these pairs are kept on this node; None, and a warning, where it lacks the directory."""
        place = self.plan.data_dir
        if place is None or os.access(place, os.W_OK | os.X_OK):
            return None if place is None else sessions_folder(place, self.plan.name)
        remedy = f"make {place} there, or share it; drift and what-if cannot tell of these pairs"
        log.warning("no_sessions", pairs=symbols, node=socket.gethostname(), remedy=remedy)
        return None

    async def take(self, messages: list[tuple[str, ToPair]]) -> None:
        """Hand letters to the loops."""
        for symbol, message in messages:
            self.host.tell(symbol, message)
        self.taken += len(messages)

    async def use_key(self, account: AccountAccess) -> None:
        """Sign by another key of the same account from now on."""
        conceal(account.secrets())
        await self.host.gateway.use_key(*account.secrets())

    async def poll(self, only: str | None) -> None:
        """Let every pair, or one, ask the venue for what the streams may not have told."""
        self.host.poll(only)

    async def cancel_entries(self, close: bool) -> None:
        """Let every pair cancel what could increase exposure, and with `close` close its position."""
        self.host.cancel_entries(close=close)

    async def check_listings(self) -> None:
        """See whether instruments, leverage and clock are still what they were."""
        await self.host.gateway.measure_clock()
        await self.host.check_listings()

    async def heard(self) -> dict[str, int]:
        """Messages that each kind of stream has told so far."""
        return dict(self.host.gateway.health().messages)

    async def settled(self) -> int:
        """Wait until nothing is left to do; how many letters and messages of streams it has taken so far."""
        return await super().settled() + sum((await self.heard()).values())

    async def status(self) -> tuple[dict[str, LoopPair], GatewayStatus]:
        """How its loops and its gateway stand."""
        return self.host.status(), gateway_status(self.host.gateway)

    async def orders(self, symbol: str) -> PairOrders | None:
        """What should be open for a pair of its, and what is; None for another's."""
        return self.host.orders(symbol) if symbol in self.host.loops else None

    async def stop(self) -> None:
        """End; what rests at the venue stays there."""
        await self.supervisor.stop()
        if self.started:
            await self.host.stop()
        await self.stack.aclose()


@contextlib.contextmanager
def joining(address: str | None) -> Iterator[None]:
    """Say in one sentence why a cluster cannot be joined; Ray itself would wait for minutes for a head that is away."""
    try:
        if address is not None:
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        yield
    except (OSError, AuthenticationError) as error:
        raise Misconfigured(
            f"bot.ray_address {address} cannot be joined ({type(error).__name__}); give host:port of a head that "
            "`ray start --head` started, and if it asks for a token, set RAY_AUTH_MODE=token and copy its "
            "~/.ray/auth_token to this machine."
        ) from None


class RayRuntime:
    """The driver: it starts the actors, wakes those that died, and speaks to them."""

    def __init__(
        self,
        plan: Plan,
        gateway: Gateway,
        store: Store,
        *,
        workers: int,
        address: str | None = None,
        foreign: Foreign = Foreign.REFUSE,
    ) -> None:
        self.plan, self.gateway, self.store, self.address, self.foreign = plan, gateway, store, address, foreign
        self.name, self.config = plan.name, plan.config
        self.supervisor = Supervisor()
        self.portfolio: Any = None
        self.pairs: list[Any] = []
        self._ours = False  # Ray was started here
        symbols = list(plan.config.pairs)
        count = min(workers, len(symbols))
        self.pairs_by_host = [symbols[k::count] for k in range(count)]

    async def start(self) -> None:
        """Check the account, join or start Ray, and begin."""
        self.startup = await preflight(
            *(self.name, self.config, self.gateway, self.store, self.foreign), adopt=self.plan.adopt
        )
        await asyncio.to_thread(self._join)
        self.portfolio = PortfolioActor.options(name="portfolio").remote(self.plan)  # type: ignore[attr-defined]
        self.pairs = [
            PairActor.options(name=f"pairs-{number}").remote(self.plan)  # type: ignore[attr-defined]
            for number in range(len(self.pairs_by_host))
        ]
        self.outbox = Outbox(self.portfolio)
        await self._answered(self._start_portfolio())
        await self._answered(*(self._start_pairs(number, 0) for number in range(len(self.pairs))))
        self.supervisor.add(self.outbox.run())
        self.supervisor.add(self._watch(self.portfolio, self._wake_portfolio))
        for number, actor in enumerate(self.pairs):
            self.supervisor.add(self._watch(actor, partial(self._wake_pairs, number)))

    def _join(self) -> None:
        self._ours = not ray.is_initialized() and self.address is None
        if not ray.is_initialized():
            options: dict[str, Any] = {"address": self.address} if self.address else {"include_dashboard": False}
            with joining(self.address):
                ray.init(namespace=f"traderagent-{self.name}", configure_logging=False, log_to_driver=True, **options)
            # Ray would put the actor's name before each line, which is then no JSON.
            global_worker_stdstream_dispatcher.remove_handler("ray_print_logs")
            global_worker_stdstream_dispatcher.add_handler("ray_print_logs", relay)

    def _start_portfolio(self) -> Any:
        return self.portfolio.start.remote(self.startup, list(zip(self.pairs_by_host, self.pairs, strict=True)))

    def _start_pairs(self, number: int, life: int) -> Any:
        what = (self.pairs_by_host[number], self.startup, self.portfolio, life, self.plan.account)
        return self.pairs[number].start.remote(*what)

    async def _answered(self, *asked: Any) -> list[Any]:
        """What actors answer, or our own error as it was raised there."""
        try:
            return list(await asyncio.gather(*asked))
        except RayTaskError as error:
            if isinstance(error.cause, TradingError):
                raise error.cause from None
            raise
        except RayActorError as error:
            raise Unreachable(f"an actor is away: {type(error).__name__}") from None

    # Health

    async def _watch(self, actor: Any, wake: Any) -> None:
        """Ray makes a dead actor anew; here it is started again, but not for ever."""
        life = 0
        while True:
            await asyncio.sleep(PULSE_SECONDS)
            try:
                if await actor.pulse.remote():
                    continue
            except RayActorError as error:
                log.warning("actor_away", error=type(error).__name__)
                continue
            life += 1
            if life == LIVES:
                raise Misconfigured(f"an actor died {LIVES} times; see its log in Ray's session folder.")
            log.error("actor_woken", life=life)
            self.supervisor.broken += 1
            try:
                await wake(life)
            except (RayError, Unreachable):
                log.exception("actor_not_woken", life=life)
                ray.kill(actor, no_restart=False)

    async def _wake_portfolio(self, _life: int) -> None:
        await self._start_portfolio()
        await self.portfolio.adopt.remote(self.config)
        await self.portfolio.call.remote()

    async def _wake_pairs(self, number: int, life: int) -> None:
        listed = await self.gateway.listing(self.pairs_by_host[number])
        fresh = {symbol: one for symbol, one in listed.items() if not isinstance(one, str)}
        self.startup = replace(self.startup, instruments={**self.startup.instruments, **fresh})
        await self._start_pairs(number, life)
        await self.pairs[number].adopt.remote(self.config)
        for symbol in self.pairs_by_host[number]:
            self.tell(LoopRenewed(symbol))

    # Speaking

    def tell(self, message: ToPortfolio) -> None:
        """Hand a message to the portfolio."""
        self.outbox.messages.put_nowait(message)

    async def apply_command(self, said: OperatorCommand) -> str:
        """Do what the operator says; raises Misconfigured for an unknown word, CommandRejected for a senseless one."""
        (done,) = await self._answered(self.portfolio.apply_command.remote(said))
        return str(done)

    async def adopt(self, config: PortfolioConfig) -> list[str]:
        """Follow another config of the same pairs; raises Misconfigured for what needs a restart."""
        changed = changes(self.config, config)
        self.config = config
        await self._answered(*(actor.adopt.remote(config) for actor in (self.portfolio, *self.pairs)))
        return changed

    async def use_key(self, account: AccountAccess) -> None:
        """Sign by another key of the same account from now on; actors that are made anew get it too."""
        self.plan = replace(self.plan, account=account)
        await self.gateway.use_key(*account.secrets())
        await self._answered(*(actor.use_key.remote(account) for actor in self.pairs))

    async def poll(self, only: str | None = None) -> None:
        """Let every pair, or one, ask the venue for what the streams may not have told."""
        await self._answered(*(actor.poll.remote(only) for actor in self.pairs))

    async def check_listings(self) -> None:
        """See whether instruments and leverage are still what they were."""
        await self._answered(*(actor.check_listings.remote() for actor in self.pairs))

    async def cancel_entries(self, *, close: bool = False) -> None:
        """Cancel what could increase exposure and, with `close`, close every position; ends when that is done."""
        await self._answered(*(actor.cancel_entries.remote(close) for actor in self.pairs))
        await self.settled()

    async def status(self) -> BotStatus:
        """How the bot stands."""
        portfolio, *pairs = await self._answered(*(actor.status.remote() for actor in (self.portfolio, *self.pairs)))
        loops = {symbol: one for share, _ in pairs for symbol, one in share.items()}
        return merged(self.name, portfolio, loops, [gateway for _, gateway in pairs])

    async def orders(self, symbol: str) -> PairOrders:
        """What should be open for a pair, and what is; raises Misconfigured for a pair that is not the bot's."""
        found = await self._answered(*(actor.orders.remote(symbol) for actor in self.pairs))
        if not any(found):
            raise no_such_pair(symbol, self.plan.config.pairs)
        return next(one for one in found if one is not None)

    async def snapshot(self, only: str | None = None) -> None:
        """Keep a readable copy of every state, or of one pair's or the portfolio's."""
        await self._answered(*(actor.snapshot.remote(only) for actor in (*self.pairs, self.portfolio)))

    async def heard(self) -> dict[str, int]:
        """Messages that each kind of stream has told so far."""
        told = await self._answered(*(actor.heard.remote() for actor in self.pairs))
        return {kind: sum(one[kind] for one in told) for kind in told[0]}

    async def settled(self) -> None:
        """Wait until nothing is left to do: until two rounds in a row find everybody idle, and no letter between."""
        before: list[int] = []
        while True:
            await self.outbox.messages.join()
            now = await self._answered(*(actor.settled.remote() for actor in (self.portfolio, *self.pairs)))
            if now == before:
                return
            before = now

    async def stop(self) -> None:
        """Stop all loops, and Ray where it was started here; what rests at the venue stays there."""
        await self.supervisor.stop()
        for actor in (*self.pairs, *([] if self.portfolio is None else [self.portfolio])):
            with contextlib.suppress(RayActorError):  # it is dead already
                await actor.stop.remote()
            ray.kill(actor)
        await self.gateway.close()
        if self._ours:
            await asyncio.to_thread(ray.shutdown)
