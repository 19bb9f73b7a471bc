"""What happens to money while the bot is away, mistaken or misled: each kind of trouble against the simulated exchange.

Named after the rows of failures that they guard. In all of them the exchange itself keeps count of bare positions.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

import pytest
import structlog
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from bot.events import Alarm
from bot.order import OrderKind
from bot.ports import NotPermitted
from coordinator.vocabulary import HeldOff
from services.exchanges.bybit.gateway import Bybit
from services.messaging.silent_bus import SilentBus
from services.runtime.config import Foreign
from services.runtime.ending import NotClosed, close_everything
from services.runtime.live import account_snapshot
from services.runtime.local import status
from services.runtime.preflight import preflight
from services.simulated_bybit.faults import Faults
from services.simulated_bybit.records import VenueOrder
from tests.runtime.house import KEY, Bot, command, config, entries, exchange_for, gateway_to, venue, with_bot
from tests.services.hooked import Hooked


def held_off(bot, symbol):
    (found,) = (one["held_off"] for one in status(bot.runtime)["pairs"] if one["pair"] == symbol)
    return found


async def one_held(bot, exchange, least=1):
    """Play on until a pair holds at least so many lots; returns it."""
    while True:
        for symbol, book in exchange.books.items():
            if abs(book.position) >= least:
                return symbol
        assert await bot.steps.minute(), "the market has to be livelier for this test to mean anything"


@retry(retry=retry_if_result(lambda done: not done), wait=wait_fixed(0.01), stop=stop_after_delay(30))
async def until(done):
    return done()


async def heard(bot):
    """Let the bot hear what has happened at the exchange, and do what it does about it."""
    await bot.server._flush()
    await bot.runtime.poll()
    await bot.runtime.settled()
    for _ in range(3):
        await bot.steps.minute()


async def look(bot):
    """The regular look at the account, twice: what is seen twice is believed."""
    for _ in range(2):
        bot.runtime.tell(await account_snapshot(bot.runtime.gateway, status(bot.runtime)["transfers_at"]))
        await bot.runtime.settled()


def assert_protected(exchange, *, bare_minutes=0):
    for symbol, spell in exchange.bare.items():
        held, covered = exchange.protection()[symbol]
        assert covered == held, f"{symbol}: {covered} of {held} lots have a stop"
        assert spell.minutes <= bare_minutes, f"{symbol} was bare for {spell.minutes} minutes"


# A dead bot leaves a protected position


@pytest.mark.parametrize("seed", [7, pytest.param(11, marks=pytest.mark.slow)])
@pytest.mark.parametrize("death", ["kill", "leave"])
def test_f_83_entries_that_fill_while_the_bot_is_dead_bring_their_stop(dsn, name, seed, death):
    async def main():
        chosen = config()
        exchange = exchange_for(chosen, 3, seed)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name, server=house.server)
            await bot.start()
            for _ in range(200):
                await bot.steps.minute()
            open_orders = len(entries(bot, exchange))
            await (bot.crash() if death == "kill" else bot.stop())
            before = {symbol: book.position for symbol, book in exchange.books.items()}
            for _ in range(1200):
                while exchange.step():
                    assert_protected(exchange)
                exchange.events.clear()
            grown = sum(abs(book.position) > abs(before[symbol]) for symbol, book in exchange.books.items())
            await bot.start()
            for _ in range(5):
                await bot.steps.minute()
            for symbol, book in exchange.books.items():
                assert bot.runtime.loops[symbol].core.machine.position == book.position
            assert_protected(exchange)
            await bot.stop()
        return open_orders, grown

    open_orders, grown = asyncio.run(main())
    assert open_orders > 0
    assert grown > 0, "nothing was filled while the bot was dead: this test shows nothing"


def test_a_stopped_bot_has_no_entries_at_the_venue_and_its_stops_stay(dsn, name):
    async def play(bot, exchange):
        await one_held(bot, exchange)
        stops = sorted(one.id for one in exchange.live(None) if one.kind == OrderKind.STOP)
        assert entries(bot, exchange)
        await bot.runtime.cancel_entries()
        assert entries(bot, exchange) == []
        assert sorted(one.id for one in exchange.live(None) if one.kind == OrderKind.STOP) == stops
        await bot.crash()
        await bot.start()
        await bot.steps.minute()
        assert_protected(exchange)
        return len(stops), len(entries(bot, exchange))

    stops, after = with_bot(dsn, name, play)
    assert stops > 0
    assert after > 0, "the next start lays them again, under new names"


def test_shutdown_leaves_neither_orders_nor_positions_and_says_so(dsn, name):
    async def play(bot, exchange):
        await one_held(bot, exchange)
        closing = asyncio.create_task(close_everything(bot.runtime, bot.name, bot.chosen.pairs))
        while not closing.done():
            if not exchange.finished:
                exchange.step()
                await bot.server._flush()
            await asyncio.sleep(0)
        said = await closing
        return said, exchange.live(None), [book.position for book in exchange.books.values()]

    said, orders, positions = with_bot(dsn, name, play)
    assert "0 orders and 0 positions" in said
    assert (orders, positions) == ([], [0, 0])


@pytest.mark.slow
def test_a_shutdown_that_cannot_close_says_what_is_left(dsn, name):
    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        with pytest.raises(NotClosed, match=f"a position of .* {symbol}"):  # the market stands still
            await close_everything(bot.runtime, bot.name, bot.chosen.pairs, seconds=1.0)
        assert_protected(exchange)
        return entries(bot, exchange)

    assert with_bot(dsn, name, play) == []


def test_row_2_a_position_whose_stop_cannot_be_set_is_closed_after_two_seconds(dsn, name):
    """The exchange answers 503 to stops alone: the clock is looked at while it is tried."""

    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        bot.server.faults = Faults(down_path="trading-stop")
        loop = asyncio.get_running_loop()
        exchange.trading_stop(symbol, 0, None)  # somebody's hand
        began = loop.time()
        await bot.server._flush()
        await bot.runtime.poll()
        await bot.runtime.settled()
        leaving = [one for one in exchange.live(symbol) if one.kind == OrderKind.MARKET]
        took = loop.time() - began
        await bot.steps.minute()
        return took, len(leaving), exchange.books[symbol].position

    took, leaving, position = with_bot(dsn, name, play)
    assert (leaving, position) == (1, 0)
    assert 1.9 < took < 3.5


@pytest.mark.slow
def test_row_2_an_exchange_that_answers_late_does_not_hold_the_clock(dsn, name):
    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        bot.server.faults = Faults(slow_path="trading-stop", slow_s=6.0)
        take = exchange.trading_stop
        exchange.trading_stop = lambda *what: None  # and what was asked for is not done
        loop = asyncio.get_running_loop()
        take(symbol, 0, None)
        began = loop.time()
        await bot.server._flush()
        await bot.runtime.poll()
        await bot.runtime.settled()
        took = loop.time() - began
        await bot.steps.minute()
        return took, exchange.books[symbol].position

    took, position = with_bot(dsn, name, play)
    assert position == 0
    assert took < 3.5


def test_row_3_an_execution_that_the_stream_keeps_back_is_asked_for_when_its_order_is_told(dsn, name):
    async def play(bot, exchange):
        bot.server.faults = Faults(silent_executions=1.0)
        before = len(exchange.trades)
        while len(exchange.trades) < before + 5:
            await bot.steps.minute()
            for symbol, book in exchange.books.items():
                assert bot.runtime.loops[symbol].core.machine.position == book.position
        assert_protected(exchange)

    with_bot(dsn, name, play)


def test_news_of_the_position_is_asked_after_once_however_much_of_it_has_waited(dsn, name):
    class Counting(Bybit):
        asked = 0

        async def executions(self, symbol, since):
            Counting.asked += 1
            return await super().executions(symbol, since)

    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        loop = bot.runtime.loops[symbol]
        now = await bot.runtime.gateway.position(symbol)
        for told, asked in (([replace(now, lots=0), now], 0), ([now, replace(now, lots=0)], 1)):
            Counting.asked = 0
            for one in told:
                loop.tell(one)
            await bot.runtime.settled()
            assert Counting.asked == asked
        assert loop.core.machine.position == exchange.books[symbol].position

    with_bot(dsn, name, play, kind=Counting)


# The exchange's present is the truth, and absence is zero


def test_f_69_a_position_that_somebody_closed_is_booked_and_the_pair_opens_nothing(dsn, name):
    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        exchange.close_by_hand(symbol)
        await heard(bot)
        machine = bot.runtime.loops[symbol].core.machine
        assert (machine.position, exchange.books[symbol].position) == (0, 0)
        assert "position" in held_off(bot, symbol)
        assert [one for one in entries(bot, exchange) if one.symbol == symbol] == []
        for _ in range(120):
            await bot.steps.minute()
        assert exchange.books[symbol].position == 0
        booked = sorted(one.id for one in await bot.store.fills())
        assert booked == sorted(one.id for one in exchange.trades)
        await bot.runtime.apply_command(command("resume", symbol))
        assert held_off(bot, symbol) == []
        assert_protected(exchange)

    with_bot(dsn, name, play)


@pytest.mark.parametrize("when", ["running", "restart"])
def test_f_69_f_84_a_position_that_is_gone_without_any_execution_is_noticed(dsn, name, when):
    """History explains; where it does not, the present counts: entries leave, and exits that reduce nothing too."""

    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        known = len(exchange.trades)
        if when == "restart":
            await bot.crash()
        exchange.close_by_hand(symbol)
        while len(exchange.trades) > known:
            exchange.trades.pop()
        exchange.events.clear()
        if when == "restart":
            await bot.start()
        else:
            await look(bot)
        assert exchange.books[symbol].position == 0
        assert "position" in held_off(bot, symbol)
        assert exchange.live(symbol) == []
        for _ in range(60):
            await bot.steps.minute()
        assert exchange.books[symbol].position == 0, "a counter order has opened the other side"

    with_bot(dsn, name, play)


@pytest.mark.parametrize("lots", ["flipped", "added", pytest.param("reduced", marks=pytest.mark.slow)])
def test_row_5_what_somebody_trades_by_hand_gets_a_stop_on_its_own_side(dsn, name, lots):
    async def play(bot, exchange):
        symbol = await one_held(bot, exchange, least=2)
        book = exchange.books[symbol]
        before = book.position
        change = {"flipped": -2 * before, "added": before, "reduced": -(abs(before) // 2) * (1 if before > 0 else -1)}
        (stop,) = (one for one in exchange.live(symbol) if one.kind == OrderKind.STOP)
        earlier = stop.price
        exchange.trade_by_hand(symbol, 1 if change[lots] > 0 else -1, abs(change[lots]))
        await heard(bot)
        assert bot.runtime.loops[symbol].core.machine.position == book.position == before + change[lots]
        assert "position" in held_off(bot, symbol)
        assert [one for one in entries(bot, exchange) if one.symbol == symbol] == []
        (stop,) = (one for one in exchange.live(symbol) if one.kind == OrderKind.STOP)
        assert (stop.side * book.position < 0, stop.lots) == (True, abs(book.position))
        if lots != "flipped":
            assert (stop.price - earlier) * book.position >= 0, "other hands have loosened the stop"
        for _ in range(60):
            await bot.steps.minute()
        assert_protected(exchange)
        await bot.runtime.apply_command(command("resume", symbol))
        for _ in range(180):  # what is nobody's drains
            await bot.steps.minute()
        assert_protected(exchange)

    with_bot(dsn, name, play)


def test_row_5_a_position_that_nothing_explains_is_protected_where_it_stands(dsn, name):
    """Flipped without any execution to be had: the exchange's position has no stop until the bot gives it one."""

    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        book, known = exchange.books[symbol], len(exchange.trades)
        exchange.trade_by_hand(symbol, -1 if book.position > 0 else 1, 3 * abs(book.position))
        while len(exchange.trades) > known:
            exchange.trades.pop()
        exchange.events.clear()
        await look(bot)
        held, covered = exchange.protection()[symbol]
        assert held == covered > 0
        assert "position" in held_off(bot, symbol)
        assert [one for one in entries(bot, exchange) if one.symbol == symbol] == []

    with_bot(dsn, name, play)


