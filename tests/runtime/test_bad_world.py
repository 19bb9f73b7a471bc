"""The world goes wrong while the bot runs: each time a sentence for the operator, no entries, and exits that work."""

from __future__ import annotations

import asyncio
from decimal import Decimal

import asyncpg
import pytest
import structlog
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from bot.errors import Misconfigured
from bot.ports import NotPermitted, Refusal, Refused, Unreachable
from coordinator.breaker import MOST_EXITS, Breaker
from coordinator.messages import SaveState
from services.exchanges.bybit.gateway import Bybit
from services.runtime.live import account_snapshot
from services.runtime.local import status
from services.storage.store import PostgresStore
from tests.chaos.test_crash_points import assert_covered
from tests.runtime.house import Bot, command, config, entries, exchange_for, venue, with_bot


class HandClock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def held_off(bot, symbol):
    (found,) = (one["held_off"] for one in status(bot.runtime)["pairs"] if one["pair"] == symbol)
    return found


def exits(bot, exchange, symbol):
    """What rests to leave: orders by their names, the position's stop by its price."""
    return sorted(one.client_order_id or f"stop at {one.price}" for one in exchange.live(symbol) if one.reduce_only)


async def flat(bot, exchange, symbol):
    """Close what is held, as the operator would."""
    await bot.runtime.apply_command(command("close-all"))
    for _ in range(3):
        await bot.steps.minute()
    assert exchange.books[symbol].position == 0


async def look(bot):
    await bot.runtime.check_listings()
    await bot.runtime.settled()


def test_a_delisted_symbol_opens_nothing_and_its_exits_work(dsn, name):
    async def play(bot, exchange):
        before = exits(bot, exchange, "SOLUSDT")
        exchange.closed.add("SOLUSDT")
        with structlog.testing.capture_logs() as logs:
            await look(bot)
        assert held_off(bot, "SOLUSDT") == ["instrument"]
        assert {one.symbol for one in entries(bot, exchange)} == {"BTCUSDT"}
        assert exits(bot, exchange, "SOLUSDT") == before
        await flat(bot, exchange, "SOLUSDT")
        return logs, len(before)

    logs, before = with_bot(dsn, name, play)
    assert before > 0
    assert any("trades it no more" in one.get("sentence", "") for one in logs)


def test_entries_that_a_delisted_symbol_refuses_are_cancelled_and_asked_for_no_more(dsn, name):
    """Before anybody has looked at the listing."""

    async def play(bot, exchange):
        for one in entries(bot, exchange):
            exchange.cancel(one.symbol, one.id, "")
        exchange.closed.update(exchange.books)
        for _ in range(5):
            await bot.steps.minute()
        return len(entries(bot, exchange)), bot.runtime.supervisor.broken

    assert with_bot(dsn, name, play) == (0, 0)


@pytest.mark.parametrize("tick", ["finer", "coarser"])
def test_family_8_another_tick_size_holds_the_pair_off_until_it_is_flat_and_then_it_trades_in_the_new_one(
    dsn, name, tick
):
    async def play(bot, exchange):
        old = exchange.instruments["SOLUSDT"].tick_size
        new = old / 10 if tick == "finer" else old * 5
        exchange.relist("SOLUSDT", tick_size=new)
        with structlog.testing.capture_logs() as logs:
            await look(bot)
        assert held_off(bot, "SOLUSDT") == ["instrument"]
        assert {one.symbol for one in entries(bot, exchange)} <= {"BTCUSDT"}
        assert_covered(exchange.books["SOLUSDT"])
        await bot.crash()  # what the memory is written in is known after a restart too
        await bot.start()
        assert held_off(bot, "SOLUSDT") == ["instrument"]
        assert_covered(exchange.books["SOLUSDT"])
        await flat(bot, exchange, "SOLUSDT")
        loop = bot.runtime.loops["SOLUSDT"]
        assert loop.core.machine.instrument.tick_size == new
        assert held_off(bot, "SOLUSDT") == []
        names = set(exchange.client_order_ids)
        await bot.runtime.apply_command(command("resume", force=True))
        await bot.runtime.settled()
        for _ in range(150):
            await bot.steps.minute()
        fresh = [one for one in exchange.live("SOLUSDT") if one.client_order_id not in names]
        return logs, fresh, float(loop.core.machine.pairs[0].ledger.fees), loop.core.machine.time == exchange.now

    logs, fresh, fees, current = with_bot(dsn, name, play, minutes=400)
    assert any("tick or lot size has changed" in one.get("sentence", "") for one in logs)
    assert fees > 0, "the money is not forgotten"
    assert current
    if tick == "finer":  # the venue's own book goes on in its old ticks, which only the finer ones contain
        assert fresh


