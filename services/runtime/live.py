"""A bot that runs until it is told to stop: its loops, its control interface and its regular duties."""

from __future__ import annotations

import asyncio
import gc
import signal
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import structlog
from prometheus_client import CollectorRegistry, Gauge, Histogram

from bot.errors import Misconfigured, TradingError
from bot.events import Alarm, Heartbeat
from bot.ports import NotPermitted, Refused, Unanswered, Unreachable
from bot.times import DAY
from coordinator.machine import NAME
from coordinator.messages import AccountSnapshot
from coordinator.operator import PHASES, CommandKind, CommandRejected, OperatorCommand
from coordinator.phase_gates import PhaseEvidence, due_share, next_share, standing_of
from coordinator.reaction import SECONDS
from coordinator.risk import HaltPolicy
from coordinator.run_state import RunEvent, RunState
from coordinator.saving import PATIENCE_SECONDS
from services.alert_conditions import by_id
from services.drift_days import newest_day, told
from services.logs import conceal
from services.runtime.config import load_bot
from services.runtime.ending import cancel_entries, close_everything
from services.runtime.key_check import NEW_KEY, WORDS, expiry, refuse_risks, remedy_of, risks
from services.runtime.live_config import changed_file, settings_shown
from services.runtime.metrics import StatusMetrics

if TYPE_CHECKING:
    from bot.ports import Gateway, KeyRights
    from coordinator.bot_status import LiveStatus
    from coordinator.config import PortfolioConfig
    from services.runtime.config import AccountAccess, BotSettings
    from services.runtime.protocol import MakeControl, Runtime, Surroundings

log = structlog.get_logger()

SNAPSHOT_SECONDS = 30.0  # from one readable copy of a state to its next, in a small bot
BETWEEN_SNAPSHOTS = 3.0  # from one state's copy to the next state's: each holds everything up for some 30 ms
ACCOUNT_SECONDS = 60.0
PHASE_SECONDS = 20.0
CLOCK_SECONDS = 300.0
POLL_SECONDS = 20.0
BEAT_SECONDS = 10.0
KEPT_COMMANDS = 1000
POLL_REQUESTS = 6  # of one pair
VENUE_SECONDS = 300.0
KEY_SECONDS = 3 * 3600.0
DRIFT_SECONDS = 600.0
# The operator is a person: no policy answers for him and no hour resumes.
LIVE_RISK = {"halt_policy": HaltPolicy.NONE, "halt_resume_hours": 1e6}


def as_live(config: PortfolioConfig) -> PortfolioConfig:
    """Return the config without the simulated operator."""
    risk = config.algorithm.risk.model_copy(update=LIVE_RISK)
    return config.changed(algorithm=config.algorithm.model_copy(update={"risk": risk}), investments=())


async def account_snapshot(gateway: Gateway, since: int) -> AccountSnapshot:
    """Ask what the account holds, and for the transfers after `since` (ms)."""
    transfers = await gateway.transfers(since)
    return AccountSnapshot(await gateway.account(), None if transfers is None else tuple(transfers))


