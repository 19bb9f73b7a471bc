"""Supervises the bots of a data directory: each is a process of its own that trades on when the supervisor ends.

What is wanted is stored before it is done. A bot that lives is never started again, whoever started it: it is found by
the lock that a launched process holds, or by its control interface. Needs neither the database nor the bus.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from bot.errors import Misconfigured, cut, shown, suggestion
from coordinator.config_file import read_values
from coordinator.run_state import OVER, RunState
from services.control.client import (
    BY_OPERATOR,
    NAME,
    answers,
    as_event,
    ask,
    control_file,
    ended_by_operator,
    fleet_file,
    how_it_ended,
    log_file,
    process_of,
    tail,
)
from services.control.fleet import FleetServer
from services.fleet.launch import has_process, keep_small, launch, refuse_unknown_system
from services.fleet.records import STEADY, FleetBot, FleetRecords, WantedState
from services.processes import lives, try_lock

if TYPE_CHECKING:
    import subprocess

log = structlog.get_logger()

POLL_SECONDS = 0.25  # between two polls of every bot
ASK_SECONDS = 5.0  # that a bot has to take a stop by its control interface
AGAIN_SECONDS = 30.0  # after which a bot that has not ended is told again
LEAVE_SECONDS = 100.0  # that all bots have to end where they end with the supervisor
SMALL_SECONDS = 60.0
REFUSED = 2  # exit code: bad input, which no second try mends
ENDING = 20  # last lines among which a bot says why it ends
KILLED = "it was killed, or this machine stopped"
STOP = "stop"  # as a bot's operator says it; that module would load the kernels
WORDS = ("add", "start", "stop", "restart", "remove")


def _now() -> int:
    """Wall clock, ms."""
    return int(time.time() * 1000)


class FleetSupervisor:
    """Keeps every bot in the state that is wanted, one look after the other."""

    def __init__(self, data_dir: Path, now: Callable[[], int] = _now) -> None:
        """Raises Misconfigured where a record is damaged."""
        self.data_dir, self.records, self.now = data_dir.resolve(), FleetRecords(data_dir.resolve()), now
        self.bots = self.records.read()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._told: dict[str, tuple[float, Future[None]]] = {}
        self._threads = ThreadPoolExecutor(8, "fleet")
        self._turn = threading.Lock()
        self._by_hand: dict[str, int] = {}  # processes that somebody else has started, and that have answered
        self._leaving = False
        self._emptied = time.monotonic()

    async def run(self) -> None:
        """Supervise for ever."""
        while True:
            await self._in_turn(self.look)
            await asyncio.sleep(POLL_SECONDS)

    async def _in_turn(self, work: Callable[..., Any], *given: Any) -> Any:
        """Do something to the bots outside of the event loop, one thing after the other."""

        def alone() -> Any:
            with self._turn:
                return work(*given)

        return await asyncio.get_running_loop().run_in_executor(self._threads, alone)

    def rows(self) -> list[dict[str, Any]]:
        """Say how every bot stands, by name."""
        return [asdict(self.bots[name]) for name in sorted(self.bots)]

    # Looking

    def look(self) -> None:
        """Look at every bot once, and do what its wanted state asks for."""
        for name in list(self.bots):
            try:
                self._look_at(self.bots[name])
            except OSError as error:  # such as a full disk: nothing is done that is not stored, and the next look tries
                log.warning("fleet_look_failed", bot=name, reason=str(error))
        if time.monotonic() - self._emptied > SMALL_SECONDS:
            self._emptied = time.monotonic()
            for name in self.bots:
                keep_small(self.records.out(name))

    def _look_at(self, one: FleetBot) -> None:
        state, process = self._seen(one)
        if state is not None:
            self._lives(one, state, process)
        elif one.state not in OVER:
            self._ended(one)
        elif not self._leaving and one.is_due(self.now()):
            self._start(one)

    def _seen(self, one: FleetBot) -> tuple[RunState | None, int | None]:
        """State and process of a bot that lives, whoever has started it; None where it does not."""
        child = self._children.get(one.name)
        launched = has_process(self.records.lock(one.name)) or (child is not None and child.poll() is None)
        process = process_of(control_file(self.data_dir, one.name))
        own = one.process if child is None else child.pid
        if process is not None and ((launched and process == own) or self._is_by_hand(one.name, process)):
            return RunState.RUNNING, process
        process = self._by_hand.get(one.name) if child is None else child.pid
        launched = launched or (process is not None and lives(process))
        if not launched:
            return None, None
        if one.state in (RunState.RUNNING, RunState.STOPPING):  # its control interface is closed before it ends
            return RunState.STOPPING, process or one.process
        if one.state is RunState.WARMING_UP or self._has_said(one.name, RunState.WARMING_UP):
            return RunState.WARMING_UP, process or one.process
        return RunState.STARTING, process or one.process

    def _is_by_hand(self, name: str, process: int) -> bool:
        """Whether the process of a control file is the bot: after a reboot another may have its number."""
        if self._by_hand.get(name) == process:
            return True
        if not answers(control_file(self.data_dir, name)):
            return False
        self._by_hand[name] = process
        self.records.out(name).unlink(missing_ok=True)  # an earlier process has printed it
        return True

    def _has_said(self, name: str, event: str) -> bool:
        try:
            return f'"event": "{event}"' in self.records.out(name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return False

    def _lives(self, one: FleetBot, state: RunState, process: int | None) -> None:
        now = self.now()
        if one.state in OVER and one.wanted is WantedState.STOPPED:
            one = replace(one, wanted=WantedState.RUNNING)  # somebody has started it by hand
        if one.wanted is WantedState.STOPPED or one.again or self._leaving:
            self._keep(replace(one.at(RunState.STOPPING, now), process=process))
            self._tell_to_stop(one.name, process)
            return
        fresh = replace(one.at(state, now), process=process, next_start=None)
        if state is RunState.RUNNING:
            steady = now - fresh.since > STEADY
            fresh = replace(fresh, reason="", failures=0 if steady else fresh.failures)
        self._keep(fresh)

    def _keep(self, one: FleetBot) -> None:
        """Store a record that is another one, and go by it from then on."""
        before = self.bots.get(one.name)
        if one == before:
            return
        self.records.write(one)
        self.bots[one.name] = one
        if before is None or (before.state, before.wanted) != (one.state, one.wanted):
            log.info("fleet", bot=one.name, state=one.state.value, wanted=one.wanted.value, reason=one.reason)

    # Starting and ending

    def _start(self, one: FleetBot) -> None:
        one = replace(one.at(RunState.STARTING, self.now()), process=None, next_start=None, again=False)
        self._keep(one)
        try:
            _refuse_other_name(one)
            lock, out = self.records.lock(one.name), self.records.out(one.name)
            child = launch(Path(one.config), self.data_dir, lock, out)
        except Misconfigured as error:
            self._keep(one.refused(str(error), self.now()))
            return
        if child is not None:  # else its process lives: the next look finds it
            self._children[one.name] = child
            self._keep(replace(one, process=child.pid))

    def _ended(self, one: FleetBot) -> None:
        """Find out why a bot has ended, and what follows."""
        child = self._children.pop(one.name, None)
        code = None if child is None else child.wait()
        self._told.pop(one.name, None)
        self._by_hand.pop(one.name, None)
        reason, by_operator = self._why(one, code)
        one, now = replace(one, process=None), self.now()
        if self._leaving:
            self._keep(one.at(RunState.STOPPED, now))
        elif one.wanted is WantedState.STOPPED:
            orderly = code in (None, 0, -signal.SIGTERM)
            self._keep(one.stopped(reason, now) if orderly else one.refused(reason, now))
        elif one.again:
            self._keep(replace(one.at(RunState.STOPPED, now), again=False, failures=0))
        elif by_operator:
            self._keep(one.stopped(reason, now))
        elif code == REFUSED:
            self._keep(one.refused(reason, now))
        else:
            self._keep(one.failed(reason, now))
        one = self.bots[one.name]
        if one.state is RunState.FAILED:
            say = log.error if one.next_start is None else log.warning
            say("fleet_bot_failed", bot=one.name, reason=reason, failures=one.failures)

    def _why(self, one: FleetBot, code: int | None) -> tuple[str, bool]:
        """Say why a bot has ended, by its own last words, and whether somebody has stopped it on purpose."""
        out = self.records.out(one.name)
        if not out.exists():  # it was started by hand
            if not log_file(self.data_dir, one.name).exists():
                return KILLED, False
            return how_it_ended(self.data_dir, one.name), ended_by_operator(self.data_dir, one.name)
        lines = [line for line in tail(out, ENDING) if line.strip()]
        ended = next((event for event in map(as_event, lines) if event.get("event") == "ended"), {})
        by_operator = ended.get("reason") in BY_OPERATOR
        last = str(as_event(lines[-1]).get("event", "")) if lines else "nothing"
        if last.startswith("error: "):
            return cut(last.removeprefix("error: "), 400), by_operator
        if ended:
            return cut(str(ended.get("reason")), 400), by_operator
        how = KILLED
        if code is not None and code < 0:
            how = f"signal {-code} has ended it"
        elif code is not None:
            how = f"it ended with exit code {code}"
        return f"{how}; its last line was {cut(last)!r}", by_operator

    def _tell_to_stop(self, name: str, process: int | None) -> None:
        """Tell a bot to end in order, and again where it has not ended for a while."""
        told = self._told.get(name)
        if told is None or (told[1].done() and time.monotonic() - told[0] > AGAIN_SECONDS):
            by_signal = self._leaving or told is not None
            self._told[name] = time.monotonic(), self._threads.submit(self._stop, name, process, by_signal)

    def _stop(self, name: str, process: int | None, by_signal: bool) -> None:
        file = control_file(self.data_dir, name)
        if not by_signal and file.exists():
            with suppress(Misconfigured):
                ask(file, "/command", {"command": STOP, "source": "fleet"}, ASK_SECONDS)
                return
        if process is not None:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGTERM)

    async def stop_all(self) -> None:
        """End every bot in order; each is started again when a supervisor starts. Ends after a while in any case."""
        self._leaving = True
        with suppress(TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                while any(one.state not in OVER for one in self.bots.values()):
                    await self._in_turn(self.look)
                    await asyncio.sleep(POLL_SECONDS)
        left = [one.name for one in self.bots.values() if one.state not in OVER]
        if left:
            log.error("fleet_bots_not_ended", bots=left, remedy="they trade on; stop them with `traderagent ctl stop`")

    def close(self) -> None:
        """Wait for nobody."""
        self._threads.shutdown(wait=False)

    # Commands

    async def act(self, said: dict[str, Any]) -> str:
        """Do what an operator says; what was done, in words. Raises Misconfigured."""
        word, name = said.get("command"), said.get("bot")
        if word not in WORDS:
            raise Misconfigured(f"command {shown(word)} is unknown to a fleet; choose one of {', '.join(WORDS)}.")
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Misconfigured(f"bot {shown(name)} is no name; a bot's has 1 to 8 lower-case letters and digits.")
        if word == "add":
            return str(await self._in_turn(self._add, name, said))
        if name not in self.bots:
            known = f"; {suggestion(name, self.bots)}" if self.bots else ""
            raise Misconfigured(f"bot {name!r} is not in this fleet{known} or add it with `traderagent fleet add`.")
        done = await self._in_turn(getattr(self, f"_{word}_said"), name)
        log.info("fleet_command", command=word, bot=name, source=str(said.get("source", ""))[:40])
        return str(done)

    def _add(self, name: str, said: dict[str, Any]) -> str:
        """Take a bot in, whose config whoever says so has read."""
        config, environment = said.get("config"), said.get("environment")
        if not isinstance(config, str) or not Path(config).is_absolute() or not isinstance(environment, str):
            raise Misconfigured("config and environment are missing; `traderagent fleet add CONFIG` sends both.")
        before = self.bots.get(name)
        if before is not None and before.config != config:
            raise Misconfigured(
                f"bot {name!r} is in the fleet already, by {cut(before.config)}; give this one another bot.name, or "
                f"take that one out with `traderagent fleet remove {name}`."
            )
        if before is None:
            self._keep(FleetBot(name, config, environment, since=self.now()))
        else:
            self._keep(replace(before, environment=environment))
        if said.get("start") is True:
            return f"{name} is in the fleet; {self._start_said(name)}"
        return f"{name} is in the fleet, by {config}"

    def _start_said(self, name: str) -> str:
        one = self.bots[name]
        if one.wanted is WantedState.RUNNING and one.state not in OVER and not one.again:
            return f"{name} is {_word(one.state)} already"
        ending = one.state not in OVER
        self._keep(replace(one, wanted=WantedState.RUNNING, again=ending, failures=0, next_start=self.now(), reason=""))
        return f"{name} is started" + (" when it has ended" if ending else "")

    def _stop_said(self, name: str) -> str:
        one = self.bots[name]
        over = one.state in OVER
        self._keep(replace(one, wanted=WantedState.STOPPED, again=False, next_start=None))
        if over:
            return f"{name} does not run, and is not started again"
        return f"{name} is stopping; entries are cancelled, stops and targets stay at the exchange"

    def _restart_said(self, name: str) -> str:
        one = self.bots[name]
        if one.state in OVER:
            return self._start_said(name)
        self._keep(replace(one, wanted=WantedState.RUNNING, again=True))
        return f"{name} is stopping, and is started again then"

    def _remove_said(self, name: str) -> str:
        one = self.bots[name]
        if one.state not in OVER or one.next_start is not None or self._seen(one)[0] is not None:
            state = "about to be started again" if one.state in OVER else _word(one.state)
            raise Misconfigured(f"bot {name!r} is {state}; stop it first with `traderagent fleet stop {name}`.")
        self.records.remove(name)
        del self.bots[name]
        return f"{name} is taken out of the fleet; its history stays in the database"


def _word(state: RunState) -> str:
    return state.value.replace("_", " ")


def _refuse_other_name(one: FleetBot) -> None:
    """Raise Misconfigured for a config that cannot be read, or that is of a bot of another name by now."""
    section = read_values(Path(one.config)).get("bot")
    name = str(section.get("name", "main")) if isinstance(section, dict) else "main"
    if name != one.name:
        raise Misconfigured(
            f"bot.name is {shown(name)} in {cut(one.config)}, which was added as {one.name!r}; give the name back, or "
            "remove the bot and add it again."
        )


@asynccontextmanager
async def fleet_supervisor(data_dir: Path, now: Callable[[], int] = _now) -> AsyncIterator[FleetSupervisor]:
    """Be the supervisor of a data directory, the only one, and hear commands; bots outlive it.

    Raises Misconfigured where another one is.
    """
    refuse_unknown_system()
    records = FleetRecords(data_dir)
    held = try_lock(records.made_folder() / "supervisor.lock")
    if held is None:
        raise Misconfigured(
            f"a fleet runs on {cut(str(data_dir))} already; `traderagent fleet start` speaks with that one, or end it."
        )
    try:
        supervisor = FleetSupervisor(data_dir, now)
        server = FleetServer(fleet_file(data_dir), supervisor.rows, supervisor.act)
        await server.start()
        try:
            yield supervisor
        finally:
            await server.stop()
            supervisor.close()
    finally:
        os.close(held)