@pytest.mark.parametrize(
    "how", ["bust", *(pytest.param(one, marks=pytest.mark.slow) for one in ("deleverage", "settle"))]
)
def test_f_70_what_the_venue_takes_is_a_loss_of_the_day_and_no_withdrawal(dsn, name, how):
    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        anchor = float(bot.runtime.master.core.machine.portfolio_state.portfolio.risk.anchor)
        with structlog.testing.capture_logs() as logs:
            if how == "deleverage":
                exchange.deleverage(symbol, abs(exchange.books[symbol].position))
            else:
                getattr(exchange, how)(symbol)
            await heard(bot)
            await look(bot)
        assert exchange.books[symbol].position == bot.runtime.loops[symbol].core.machine.position == 0
        assert "position" in held_off(bot, symbol)
        assert not {"deposit", "withdrawal", "unexplained_money"} & {one["event"] for one in logs}
        assert float(bot.runtime.master.core.machine.portfolio_state.portfolio.risk.anchor) == anchor
        assert status(bot.runtime)["equity"] == pytest.approx(exchange.equity, abs=0.01)

    with_bot(dsn, name, play)


def test_f_71_another_coin_and_its_price_are_not_the_bots_money_and_only_transfers_move_anchors(dsn, name):
    async def play(bot, exchange):
        risk = bot.runtime.master.core.machine.portfolio_state.portfolio.risk
        anchor, equity = float(risk.anchor), status(bot.runtime)["equity"]
        exchange.coins = {"BTC": (0.5, 60_000.0)}
        await look(bot)
        exchange.coins, exchange.usdt_usd = {"BTC": (0.5, 50_000.0)}, 0.998
        await look(bot)
        assert (float(risk.anchor), status(bot.runtime)["equity"]) == (anchor, pytest.approx(equity, abs=0.01))
        exchange.transfer(500.0)
        await look(bot)
        moved = anchor * (1.0 + 500.0 / equity)
        assert float(risk.anchor) == pytest.approx(moved, abs=0.01)
        exchange.capital -= 40.0  # no transfer, nothing that a pair has earned
        await look(bot)
        assert float(risk.anchor) == pytest.approx(moved, abs=0.01), "it is a loss of the day"
        assert status(bot.runtime)["equity"] == pytest.approx(equity + 460.0, abs=0.01)

    with_bot(dsn, name, play)


