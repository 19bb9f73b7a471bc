"""The watchdog beside a real bot on the simulated exchange: one fault of the world begins one condition, no other."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from bot.sources import ROOT
from services.app.bot import control_of
from services.app.watchdog import Accounts, Watchdog
from services.exchanges.registry import reader_of
from services.keys.key_store import WATCHING, ApiKey, KeyName, KeyStore
from services.runtime.config import load_bot
from services.runtime.live import LiveBot, as_live
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import Faults
from services.watchdog.settings import watchdog_settings
from tests.runtime.house import KEY, Bot, config, exchange_for, venue
from tests.runtime.test_operator import written
from tests.services.test_watchdog import SteppedClock, answering_bot

READ = Key("read-key-0123456789", "read-secret-9876543210", may_trade=False)
LIMITS = {"silent_seconds": 10, "reconcile_seconds": 100, "fills_seconds": 15, "equity_seconds": 20}


class Called:
    """A channel that nobody empties."""

    name = "called"

    async def send(self, notice, at):
        raise NotImplementedError


def watched(dsn, name, tmp_path, play, reading=READ, minutes=5, key=READ):
    """A bot that has played, its control interface, and a watchdog on a clock that both follow."""

    async def main():
        clock = SteppedClock()
        async with venue(exchange_for(config()), keys=(KEY, key)) as house:
            settings, chosen = load_bot(written(tmp_path))
            settings = settings.model_copy(update={"address": house.address, "data_dir": tmp_path})
            bot = Bot(as_live(config()), house.address, dsn, name, options={"clock": clock})
            await bot.start()
            for _ in range(minutes):
                await bot.steps.minute()
            live = LiveBot(settings, as_live(chosen), bot.runtime, control_of(settings, chosen))
            await live.control.start()
            if reading is not None:
                where = KeyName("owner", "bybit", "venue", WATCHING)
                KeyStore(tmp_path).add(where, ApiKey(reading.key, reading.secret))
            accounts = Accounts(tmp_path, "owner")
            dog = Watchdog(tmp_path, watchdog_settings(LIMITS), accounts, [Called()], clock=clock)
            world = SimpleNamespace(dog=dog, bot=bot, house=house, live=live, exchange=house.exchange, clock=clock)
            try:
                return await play(world)
            finally:
                house.server.faults = Faults()
                await accounts.close()
                await live.control.stop()
                await bot.stop()

    return asyncio.run(main())


async def seconds(world, count, *, poll=True):
    """Let so many pass, with a look each second; return what was said meanwhile."""
    outgoing = world.dog.outgoing[0]
    for second in range(count):
        if poll and second % 20 == 0:
            await world.bot.runtime.poll()
        world.dog.find_bots()
        for bot in world.dog.watches:
            await world.dog.check_bot(bot)
            await world.dog.check_account(bot)
        world.dog.evaluate()
        world.clock.now += 1.0
    said = [(str(one.condition), one.over) for one, _ in outgoing.waiting]
    outgoing.waiting.clear()
    return said


async def settled(world):
    await world.bot.runtime.poll()
    await world.bot.runtime.settled()


async def silence(world):
    """The process answers no more, and its file is still there."""
    await world.live.control._runner.cleanup()


async def no_reconciliation(world):
    """The exchange answers everything but the question of what rests, so that no comparison comes to its end."""
    world.house.server.faults = Faults(down_path="order/realtime")


async def fills_that_nobody_tells(world):
    """Something fills, the stream says nothing of it, and the exchange lists no execution."""
    exchange = world.exchange
    world.house.server.faults = Faults(down_path="execution/list")
    held = exchange.books["BTCUSDT"].position
    exchange.create("BTCUSDT", 1, 2, 0, 20, client_order_id="", reduce_only=False, post_only=False)
    while exchange.books["BTCUSDT"].position == held:
        exchange.step()
    exchange.events.clear()


async def money_that_is_gone(world):
    world.exchange.transfer(-0.2 * world.exchange.equity)
    world.exchange.events.clear()


async def an_exchange_that_does_not_answer_the_watchdog(world):
    del world.house.server.keys[READ.key]


FAULTS = {
    "silent": silence,
    "unreconciled": no_reconciliation,
    "fills_unknown": fills_that_nobody_tells,
    "equity_off": money_that_is_gone,
    "blind": an_exchange_that_does_not_answer_the_watchdog,
}
LASTS = {"silent": 30, "unreconciled": 110, "fills_unknown": 30, "equity_off": 40, "blind": 40}  # seconds


@pytest.mark.parametrize("condition", list(FAULTS))
def test_a_fault_of_the_world_begins_exactly_its_condition(dsn, name, tmp_path, condition):
    async def play(world):
        before = await seconds(world, 200)
        await FAULTS[condition](world)
        return before, await seconds(world, LASTS[condition])

    before, after = watched(dsn, name, tmp_path, play)
    assert before == []
    assert after == [(condition, False)]


def test_a_watchdog_without_a_key_sees_what_the_bot_says_and_no_more(dsn, name, tmp_path):
    async def play(world):
        await money_that_is_gone(world)
        said = await seconds(world, 60)
        await silence(world)
        return said, await seconds(world, 30)

    assert watched(dsn, name, tmp_path, play, reading=None) == ([], [("silent", False)])


def test_a_watching_key_that_may_trade_is_refused(dsn, name, tmp_path):
    trading = Key(READ.key, READ.secret)

    async def play(world):
        said = await seconds(world, 25)
        return said, world.dog.watches["house"].blind

    said, why = watched(dsn, name, tmp_path, play, key=trading)
    assert said == [("blind", False)]
    assert "may do more than read; give the watchdog a read-only key" in why
    assert READ.secret not in why


def test_a_watching_key_is_added_and_rotated_while_the_watchdog_runs(dsn, name, tmp_path):
    where, store = KeyName("owner", "bybit", "venue", WATCHING), KeyStore(tmp_path)
    other = Key("other-key-0123456789", "other-secret-9876543210", may_trade=False)

    async def play(world):
        watch = (await seconds(world, 3), world.dog.watches["house"])[1]
        seen = [watch.account]
        store.add(where, ApiKey(READ.key, READ.secret))
        said = await seconds(world, 2)
        seen.append(watch.account)
        world.house.server.keys[other.key] = other
        store.replace(where, ApiKey(other.key, other.secret))
        del world.house.server.keys[READ.key]
        said += await seconds(world, 60)
        return seen, watch.account, said

    (before, added), rotated, said = watched(dsn, name, tmp_path, play, reading=None)
    assert before is None
    assert added.equity == rotated.equity > 0
    assert said == []


def test_the_light_reader_reads_what_the_exchange_has_and_minds_a_clock_that_is_off():
    async def main():
        exchange = exchange_for(config())
        exchange.create("BTCUSDT", -1, 2, 0, 10, client_order_id="", reduce_only=False, post_only=False)
        exchange.step()
        async with venue(exchange, keys=(KEY, READ), faults=Faults(clock_skew_ms=60_000)) as house:
            reader = reader_of("bybit", key=READ.key, secret=READ.secret, environment="venue", address=house.address)
            try:
                return await reader.positions(), await reader.equity(), await reader.key_rights(), exchange
            finally:
                await reader.close()

    positions, equity, rights, exchange = asyncio.run(main())
    lot = float(exchange.instruments["BTCUSDT"].lot_size)
    assert positions == {"BTCUSDT": pytest.approx(-10 * lot)}
    assert equity == pytest.approx(exchange.equity)
    assert rights.trade is False


LOADED = """
import asyncio, json, sys
from services.command_line.main import main
import services.app.watchdog as app
class Seen(app.Watchdog):
    async def run(self, session):
        self.find_bots()
        await self.check_bot("main")
        loaded = sorted({name.split(".")[0] for name in sys.modules})
        import psutil
        print(json.dumps([loaded, psutil.Process().memory_info().rss, self.watches["main"].why]))
