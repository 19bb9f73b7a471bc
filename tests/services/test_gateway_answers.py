"""What the venue may answer instead of what was agreed on: codes, silence, nonsense, another time of day."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager, suppress

import pytest
import structlog

from bot.ports import Changed, Gap, NotPermitted, Position, Refusal, Unanswered, Unreachable
from services.exchanges.bybit import errors
from services.exchanges.bybit.errors import Remedy
from services.exchanges.bybit.limiter import Limiter, Priority
from services.simulated_bybit import codec as theirs
from services.simulated_bybit.server import Faults
from tests.services.hooked import OK, text, with_gateway
from tests.services.test_bybit_venue import order

QUESTIONS = {
    "market/time": lambda gateway: gateway.now(),
    "market/instruments-info": lambda gateway: gateway.instruments(["BTCUSDT"]),
    "market/kline": lambda gateway: gateway.candles("BTCUSDT", 0, 1 << 52),
    "market/tickers": lambda gateway: gateway.price("BTCUSDT"),
    "account/wallet-balance": lambda gateway: gateway.account(),
    "account/fee-rate": lambda gateway: gateway.instruments(["BTCUSDT"]),
    "account/transaction-log": lambda gateway: gateway.transfers(1 << 40),
    "user/query-api": lambda gateway: gateway.key_rights(),
    "position/list": lambda gateway: gateway.position("BTCUSDT"),
    "order/realtime": lambda gateway: gateway.open_orders("BTCUSDT"),
    "order/history": lambda gateway: gateway.find("BTCUSDT", "never"),
    "execution/list": lambda gateway: gateway.executions_of("BTCUSDT", "never"),
}

NONSENSE = {
    "no result": text(json.dumps(OK)),
    "a list": text("[]"),
    "null": text("null"),
    "a word as code": text(json.dumps({"retCode": "fine", "result": {}})),
    "no code": text(json.dumps({"retCode": None, "result": {"list": []}})),
    "truncated": text('{"retCode":0,"retMsg":"OK","result":{"li'),
    "HTML": text("<html>maintenance</html>", kind="text/html"),
    "binary": text("x", kind="application/octet-stream"),
    "a null list": {"list": None},
    "an object as list": {"list": {}},
    "rows of words": {"list": ["row"]},
    "empty rows": {"list": [{}]},
    "no fields": {"other": 1},
}


@pytest.mark.parametrize("path", list(QUESTIONS))
def test_row_12_an_answer_that_cannot_be_read_is_no_answer(path):
    async def play(gateway, exchange, server):
        for what, answer in NONSENSE.items():
            server.answers[path] = answer
            with pytest.raises(Unreachable) as caught:
                await QUESTIONS[path](gateway)
            assert any(word in str(caught.value) for word in path.replace("-", "/").split("/")), what

    with_gateway(play)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", "many"), ("size", "NaN"), ("size", "-1"), ("size", {}), ("side", "Up"), ("avgPrice", "Infinity"),
        ("stopLoss", "low"), ("positionIdx", None),
    ],
)  # fmt: skip
def test_row_12_a_wrong_type_inside_a_row_is_no_answer(field, value):
    async def play(gateway, exchange, server):
        row = {
            **theirs.position(exchange.books["BTCUSDT"], average_name="entryPrice"),
            "side": "Buy",
            "size": "0.01",
            "avgPrice": "1",
        }
        server.answers["position/list"] = {"list": [{**row, field: value}]}
        with pytest.raises(Unreachable, match="position list cannot be read"):
            await gateway.position("BTCUSDT")

    with_gateway(play)


def test_row_12_a_cursor_that_is_a_number_is_no_answer():
    async def play(gateway, exchange, server):
        server.answers["order/realtime"] = {"list": [], "nextPageCursor": 5}
        with pytest.raises(Unreachable, match="order realtime cannot be read"):
            await gateway.open_orders("BTCUSDT")

    with_gateway(play)


def test_row_12_one_odd_row_of_another_symbol_hides_no_instrument():
    async def play(gateway, exchange, server):
        good = theirs.instrument(exchange.instruments["BTCUSDT"], trading=True)
        server.answers["market/instruments-info"] = {"list": [{"symbol": "ODD", "lotSizeFilter": 5}, good]}
        return await gateway.instruments(["BTCUSDT"])

    assert list(with_gateway(play)) == ["BTCUSDT"]


@pytest.mark.parametrize("what", [*list(NONSENSE)[:8], "no fields"])
def test_row_12_an_order_whose_answer_cannot_be_read_is_looked_up(what):
    async def play(gateway, exchange, server):
        await gateway.place("BTCUSDT", order(exchange))
        (taken,) = exchange.live("BTCUSDT")
        server.answers |= {"order/create": NONSENSE[what], "order/cancel": NONSENSE[what]}
        await gateway.place("BTCUSDT", order(exchange))  # it is found
        with pytest.raises(Unanswered):
            await gateway.place("BTCUSDT", order(exchange, slot=1))
        with pytest.raises(Unanswered):
            await gateway.cancel("BTCUSDT", taken.client_order_id)

    with_gateway(play)


UNKNOWN = [10000, 10014, 10016, 10019, 429, 3400214, 131200, 131201, 40004, 110079, 10403, 10429]


@pytest.mark.parametrize("code", UNKNOWN)
def test_f_73_after_an_answer_of_unknown_outcome_an_order_is_looked_up_before_it_is_sent_again(code):
    async def play(gateway, exchange, server):
        gateway.limiter.pause = lambda seconds: None
        server.answers["order/create"] = [(code, "please retry"), None]
        await gateway.place("BTCUSDT", order(exchange))
        return [path for path, _ in server.asked if path.startswith("order/")]

    assert with_gateway(play) == ["order/create", "order/realtime", "order/history", "order/create"]


@pytest.mark.parametrize("code", [10006, 10018, 10002, -1])
def test_f_73_what_was_not_executed_is_sent_again_without_asking(code):
    async def play(gateway, exchange, server):
        gateway.limiter.pause = lambda seconds: None
        server.answers["order/create"] = [(code, "slowly"), None]
        await gateway.place("BTCUSDT", order(exchange))
        return [path for path, _ in server.asked if path.startswith("order/")]

    assert with_gateway(play) == ["order/create", "order/create"]


@pytest.mark.parametrize(
    ("code", "message", "reason"),
    [
        *((code, "", Refusal.NOTHING_TO_REDUCE) for code in (110017, 110034, 130125)),
        *((code, "", Refusal.TRIGGER_PASSED) for code in (110092, 110093, 130074)),
        (10001, "expect Rising, but trigger_price[5] <= current[6]??LastPrice", Refusal.TRIGGER_PASSED),
        (10001, "The number of contracts exceeds maximum limit allowed: too large", Refusal.TOO_LARGE),
        (10001, "The number of contracts is below minimum limit", Refusal.TOO_SMALL),
        (110094, "Order does not meet minimum order value", Refusal.TOO_SMALL),
        *(
            (code, "", Refusal.NO_MONEY)
            for code in (110004, 110006, 110007, 110012, 110044, 110045, 110051, 110052, 110053)
        ),
        (10001, "position idx not match position mode", Refusal.OTHER),
        (110003, "", Refusal.OTHER),
        (110023, "only reducing", Refusal.OTHER),
        (999999, "please retry: the trigger", Refusal.OTHER),
    ],
)
def test_f_73_a_refusal_is_read_by_what_says_so_and_by_nothing_else(code, message, reason):
    assert errors.refusal(code, message) is reason
    assert errors.remedy(code, message) is Remedy.REFUSED


PERMISSION = [10003, 10004, 10005, 10007, 10008, 10009, 10010, 10024, 10027, 10028, 10029, 33004, -2015]
PERMISSION += [110066, 110123, 110124, 110125, 110132]


@pytest.mark.parametrize("answer", [*((code, "no") for code in PERMISSION), text("", 401)])
def test_what_a_person_has_to_do_is_a_sentence(answer):
    async def play(gateway, exchange, server):
        with pytest.raises(NotPermitted, match=r"[a-z]{3,}.*: .*[a-z]{3,}.*\(code -?\d+\)\.$"):
            await gateway.place("BTCUSDT", order(exchange))
        with pytest.raises(NotPermitted):
            await gateway.position("BTCUSDT")

    with_gateway(play, {"order/create": answer, "position/list": answer})


def test_while_this_address_is_shut_out_nothing_is_sent():
    async def play(gateway, exchange, server):
        server.answers["position/list"] = [text("<html>Forbidden</html>", 403), None]
        with pytest.raises(Unreachable, match="HTTP 403"):
            await gateway.position("BTCUSDT")
        return len(server.queries("position/list"))

    assert with_gateway(play) == 1


def test_a_second_ban_is_waited_for_longer_and_an_answer_makes_it_short_again(monkeypatch):
    async def play():
        loop, limiter = asyncio.get_running_loop(), Limiter(5.0)
        now = loop.time()
        times = []
        for _ in range(9):
            limiter.shut()
            times.append(limiter._shut_until - now)
            now = limiter._shut_until
            monkeypatch.setattr(loop, "time", lambda now=now: now)
        await limiter.turn(Priority.ASK)
        limiter.opened()
        limiter.shut()
        return times, limiter._shut_until - now

    times, again = asyncio.run(play())
    assert times == pytest.approx([10, 20, 40, 80, 160, 320, 600, 600, 600], abs=1)
    assert again == pytest.approx(10)


# Streams


@asynccontextmanager
async def listening(gateway, told):
    task = asyncio.create_task(gateway.listen(["BTCUSDT", "SOLUSDT"], told.append))
    try:
        async with asyncio.timeout(10):
            for one in gateway.hearing.values():
                await one.wait()
        told.clear()
        yield task
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def heard(gateway, server, messages):
    """Wait until the private stream has told so many messages in all."""
    await server._flush()
    async with asyncio.timeout(10):
        while gateway.heard["private"] < messages:  # noqa: ASYNC110, a counter is all there is
            await asyncio.sleep(0)


@pytest.mark.parametrize("ahead", [20_000, -20_000])
def test_f_79_the_private_stream_signs_in_whatever_the_clock_says(ahead):
    async def play(gateway, exchange, server):
        await gateway.measure_clock()
        told = []
        async with listening(gateway, told):
            await gateway.place("BTCUSDT", order(exchange))
            await heard(gateway, server, 1)
        return told

    told = with_gateway(play, faults=Faults(clock_skew_ms=ahead))
    assert isinstance(told[0], Changed)


def test_f_79_a_clock_that_goes_wrong_is_measured_again_when_the_stream_may_not_sign_in():
    async def play(gateway, exchange, server):
        server.faults.clock_skew_ms = 20_000
        async with listening(gateway, []):
            return gateway.client.ahead

    assert with_gateway(play) == pytest.approx(-20_000, abs=2_000)


def test_the_position_is_told_by_the_private_stream():
    async def play(gateway, exchange, server):
        told = []
        async with listening(gateway, told):
            server.altered = without_positions(lambda message: [json.dumps(message)])
            await gateway.place("BTCUSDT", order(exchange))
            shown = theirs.position(exchange.books["BTCUSDT"], average_name="entryPrice")
            row = {**shown, "side": "Sell", "size": "0.01", "entryPrice": "2"}
            row = {"topic": "position", "data": [{**row, "stopLoss": "500"}]}
            server.altered = without_positions(lambda message: [json.dumps(row)])
            await gateway.cancel("BTCUSDT", "t-BTCUSDT-000-1")
            await heard(gateway, server, 2)
        return [one for one in told if not isinstance(one, Changed)]

    assert with_gateway(play) == [Position("BTCUSDT", lots=-10, stop=5000, price=2.0)]


def without_positions(altered):
    """Alter messages; positions, which follow every order, are not told."""
    return lambda message: [] if message["topic"] == "position" else altered(message)


BROKEN = {
    "truncated": ('{"topic":"order","da', {"BTCUSDT", "SOLUSDT"}),
    "a word": ("hello", {"BTCUSDT", "SOLUSDT"}),
    "a list": ("[1]", {"BTCUSDT", "SOLUSDT"}),
    "no rows": ('{"topic":"order"}', {"BTCUSDT", "SOLUSDT"}),
    "rows of words": ('{"topic":"order","data":["x"]}', {"BTCUSDT", "SOLUSDT"}),
    "a topic that is a number": ('{"topic":5,"data":[{}]}', {"BTCUSDT", "SOLUSDT"}),
    "a row without fields": ('{"topic":"order","data":[{"symbol":"SOLUSDT"}]}', {"SOLUSDT"}),
    "a fill at no price": (
        '{"topic":"execution","data":[{"symbol":"SOLUSDT","execQty":"1","execPrice":"0"}]}',
        {"SOLUSDT"},
    ),
}


@pytest.mark.parametrize("what", list(BROKEN))
def test_row_12_a_message_that_cannot_be_read_leaves_a_gap_and_the_stream_goes_on(what):
    async def play(gateway, exchange, server):
        told, (broken, _) = [], BROKEN[what]
        server.altered = without_positions(lambda message: [broken, json.dumps(message)])
        async with listening(gateway, told) as stream:
            with structlog.testing.capture_logs() as logs:
                await gateway.place("BTCUSDT", order(exchange))
                await heard(gateway, server, 2)
                await gateway.cancel("BTCUSDT", "t-BTCUSDT-000-1")
                await heard(gateway, server, 4)
            assert not stream.done()
        return told, [one for one in logs if one["event"] == "stream_unreadable"], gateway.unread

    told, logs, unread = with_gateway(play)
    gaps = {one.symbol for one in told if isinstance(one, Gap)}
    assert gaps == BROKEN[what][1]
    assert len([one for one in told if isinstance(one, Changed)]) == 2
    assert (len(logs), unread) == (1, 2)


def test_row_12_a_flood_of_messages_that_cannot_be_read_leaves_a_gap_a_second(monkeypatch):
    async def play(gateway, exchange, server):
        told, later = [], []
        gateway._sink, gateway._symbols = told.append, ["BTCUSDT"]
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "call_later", lambda seconds, call: later.append((seconds, call)))
        for _ in range(50):
            gateway._heard({"topic": "order", "data": ["x"]})
        monkeypatch.undo()
        first = len(told)
        later[0][1]()
        return first, len(later), later[0][0], told

    first, scheduled, seconds, told = with_gateway(play)
    assert (first, scheduled, told) == (1, 1, [Gap("BTCUSDT")] * 2)
    assert seconds == pytest.approx(1.0, abs=0.2)