@pytest.mark.slow
def test_row_8_names_that_are_used_up_are_not_taken_for_resting(dsn, name):
    """As after a restore: the exchange knows the next orders of every slot as filled, long ago."""

    async def play(bot, exchange):
        symbol = await one_held(bot, exchange)
        planted = 0
        for index, slot in enumerate(bot.runtime.loops[symbol].core.machine.slots):
            for generation in range(int(slot.generation) + 1, int(slot.generation) + 3):
                client_order_id = f"{bot.name}-{symbol}-{index:03d}-{generation}"
                if client_order_id not in exchange.client_order_ids:
                    planted += 1
                    exchange.client_order_ids[client_order_id] = VenueOrder(
                        *(
                            f"planted-{planted}",
                            client_order_id,
                            symbol,
                            1,
                            OrderKind.LIMIT,
                            int(exchange.books[symbol].here),
                            10,
                        ),
                        reduce_only=False,
                        post_only=False,
                        created=0,
                        updated=0,
                        status="Filled",
                        filled=10,
                    )
        for _ in range(200):
            await bot.steps.minute()
        loop = bot.runtime.loops[symbol]
        assert sorted(one.client_order_id for one in loop.core._desired_orders()) == sorted(
            one.client_order_id for one in exchange.live(symbol) if one.client_order_id
        )
        assert_protected(exchange)

    with_bot(dsn, name, play)


