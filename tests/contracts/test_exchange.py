"""The roles of a venue (market data, trading, account, stream): a toy in memory, and Bybit's adapter over HTTP."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from decimal import Decimal

import aiohttp
import pytest

from bot.errors import Misconfigured
from bot.order import OrderKind, Side
from bot.ports import Cause, Closed, Execution, Gap, Gone, Order, OrderState, Refusal, Refused, client_order_id_of
from services.exchanges.registry import BYBIT, factory_of
from services.simulated_bybit.server import VenueServer
from tests.conftest import MINUTE, START
from tests.contracts.toy import ToyExchange
from tests.runtime.house import KEY, gateway_to
from tests.services.venue_house import BTC, FALL_TO_98, QUIET, exchange_of

ROWS = (QUIET, FALL_TO_98, QUIET, QUIET)  # the first fill of an entry at 100 is in the second minute


class Toy:
    """The toy and its market."""

    def __init__(self, exchange):
        self.gateway = ToyExchange(exchange)
        self.drop = self.gateway.drop

    async def minute(self):
        while self.gateway.play():
            pass

    async def heard(self):
        """Wait until everything that was told is heard."""


class Simulated:
    """Bybit's adapter on the simulated exchange."""

    def __init__(self, address, session):
        self.gateway, self.address, self.session = gateway_to(address, factory_of(BYBIT)), address, session
        self.before = {"public": 0, "private": 0}

    async def minute(self):
        while (await self._post("advance"))["inside"]:
            pass
        await self.heard()

    async def heard(self):
        async with self.session.get(f"{self.address}/venue/status") as answer:
            sent = (await answer.json())["sent"]
        async with asyncio.timeout(20):
            while any(count < sent[name] for name, count in self.gateway.health().messages.items()):  # noqa: ASYNC110
                await asyncio.sleep(0)

    async def _post(self, what):
        async with self.session.post(f"{self.address}/venue/{what}") as answer:
            return await answer.json()

    def drop(self):
        return asyncio.ensure_future(self._post("drop"))


@asynccontextmanager
async def opened(kind, exchange):
    if kind == "toy":
        yield Toy(exchange)
        return
    server = VenueServer(exchange, [KEY])
    async with aiohttp.ClientSession() as session:
        house = Simulated(f"http://127.0.0.1:{await server.start()}", session)
        try:
            yield house
        finally:
            await house.gateway.close()
            await server.stop()


@pytest.fixture(params=["toy", BYBIT])
def played(request):
    """`played(play)` runs `play(gateway, house)` with the instrument known; options are the exchange's."""

    def run(play, *rows, **options):
        async def main():
            async with opened(request.param, exchange_of(*(rows or ROWS), **options)) as house:
                await house.gateway.instruments([BTC])
                return await play(house.gateway, house)

        return asyncio.run(main())

    return run


def order(slot=1, side=Side.BUY, price=100, lots=10, stop=95, kind=OrderKind.LIMIT, reduce_only=False):
    name = client_order_id_of("t", BTC, slot, 1)
    return Order(name, slot, 1, side, kind, price, lots, reduce_only, False, 1, 0, 0, stop)


def market(slot=1, side=Side.BUY, lots=10, stop=95, reduce_only=False):
    return order(slot, side, 0, lots, stop, OrderKind.MARKET, reduce_only)


async def held(house, lots=10, stop=95):
    """Hold a position, bought at the market."""
    await house.gateway.place(BTC, market(9, lots=lots, stop=stop))
    await house.minute()


# Market data


def test_instruments_are_known_once_they_are_asked_for_and_others_are_named(played):
    async def play(gateway, house):
        listing = await gateway.listing([BTC, "NONEUSDT"])
        with pytest.raises(Misconfigured, match="pairs has NONEUSDT, which cannot be traded"):
            await gateway.instruments([BTC, "NONEUSDT"])
        gateway.know(gateway.known[BTC].model_copy(update={"min_notional": Decimal(7)}))
        return listing, gateway.known[BTC].min_notional

    listing, known = played(play)
    assert (listing[BTC].tick_size, known) == (1, 7)
    assert "not listed" in listing["NONEUSDT"]


def test_candles_are_the_closed_ones_of_the_window_oldest_first(played):
    async def play(gateway, house):
        await house.minute()
        await house.minute()
        window = (START, START + 2 * MINUTE), (START + MINUTE, START + 9 * MINUTE), (START, START + MINUTE)
        bars = [await gateway.candles(BTC, *each) for each in window]
        return [one["ts"].tolist() for one in bars], bars[0]["low"].tolist(), await gateway.newest(BTC)

    ts, lows, newest = played(play)
    assert ts == [[START, START + MINUTE], [START + MINUTE], [START]]
    assert (lows, newest) == ([105.0, 98.0], START + 2 * MINUTE)


