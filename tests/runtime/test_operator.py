"""What the operator says to a running bot, over the control interface; and what the bot tells about itself."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import stat
import uuid
from dataclasses import replace

import aiohttp
import pytest
import structlog
import yaml
from prometheus_client import CollectorRegistry

from bot.candles import iso
from bot.errors import Misconfigured
from bot.instrument import Market
from bot.ports import Account, NotPermitted
from coordinator.config import load_portfolio
from coordinator.decisions import explain
from coordinator.messages import AccountSnapshot
from coordinator.operator import CommandRejected, OperatorCommand
from coordinator.phase_gates import PhaseEvidence
from coordinator.vocabulary import HaltAnswer, HeldOff
from services.app.backing import Backing
from services.app.bot import control_of
from services.command_line.live import venue as venue_command
from services.control.client import ask
from services.control.server import ControlServer
from services.doctor import examine, refuse
from services.logs import Rarely, configure
from services.messaging.silent_bus import SilentBus
from services.runtime.config import Secrets, load_bot
from services.runtime.live import LiveBot, as_live
from services.runtime.live_config import settings_shown
from services.runtime.local import status
from services.runtime.metrics import StatusMetrics
from services.runtime.preflight import changes
from services.runtime.status import portfolio_status
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import Faults
from services.storage.past_decisions import past_decisions
from tests.runtime.house import KEY, Bot, command, config, entries, exchange_for, venue, with_bot


def test_f_07_a_halt_cancels_every_entry_at_once_and_keeps_the_stops(dsn, name):
    async def play(bot, exchange):
        before, held = len(entries(bot, exchange)), {s: b.position for s, b in exchange.books.items()}
        stops = {one.client_order_id for one in exchange.live(None) if one.reduce_only}
        await bot.runtime.apply_command(command("halt"))
        await bot.runtime.settled()
        kept = {one.client_order_id for one in exchange.live(None)}
        assert {s: b.position for s, b in exchange.books.items()} == held
        again = await bot.runtime.apply_command(command("halt"))
        for _ in range(30):
            await bot.steps.minute()
        return before, len(entries(bot, exchange)), stops, kept, again, status(bot.runtime)

    before, after, stops, kept, again, now = with_bot(dsn, name, play)
    assert before > 0
    assert after == 0
    assert stops <= kept
    assert "halted" in again
    assert now["halted"]
    assert {one["phase"] for one in now["pairs"]} == {"halted"}


def test_a_halt_survives_a_restart_and_only_the_operator_opens_it(dsn, name):
    async def play(bot, exchange):
        await bot.runtime.apply_command(command("halt"))
        await bot.runtime.settled()
        await bot.crash()
        await bot.start()
        await bot.steps.minute()
        halted = status(bot.runtime)["halted"]
        await bot.runtime.apply_command(command("resume"))
        await bot.runtime.settled()
        await bot.runtime.apply_command(command("halt"))
        with pytest.raises(CommandRejected, match="--force"):
            await bot.runtime.apply_command(command("resume"))
        await bot.runtime.apply_command(command("resume", force=True))
        for _ in range(120):
            await bot.steps.minute()
        return halted, status(bot.runtime)["halted"], len(entries(bot, exchange))

    halted, after, open_orders = with_bot(dsn, name, play)
    assert halted
    assert not after
    assert open_orders > 0


def test_close_all_leaves_nothing(dsn, name):
    async def play(bot, exchange):
        assert any(book.position for book in exchange.books.values())
        await bot.runtime.apply_command(command("close-all"))
        await bot.runtime.settled()
        await bot.steps.minute()
        return [book.position for book in exchange.books.values()], status(bot.runtime)["answer"]

    positions, answer = with_bot(dsn, name, play, minutes=400)
    assert positions == [0, 0]
    assert answer == HaltAnswer.CLOSE_ALL.name.lower()


def test_a_paused_pair_has_no_entries_and_the_others_trade_on(dsn, name):
    async def play(bot, exchange):
        await bot.runtime.apply_command(command("pause", "SOLUSDT"))
        await bot.runtime.settled()
        for _ in range(30):
            await bot.steps.minute()
        open_orders = {one.symbol for one in entries(bot, exchange)}
        with pytest.raises(CommandRejected, match="DOGEUSDT"):
            await bot.runtime.apply_command(command("pause", "DOGEUSDT"))
        with pytest.raises(Misconfigured, match="sing"):
            await bot.runtime.apply_command(command("sing"))
        await bot.runtime.apply_command(command("resume", "SOLUSDT"))
        for _ in range(120):
            await bot.steps.minute()
        return open_orders, {one.symbol for one in entries(bot, exchange)}

    during, after = with_bot(dsn, name, play)
    assert during == {"BTCUSDT"}
    assert after == {"BTCUSDT", "SOLUSDT"}


def test_a_closed_pair_leaves_at_the_market_rests_and_the_others_trade_on(dsn, name):
    async def play(bot, exchange):
        held = next(symbol for symbol, book in exchange.books.items() if book.position)
        (other,) = set(exchange.books) - {held}
        kept = exchange.books[other].position
        said = await bot.runtime.apply_command(command("close", held))
        await bot.runtime.settled()
        kept = exchange.books[other].position == kept
        await bot.steps.minute()
        left = exchange.books[held].position
        for _ in range(30):
            await bot.steps.minute()
        with pytest.raises(CommandRejected, match="holds no position"):
            await bot.runtime.apply_command(command("close", held))
        with pytest.raises(CommandRejected, match="say it with --pair"):
            await bot.runtime.apply_command(command("close"))
        return said, left, kept, {one.symbol for one in entries(bot, exchange)}, other

    said, left, kept, open_orders, other = with_bot(dsn, name, play, minutes=400)
    assert said == "paused the pair; its position is closed at the market"
    assert (left, kept) == (0, True)
    assert open_orders == {other}


def test_a_phase_of_the_capital_outlives_a_crash_and_sizes_follow_it(dsn, name):
    async def play(bot, exchange):
        small = [one.price * one.lots for one in entries(bot, exchange)]
        first = status(bot.runtime)["capital_phase"]
        await bot.runtime.apply_command(replace(command("phase-up"), amount=0.5))
        await bot.crash()
        await bot.start()
        for _ in range(20):
            await bot.steps.minute()
        with pytest.raises(CommandRejected, match="this bot has no capital phases"):
            await bot.runtime.apply_command(command("phase-up"))
        now = status(bot.runtime)["capital_phase"]
        return first, small, now, [one.price * one.lots for one in entries(bot, exchange)]

    options = {"first_share": 0.25}
    first, small, now, large = with_bot(dsn, name, play, options=options, strategy="grid", grid=GRID, capital=200_000.0)
    assert first["share"] == 0.25
    assert now["share"] == 0.5
    assert max(large) / max(small) == pytest.approx(2.0, rel=0.1)


def test_the_capital_grows_by_the_operators_word_and_shrinks_by_itself(dsn, name, tmp_path):
    async def main():
        phases = {"shares": [0.05, 0.25, 1], "days": 0, "trades": 0, "drift_bps": None, "chaos_kills": 100}
        settings, chosen = load_bot(written(tmp_path, bot={**CONFIG["bot"], "capital_phases": phases}))
        async with venue(exchange_for(config())) as house:
            bot = Bot(as_live(chosen), house.address, dsn, name, options={"first_share": settings.first_share})
            await bot.start()
            live = LiveBot(settings, as_live(chosen), bot.runtime, control_of(settings, chosen))
            await live._check_phase()
            first = (await live.status())["phase_standing"]
            with pytest.raises(
                CommandRejected, match="asks for a passed `traderagent chaos` of this strategy with 100"
            ):
                await live.act(command("phase-up"))
            live.evidence = lambda: PhaseEvidence(None, 100)
            said = [await live.act(command("phase-up"))]
            portfolio = bot.runtime.master.core.machine.portfolio_state.portfolio
            portfolio.phase.fall = 0.2
            await live._check_phase()
            fallen = (await live.status())["phase_standing"]
            said.append(await live.act(command("phase-up", force=True)))
            await bot.stop()
        return first, said, fallen

    first, said, fallen = asyncio.run(main())
    assert (first["number"], first["of"], first["share"]) == (1, 3, 0.05)
    assert said == ["25 % of the capital is at work"] * 2
    assert (fallen["number"], fallen["share"], fallen["drawdown"], fallen["missing"]) == (1, 0.05, 0.0, [])


def test_f_41_a_deposit_moves_the_anchor_and_not_the_profit(dsn, name):
    async def play(bot, exchange):
        master = bot.runtime.master
        before = status(bot.runtime)
        exchange.capital += 5_000.0
        for _ in range(2):
            master.tell(AccountSnapshot(await bot.runtime.gateway.account()))
            await bot.runtime.settled()
        after = status(bot.runtime)
        exchange.capital -= 5_000.0
        master.tell(
            AccountSnapshot(await bot.runtime.gateway.account())
        )  # once is not believed yet: a fill may be on its way
        await bot.runtime.settled()
        return before, after, status(bot.runtime)

    before, after, once = with_bot(dsn, name, play)
    assert after["equity"] == pytest.approx(before["equity"] + 5_000.0)
    assert after["day_loss_pct"] == pytest.approx(before["day_loss_pct"], abs=0.3)
    assert not after["halted"]
    assert once["equity"] == pytest.approx(after["equity"])


def test_a_position_that_a_fill_is_still_on_its_way_to_is_asked_about_and_not_taken_for_foreign(dsn, name):
    async def play(bot, exchange):
        account = await bot.runtime.gateway.account()
        for lots in (12345, 12346):  # it moves: it is being traded
            bot.runtime.tell(AccountSnapshot(Account(account.wallet, {**account.positions, "SOLUSDT": lots})))
            await bot.runtime.settled()
        return status(bot.runtime)["pairs"]

    pairs = with_bot(dsn, name, play, minutes=60)
    assert {one["pair"]: one["held_off"] for one in pairs} == {"BTCUSDT": [], "SOLUSDT": []}


def test_a_status_names_risk_groups_as_configured_else_by_the_first_of_those_that_move_alike(dsn, name):
    async def play(bot, exchange):
        loop, instruments = bot.runtime.master, bot.runtime.portfolio.startup.instruments
        loop.core.machine.portfolio_state.groups[:] = 0
        return [
            {one["pair"]: one["group"] for one in portfolio_status(loop, instruments, named)["pairs"]}
            for named in ({}, {"SOLUSDT": "majors"})
        ]

    alike, named = with_bot(dsn, name, play, minutes=1)
    assert alike == {"BTCUSDT": "BTCUSDT", "SOLUSDT": "BTCUSDT"}
    assert named == {"BTCUSDT": "BTCUSDT", "SOLUSDT": "majors"}


def test_metrics_say_what_the_status_says(dsn, name):
    """F-58."""

    async def play(bot, exchange):
        bot.runtime.master.core.machine.portfolio_state.routes[0].held_off = HeldOff.OPERATOR
        now = await bot.runtime.status()
        registry = CollectorRegistry()
        registry.register(StatusMetrics(lambda: now))
        return now, registry, len(exchange.trades)

    now, registry, traded = with_bot(dsn, name, play, minutes=300)
    read = registry.get_sample_value
    assert read("traderagent_equity") == pytest.approx(now["equity"])
    assert sum(read("traderagent_fills_total", {"pair": pair}) for pair in ("BTCUSDT", "SOLUSDT")) == traded > 0
    assert read("traderagent_orders_total", {"action": "OrderCreate", "outcome": "taken"}) > 10
    assert read("traderagent_pair_held_off", {"pair": "BTCUSDT", "reason": "operator"}) == 1.0
    answered = read("traderagent_fill_to_order_seconds_bucket", {"le": "+Inf"})
    assert 0 < answered <= traded
    assert 0.0 < read("traderagent_fill_to_order_seconds_sum") < answered * 5.0


def test_orders_cancelled_by_hand_are_placed_again_under_new_names(dsn, name):
    """F-12, F-67: also a stop that somebody took away, whether the stream tells of it or not."""

    async def play(bot, exchange):
        found = []
        for told in (True, False):
            before = sorted((one.symbol, one.side, one.kind, one.price, one.lots) for one in exchange.live(None))
            names = {one.client_order_id for one in exchange.live(None)}
            for one in [each for each in exchange.live(None) if each.reduce_only]:
                exchange.cancel(one.symbol, one.id, "")
            if not told:
                exchange.events.clear()
            await bot.runtime.poll()
            await bot.runtime.settled()
            await bot.steps._heard(0, bot.runtime.gateway.heard["private"] - bot.steps.before["private"])
            await bot.runtime.settled()
            after = sorted((one.symbol, one.side, one.kind, one.price, one.lots) for one in exchange.live(None))
            found.append((before, after, names - {one.client_order_id for one in exchange.live(None)}))
        return found

    for before, after, gone in with_bot(dsn, name, play):
        assert before == after
        assert gone


def test_a_bot_does_not_start_beside_orders_that_are_not_its_own(dsn, name):
    """F-05."""

    async def main():
        chosen = config()
        exchange = exchange_for(chosen)
        exchange.create("SOLUSDT", 1, 0, 100, 10_000, client_order_id="somebody", reduce_only=False, post_only=False)
        async with venue(exchange) as house:
            bot = Bot(chosen, house.address, dsn, name)
            with pytest.raises(NotPermitted, match=r"SOLUSDT has 1 orders.*bot.foreign"):
                await bot.start()
        return exchange.live(None)

    assert [one.client_order_id for one in asyncio.run(main())] == ["somebody"]


def test_the_control_interface_asks_for_the_token_and_its_file_is_private(tmp_path):
    """F-62, F-63: every route answers, loopback only, and commands ask for a token made anew at every start."""

    async def act(said):
        if said.kind == "resume":
            raise CommandRejected("not now")
        return f"{said.kind} {said.pair} {said.force}"

    async def main():
        now = {"streams": {"public": True}, "pairs": [{"recovered": False}]}

        async def status_now():
            return now

        server = ControlServer(tmp_path / "bots" / "x.json", status_now, act, CollectorRegistry())
        port = await server.start()
        async with aiohttp.ClientSession() as session:
            for path, method in (("/status", session.get), ("/command", session.post)):
                async with method(
                    f"http://127.0.0.1:{port}{path}", headers={"Authorization": "Bearer guess"}
                ) as answer:
                    assert answer.status == 403
            async with session.get(f"http://127.0.0.1:{port}/ready") as answer:
                assert answer.status == 503
            async with session.get(f"http://127.0.0.1:{port}/health") as answer:
                assert answer.status == 200
        file = tmp_path / "bots" / "x.json"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        said = await asyncio.to_thread(ask, file, "/command", {"command": "pause", "pair": "A", "force": True})
        with pytest.raises(Misconfigured, match="not now"):
            await asyncio.to_thread(ask, file, "/command", {"command": "resume"})
        await server.stop()
        return said, file

    said, file = asyncio.run(main())
    assert said == {"done": "pause A True"}
    with pytest.raises(Misconfigured, match="no bot runs here"):
        ask(file, "/status")


CONFIG = {
    "strategy": "auto",
    "pairs": ["BTCUSDT", "SOLUSDT"],
    "bot": {"name": "house", "environment": "venue", "address": "http://127.0.0.1:1", "requests_per_second": 1000},
}


def written(tmp_path, **changes):
    path = tmp_path / "bot.yaml"
    path.write_text(yaml.safe_dump({**CONFIG, **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"bot": {**CONFIG["bot"], "name": "Too Long A Name"}}, "bot.name"),
        ({"market": "spot", "bot": {"environment": "demo"}}, "takes the fee of a spot purchase in the coin"),
        ({"bot": {"environment": "venue"}}, "bot.address"),
        ({"bot": {"colour": "red"}}, "bot.colour is no known key"),
        ({"bot": {"exchange": "mtgox"}}, "bot.exchange is 'mtgox'; choose one of bybit"),
        ({"strategy": "gird"}, "strategy 'gird' is unknown"),
        ({"bot": {"runtime": "ray", "ray_address": "10.0.0.1:6379"}}, "cannot reach an embedded database"),
        ({"bot": {"runtime": "ray", "ray_address": "auto"}}, "ray_address"),
    ],
)
def test_a_config_that_cannot_run_is_one_sentence(tmp_path, changes, sentence):
    """F-14: also spot, where a fee in the coin would leave less to sell than was bought."""
    values = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
    path = tmp_path / "bot.yaml"
    path.write_text(yaml.safe_dump(values))
    with pytest.raises(Misconfigured, match=sentence):
        load_bot(path)


def test_reload_adopts_what_may_change_and_names_what_may_not(dsn, name, tmp_path):
    async def main():
        settings, chosen = load_bot(written(tmp_path))
        exchange = exchange_for(config())
        async with venue(exchange) as house:
            bot = Bot(as_live(chosen), house.address, dsn, name)
            await bot.start()
            live = LiveBot(settings, as_live(chosen), bot.runtime, control_of(settings, chosen))
            live.path = tmp_path / "bot.yaml"
            said = [await live.act(command("reload"))]
            written(tmp_path, risk={"halt_day_loss": 0.07}, allocation={"reserve": 0.3})
            said.append(await live.act(command("reload")))
            await bot.runtime.settled()
            adopted = float(bot.runtime.master.core.machine.params[0].reserve)
            for changes in ({"leverage": 2}, {"pairs": ["BTCUSDT"]}, {"grid": {"levels": 90}}):
                written(tmp_path, **changes)
                with pytest.raises(Misconfigured, match=r"start it again"):
                    await live.act(command("reload"))
            await bot.stop()
        return said, adopted

    said, adopted = asyncio.run(main())
    assert said[0] == "nothing has changed"
    assert "risk.halt_day_loss" in said[1]
    assert "allocation.reserve" in said[1]
    assert adopted == 0.3


def change(setting, value):
    origin = {"who": "ann", "source": "telegram", "key": uuid.uuid4().hex}
    return OperatorCommand.parse("set", setting=setting, value=value, **origin)


def test_a_value_of_the_config_is_changed_in_its_file_and_followed_and_nothing_else_is(
    dsn, name, tmp_path, monkeypatch
):
    refusals = {
        ("grid.timeframe", "4h"): "cannot change while the bot runs",
        ("bot.control_port", "1"): "cannot change while the bot runs",
        ("pairs", "[X]"): "cannot change while the bot runs",
        ("risk.halt_policy", "none"): "cannot change while the bot runs",
        ("risk.halt_drawdwn", "0.2"): "setting 'risk.halt_drawdwn' is unknown; did you mean 'risk.halt_drawdown'",
        ("risk.halt_drawdown", "{a: 1}"): "is none for risk.halt_drawdown",
        ("risk.halt_drawdown", "2"): "risk.halt_drawdown is 2",
        ("grid.levels", "90"): "more levels and other timeframes need room",
        ("allocation.reserve", "0.3"): "allocation.reserve is 0.3 already",
    }

    async def main():
        path = written(tmp_path, allocation={"reserve": 0.2})
        path.write_text(f"# mine\n{path.read_text()}")
        path.chmod(0o640)
        settings, chosen = load_bot(path)
        async with venue(exchange_for(config())) as house:
            bot = Bot(as_live(chosen), house.address, dsn, name)
            await bot.start()
            live = LiveBot(settings, as_live(chosen), bot.runtime, control_of(settings, chosen))
            with pytest.raises(Misconfigured, match="without a config file"):
                await live.act(change("allocation.reserve", "0.3"))
            live.path = path
            before = path.read_text()
            said = await live.act(change("allocation.reserve", "0.3"))
            await bot.runtime.settled()
            adopted = float(bot.runtime.master.core.machine.params[0].reserve)
            after = path.read_text()
            for (key, value), sentence in refusals.items():
                with pytest.raises(Misconfigured, match=re.escape(sentence)):
                    await live.act(change(key, value))
            with monkeypatch.context() as patch:
                patch.setattr("shutil.copymode", _read_only)
                with pytest.raises(Misconfigured, match="cannot be written here"):
                    await live.act(change("allocation.reserve", "0.4"))
            assert path.read_text() == after
            path.write_text(after.replace("0.3", "0.35"))
            with pytest.raises(Misconfigured, match="has other changes, which nobody has adopted"):
                await live.act(change("risk.halt_drawdown", "0.29"))
            assert [one.name for one in tmp_path.iterdir() if "bot.yaml" in one.name] == ["bot.yaml"]
            shown = {one["key"]: one for one in settings_shown(live.settings, live.config)}
            await bot.stop()
        return before, after, said, adopted, path.stat().st_mode & 0o777, shown

    before, after, said, adopted, mode, shown = asyncio.run(main())
    assert said == "allocation.reserve is 0.3 now, and was 0.2"
    assert after == before.replace("0.2", "0.3")
    assert (adopted, mode) == (0.3, 0o640)
    assert shown["allocation.reserve"] == {
        "key": "allocation.reserve",
        "value": 0.3,
        "live": True,
        "bounds": ">= 0, < 1",
        "meaning": "share of the equity never allocated, fraction",
    }
    assert not [one for one in shown if "database" in one or "redis" in one]


def _read_only(*_):
    raise OSError(30, "Read-only file system")


@pytest.mark.parametrize("strategy", ["grid", "dca", "trend", "auto"])
def test_what_is_shown_as_changeable_is_and_what_is_not_needs_a_restart(tmp_path, strategy):
    """Every value with a little less or its opposite: it is adopted, or the config itself would be wrong."""
    settings, chosen = load_bot(written(tmp_path, strategy=strategy))
    running, tried = as_live(chosen), 0
    for one in settings_shown(settings, running):
        section, _, key = one["key"].partition(".")
        less = {bool: lambda value: not value, int: lambda value: value - 1, float: lambda value: 0.99 * value}
        if not one["live"] or type(one["value"]) not in less or one["value"] == 0.0:
            continue
        document = running.document()
        document[section] = {**document[section], key: less[type(one["value"])](one["value"])}
        try:
            other = load_portfolio(document)
        except Misconfigured:
            continue
        assert changes(running, as_live(other)) == [one["key"]]
        tried += 1
    assert tried > 9


def test_secrets_reach_no_log_no_snapshot_no_row_and_no_status(dsn, name, tmp_path):
    stream = io.StringIO()
    previous = structlog.get_config()
    configure([KEY.key, KEY.secret], stream=stream, rarely=False)

    async def play(bot, exchange):
        log = structlog.get_logger()
        log.error("oops", error=f"key {KEY.key} and secret {KEY.secret}")
        try:
            int(KEY.secret)
        except ValueError:
            log.exception("trace")
        settings, _ = load_bot(written(tmp_path))
        live = LiveBot(settings, bot.chosen, bot.runtime, control_of(settings, bot.chosen))
        await bot.runtime.snapshot()
        rows = []
        for table in ("memory", "orders", "fills", "decisions", "snapshots"):
            rows += [
                str(dict(row)) for row in await bot.store.pool.fetch(f"SELECT * FROM {table} WHERE bot = $1", name)
            ]
        assert len(rows) > 20
        return "\n".join(rows) + json.dumps(await live.status())

    try:
        told = with_bot(dsn, name, play, minutes=120)
    finally:
        structlog.configure(**previous)
    logged = stream.getvalue()
    assert "***" in logged
    for secret in (KEY.key, KEY.secret):
        assert secret not in told
        assert secret not in logged


def test_f_61_a_repeated_warning_is_told_once_a_minute_with_its_number(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("services.logs.time.monotonic", lambda: clock[0])
    rarely = Rarely()
    assert rarely(None, "warning", {"event": "away"}) == {"event": "away"}
    for _ in range(3):
        with pytest.raises(structlog.DropEvent):
            rarely(None, "warning", {"event": "away"})
    assert rarely(None, "warning", {"event": "away", "pair": "A"})
    assert rarely(None, "info", {"event": "away"})
    clock[0] += 61
    assert rarely(None, "warning", {"event": "away"})["repeated"] == 3


def test_a_running_bot_has_no_simulated_operator():
    live = as_live(config(risk={"halt_policy": "close_all", "halt_resume_hours": 1}))
    assert live.algorithm.risk.halt_policy == "none"
    assert live.algorithm.risk.halt_resume_hours > 1000


def examined(tmp_path, key=KEY, keys=(KEY,), faults=None, **changes):
    async def main():
        async with venue(exchange_for(config()), keys=keys, faults=faults) as house:
            settings, chosen = load_bot(written(tmp_path, **changes))
            settings = settings.model_copy(update={"address": house.address})
            return await examine(settings, chosen, Secrets(key=key.key, secret=key.secret))

    return {one.what: one for one in asyncio.run(main())}


def test_the_doctor_finds_nothing_wrong_where_nothing_is(tmp_path):
    found = examined(tmp_path)
    assert [one.what for one in found.values() if one.remedy] == []
    assert {"clock", "key", "wallet", "BTCUSDT", "SOLUSDT", "database", "redis"} == set(found)


@pytest.mark.parametrize(
    ("world", "what", "remedy"),
    [
        ({"keys": (Key(KEY.key, KEY.secret, may_trade=False),)}, "key", "permission to trade"),
        ({"key": Key("other", "other")}, "key", "not known here"),
        ({"faults": Faults(clock_skew_ms=60_000)}, "clock", "NTP"),
        ({"grid": {"levels": 100}}, "BTCUSDT", "lower grid.levels"),
        ({"bot": {**CONFIG["bot"], "database": "postgresql://nobody@127.0.0.1:1/x"}}, "database", "bot.database"),
        ({"bot": {**CONFIG["bot"], "redis": "redis://127.0.0.1:1"}}, "redis", "bot.redis"),
    ],
)
def test_the_doctor_names_what_is_wrong_and_its_remedy(tmp_path, world, what, remedy):
    """F-22: also a key of another environment."""
    found = examined(tmp_path, **world)
    assert remedy in found[what].remedy
    with pytest.raises(Misconfigured, match="checks failed"):
        refuse(list(found.values()))


def test_a_port_that_is_taken_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        control = ControlServer(tmp_path / "bot.json", None, None, CollectorRegistry())
        with pytest.raises(Misconfigured, match=rf"bot\.control_port {port} cannot be opened \(Address already in use"):
            asyncio.run(control.start(port))
        with pytest.raises(Misconfigured, match=rf"port {port} cannot be opened .* --port"):
            venue_command("BTCUSDT", 0.0, port, 1, 0, 7, None, Market.LINEAR, 10_000.0, "key", "secret")


def test_what_an_operator_says_is_done_once_for_each_key_and_recorded_with_its_outcome(dsn, name, tmp_path):
    """Also by a bot that was started again meanwhile: a command sent twice is one command."""

    async def main():
        settings, chosen = load_bot(written(tmp_path))
        exchange = exchange_for(config())
        done = []

        class Counting(LiveBot):
            async def _do(self, said):
                done.append(said.key)
                return await super()._do(said)

        async with venue(exchange) as house:
            bot = Bot(as_live(chosen), house.address, dsn, name)
            await bot.start()
            behind = Backing(bot.store, SilentBus(), None, dsn, None)
            live = Counting(settings, as_live(chosen), bot.runtime, control_of(settings, chosen), behind)
            halt = command("halt", key="k1", who="ann", source="ctl")
            told = await asyncio.gather(live.act(halt), live.act(halt))
            again = Counting(settings, as_live(chosen), bot.runtime, control_of(settings, chosen), behind)
            told.append(await again.act(halt))
            for _ in range(2):
                with pytest.raises(CommandRejected, match="whole account"):
                    await again.act(command("close-all", "SOLUSDT", key="k2"))
            for _ in range(2):  # without a key each is another
                told.append(await again.act(command("halt")))
            await bot.store.begin_command(command("resume", key="k3"), 0)
            with pytest.raises(CommandRejected, match="outcome is not known"):
                await again.act(command("resume", key="k3"))
            rows = await bot.store.pool.fetch(
                "SELECT key, command, who, source, refused, outcome FROM commands WHERE bot = $1 ORDER BY key", name
            )
            await bot.stop()
        return told, done, [tuple(row) for row in rows]

    told, done, rows = asyncio.run(main())
    assert len(set(told)) == 1
    assert done[:2] == ["k1", "k2"]
    assert len(set(done)) == len(done) == 4
    rows = [row for row in rows if row[0] in ("k1", "k2", "k3")]
    assert rows[0] == ("k1", "halt", "ann", "ctl", False, told[0])
    assert rows[1][4] is True
    assert rows[2][5] is None


def test_a_bots_database_says_what_it_held_and_why(dsn, name, tmp_path):
    async def play(bot, exchange):
        now = await past_decisions(dsn, name, "SOLUSDT", None)
        before = await past_decisions(dsn, name, "SOLUSDT", int(exchange.clock[0]))
        with pytest.raises(Misconfigured, match="never traded pair XRPUSDT"):
            await past_decisions(dsn, name, "XRPUSDT", None)
        fills = [one for one in exchange.trades if one.symbol == "SOLUSDT"]
        return now, before, exchange.books["SOLUSDT"].position, fills

    now, before, position, fills = with_bot(dsn, name, play, minutes=300)
    moment, held, told = now
    assert fills, "nothing was traded; the test shows nothing"
    assert ("long" in held, "short" in held) == (position > 0, position < 0)
    assert {"regime", "start", "allocation"} <= {one["event"] for one in told}
    sentences = explain(told, "SOLUSDT", iso(moment))
    assert any("The regime was" in one for one in sentences)
    assert any("ran since" in one for one in sentences)
    assert before[1:] == ("It held nothing and had not traded yet.", [])


GRID = {
    "preset": "classic",
    "timeframe": "5m",
    "warmup_bars": 30,
    "range_factor": 20.0,
    "stop_loss": 0.1,
    "risk_budget": 1.0,
}


def test_capital_that_is_taken_out_makes_the_cells_of_a_grid_smaller(dsn, name):
    """And what was said is known after a crash."""

    async def play(bot, exchange):
        before = [one.price * one.lots for one in entries(bot, exchange)]
        said = await bot.runtime.apply_command(command("invest", amount=-7_500.0))
        await bot.crash()
        await bot.start()
        for _ in range(20):
            await bot.steps.minute()
        return before, said, [one.price * one.lots for one in entries(bot, exchange)]

    before, said, after = with_bot(dsn, name, play, strategy="grid", grid=GRID, capital=10_000.0)
    assert said == "the capital is 2,500.00 now"
    assert 0.15 < sum(after) / sum(before) < 0.35


def test_auto_takes_no_investment(dsn, name):
    async def play(bot, exchange):
        with pytest.raises(CommandRejected, match="follow the equity of the account already"):
            await bot.runtime.apply_command(command("invest", amount=100.0))
        with pytest.raises(Misconfigured, match="invest needs one"):
            await bot.runtime.apply_command(command("invest"))
        return exchange

    with_bot(dsn, name, play, minutes=1)