@dataclass
class Elsewhere:
    """A database of its own, as another machine has it: nothing is known of any order."""

    known: object = None

    async def orders(self, symbol):
        return {}

    async def load(self, name):
        return None


def test_row_9_a_second_machine_of_the_same_name_is_refused_and_named(dsn, name):
    async def play(bot, exchange):
        gateway = gateway_to(bot.address)
        try:
            looked = (bot.name, bot.chosen, gateway, Elsewhere(), Foreign.REFUSE)
            with pytest.raises(NotPermitted, match=f"{bot.name}-.*--adopt"):
                await preflight(*looked)

            async def alive(_seconds):
                one = entries(bot, exchange)[0]
                exchange.cancel(one.symbol, one.id, "")

            with pytest.raises(NotPermitted, match="alive"):
                await preflight(*looked, adopt=True, asleep=alive)

            async def quiet(_seconds):
                pass

            await preflight(*looked, adopt=True, asleep=quiet)
            with pytest.raises(NotPermitted, match=f"a bot named {bot.name} has orders"):
                await preflight("other", bot.chosen, gateway, Elsewhere(), Foreign.IGNORE)
            with pytest.raises(NotPermitted, match=f"a bot named {bot.name} has orders"):
                await preflight("other", config(("ETHUSDT",)), gateway, Elsewhere(), Foreign.REFUSE)
        finally:
            await gateway.close()

    async def with_three():
        chosen = config()
        exchange = exchange_for(config(("BTCUSDT", "ETHUSDT", "SOLUSDT")))
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name, server=house.server)
            await bot.start()
            for _ in range(100):
                await bot.steps.minute()
            try:
                await play(bot, exchange)
            finally:
                await bot.stop()

    asyncio.run(with_three())