app.Watchdog = Seen
sys.argv = ["traderagent", "watchdog", sys.argv[1]]
main()
"""


def test_the_process_loads_nothing_that_trades(tmp_path):
    """Nor data frames: it has to live where a bot has taken all the memory."""

    async def main():
        async with answering_bot(tmp_path):
            return await asyncio.to_thread(_watching, tmp_path, ["-c", LOADED])

    done = asyncio.run(main())
    loaded, resident, why = json.loads(done.stdout.splitlines()[-1])
    assert why == ""
    assert not {"numba", "llvmlite", "polars", "pandas", "matplotlib", "ccxt", "asyncpg", "ray"} & set(loaded)
    assert resident < 120e6, resident


def _watching(folder, program):
    path = folder / "watchdog.yaml"
    path.write_text("{bots: [main], webhooks: [{url: 'http://127.0.0.1:1/x'}]}")
    path.chmod(0o600)
    return subprocess.run(
        [sys.executable, *program, str(path)], cwd=ROOT, env={**os.environ, "TRADERAGENT_DATA_DIR": str(folder)},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip


def test_ctrl_c_ends_the_process(tmp_path):
    path = tmp_path / "watchdog.yaml"
    path.write_text("{webhooks: [{url: 'http://127.0.0.1:1/SECRET'}]}")
    path.chmod(0o600)
    process = subprocess.Popen(
        [sys.executable, "-m", "bot", "watchdog", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.STDOUT, env={**os.environ, "TRADERAGENT_DATA_DIR": str(tmp_path)},
    )  # fmt: skip
    said = process.stdout.readline()
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=20)
    assert said.startswith("watching; alarms go to json 127.0.0.1")
    assert time.monotonic() - began < 5
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert "SECRET" not in said + rest