def test_a_minimum_above_the_levels_is_followed_and_exits_go_below_it(dsn, name):
    async def play(bot, exchange):
        before = exits(bot, exchange, "SOLUSDT")
        for symbol in exchange.books:
            exchange.relist(symbol, min_notional=Decimal(4_000))
        with structlog.testing.capture_logs() as logs:
            await look(bot)
            for one in entries(bot, exchange):
                exchange.cancel(one.symbol, one.id, "")
            for _ in range(60):
                await bot.steps.minute()
        laid = entries(bot, exchange)
        assert bot.runtime.loops["SOLUSDT"].core.machine.pairs[0].instrument.min_notional == 4_000
        await flat(bot, exchange, "SOLUSDT")
        return logs, len(before), laid, exchange

    logs, before, laid, exchange = with_bot(dsn, name, play)
    assert before > 0
    assert any(one["event"] == "instrument_changed" for one in logs)
    for one in laid:
        assert one.lots * one.price * float(exchange.books[one.symbol].pair.instrument.tick_value) >= 4_000


def test_money_that_was_withdrawn_is_not_traded_with_and_exits_work(dsn, name):
    async def play(bot, exchange):
        exchange.transfer(40.0 - exchange.equity)
        with structlog.testing.capture_logs() as logs:
            for _ in range(2):
                bot.runtime.tell(await account_snapshot(bot.runtime.gateway, status(bot.runtime)["transfers_at"]))
                await bot.runtime.settled()
            for _ in range(90):
                await bot.steps.minute()
        now = status(bot.runtime)
        for book in exchange.books.values():
            assert_covered(book)
        await flat(bot, exchange, "SOLUSDT")
        return logs, now, sum(book.position != 0 for book in exchange.books.values())

    logs, now, positions = with_bot(dsn, name, play)
    assert any(one["event"] == "withdrawal" for one in logs)
    assert now["equity"] < 200
    assert not now["halted"], "a withdrawal is no loss"
    assert positions == 0


def test_leverage_changed_by_hand_is_set_back(dsn, name):
    async def play(bot, exchange):
        exchange.set_leverage("SOLUSDT", 7.0)
        with structlog.testing.capture_logs() as logs:
            await look(bot)
        return logs, float(exchange.books["SOLUSDT"].pair.instrument.leverage)

    logs, leverage = with_bot(dsn, name, play, minutes=5)
    assert leverage == 1.0
    assert [one["pair"] for one in logs if one["event"] == "leverage_restored"] == ["SOLUSDT"]


def test_a_silent_candle_stream_is_asked_around_and_where_rest_is_silent_too_the_pair_waits(dsn, name):
    clock = HandClock()

    async def play(bot, exchange):
        before = exits(bot, exchange, "SOLUSDT")
        clock.now += 181.0
        await bot.runtime.poll()
        with structlog.testing.capture_logs() as logs:
            await bot.runtime.settled()
        assert held_off(bot, "SOLUSDT") == ["silence"]
        assert entries(bot, exchange) == []
        assert exits(bot, exchange, "SOLUSDT") == before
        heard, bot.runtime.gateway.client.sink = bot.runtime.gateway.client.sink, lambda message: None
        while exchange.step():
            pass
        exchange.events.clear()  # the stream says nothing, REST has the candle
        await bot.runtime.poll()
        await bot.runtime.settled()
        bot.runtime.gateway.client.sink = heard
        assert held_off(bot, "SOLUSDT") == []
        await bot.steps.begin()
        for _ in range(5):
            await bot.steps.minute()
        return logs, {one.symbol for one in entries(bot, exchange)}

    logs, trading = with_bot(dsn, name, play, options={"clock": clock})
    assert any("no candle" in one.get("sentence", "") for one in logs)
    assert trading == {"BTCUSDT", "SOLUSDT"}


class Sick:
    """A store whose saves fail while it is sick, as a full or read-only database makes them."""

    def __init__(self, store):
        self.store, self.well = store, asyncio.Event()
        self.well.set()

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def save(self, *arguments):
        await self.well.wait()
        await self.store.save(*arguments)