@pytest.mark.slow
def test_row_9_adopt_takes_over_what_another_database_left(dsn, name):
    """Its orders are cancelled; its position is booked at its average, guarded, and drains after a resume."""

    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name, server=house.server)
            await bot.start()
            symbol = await one_held(bot, exchange)
            await bot.crash()
            old = {one.client_order_id for one in exchange.live(None) if one.client_order_id}
            await _forget(dsn, name)
            bot.options = {"adopt": True}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("services.runtime.preflight.LISTEN_SECONDS", 0.0)
                await bot.start()
            assert not old & {one.client_order_id for one in exchange.live(None)}
            assert bot.runtime.loops[symbol].core.machine.position == exchange.books[symbol].position != 0
            assert "position" in held_off(bot, symbol)
            assert_protected(exchange)
            await bot.runtime.apply_command(command("resume"))
            for _ in range(150):
                await bot.steps.minute()
            assert_protected(exchange)
            await bot.stop()

    asyncio.run(main())


async def _forget(dsn, name):
    import asyncpg

    connection = await asyncpg.connect(dsn)
    for table in ("memory", "orders", "fills", "decisions", "snapshots"):
        await connection.execute(f"DELETE FROM {table} WHERE bot = $1", name)
    await connection.close()


# Codes, answers, keys


def hooked(dsn, name, play, minutes=150):
    """Play with a bot on an exchange whose answers the test writes itself."""

    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        server = Hooked(exchange, [KEY])
        address = f"http://127.0.0.1:{await server.start()}"
        bot = Bot(chosen, address, dsn, name, server=server)
        await bot.start()
        for _ in range(minutes):
            await bot.steps.minute()
        try:
            return await play(bot, exchange, server)
        finally:
            await bot.stop()
            await server.stop()

    return asyncio.run(main())