def test_price_and_time_are_the_venues(played):
    async def play(gateway, house):
        await house.minute()
        return await gateway.price(BTC), abs(await gateway.measure_clock()) < MINUTE

    assert played(play) == (105.0, True)


# Trading


def test_an_order_that_was_placed_is_found_and_rests_once_however_often_it_is_placed(played):
    async def play(gateway, house):
        await gateway.place(BTC, order())
        await gateway.place(BTC, order())
        return await gateway.find(BTC, order().client_order_id), await gateway.open_orders(BTC)

    found, open_orders = played(play)
    assert open_orders == [found]
    assert (found.side, found.kind, found.price, found.lots, found.filled) == (1, OrderKind.LIMIT, 100, 10, 0)
    assert (found.state, found.stop, found.reduce_only) == (OrderState.RESTING, 95, False)


def test_an_order_that_nobody_placed_is_not_found_and_cannot_be_changed(played):
    async def play(gateway, house):
        with pytest.raises(Gone):
            await gateway.cancel(BTC, order().client_order_id)
        with pytest.raises(Gone):
            await gateway.amend(BTC, order())
        return await gateway.find(BTC, order().client_order_id)

    assert played(play) is None


def test_a_name_that_is_used_up_is_gone_with_what_it_has_become(played):
    async def play(gateway, house):
        await gateway.place(BTC, order(1))
        await gateway.cancel(BTC, order(1).client_order_id)
        await gateway.place(BTC, order(2))
        await house.minute()
        await house.minute()
        become = []
        for slot in (1, 2):
            with pytest.raises(Gone) as gone:
                await gateway.place(BTC, order(slot))
            become.append((gone.value.order.state, gone.value.order.filled))
        with pytest.raises(Gone):
            await gateway.cancel(BTC, order(1).client_order_id)
        return become, await gateway.open_orders(BTC)

    assert played(play) == ([(OrderState.CANCELLED, 0), (OrderState.FILLED, 10)], [])


def test_an_amendment_moves_price_lots_and_stop_and_does_no_harm_twice(played):
    async def play(gateway, house):
        await gateway.place(BTC, order())
        for _ in range(2):
            await gateway.amend(BTC, order(price=99, lots=12, stop=90))
        (found,) = await gateway.open_orders(BTC)
        return found.price, found.lots, found.stop

    assert played(play) == (99, 12, 90)


def test_executions_come_back_oldest_first_each_once(played):
    async def play(gateway, house):
        await gateway.place(BTC, market(1))
        await house.minute()
        await gateway.place(BTC, order(2))
        await house.minute()
        both, later = await gateway.executions(BTC, START), await gateway.executions(BTC, START + MINUTE)
        return both, later, await gateway.executions_of(BTC, order(2).client_order_id)

    both, later, of_it = played(play)
    assert [(one.client_order_id, one.lots, one.price) for one in both] == [
        (order(1).client_order_id, 10, 105),
        (order(2).client_order_id, 10, 100),
    ]
    assert len({one.id for one in both}) == 2
    assert later == of_it == both[1:]
    assert {one.cause for one in both} == {Cause.ORDER}


def test_a_fill_brings_its_stop_whose_own_fill_belongs_to_no_order(played):
    async def play(gateway, house):
        await held(house, stop=99)
        before = await gateway.position(BTC)
        await house.minute()
        return before, await gateway.position(BTC), (await gateway.executions(BTC, START))[-1]

    before, after, stopped = played(play)
    assert (before.lots, before.stop, before.price) == (10, 99, 105.0)
    assert (after.lots, after.stop) == (0, 0)
    assert (stopped.cause, stopped.client_order_id, stopped.side, stopped.lots) == (Cause.STOP, "", Side.SELL, 10)


def test_the_position_shows_the_stop_that_was_set_until_it_is_taken_away(played):
    async def play(gateway, house):
        await held(house)
        prices = (90, 90, 0, 0)
        shown = [(await gateway.set_stop(BTC, price), (await gateway.position(BTC)).stop) for price in prices]
        return shown, await gateway.open_orders(BTC)

    assert played(play) == ([(90, 90), (90, 90), (0, 0), (0, 0)], [])


def test_exactly_the_partial_stops_that_were_asked_for_rest(played):
    async def play(gateway, house):
        await held(house)
        shown = []
        for sizes in ((4, 6), (7, 3), (5,), ()):
            await gateway.set_partial_stops(BTC, 90, sizes)
            rest = await gateway.partial_stops(BTC)
            shown.append((sorted(one.lots for one in rest), {one.price for one in rest}))
        return shown, (await gateway.position(BTC)).stop, await gateway.open_orders(BTC)

    assert played(play) == ([([4, 6], {90}), ([3, 7], {90}), ([5], {90}), ([], set())], 95, [])