def test_f_12_while_the_store_is_away_nothing_is_opened_and_a_fill_still_gets_its_stop(dsn, name):
    sick = []

    def wrap(store):
        sick.append(Sick(store))
        return sick[-1]

    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name, wrap_store=wrap, options={"patience": 1.0})
            await bot.start()
            while not all(book.position for book in exchange.books.values()):
                await bot.steps.minute()
            before = {one.id for one in exchange.live(None)}
            sick[-1].well.clear()
            for symbol in exchange.books:
                bot.runtime.pairs.tell(symbol, SaveState())
            await asyncio.gather(*(box.join() for box in bot.runtime.pairs.mailboxes()))
            without = entries(bot, exchange)
            kept = {one.id for one in exchange.live(None)}
            held = {symbol: book.position for symbol, book in exchange.books.items()}
            for symbol in exchange.books:
                exchange.trading_stop(symbol, 0, None)  # somebody's hand, while nothing can be remembered
            await house.server._flush()
            await bot.runtime.poll()
            await asyncio.gather(*(box.join() for box in bot.runtime.pairs.mailboxes()))
            for book in exchange.books.values():
                assert_covered(book)
            sent = {one.id for one in exchange.live(None)} - kept
            await bot.crash()  # and these were never stored
            sick[-1].well.set()
            await bot.start()
            for _ in range(30):
                await bot.steps.minute()
            left = {one.symbol for one in entries(bot, exchange)}
            booked = await bot.store.fills()
            assert sorted(one.id for one in booked) == sorted(one.id for one in exchange.trades)
            await bot.stop()
        return before, without, kept, held, sent, left

    before, without, kept, held, sent, left = asyncio.run(main())
    assert without == []
    assert kept < before
    assert any(held.values())
    assert sent
    assert left == {"BTCUSDT", "SOLUSDT"}


@pytest.mark.parametrize("mode", ["on", "off"])
def test_a_read_only_database_is_waited_for_and_named(dsn, name, mode):
    async def main():
        store = await PostgresStore.open(dsn, name)
        await store.pool.close()
        store.pool = await asyncpg.create_pool(
            dsn, min_size=1, max_size=1, server_settings={"default_transaction_read_only": mode}
        )
        with structlog.testing.capture_logs() as logs:
            saving = asyncio.create_task(store.snapshot("x", "layout", "{}", 0))
            await asyncio.wait({saving}, timeout=0.5)
        done = saving.done()
        saving.cancel()
        await asyncio.gather(saving, return_exceptions=True)
        await store.close()
        return done, logs

    done, logs = asyncio.run(main())
    assert done is (mode == "off")
    if mode == "on":
        assert any("give this user the right to write" in one.get("remedy", "") for one in logs)


def test_a_memory_of_another_layout_is_refused_in_a_sentence(dsn, name):
    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            await bot.start()
            await bot.crash()
            bot.store = await PostgresStore.open(dsn, name)
            await bot.store.pool.execute("UPDATE memory SET layout = 'older' WHERE bot = $1 AND name = 'SOLUSDT'", name)
            await bot.store.close()
            with pytest.raises(Misconfigured, match="SOLUSDT was written by a version that this one cannot read"):
                await bot.start()

    asyncio.run(main())


# A loop gone wild, exits that fail, stops that do not rest.


def test_f_09_the_breaker_counts_by_minutes_of_the_market():
    breaker = Breaker(3)
    for _ in range(3):
        assert not breaker.wild(60_000)
        breaker.act(60_000)
    assert breaker.wild(119_999)
    assert not breaker.wild(120_000)
    for _ in range(MOST_EXITS):
        assert not breaker.barred(120_000)
        breaker.exit_failed(120_000)
    assert breaker.barred(150_000)
    assert not breaker.barred(180_000)


def test_f_09_a_loop_gone_wild_opens_nothing_more_and_the_operator_is_told(dsn, name):
    async def play(bot, exchange):
        found = held_off(bot, "SOLUSDT"), len(entries(bot, exchange))
        for book in exchange.books.values():
            assert_covered(book)
        bot.runtime.loops["SOLUSDT"].core.breaker.most_actions = 60
        await bot.runtime.apply_command(command("resume", "SOLUSDT"))
        for _ in range(3):
            await bot.steps.minute()
        return *found, held_off(bot, "SOLUSDT"), {one.symbol for one in entries(bot, exchange)}

    reasons, open_orders, after, trading = with_bot(dsn, name, play, options={"most_actions": 2})
    assert (reasons, open_orders) == (["actions"], 0)
    assert (after, trading) == ([], {"SOLUSDT"})


class Refusing(Bybit):
    """A gateway that will not place some exits."""

    trouble = None

    async def place(self, symbol, order):
        if self.trouble is not None and order.reduce_only:
            self.trouble(order)
        await super().place(symbol, order)


async def take_exit_away(bot, exchange):
    """Somebody cancels an order that would leave, and no stream tells of it; returns the pair."""
    while not (found := [one for one in exchange.live(None) if one.reduce_only and one.client_order_id]):
        await bot.steps.minute()
    exchange.cancel(found[0].symbol, found[0].id, "")
    exchange.events.clear()
    return found[0].symbol