def test_f_73_an_exchange_that_asks_for_patience_with_a_stop_sells_nothing(dsn, name):
    async def play(bot, exchange, server):
        symbol = await one_held(bot, exchange)
        before = exchange.books[symbol].position
        exchange.trading_stop(symbol, 0, None)
        server.answers["position/trading-stop"] = [(429, "please retry"), (10429, "please retry"), None]
        await server._flush()
        await bot.runtime.poll()
        await bot.runtime.settled()
        assert [one for one in exchange.live(symbol) if one.kind == OrderKind.MARKET] == []
        assert exchange.books[symbol].position == before
        held, covered = exchange.protection()[symbol]
        assert held == covered

    hooked(dsn, name, play)


def test_f_73_a_trigger_that_has_passed_closes_at_once(dsn, name):
    async def play(bot, exchange, server):
        symbol = await one_held(bot, exchange)
        exchange.trading_stop(symbol, 0, None)
        text = "StopLoss:1 set for Buy position should lower than base_price:0??LastPrice"
        server.answers["position/trading-stop"] = (10001, text)
        await server._flush()
        await bot.runtime.poll()
        await bot.runtime.settled()
        server.answers.clear()
        await bot.steps.minute()
        assert exchange.books[symbol].position == 0

    hooked(dsn, name, play)


def test_row_11_a_revoked_key_holds_the_pairs_off_and_ends_when_it_trades_again(dsn, name, monkeypatch):
    monkeypatch.setattr("coordinator.pair_core.MOST_RETRY_SECONDS", 0.05)

    async def play(bot, exchange, server):
        symbol = await one_held(bot, exchange)
        refused = (10010, "Unmatched IP, please check your API key's bound IP addresses.")
        for path in ("order/create", "order/amend", "order/cancel", "position/trading-stop"):
            server.answers[path] = refused
        exchange.trading_stop(symbol, 0, None)
        await server._flush()
        asked = len(server.asked)
        await until(lambda: "permission" in held_off(bot, symbol))
        server.answers.clear()
        await until(lambda: "permission" not in held_off(bot, symbol))
        await bot.runtime.settled()
        await bot.steps.begin()
        await bot.steps.minute()
        assert_protected(exchange)
        assert len(server.asked) - asked < 200, "it was asked without end"
        return symbol

    hooked(dsn, name, play)


