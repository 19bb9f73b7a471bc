"""A console for tests: the real application on the real database and bus, and a bot that says what it is told to."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry

from bot.errors import Misconfigured
from bot.events import Decision
from bot.ports import Cause, Execution, Order
from bot.rollup import BAR
from coordinator.machine import PairMachine
from coordinator.operator import CommandRejected
from services.app.console import Bots
from services.app.console_fleet import ConsoleFleet
from services.app.journal import Journal
from services.app.replays import ManualReplays
from services.app.research_process import PlayedReports, ResearchProcess
from services.app.research_rows import ResearchTables
from services.app.twins import Twins
from services.command_outcomes import Outcomes
from services.control.client import control_file
from services.control.server import ControlServer
from services.drift_days import keep_day, times_of
from services.keys.sealed_secrets import SealedSecrets, SecretKind
from services.messaging.event_reader import EventReader
from services.storage.access_rows import AccessRows
from services.storage.history import History
from services.storage.journal import JournalStore
from services.storage.read_pool import ReadPool
from services.storage.schema import migrate
from services.storage.signal_rows import SignalRows
from services.storage.store import PostgresStore
from services.web.access import Access
from services.web.application import application
from services.web.context import Console
from services.web.guard import LOOPBACK
from services.web.ports import Sources
from services.web.scopes import Scope
from services.web.server import opened, served
from services.web.watch import Watcher
from tests.conftest import classic, instrument
from tests.services.research_house import MadeAnswers

NOW = 1_704_100_000_000
MINUTE = 60_000
PAIR = "BTCUSDT"


def pair_status(pair=PAIR, **more):
    return {
        "pair": pair, "price": 43_000.5, "regime": "tight_range", "strategy": "grid", "group": pair, "phase": "running",
        "held_off": [], "target": 900.0, "position": 0.01, "equity": 12.5, "exposure": 430.0, "entries": 4,
        "exits": 1, "refused_for_costs": 0, "open_orders": 5, "recovered": True, "corrections": 0, "fills": 2,
        "reconciled_seconds": 4.0,
        "reactions": {"counts": [1], "seconds": 0.1}, "average": 42_800.0, "stop": 41_000.0,
        "counts": {},
    } | more  # fmt: skip


def bot_status(bot, pairs=(PAIR,), **more):
    return {
        "bot": bot, "at": "2024-01-01T09:06:00Z", "equity": 10_012.5, "wallet": 10_000.0, "exposure": 430.0,
        "day_loss_pct": -0.1, "drawdown_pct": 0.2, "modes": [], "halted": False, "answer": None, "decide_by": None,
        "limits": {"halt_day_loss_pct": 10.0, "halt_drawdown_pct": 30.0, "exposure": 0.7, "reserve": 0.15,
                   "group_exposure": 0.3},
        "transfers_at": 0, "capital_phase": None, "phase_standing": None,
        "streams": {"public": True}, "stream_age_seconds": 0.1, "errors": {}, "changes": {},
        "pairs": [pair_status(one) for one in pairs],
    } | more  # fmt: skip


HALTED = {
    "halted": True, "answer": "waiting", "decide_by": "2024-01-01T09:30:00Z", "modes": ["halt"], "day_loss_pct": 10.4,
    "drawdown_pct": 11.0,
}  # fmt: skip


class SpokenBot:
    """A bot behind the real control interface: it has the status that a test gives it, and keeps what it was told."""

    def __init__(self, data_dir, name, venue=None):
        self.name, self.told, self.now = name, [], bot_status(name)
        self.refuses = ""
        self.server = ControlServer(
            *(control_file(data_dir, name), self.status, self.act, CollectorRegistry()),
            orders=self.orders,
            config=lambda: self.settings,
            venue=venue,
        )
        self.settings = [
            {"key": "strategy", "value": "grid", "live": False, "bounds": "", "meaning": "which of them"},
            {"key": "grid.levels", "value": 15, "live": True, "bounds": ">= 2, <= 100", "meaning": "number of levels"},
            {"key": "grid.timeframe", "value": "1h", "live": False, "bounds": "", "meaning": "signal bars"},
        ]

    async def status(self):
        return self.now

    async def act(self, said):
        self.told.append(said)
        if self.refuses:
            raise CommandRejected(self.refuses)
        if said.kind == "halt":
            self.now = self.now | HALTED
        if said.kind in ("hold", "reduce-50", "close-all"):
            self.now = self.now | {"answer": said.kind.replace("-", "_"), "decide_by": None}
        return f"{said.kind} is done"

    async def orders(self, pair):
        if pair != PAIR:
            raise Misconfigured(f"pair {pair} is not traded by this bot; choose one of {PAIR}.")
        order = {
            "client_order_id": f"{self.name}-a", "side": "buy", "kind": "limit", "price": 42_500.0, "quantity": 0.01,
            "filled": 0.0, "reduce_only": False, "stop": 41_000.0,
        }  # fmt: skip
        late = order | {"client_order_id": f"{self.name}-b", "price": 42_000.0}
        return {"pair": pair, "tick_size": 0.1, "desired": [order, late], "open": [order], "stop": 41_000.0}


class MadeCandles:
    """A rising market, a bar a minute, whatever is asked for."""

    days_stored = 0  # up to an hour ago

    async def candles(self, bot, pair, until, count):
        del bot, pair
        end = (until or NOW) // MINUTE * MINUTE
        bars = np.zeros(count, BAR)
        bars["ts"] = end + MINUTE * np.arange(-count, 0)
        steps = 42_000.0 + np.arange(count) * 0.5
        bars["open"], bars["close"], bars["high"], bars["low"] = steps, steps + 0.5, steps + 3.0, steps - 3.0
        bars["volume"] = 1.0
        return bars

    async def stored(self, bot, pair, minutes, since, until, bars):
        length, end = minutes * MINUTE, (NOW // (60 * MINUTE) - 1) * 60 * MINUTE
        since, until = max(since or 0, end - self.days_stored * 1440 * MINUTE), min(until or end, end)
        ts = np.arange(max(-(-since // length), until // length - bars), until // length) * length
        steps = 42_000.0 - (NOW - ts) / MINUTE * 0.01
        return np.array([ts, steps, steps + 3.0, steps - 3.0, steps + 0.5, np.ones(len(ts))], np.float64), 0


def drift_day(bot, day="2024-01-01", **more):
    """A day beside its simulation: one fill as simulated, one dearer, one missed."""
    side = {"at": NOW, "price": 43_000.0, "fee": 0.0086, "maker": True, "execution": "x1"}
    row = {
        "kind": "paired", "pair": PAIR, "side": "buy", "quantity": 0.01, "order": f"{bot}-{PAIR}-001-1",
        "reason": "entry", "live": side, "simulated": side, "seconds": 0.0, "costs": {"fees": 0.0, "slippage": 0.0},
        "bps": 0.0, "why": "",
    }  # fmt: skip
    dearer = row | {"live": side | {"price": 43_010.0}, "costs": {"fees": 0.0, "slippage": 0.1}, "bps": 2.33}
    missed = row | {"kind": "missed", "live": None, "costs": {"missed": 0.2}, "why": "it stood in a queue"}
    costs = {"fees": (0, 0.0), "slippage": (1, 0.1), "late": (0, 0.0), "missed": (1, 0.2), "unexpected": (0, 0.0)}
    sums = [
        {"pair": pair, "kind": kind, "fills": fills, "cost": cost, "bps": cost / 860.1 * 1e4}
        for pair in (PAIR, "")
        for kind, (fills, cost) in costs.items()
    ]
    return {
        "version": 1, "bot": bot, "day": day, "since": NOW, "until": NOW, "minutes": {PAIR: 1440}, "volume": 860.1,
        "cost": 0.3, "bps": 3.49, "sums": sums, "rows": [row, dearer, missed],
        "uncompared": [{"pair": PAIR, "since": NOW, "until": NOW + MINUTE, "why": "the session ends", "fills": 1}],
    } | more  # fmt: skip


class MadeTwins(Twins):
    """Days that are kept are read; what needs the simulated exchange is answered from here."""

    async def compare(self, bot, day):
        times_of(day)
        keep_day(self.data_dir, bot, day, said := drift_day(bot, day))
        return said

    async def command_outcomes(self, bot, prices):
        left = {
            "price": 43_000.5, "position_now": 0.01, "position": 0.0, "entries_cancelled": 2, "exits_cancelled": 1,
            "closing_orders": 1, "closed": 0.01, "closed_value": 430.0, "realised": 2.0, "fees": 0.24, "orders": 0,
            "stop": 0.0, "loss_at_stop": None,
        }  # fmt: skip
        held = left | {"position": 0.01, "closing_orders": 0, "loss_at_stop": 33.45}
        return {"bot": bot, "commands": {"hold": {PAIR: held}, "reduce-50": {PAIR: held}, "close-all": {PAIR: left}}}

    async def what_if(self, bot, pair, price, price_now):
        if pair != PAIR:
            raise Misconfigured(f"bot {bot!r} has never traded pair {pair}; choose one of its own.")
        way = {"side": "buy", "price": 42_500.0, "quantity": 0.01, "reason": "entry"}
        return {
            "bot": bot, "pair": pair, "at": NOW, "price_now": price_now or 43_000.5, "price": price,
            "position_now": 0.01, "position": 0.02, "average": 42_650.0, "profit": -5.0,
            "fills": [way | {"fee": 0.085, "maker": True, "rested": True}],
            "desired": [way | {"kind": "limit", "side": "sell", "price": 43_500.0, "new": True}], "stop": 41_000.0,
            "stopped": False, "loss_at_stop": 33.45,
        }  # fmt: skip


def fill(number, side=1, price=430_000, at=NOW):
    return Execution(f"x{number}", PAIR, f"order-{number}", side, price, 10, 0.01, True, at, Cause.ORDER)


async def write_history(dsn, name, *, fills=3, decisions=5):
    """Let the bot have traded: rows as the store writes them."""
    store = await PostgresStore.open(dsn, name)
    saved = PairMachine(classic(), instrument(), 1.0, MINUTE).saved()
    orders = [
        Order(f"order-{k}", 0, k, 1 if k % 2 == 0 else -1, 0, 430_000 + k, 10, False, True, 0, -1, 0, 0)
        for k in range(fills)
    ]
    held = [0]

    def after(k):
        record = type("Record", (), {})()
        held[0] += 10 if k % 2 == 0 else -10
        record.position, record.realised = held[0], 0.0 if k % 2 == 0 else 4.2
        return record

    booked = [(fill(k, 1 if k % 2 == 0 else -1, at=NOW + k * MINUTE), after(k)) for k in range(fills)]
    said = [Decision(PAIR, NOW + k * MINUTE, "allocation", {
        "cap": "none", "strategy": "grid", "group": 0, "target": 900.0 + k, "raw": 1.0, "regime_confidence": 1.0,
        "performance": 1.0, "equity": 10_000.0}) for k in range(decisions)]  # fmt: skip
    await store.save(PAIR, saved, NOW, orders, booked, said)
    await store.close()


@asynccontextmanager
async def console(
    dsn, tmp_path, *names, redis=None, clock=None, now=lambda: NOW, limits=False, look=True, search=False
):
    """Serve a console of these bots, with `search` with the search's own process; yields a House."""
    await migrate(dsn)
    pool, bots = ReadPool(dsn), Bots(tmp_path)
    reader = None if redis is None else EventReader(redis)
    access = Access(
        AccessRows(pool),
        SealedSecrets(tmp_path, SecretKind.TOTP),
        now,
        PasswordHasher(time_cost=1, memory_cost=64, parallelism=1),
    )
    if not limits:
        access.limits.hit = lambda *_: None
    history = History(pool)
    if names:

        async def own():
            await pool.fetch("SELECT 1")
            return list(names)

        history.bots = own  # the database of a session has the bots of every test
    process = ResearchProcess(tmp_path)
    answers = process if search else MadeAnswers()
    reports = PlayedReports(tmp_path / "console" / "reports", ResearchProcess(tmp_path))
    research = ResearchTables(pool, tmp_path)
    fleet = ConsoleFleet(tmp_path, dsn, "embedded")
    twins = Twins(tmp_path, dsn) if search else MadeTwins(tmp_path, dsn)
    store = JournalStore(pool)
    replays = ManualReplays(pool, store, tmp_path)
    if not search:
        replays.steps = replays.bots = answers
    sources = Sources(
        *(history, access.rows, bots, MadeCandles(), reader, research, answers, reports, fleet, twins, replays),
        journal=Journal(store, history, tmp_path),
        signals=SignalRows(pool),
        signal_keys=SealedSecrets(tmp_path, SecretKind.SIGNALS),
    )
    watcher = Watcher(sources, clock) if clock else Watcher(sources)

    async def still():
        await asyncio.Event().wait()

    if not look:
        watcher.run = still
    listening = opened("127.0.0.1", 0)
    outcomes = Outcomes(lambda: twins, time.monotonic)
    built = Console(sources, access, watcher, outcomes, "0.0", secure=False)
    app = application(built, LOOPBACK, None)
    spoken = {}
    try:
        for name in names:
            spoken[name] = SpokenBot(tmp_path, name)
            await spoken[name].server.start()
        async with served(app, listening), aiohttp.ClientSession() as session:
            await watcher.look()
            yield House(f"http://127.0.0.1:{listening.getsockname()[1]}", app, built, spoken, session)
    finally:
        for one in spoken.values():
            await one.server.stop()
        bots.close()
        for one in (outcomes, process, twins, reports, replays, pool):
            await one.close()
        if reader is not None:
            await reader.close()
        listening.close()


class House:
    """A console that serves, with its bots and a client."""

    def __init__(self, address, app, built, bots, session):
        self.address, self.app, self.built, self.bots, self.session = address, app, built, bots, session

    async def token(self, scope=Scope.MONEY, days=1):
        """A token of a program with this scope."""
        by = (await self.built.access.with_link(await self.built.access.link(), "test", "test"))[1]
        return (await self.built.access.token(by, "test", "test", Scope(scope), days))[0]

    async def ask(self, method, path, token=None, **more):
        """Status, body and headers of an answer."""
        headers = dict(more.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with self.session.request(
            method, self.address + path, headers=headers, allow_redirects=False, **more
        ) as answer:
            raw = await answer.read()
            try:
                body = json.loads(raw)
            except ValueError:
                body = raw
            return answer.status, body, answer.headers

    def routes(self):
        """Every method and path of the API, with its operation."""
        for path, operations in self.app.openapi()["paths"].items():
            for method, operation in operations.items():
                yield method.upper(), path, operation
