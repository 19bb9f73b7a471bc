"""What happens at the exchange without the bot, alive or dead: trades by hand, force, funding, a history that is gone.

F-69, F-70, F-81, F-84: everything is booked once, positions follow the exchange, nothing increases exposure unasked.
"""

from __future__ import annotations

import asyncio

import pytest
import structlog

from bot.errors import Misconfigured
from bot.ports import Cause
from coordinator.messages import AccountSnapshot
from services.runtime.live import account_snapshot
from services.runtime.local import status
from services.simulated_bybit.rest import ROUTES
from services.trials.agreement import compare
from tests.runtime.house import Bot, config, entries, exchange_for, venue

SYMBOL = "SOLUSDT"
EVENTS = {
    "closed by hand": lambda exchange, lots: exchange.close_by_hand(SYMBOL),
    "turned by hand": lambda exchange, lots: exchange.trade_by_hand(SYMBOL, -1 if lots > 0 else 1, 2 * abs(lots)),
    "added by hand": lambda exchange, lots: exchange.trade_by_hand(SYMBOL, 1 if lots > 0 else -1, abs(lots)),
    "deleveraged": lambda exchange, lots: exchange.deleverage(SYMBOL, max(abs(lots) // 2, 1)),
    "liquidated": lambda exchange, lots: exchange.bust(SYMBOL),
    "settled": lambda exchange, lots: exchange.settle(SYMBOL),
}
FORCED = ("deleveraged", "liquidated", "settled")


async def with_position(dsn, name, play, minutes=120):
    """Play until the pair holds something, then `play(bot, exchange, house)`."""
    chosen = config()
    exchange = exchange_for(chosen)
    async with venue(exchange) as house:
        bot = Bot(chosen, house.address, dsn, name, server=house.server)
        await bot.start()
        for _ in range(minutes):
            await bot.steps.minute()
        while not exchange.books[SYMBOL].position:
            await bot.steps.minute()
        try:
            await play(bot, exchange, house)
        finally:
            await bot.stop()


async def nothing_more():
    """The bot is dead already."""


async def agree(bot, exchange):
    """Let the bot look, as it does every 20 s, and hold everything against everything."""
    await bot.runtime.poll()
    await bot.runtime.settled()
    found = compare(exchange, await bot.store.fills(), bot.runtime.loops)
    assert (found.doubled, found.lost, found.differences) == ([], [], [])


def held_off(bot):
    return next(one["held_off"] for one in status(bot.runtime)["pairs"] if one["pair"] == SYMBOL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("event", "dead"), [(one, dead) for one in EVENTS for dead in (False, True) if (one, dead) != ("settled", True)]
)
def test_what_others_do_to_a_position_is_booked_once_and_holds_the_pair_off(dsn, name, watches, event, dead):
    async def play(bot, exchange, house):
        before = exchange.books[SYMBOL].position
        if dead:
            await bot.crash()
        EVENTS[event](exchange, before)
        if dead:
            exchange.events.clear()
            await bot.start()
        await house.server._flush()
        await agree(bot, exchange)
        assert held_off(bot) == ["position"]
        assert not [one for one in entries(bot, exchange) if one.symbol == SYMBOL]
        causes = {one.cause for one in await bot.store.fills() if one.symbol == SYMBOL and not one.client_order_id}
        assert (Cause.FORCED if event in FORCED else Cause.ORDER) in causes
        await bot.steps.begin()
        for _ in range(20):
            await bot.steps.minute()
        await agree(bot, exchange)
        assert abs(exchange.books[SYMBOL].position) <= 2 * abs(before), "nothing was opened unasked"

    asyncio.run(with_position(dsn, name, play))
    if event in ("turned by hand", "added by hand"):  # for as long as it takes to answer, or to start
        assert not any(watch.bare_minutes for watch in watches)
        for watch in watches:
            watch.bare_moments.clear()


@pytest.mark.slow
def test_a_symbol_that_was_settled_while_the_bot_was_dead_is_named_and_the_others_keep_their_stops(dsn, name):
    async def play(bot, exchange, house):
        await bot.crash()
        exchange.settle(SYMBOL)
        exchange.events.clear()
        with pytest.raises(Misconfigured, match=f"pairs has {SYMBOL}, which cannot be traded: .*; remove it"):
            await bot.start()
        bot.stop = nothing_more
        while exchange.step() or exchange.at % 60:  # nobody is there, and the audit looks on
            pass

    asyncio.run(with_position(dsn, name, play))


@pytest.mark.parametrize("dead", [False, True], ids=["alive", "dead"])
def test_f_70_the_loss_of_a_liquidation_is_a_loss_of_the_day_and_no_withdrawal(dsn, name, dead):
    async def play(bot, exchange, house):
        if dead:
            await bot.crash()
        before, anchor = exchange.equity, float(bot.runtime.master.core.machine.portfolio_state.portfolio.risk.anchor)
        book = exchange.books[SYMBOL]
        book.here *= 0.5 if book.position > 0 else 1.5
        exchange.bust(SYMBOL)
        lost = before - exchange.equity
        assert lost > 1.0
        if dead:
            await bot.start()
        await house.server._flush()
        with structlog.testing.capture_logs() as logs:
            await agree(bot, exchange)
            for _ in range(3):
                told = await account_snapshot(
                    bot.runtime.gateway, bot.runtime.master.core.machine.portfolio_state.portfolio.transfers_at
                )
                assert isinstance(told, AccountSnapshot)
                bot.runtime.tell(told)
                await bot.runtime.settled()
        events = {one["event"] for one in logs}
        assert not events & {"withdrawal", "deposit", "unexplained_money"}
        risk = bot.runtime.master.core.machine.portfolio_state.portfolio.risk
        assert float(risk.anchor) == pytest.approx(anchor)
        await bot.steps.begin()
        await bot.steps.minute()
        wallet = status(bot.runtime)["wallet"]
        assert wallet == pytest.approx(exchange.wallet, abs=0.01)
        assert float(risk.anchor) - float(risk.equity) >= 0.9 * lost

    asyncio.run(with_position(dsn, name, play))


def test_f_81_funding_that_was_paid_while_the_bot_was_dead_is_money_and_no_fill(dsn, name):
    async def play(bot, exchange, house):
        await bot.crash()
        before = sum(one.kind == "Funding" for one in exchange.trades)
        while sum(one.kind == "Funding" for one in exchange.trades) == before:
            exchange.step()
        while exchange.step():
            pass
        exchange.events.clear()
        await bot.start()
        await agree(bot, exchange)
        paid = [one for one in await bot.store.fills() if one.cause is Cause.FUNDING]
        assert paid
        assert not any(one.lots for one in paid)

    asyncio.run(with_position(dsn, name, play))


def recent_only(known, since):
    """An exchange whose history of executions begins at `since`, ms."""

    def executions(server, query):
        return known(server, {**query, "startTime": max(int(query.get("startTime", 0)), since)})

    return executions


@pytest.mark.slow
@pytest.mark.parametrize("memory", ["kept", "gone"])
def test_f_84_a_position_older_than_any_history_is_held_protected_and_does_not_keep_the_bot_from_starting(
    dsn, name, memory, monkeypatch
):
    monkeypatch.setattr("services.runtime.preflight.LISTEN_SECONDS", 0.0)

    async def play(bot, exchange, house):
        lots = exchange.books[SYMBOL].position
        await bot.crash()
        exchange.deleverage(SYMBOL, max(abs(lots) // 2, 1))
        exchange.events.clear()
        known = ROUTES["GET", "execution/list"]
        monkeypatch.setitem(ROUTES, ("GET", "execution/list"), recent_only(known, exchange.now + 1))
        if memory == "gone":
            bot.name, bot.options = f"{name}b", {"adopt": True, "foreign": "ignore"}
            for one in exchange.live(None):
                if one.client_order_id:
                    exchange.cancel(one.symbol, one.id, "")
        await bot.start()
        await bot.runtime.poll()
        await bot.runtime.settled()
        machine = bot.runtime.loops[SYMBOL].core.machine
        assert not [one for one in entries(bot, exchange) if one.symbol == SYMBOL and memory == "kept"]
        if memory == "kept":
            assert held_off(bot) == ["position"]
        else:
            assert machine.position == exchange.books[SYMBOL].position
        for _ in range(10):
            await bot.steps.minute()

    asyncio.run(with_position(dsn, name, play))