@pytest.mark.parametrize("path", ["", "SOLUSDT"])
def test_row_12_answers_that_cannot_be_read_end_no_bot(dsn, name, path, monkeypatch):
    """A third of all answers, or everything about one pair: the bot lives, and nothing is lost."""
    monkeypatch.setattr("coordinator.pair_core.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("coordinator.pair_core.MOST_RETRY_SECONDS", 0.05)

    async def play(bot, exchange, server):
        if path:
            for address in ("order/realtime", "execution/list", "position/list", "market/kline"):
                server.answers[address] = lambda query: {} if query.get("symbol") == path else None
            await bot.runtime.poll("BTCUSDT")
            bot.runtime.pairs.poll(path)
            for _ in range(2000):
                await asyncio.sleep(0)
            server.answers.clear()
        else:
            server.faults = Faults(malformed=0.3, seed=3)
            for _ in range(3):
                await bot.runtime.poll()
                await bot.runtime.settled()
            server.faults = Faults()
        await bot.runtime.settled()
        await bot.steps.begin()
        for _ in range(30):
            await bot.steps.minute()
        assert bot.runtime.supervisor.broken == 0
        booked = sorted(one.id for one in await bot.store.fills())
        assert booked == sorted(one.id for one in exchange.trades)
        assert_protected(exchange)

    hooked(dsn, name, play)


# The store


class Gone:
    """A store that does not answer while it is gone."""

    def __init__(self, store):
        self.store, self.back = store, asyncio.Event()
        self.back.set()

    def __getattr__(self, name):
        return getattr(self.store, name)

    async def save(self, *arguments):
        await self.back.wait()
        await self.store.save(*arguments)

    async def alive(self):
        return self.back.is_set()


class ToldBus(SilentBus):
    """Keeps the alarms that it is told."""

    def __init__(self):
        self.alarms = []

    def publish(self, event):
        if isinstance(event, Alarm):
            self.alarms.append((event.id, event.severity, event.over))


def test_row_14_entries_leave_at_once_when_the_database_goes_and_status_says_why(dsn, name, monkeypatch):
    monkeypatch.setattr("services.runtime.hosts.STORE_SECONDS", 0.01)
    stores, bus = [], ToldBus()

    def wrap(store):
        stores.append(Gone(store))
        return stores[-1]

    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            beside = {"wrap_store": wrap, "options": {"patience": 1.0}, "server": house.server, "bus": bus}
            bot = Bot(chosen, house.address, dsn, name, **beside)
            await bot.start()
            await one_held(bot, exchange)
            assert entries(bot, exchange)
            assert bus.alarms == []
            stores[-1].back.clear()
            await until(lambda: not entries(bot, exchange))  # nothing had to be stored
            reasons = [held_off(bot, symbol) for symbol in exchange.books]
            stores[-1].back.set()
            await until(lambda: entries(bot, exchange))
            await bot.runtime.settled()
            after = [held_off(bot, symbol) for symbol in exchange.books]
            assert_protected(exchange)
            await bot.stop()
        return reasons, after

    reasons, after = asyncio.run(asyncio.wait_for(main(), 120))
    assert all("database" in one for one in reasons)
    assert after == [[], []]
    assert bus.alarms == [("store_away", "critical", False), ("store_away", "critical", True)]


def test_f_07_a_halt_reaches_the_pairs_while_the_database_is_away(dsn, name):
    stores = []

    def wrap(store):
        stores.append(Gone(store))
        return stores[-1]

    async def main():
        exchange = exchange_for(config())
        async with venue(exchange) as house:
            bot = Bot(
                config(), house.address, dsn, name, wrap_store=wrap, options={"patience": 0.2}, server=house.server
            )
            await bot.start()
            await one_held(bot, exchange)
            stores[-1].back.clear()
            said = await asyncio.wait_for(bot.runtime.apply_command(command("halt")), 5.0)
            await until(lambda: not entries(bot, exchange))
            assert_protected(exchange)
            stores[-1].back.set()
            await until(lambda: all(not loop.core.memory.unavailable for loop in bot.runtime.loops.values()))
            await bot.runtime.settled()
            await bot.crash()
            await bot.start()
            await bot.steps.minute()
            assert status(bot.runtime)["halted"], "what was decided meanwhile is stored when the database is back"
            await bot.stop()
        return said

    assert "halted" in asyncio.run(asyncio.wait_for(main(), 120))


def test_every_reason_to_hold_off_has_a_name_that_people_read():
    assert {one.name for one in HeldOff} >= {"POSITION", "EXITS", "PERMISSION", "LEVERAGE"}


def test_a_stop_that_cannot_be_moved_holds_up_what_opens_and_no_exit(dsn, name, monkeypatch):
    """The position keeps its older stop; its counters and targets are placed all the same."""
    monkeypatch.setattr("coordinator.pair_core.RETRY_SECONDS", 0.01)
    monkeypatch.setattr("coordinator.pair_core.MOST_RETRY_SECONDS", 0.05)

    async def play(bot, exchange, server):
        symbol = await one_held(bot, exchange)
        loop = bot.runtime.loops[symbol]
        direction = 1 if exchange.books[symbol].position > 0 else -1
        exits = [one for one in exchange.live(symbol) if one.reduce_only and one.client_order_id]
        assert exits
        server.answers["position/trading-stop"] = (10001, "params error")
        loop.core.machine.states[0].grid.low_stop += direction  # the strategy moves its stop
        loop.core.machine.states[0].grid.high_stop += direction
        for slot in loop.core.machine.slots:
            if slot.active and slot.kind == OrderKind.STOP:
                slot.price += direction
        exchange.cancel(symbol, exits[0].id, "")
        await server._flush()
        await until(lambda: any(one.reduce_only and one.client_order_id for one in exchange.live(symbol)))
        held, covered = exchange.protection()[symbol]
        assert held == covered
        server.answers.clear()
        await bot.runtime.settled()

    hooked(dsn, name, play)
