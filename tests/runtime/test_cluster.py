"""The bot on Ray: what one process does, several do; and an actor that is killed comes back and loses nothing."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial

import pytest
from pydantic import SecretStr
from tenacity import retry, retry_if_result, wait_fixed

from backtesting.drift import RowKind
from bot.candles import COLUMNS, iso
from bot.errors import Misconfigured
from bot.inputs import SHORT_BLOCK
from bot.instrument import Market
from bot.sources import ROOT
from bot.times import HOUR
from coordinator.messages import AccountSnapshot
from coordinator.operator import CommandRejected
from coordinator.session import replay
from services.app.backing import joined
from services.app.drift import compare
from services.app.shared_market_data import SharedMarketData
from services.app.whatif import supposed
from services.exchanges.registry import BYBIT
from services.messaging.bars import BarPublisher
from services.messaging.embedded import EmbeddedRedis
from services.runtime.config import AccountAccess, Environment
from services.runtime.sessions import newest_session, read_session, sessions_folder, sessions_of
from services.simulated_bybit.exchange import Exchange, exchange_settings
from services.simulated_bybit.records import Key
from services.storage.live_fills import live_fills, memory_of
from tests.chaos.test_crash_points import assert_covered
from tests.runtime.house import KEY, Bot, command, config, exchange_for, market, venue

cluster = pytest.importorskip("services.runtime.cluster", reason="Ray is not installed")
pytestmark = pytest.mark.slow  # Ray itself takes its time
PAIRS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")
MINUTES = 400
SECTION = {"timeframe": "1m", "length": 6, "average": 4, "low": 45, "high": 55, "warmup_bars": 30}


class RayBot(Bot):
    """The same bot as actors."""

    def make_runtime(self, gateway):
        account = AccountAccess(
            SecretStr(KEY.key), SecretStr(KEY.secret), Market.LINEAR, Environment.VENUE, self.address, 100_000.0
        )
        plan = cluster.Plan(self.name, self.chosen, account, partial(joined, self.dsn, None, self.name), [], 0.3, 60)
        return cluster.RayRuntime(plan, gateway, self.store, workers=2)


@pytest.fixture(scope="module", autouse=True)
def ray():
    cluster.ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, namespace="tests")
    yield cluster.ray
    cluster.ray.shutdown()


def test_a_cluster_that_is_away_or_asks_for_a_token_is_one_sentence():
    away = r"bot\.ray_address 127\.0\.0\.1:9 cannot be joined \(ConnectionRefused"
    with pytest.raises(Misconfigured, match=away), cluster.joining("127.0.0.1:9"):
        pytest.fail("nothing listens there")
    with pytest.raises(Misconfigured, match="RAY_AUTH_MODE=token"), cluster.joining(None):
        raise cluster.AuthenticationError("no token")


async def played(kind, dsn, name, *, minutes=MINUTES, trouble=None, every=50, make=exchange_for, **sections):
    chosen = config(PAIRS, **sections)
    exchange = make(chosen)
    async with venue(exchange) as house:
        bot = kind(chosen, house.address, dsn, name)
        await bot.start()
        for minute in range(1, minutes + 1):
            await bot.steps.minute()
            if trouble is not None and minute % every == 0:
                await trouble(bot, house)
        await bot.runtime.poll()
        await bot.runtime.settled()
        now = await bot.runtime.status()
        await bot.runtime.snapshot()
        booked = await bot.store.fills()
        broken = bot.runtime.supervisor.broken
        await bot.stop()
    assert sorted(one.id for one in booked) == sorted(one.id for one in exchange.trades)
    for book in exchange.books.values():
        assert_covered(book)
    traded = [(one.id, one.client_order_id.partition("-")[2], one.price, one.lots, one.ts) for one in exchange.trades]
    open_orders = sorted((one.client_order_id.partition("-")[2], one.price, one.lots) for one in exchange.live(None))
    figures = {key: now[key] for key in ("at", "equity", "wallet", "exposure", "modes")}
    own = ("corrections", "reactions", "reconciled_seconds")  # of the process, not of the trading
    pairs = [{key: value for key, value in one.items() if key not in own} for one in now["pairs"]]
    return (traded, open_orders, figures, pairs), broken


@pytest.fixture(scope="module")
def in_one_process(dsn):
    return asyncio.run(played(Bot, dsn, "alone"))[0]


def test_actors_do_what_one_process_does(dsn, name, in_one_process):
    found, _ = asyncio.run(played(RayBot, dsn, name))
    assert len(found[0]) >= 5
    for one, other in zip(found, in_one_process):
        assert one == other


class Noted(SharedMarketData):
    """Writes down who told a bar first."""

    def _first(self, bar, told_by):
        first = super()._first(bar, told_by)
        if first:
            with (self.data_dir / "told").open("a") as out:
                out.write(f"{told_by} {bar.symbol} {bar.ts}\n")
        return first


def noted(gateway, data_dir, redis):
    return Noted(gateway, BYBIT, Market.LINEAR, data_dir, redis)


class SharingBot(RayBot):
    """Actors that take candles from a collector too."""

    def make_runtime(self, gateway):
        made = super().make_runtime(gateway)
        made.plan = replace(made.plan, sharing=partial(noted, **self.options))
        return made


def test_actors_take_bars_that_are_shared_and_their_own_when_nobody_shares(dsn, name, tmp_path):
    async def main():
        chosen = config(PAIRS)
        exchange = exchange_for(chosen)
        redis = EmbeddedRedis(tmp_path / "redis")
        (tmp_path / "redis").mkdir()
        url = await redis.start()
        publisher = BarPublisher(url)
        publisher.start()
        async with venue(exchange) as house:
            bot = SharingBot(chosen, house.address, dsn, name)
            bot.options = {"data_dir": tmp_path, "redis": url}
            await bot.start()
            for _ in range(3):
                await bot.steps.minute()
            house.server.teller.faults.drop = 1.0  # the venue's own stream tells no bars
            first = exchange.now
            for _ in range(5):
                await bot.steps.minute()
            wanted = {f"collector {pair} {ts}" for pair in PAIRS for ts in range(first, exchange.now, 60_000)}
            async with asyncio.timeout(60):
                while not wanted <= set((tmp_path / "told").read_text().splitlines()):
                    for pair in PAIRS:
                        candles = exchange.candles[pair]
                        for at in range(*candles.ts.searchsorted([first, exchange.now])):
                            row = (getattr(candles, column)[at].item() for column in COLUMNS)
                            publisher.publish(4, pair, tuple(row))
                    await asyncio.sleep(0.05)
            house.server.teller.faults.drop = 0.0
            await redis.stop()
            back = exchange.now
            for _ in range(3):
                await bot.steps.minute()
            now = await bot.runtime.status()
            assert now["at"] == iso(exchange.now)
            told = (tmp_path / "told").read_text().splitlines()
            assert {f"exchange {pair} {ts}" for pair in PAIRS for ts in range(back, exchange.now, 60_000)} <= set(told)
            assert len({one.split(" ", 1)[1] for one in told}) == len(told)  # each bar once
            await bot.stop()
            await publisher.stop()

    asyncio.run(main())


def after_an_edge(chosen):
    """An exchange that opens two hours after a block of inputs begins, so that little is warm-up."""
    candles, instruments = market(chosen.pairs, 20, 7)
    exchange = Exchange(instruments, candles, chosen.capital, exchange_settings(chosen.execution), chosen.leverage)
    first = int(exchange.clock[0])
    exchange.begin(first // SHORT_BLOCK * SHORT_BLOCK + SHORT_BLOCK + 2 * HOUR)
    return exchange


def test_a_strategy_of_ones_own_and_its_inputs_reach_the_actors(dsn, name):
    own = {"strategy": str(ROOT / "tests/examples/pullback.py:PULLBACK"), "pullback": SECTION}
    (found, _), (other, _) = (
        asyncio.run(played(kind, dsn, f"{name[:7]}{number}", make=after_an_edge, **own))
        for number, kind in enumerate((RayBot, Bot))
    )
    assert len(found[0]) >= 5
    assert found == other


def test_the_operator_and_the_config_reach_the_actors_and_errors_come_back(dsn, name, tmp_path):
    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            bot = RayBot(chosen, house.address, dsn, name)
            await bot.start()
            for _ in range(150):
                await bot.steps.minute()
            with pytest.raises(CommandRejected, match="DOGEUSDT"):
                await bot.runtime.apply_command(command("pause", "DOGEUSDT"))
            with pytest.raises(Misconfigured, match="sing"):
                await bot.runtime.apply_command(command("sing"))
            risk = chosen.algorithm.risk.model_copy(update={"halt_day_loss": 0.07})
            adopted = await bot.runtime.adopt(
                chosen.changed(algorithm=chosen.algorithm.model_copy(update={"risk": risk}))
            )
            exchange.closed.add("SOLUSDT")
            await bot.runtime.check_listings()
            await bot.runtime.apply_command(command("pause", "SOLUSDT"))
            exchange.capital += 500.0
            for _ in range(2):
                bot.runtime.tell(AccountSnapshot(await bot.runtime.gateway.account()))
                await bot.runtime.settled()
            for _ in range(2):
                await bot.steps.minute()
            now = await bot.runtime.status()
            live = {one.symbol for one in exchange.live(None) if not one.reduce_only and not one.filled}
            equity = exchange.equity
            await bot.stop()
        return adopted, now, live, equity

    adopted, now, live, equity = asyncio.run(main())
    assert adopted == ["risk.halt_day_loss"]
    assert {one["pair"]: one["held_off"] for one in now["pairs"]} == {
        "BTCUSDT": [],
        "SOLUSDT": ["operator", "instrument"],
    }
    assert live == {"BTCUSDT"}
    assert now["equity"] == pytest.approx(equity)
    assert now["streams"] == {"public": True, "private": True}


def test_actors_that_are_killed_come_back_and_lose_nothing(dsn, name, in_one_process):
    killed = 0

    async def kill(bot, house):
        nonlocal killed
        victim = [bot.runtime.portfolio, *bot.runtime.pairs][killed % 3]
        broken, killed = bot.runtime.supervisor.broken, killed + 1
        cluster.ray.kill(victim, no_restart=False)
        async with asyncio.timeout(120):
            await _woken(bot, broken)
        await bot.steps.begin()

    found, broken = asyncio.run(played(RayBot, dsn, name, trouble=kill, every=60))
    assert killed >= 6
    assert broken == killed
    assert found[0] == in_one_process[0]
    assert found[1] == in_one_process[1]


class KeepingBot(RayBot):
    """Actors that keep sessions in a data directory."""

    def make_runtime(self, gateway):
        made = super().make_runtime(gateway)
        made.plan = replace(made.plan, **self.options)
        return made


def test_sessions_of_actors_are_played_again_and_have_no_drift_through_a_kill(dsn, tmp_path):
    name = "raydrift"

    async def kill(bot, house):
        broken = bot.runtime.supervisor.broken
        cluster.ray.kill(bot.runtime.pairs[0], no_restart=False)
        async with asyncio.timeout(120):
            await _woken(bot, broken)
        await bot.steps.begin()

    kind = partial(KeepingBot, options={"data_dir": tmp_path})
    (traded, _, _, pairs), _ = asyncio.run(played(kind, dsn, name, trouble=kill, every=250))
    files = sessions_of(sessions_folder(tmp_path, name))
    assert [len(files[pair]) for pair in PAIRS] == [2, 1, 2]  # the actor that was killed traded the first and the third
    for kept in files.values():
        for file in kept:
            assert not [step.said for step, _ in replay(read_session(file)) if step.expected]
    found = compare(tmp_path, name, asyncio.run(live_fills(dsn, name, None, None)), None, None)
    assert {one.kind: one.fills for one in found.sums if one.fills} == {}
    assert found.cost == pytest.approx(0.0, abs=1e-9)
    assert {row.kind for row in found.rows} == {RowKind.PAIRED}
    assert len(found.rows) == len(traded) >= 5
    assert found.uncompared == ()
    assert found.minutes == dict.fromkeys(PAIRS, MINUTES)
    saved, price = asyncio.run(memory_of(dsn, name, PAIRS[2])), pairs[2]["price"]
    assert supposed(tmp_path, name, PAIRS[2], saved, price * 0.95, price)["fills"]


def test_a_node_without_the_data_directory_keeps_no_session_and_trades(dsn, name, tmp_path):
    kind = partial(KeepingBot, options={"data_dir": tmp_path / "none"})
    (_, _, figures, _), _ = asyncio.run(played(kind, dsn, name, minutes=40))
    assert figures["equity"] > 0.0
    assert not (tmp_path / "none").exists()
    with pytest.raises(Misconfigured, match="on the machine that trades the pair"):
        newest_session(tmp_path / "none", name, PAIRS[0])


@retry(retry=retry_if_result(lambda outside_watch_band: not outside_watch_band), wait=wait_fixed(0.1))
async def _woken(bot, broken):
    try:
        started = await asyncio.gather(*(one.pulse.remote() for one in (bot.runtime.portfolio, *bot.runtime.pairs)))
    except cluster.RayError:
        return False
    return bot.runtime.supervisor.broken > broken and all(started)


NEW = Key("new-key-0123456789", "new-secret-9876543210")


def test_another_key_reaches_every_actor_and_those_that_are_made_anew(dsn, name, in_one_process):
    done = []

    async def rotate(bot, house):
        if done:
            return
        done.append(True)
        house.server.keys[NEW.key] = NEW
        account = bot.runtime.plan.account
        await bot.runtime.use_key(replace(account, key=SecretStr(NEW.key), secret=SecretStr(NEW.secret)))
        house.server.revoke(KEY.key)
        broken = bot.runtime.supervisor.broken
        cluster.ray.kill(bot.runtime.pairs[0], no_restart=False)
        async with asyncio.timeout(120):
            await _woken(bot, broken)
            while sum(one.key == NEW.key for one in house.server.listeners) < len(bot.runtime.pairs):
                await bot.runtime.gateway.now()
        await bot.steps.begin()

    found, _ = asyncio.run(played(RayBot, dsn, name, trouble=rotate))
    assert done
    for one, other in zip(found[:2], in_one_process[:2]):
        assert one == other