class LiveBot:
    """The loops of a bot, its control interface and its regular duties."""

    def __init__(
        self,
        settings: BotSettings,
        config: PortfolioConfig,
        runtime: Runtime,
        control: MakeControl,
        behind: Surroundings | None = None,
    ) -> None:
        """`config` is the one `as_live`; the lock of `behind` is kept, and its store records what operators say."""
        self.settings, self.config, self.runtime, self.behind = settings, config, runtime, behind
        self._said: dict[str, asyncio.Task[str]] = {}  # what operators said, by key
        self.registry = CollectorRegistry()
        self.lag = Histogram(
            "traderagent_loop_lag_seconds", "How late the event loop wakes", buckets=SECONDS, registry=self.registry
        )
        self.control = control(
            *(self.status, self.act, self.registry),
            orders=self.runtime.orders,
            config=lambda: settings_shown(self.settings, self.config),
        )
        self.registry.register(StatusMetrics(self.control.last))
        self.troubles = Gauge("traderagent_trouble", "1 while it holds", ["id"], registry=self.registry)
        for one in ("key_expiry", "key_rights"):
            self.troubles.labels(one)
        self._turns, self._kept = cycle(config.pairs), cycle([*config.pairs, NAME])
        self.stopping = asyncio.Event()
        self.leave_entries = self.closed = False
        self.reason = "its duties ended"  # why it stops, as `traderagent ctl` says when it is gone
        self.path: Path | None = None
        self.account: AccountAccess | None = None  # whose key it signs with
        self.read_account: Callable[[], AccountAccess] | None = None  # how the key of now is found
        self.rights: KeyRights | None = None  # of the key, as last asked
        self._key_changed = asyncio.Event()
        self._trouble_told: dict[str, int] = {}  # when each trouble of key and drift was said last, ms
        self.drift: Gauge | None = None  # of the newest day that was compared
        self.tell: Callable[[RunEvent], None] = lambda _event: None  # who records how far the run is
        self.evidence: Callable[[], PhaseEvidence] = lambda: PhaseEvidence(None, 0)  # what else speaks for the bot
        self._known = PhaseEvidence(None, 0)  # as last read

    async def status(self) -> LiveStatus:
        """How the bot stands."""
        now = await self.runtime.status()
        standing = standing_of(self.settings.capital_phases, now, self._known)
        return {**now, "environment": self.settings.environment.value, "phase_standing": standing}

    async def run(self, path: Path | None = None) -> None:
        """Run until stopped. Stops and targets stay at the venue; entries are cancelled unless they are to be left."""
        self.path = path
        loop = asyncio.get_running_loop()
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(name, self._stop, "Ctrl-C" if name is signal.SIGINT else "this machine ended it")
        self.tell(RunEvent.JOINED)
        log.info(RunState.WARMING_UP.value, bot=self.settings.name)
        if not await self._started():
            return
        duties: list[asyncio.Task[None]] = []
        try:
            await self.control.start(self.settings.control_port)
            equity = (await self.status())["equity"]
            gc.collect()
            gc.freeze()  # what a start leaves lives as long as the bot; each search of it for rubbish takes 0.4 s
            log.info("running", bot=self.settings.name, pairs=list(self.config.pairs), equity=equity)
            duties += [asyncio.create_task(one) for one in self._duties()]
            self.tell(RunEvent.READY)
            await self._until_stopped(duties)
            self.tell(RunEvent.STOP)
        finally:
            for one in duties:
                one.cancel()
            await asyncio.gather(*duties, return_exceptions=True)
            try:
                if not self.leave_entries and not self.closed:
                    await cancel_entries(self.runtime)
            finally:
                await self.control.stop()
                try:
                    await self.runtime.snapshot()  # actors of another process do not outlive their stop
                finally:
                    await self.runtime.stop()
                log.info("stopped", bot=self.settings.name)

    def _stop(self, reason: str) -> None:
        self.reason = reason
        self.stopping.set()

    async def _started(self) -> bool:
        """Start everything; False when somebody has stopped it meanwhile, which leaves all as it is."""
        starting = asyncio.create_task(self.runtime.start())
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not starting.done():
            starting.cancel()
            await asyncio.gather(starting, return_exceptions=True)
            await self.runtime.stop()
            log.info("stopped", bot=self.settings.name)
            return False
        try:
            starting.result()
        except Unreachable as error:
            raise Unreachable(f"{error}; look at the network and at bot.address, and start again.") from None
        return True

    async def _until_stopped(self, duties: list[asyncio.Task[None]]) -> None:
        ends = [asyncio.create_task(one) for one in (self.stopping.wait(), self.runtime.supervisor.ended())]
        done, _ = await asyncio.wait([*ends, *duties], return_when=asyncio.FIRST_COMPLETED)
        for one in ends:
            one.cancel()
        for one in done:
            one.result()

    def _duties(self) -> list[Any]:
        return [
            self._every(max(SNAPSHOT_SECONDS / (len(self.config.pairs) + 1), BETWEEN_SNAPSHOTS), self._snapshot_next),
            self._every(ACCOUNT_SECONDS, self._check_account),
            *([] if self.settings.capital_phases is None else [self._every(PHASE_SECONDS, self._check_phase)]),
            self._every(CLOCK_SECONDS, self._check_clock),
            self._every(self._poll_seconds() / len(self.config.pairs), self._poll),
            self._every(VENUE_SECONDS, self.runtime.check_listings),
            self._every(DRIFT_SECONDS, self.check_drift),
            self._keep_checking_key(),
            self._measure_lag(),
            *([] if self.behind is None else [self.behind.lock.keep(), self._every(BEAT_SECONDS, self._beat)]),
        ]

    def _poll_seconds(self) -> float:
        """A third of the requests at most go into polling, however many pairs there are."""
        a_second = self.settings.requests_per_second / 3.0
        return max(POLL_SECONDS, POLL_REQUESTS * len(self.config.pairs) / a_second)

    async def _every(self, seconds: float, duty: Any) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await duty()
            except (Unreachable, Unanswered, NotPermitted, Refused) as error:
                log.warning("duty_failed", duty=duty.__name__, reason=str(error))

    async def _keep_checking_key(self) -> None:
        """Look at the start, after a new key, and every few hours."""
        while True:
            try:
                await self.check_key()
            except (Unreachable, NotPermitted, Refused) as error:
                log.warning("duty_failed", duty="check_key", reason=str(error))
            self._key_changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._key_changed.wait(), KEY_SECONDS)

    async def _measure_lag(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.5)
            self.lag.observe(max(time.monotonic() - before - 0.5, 0.0))

    async def _check_account(self) -> None:
        since = (await self.runtime.status())["transfers_at"]
        self.runtime.tell(await account_snapshot(self.runtime.gateway, since))

    async def _check_phase(self) -> None:
        """Read what speaks for the bot, and let the phase before begin again after too deep a fall."""
        self._known = await asyncio.to_thread(self.evidence)
        seen, phases = (await self.runtime.status())["capital_phase"], self.settings.capital_phases
        share = 0.0 if seen is None or phases is None else due_share(phases, seen)
        if seen is not None and share > 0.0:
            log.error("capital_phase_lowered", share=share, drawdown=seen["drawdown"])
            await self.act(OperatorCommand(CommandKind.PHASE_DOWN, source="capital phases", amount=share))

    async def _change_phase(self, said: OperatorCommand) -> str:
        """Go to the next phase, or back to the one before; raises CommandRejected with what is missing."""
        self._known = await asyncio.to_thread(self.evidence)
        now = await self.runtime.status()
        standing = standing_of(self.settings.capital_phases, now, self._known)
        if self.settings.capital_phases is None or standing is None:
            raise CommandRejected("this bot has no capital phases; add bot.capital_phases to its config.")
        share = said.amount or next_share(self.settings.capital_phases, standing, said)
        return await self.runtime.apply_command(replace(said, amount=share))

    async def _poll(self) -> None:
        """Ask for what a stream may have kept back, pair after pair; this alone would do to trade correctly."""
        await self.runtime.poll(next(self._turns))

    async def _check_clock(self) -> None:
        offset = await self.runtime.gateway.measure_clock()
        if abs(offset) > 500:
            log.error("clock_off", milliseconds=offset, remedy="set this machine's clock by NTP")

    async def _snapshot_next(self) -> None:
        """Keep a readable copy of a state, one after the other: all at once would hold up the answers to fills."""
        await self.runtime.snapshot(next(self._kept))

    async def _beat(self) -> None:
        """Tell who watches that the bot lives, and how it hears."""
        assert self.behind is not None
        now = await self.runtime.status()
        self.behind.bus.publish(Heartbeat("", _now(), now["stream_age_seconds"], now["streams"]))

    async def act(self, said: OperatorCommand) -> str:
        """Do what the operator says, once for each key, and record it with its outcome; without a key it is new."""
        said = said if said.key else replace(said, key=uuid4().hex)
        known = self._said.get(said.key)
        if known is None:
            known = asyncio.create_task(self._recorded(said))
            self._said[said.key] = known
            for key in list(self._said)[:-KEPT_COMMANDS]:
                del self._said[key]
        return await asyncio.shield(known)

    async def _recorded(self, said: OperatorCommand) -> str:
        """Do it unless it was done before a restart; what cannot be recorded is done all the same."""
        if self.behind is None:
            return await self._do(said)
        store = self.behind.store
        before = await self._in_time(store.begin_command(said, _now()))
        if before is not None:
            return before
        try:
            outcome = await self._do(said)
        except TradingError as error:
            await self._in_time(store.end_command(said.key, str(error), refused=True))
            raise
        await self._in_time(store.end_command(said.key, outcome, refused=False))
        return outcome

    async def _in_time(self, recording: Coroutine[Any, Any, str | None]) -> str | None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return await recording
        except TimeoutError:
            log.warning("command_not_recorded", remedy="it is done all the same; the database does not answer")
            return None

    async def _do(self, said: OperatorCommand) -> str:
        if said.kind in (CommandKind.STOP, CommandKind.STOP_LEAVE_ENTRIES):
            self.leave_entries = said.kind is CommandKind.STOP_LEAVE_ENTRIES
            self._stop("`ctl stop` was said")
            what = "everything stays" if self.leave_entries else "entries are cancelled, stops and targets stay"
            return f"stopping; {what} at the venue"
        if said.kind is CommandKind.SHUTDOWN:
            done = await close_everything(self.runtime, self.settings.name, self.config.pairs)
            self.closed = True
            self._stop("`ctl shutdown` was said")
            return done
        if said.kind is CommandKind.RELOAD:
            return await self._reload()
        if said.kind is CommandKind.SET:
            return await self._set(said)
        if said.kind in PHASES:
            return await self._change_phase(said)
        return await self.runtime.apply_command(said)

    async def _reload(self) -> str:
        """Adopt what of the config file may change while the bot runs; raises Misconfigured with what may not.

        Another key of the store is taken too, once it has been seen to work on this account.
        """
        if self.path is None:
            raise Misconfigured("this bot was started without a config file; there is nothing to read again.")
        settings, config = load_bot(self.path)
        fixed = [
            name
            for name, old, new in (
                ("bot", self.settings, settings),
                *(
                    (name, getattr(self.config, name), getattr(config, name))
                    for name in ("pairs", "market", "leverage")
                ),
            )
            if old != new
        ]
        if fixed:
            raise Misconfigured(f"{', '.join(fixed)} cannot change while the bot runs; stop it and start it again.")
        account = await self._other_key()
        changed = await self.runtime.adopt(as_live(config))
        self.config = as_live(config)
        if account is not None:
            await self.runtime.use_key(account)
            self.account = account
            self._key_changed.set()
            log.warning("key_replaced", bot=self.settings.name)
            changed = [*changed, "another API key"]
        return f"adopted {', '.join(changed)}" if changed else "nothing has changed"

    async def _set(self, said: OperatorCommand) -> str:
        """Change one value of the config file and follow it; raises Misconfigured for what needs a restart."""
        if self.path is None:
            raise Misconfigured("this bot was started without a config file; there is nothing to change.")
        running = self.settings, self.config
        config, before = await asyncio.to_thread(changed_file, self.path, said.setting, said.value, running, as_live)
        await self.runtime.adopt(config)
        self.config = config
        log.warning("setting_changed", setting=said.setting, value=said.value, before=before, who=said.who)
        return f"{said.setting} is {said.value} now, and was {before}"

    async def _other_key(self) -> AccountAccess | None:
        """Return another key of the same account, where there is one; raises NotPermitted for one that will not do."""
        if self.account is None or self.read_account is None:
            return None
        found = self.read_account()
        if found.secrets() == self.account.secrets():
            return None
        conceal(found.secrets())
        await self._refuse_other_account(found)
        return found

    async def _refuse_other_account(self, found: AccountAccess) -> None:
        """Raise NotPermitted unless a key may trade the account that is traded now."""
        gateway = found.gateway()
        try:
            await gateway.measure_clock()
            rights = await gateway.key_rights()
            if rights is None:  # demo trading does not say: that it may ask is all that can be seen
                await gateway.open_names()
                return
        finally:
            await gateway.close()
        if not rights.trade:
            raise NotPermitted(f"the new API key may not trade {self.config.market}; the one before is used on.")
        refuse_risks(rights, self.settings)
        before = self.rights or await self.runtime.gateway.key_rights()
        if before is not None and rights.account != before.account:
            raise NotPermitted("the new API key is of another account; the one before is used on.")

    async def check_key(self) -> None:
        """See what the key may do and until when it works, and say once a day that it needs somebody."""
        self.rights = rights = await self.runtime.gateway.key_rights() or self.rights
        if rights is None:
            return
        self._tell_of_key("key_expiry", expiry(rights, _now()), NEW_KEY)
        found = risks(rights, self.settings)
        said = ", ".join(WORDS[one][0] for one in found)
        self._tell_of_key("key_rights", f"the API key {said}" if said else "", remedy_of(found))

    def _tell_of_key(self, name: str, sentence: str, remedy: str) -> None:
        self._tell_of_trouble(name, sentence, remedy, "the API key is in order again")

    def _tell_of_trouble(self, name: str, sentence: str, remedy: str, calm: str) -> None:
        """Say it, or that it is over; what was said within a day is not said again."""
        said, now = self._trouble_told.get(name), _now()
        if (not sentence and said is None) or (sentence and said is not None and now - said < DAY):
            return
        self.troubles.labels(name).set(float(bool(sentence)))
        if sentence:
            self._trouble_told[name] = now
            log.warning(name, sentence=sentence, remedy=remedy)
        else:
            del self._trouble_told[name]
        if self.behind is not None:
            severity, over = by_id(name).severity.value, name not in self._trouble_told
            alarm = Alarm("", now, name, severity, sentence or calm, remedy, over=over)
            self.behind.bus.publish(alarm)

    async def check_drift(self) -> None:
        """Read what the newest day cost beside its simulation, where a worker has compared it, and say if too much."""
        data_dir, bot, limit = self.settings.data_dir, self.settings.name, self.settings.drift_limit_bps
        found = await asyncio.to_thread(newest_day, data_dir, bot, _now())
        if found is None:
            return
        if self.drift is None:
            self.drift = Gauge(
                "traderagent_drift_bps", "Cost of the last day beside its simulation", registry=self.registry
            )
            least = Gauge("traderagent_drift_limit_bps", "What it may cost", registry=self.registry)
            least.set(float("inf") if limit is None else limit)
        self.drift.set(found["bps"])
        above = limit is not None and found["bps"] > limit
        sentence = f"drift on {found['day']} above {limit:g} bps: {told(found)}" if above else ""
        self._tell_of_trouble("drift", sentence, by_id("drift").remedy, "drift is within its limit again")


def _now() -> int:
    """Wall clock, ms."""
    return int(time.time() * 1000)