NOTHING, PASSED = Refusal.NOTHING_TO_REDUCE, Refusal.TRIGGER_PASSED
REFUSED = {
    "an exit of a flat pair": (NOTHING, lambda gateway: gateway.place(BTC, market(1, Side.SELL, reduce_only=True)), {}),
    "a stop of a flat pair": (NOTHING, lambda gateway: gateway.set_stop(BTC, 90), {}),
    "a stop that the price has passed": (PASSED, lambda gateway: gateway.place(BTC, market(1, stop=110)), {}),
    "a small order": (Refusal.TOO_SMALL, lambda gateway: gateway.place(BTC, order(lots=1)), {"min_notional": 500}),
    "a large order": (Refusal.TOO_LARGE, lambda gateway: gateway.place(BTC, order()), {"max_quantity": 9}),
    "an order beyond the money": (Refusal.NO_MONEY, lambda gateway: gateway.place(BTC, order()), {"capital": 50.0}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refusal_says_why_in_the_words_that_may_be_acted_on(played, case):
    reason, change, options = REFUSED[case]

    async def play(gateway, house):
        with pytest.raises(Refused) as refused:
            await change(gateway)
        return refused.value.reason, await gateway.open_orders(BTC)

    given = {name: Decimal(value) if isinstance(value, int) else value for name, value in options.items()}
    assert played(play, **given) == (reason, [])


def test_a_stop_of_a_flat_pair_may_be_taken_away(played):
    async def play(gateway, house):
        return await gateway.set_stop(BTC, 0)

    assert played(play) == 0


# Account


def test_the_account_shows_every_known_symbol_a_flat_one_with_zero(played):
    async def play(gateway, house):
        flat, at_rest = await gateway.account(), await gateway.position(BTC)
        names, positions = await gateway.open_names(), await gateway.open_positions()
        await held(house)
        await gateway.place(BTC, order())
        now = await gateway.account(), await gateway.open_names(), await gateway.open_positions()
        known = flat.wallet, flat.positions, at_rest.lots, at_rest.stop, names, positions
        return known, now, (await gateway.position(BTC)).price

    before, (account, names, positions), entered = played(play)
    assert before == (100_000.0, {BTC: 0}, 0, 0, [], [])
    assert (account.positions, names, positions) == ({BTC: 10}, [order().client_order_id], [BTC])
    assert account.wallet < 100_000.0, "the fee"
    assert account.costs[BTC] == pytest.approx(10 * entered), "lots of one"


def test_preparing_says_whether_anything_had_to_be_changed(played):
    async def play(gateway, house):
        return [await gateway.prepare(BTC, leverage) for leverage in (1.0, 2.0, 2.0)]

    assert played(play) == [False, True, False]


# Stream


def listened(play):
    """A play that listens: `play(gateway, house, events)`."""

    async def listening(gateway, house):
        events = []
        assert not any(gateway.health().up.values())
        listener = asyncio.create_task(gateway.listen([BTC], events.append))
        try:
            async with asyncio.timeout(20):
                await gateway.listening()
            return await play(gateway, house, events)
        finally:
            listener.cancel()
            await asyncio.gather(listener, return_exceptions=True)

    return listening


def test_a_stream_that_begins_leaves_a_gap_and_tells_each_execution_and_candle_once(played):
    async def play(gateway, house, events):
        first = list(events)
        await held(house)
        return first, events, gateway.health(), await gateway.executions(BTC, START)

    first, events, health, executions = played(listened(play))
    assert Gap(BTC) in first
    assert [one for one in events if isinstance(one, Execution)] == executions
    assert len(executions) == 1
    assert [one for one in events if isinstance(one, Closed)] == [Closed(BTC, START, 105, 105, 105, 105, 1000.0)]
    assert all(health.up.values())
    assert sum(health.messages.values()) > 0
    assert 0.0 <= health.silent_seconds < 60.0


def test_a_stream_that_was_lost_and_is_back_leaves_a_gap(played):
    async def play(gateway, house, events):
        events.clear()
        dropped = house.drop()
        async with asyncio.timeout(20):
            while not (Gap(BTC) in events and all(gateway.health().up.values())):  # noqa: ASYNC110
                await asyncio.sleep(0)
            if dropped is not None:
                await dropped
        return events[0]

    assert played(listened(play)) == Gap(BTC)


def test_traffic_counts_changes(played):
    async def play(gateway, house):
        await gateway.place(BTC, order())
        return sum(gateway.traffic().changes.values())

    assert played(play) == 1
