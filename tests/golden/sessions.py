"""Sessions with faults, and a recorder of what a pair's loop hears and asks for."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, is_dataclass
from enum import Enum

import numpy as np

from bot.ports import Changed, Closed, Execution, Gap, Position
from coordinator.messages import Directive, Recover, Room
from coordinator.pair_core import PairCore
from services.exchanges.bybit.gateway import Bybit
from services.simulated_bybit.faults import Faults
from tests.runtime.house import Bot, config, exchange_for, gateway_to, venue

PAIR, SEED, MINUTES = "SOLUSDT", 7, 170
HEARD = (Closed, Execution, Changed, Position, Gap, Directive, Recover, Room)


async def _nothing(bot, exchange):
    pass


async def _closed_by_hand(bot, exchange):
    exchange.close_by_hand(PAIR)


async def _deleveraged(bot, exchange):
    exchange.deleverage(PAIR, max(abs(exchange.books[PAIR].position) // 2, 1))


async def _stop_taken_away(bot, exchange):
    exchange.trading_stop(PAIR, 0, None)


async def _entries_cancelled(bot, exchange):
    for one in [each for each in exchange.live(PAIR) if not each.reduce_only]:
        exchange.cancel(PAIR, one.id, "")


async def _executions_silent(bot, exchange):
    bot.server.faults = Faults(silent_executions=1.0)


async def _restarted(bot, exchange):
    await bot.crash()
    await bot.start()


SESSIONS = {
    "undisturbed": _nothing,
    "closed_by_hand": _closed_by_hand,
    "deleveraged": _deleveraged,
    "stop_taken_away": _stop_taken_away,
    "entries_cancelled": _entries_cancelled,
    "executions_silent": _executions_silent,
    "restarted": _restarted,
}


def plain(value):
    """A value of an event or an order as JSON knows it."""
    if isinstance(value, Enum):
        return value.name.lower()
    if isinstance(value, np.ndarray):
        return {name: value[0][name].item() for name in value.dtype.names}
    if is_dataclass(value):
        return {name: plain(each) for name, each in asdict(value).items() if name != "heard"}
    return value


class Recorder:
    """Lines of one session."""

    def __init__(self):
        self.lines = []

    def heard(self, message):
        fields = {name: plain(value) for name, value in vars(message).items() if name != "heard"}
        self.lines.append({"in": type(message).__name__, **fields})

    def asked(self, what, **fields):
        self.lines.append({"out": what, **fields})


def recording(recorder):
    """A gateway that writes down what is asked of the exchange for the pair."""

    class Recording(Bybit):
        async def place(self, symbol, order):
            _asked(symbol, "place", order)
            await super().place(symbol, order)

        async def amend(self, symbol, order):
            _asked(symbol, "amend", order)
            await super().amend(symbol, order)

        async def cancel(self, symbol, client_order_id):
            if symbol == PAIR:
                recorder.asked("cancel", client_order_id=client_order_id)
            await super().cancel(symbol, client_order_id)

        async def set_stop(self, symbol, price):
            if symbol == PAIR:
                recorder.asked("set_stop", price=price)
            return await super().set_stop(symbol, price)

    def _asked(symbol, what, order):
        if symbol == PAIR:
            recorder.asked(what, **plain(order))

    return Recording


async def play(dsn, name, session, monkeypatch):
    """Play a session; its fault comes at the first minute at which the pair holds something."""
    recorder, chosen = Recorder(), config()
    handle = PairCore.handle

    def heard(self, message):
        if self.symbol == PAIR and isinstance(message, HEARD):
            recorder.heard(message)
        return handle(self, message)

    monkeypatch.setattr(PairCore, "handle", heard)
    exchange = exchange_for(chosen, 1, SEED)
    recorder.lines.append(
        {"session": session, "pair": PAIR, "pairs": list(chosen.pairs), "seed": SEED, "minutes": MINUTES}
    )
    async with venue(exchange) as house:
        bot = Bot(chosen, house.address, dsn, name, server=house.server)
        bot.make_gateway = lambda address: gateway_to(address, recording(recorder))
        await bot.start()
        struck = False
        for _ in range(MINUTES):
            await bot.steps.minute()
            if exchange.books[PAIR].position and not struck:
                struck = True
                await SESSIONS[session](bot, exchange)
                await house.server._flush()
                await bot.runtime.settled()
                await bot.steps.begin()
        assert struck, "the market has to be livelier for this session"
        await bot.stop()
    return [json.dumps(line, separators=(",", ":")).replace(name, "golden") for line in recorder.lines]


def played(dsn, name, session, monkeypatch):
    return asyncio.run(play(dsn, name, session, monkeypatch))