def test_f_09_exits_that_fail_again_and_again_are_told_and_tried_again_but_not_without_end(dsn, name):
    tried = []

    def refuse(order):
        tried.append(order.client_order_id)
        raise Refused(Refusal.OTHER, "not today")

    async def play(bot, exchange):
        symbol = await take_exit_away(bot, exchange)
        bot.runtime.gateway.trouble = refuse
        await bot.runtime.poll()
        with structlog.testing.capture_logs() as logs:
            await bot.runtime.settled()
        reasons, attempts = held_off(bot, symbol), len(tried)
        bot.runtime.gateway.trouble = None
        await bot.steps.minute()
        bot.runtime.pairs.tell(symbol, SaveState())
        await bot.runtime.settled()
        for _ in range(2):
            await bot.steps.minute()
        assert_covered(exchange.books[symbol])
        return reasons, attempts, logs

    reasons, attempts, logs = with_bot(dsn, name, play, kind=Refusing)
    assert reasons == ["exits"]
    assert attempts == MOST_EXITS == len(set(tried))
    assert any("exits fail" in one.get("sentence", "") for one in logs)


def test_a_pair_whose_questions_are_refused_waits_and_the_others_trade_on(dsn, name, monkeypatch):
    """A venue that has forgotten a symbol answers 10001 to whatever concerns it."""
    monkeypatch.setattr("coordinator.pair_core.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("coordinator.pair_core.MOST_RETRY_SECONDS", 0.05)

    class Forgot(Bybit):
        symbol = None

        async def candles(self, symbol, since, until):
            if symbol == self.symbol:
                raise Refused(Refusal.OTHER, "params error: symbol invalid")
            return await super().candles(symbol, since, until)

    async def play(bot, exchange):
        bot.runtime.gateway.symbol = "SOLUSDT"
        before = bot.runtime.loops["BTCUSDT"].core.machine.time
        await bot.runtime.poll()
        for _ in range(3):
            while exchange.step():
                await bot.server._flush()
            await bot.server._flush()
        await _until(lambda: bot.runtime.loops["BTCUSDT"].core.machine.time >= before + 3 * 60_000)
        stuck = bot.runtime.loops["SOLUSDT"].core.machine.time - before
        bot.runtime.gateway.symbol = None
        await _until(lambda: bot.runtime.loops["SOLUSDT"].core.machine.time >= before + 3 * 60_000)
        await bot.runtime.settled()
        return stuck, bot.runtime.supervisor.broken

    assert with_bot(dsn, name, play, minutes=150, kind=Forgot) == (0, 0)


@retry(retry=retry_if_result(lambda done: not done), wait=wait_fixed(0.02), stop=stop_after_delay(30))
async def _until(done):
    return done()


def test_f_23_a_recovery_that_fails_in_the_middle_forgets_no_fill(dsn, name, monkeypatch):
    """What was booked before the venue went away is stored with the next memory, and booked once."""
    monkeypatch.setattr("coordinator.pair_core.RETRY_SECONDS", 0.01)

    class Fails(Bybit):
        left = 0

        async def open_orders(self, symbol):
            if type(self).left:
                type(self).left -= 1
                raise Unreachable("not now")
            return await super().open_orders(symbol)

    async def play(bot, exchange):
        before, deaf = len(exchange.trades), bot.runtime.gateway.client.sink
        bot.runtime.gateway.client.sink = lambda message: None
        while len(exchange.trades) == before:
            exchange.step()
        exchange.events.clear()
        bot.runtime.gateway.client.sink = deaf
        Fails.left = 2
        await bot.runtime.poll()
        await bot.runtime.settled()
        booked = sorted(one.id for one in await bot.store.fills())
        assert booked == sorted(one.id for one in exchange.trades)
        await bot.crash()
        await bot.start()
        for symbol, loop in bot.runtime.loops.items():
            assert loop.core.machine.position == exchange.books[symbol].position

    with_bot(dsn, name, play, minutes=150, kind=Fails)


def test_a_leverage_that_cannot_be_set_is_refused_at_the_start(dsn, name):
    async def main():
        exchange = exchange_for(config())
        async with venue(exchange) as house:
            bot = Bot(config(leverage=124.0), house.address, dsn, name)
            exchange.set_leverage = _never
            with pytest.raises(NotPermitted, match="leverage 124 cannot be set"):
                await bot.start()

    asyncio.run(main())


def _never(symbol, leverage):
    from services.simulated_bybit.exchange import BybitRefusal

    raise BybitRefusal(110013, "cannot set leverage due to risk limit level")
