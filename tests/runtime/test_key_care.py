"""The key of a bot: refused where it endangers more than trading, warned of in time, replaced as it runs."""

from __future__ import annotations

import asyncio
import time

import pytest
import structlog
from pydantic import SecretStr

from bot.errors import Misconfigured
from bot.ports import KeyRights, NotPermitted
from bot.times import DAY
from services.app.backing import Backing
from services.app.bot import account_of, build_bot, control_of
from services.doctor import examine, refuse
from services.logs import Concealed
from services.runtime.config import Environment, Secrets, load_bot
from services.runtime.key_check import expiry, refuse_risks
from services.runtime.live import LiveBot, as_live
from services.simulated_bybit.records import Key
from services.simulated_bybit.server import Faults
from tests.contracts.memory import MemoryBus
from tests.runtime.house import KEY, Bot, command, config, exchange_for, gateway_to, venue
from tests.runtime.test_operator import CONFIG, written

NEW = Key("new-key-0123456789", "new-secret-9876543210")
SAFE = {"addresses": ("127.0.0.1",)}


def key(**rights):
    return Key(KEY.key, KEY.secret, **{**SAFE, **rights})


def live_settings(tmp_path, address, **bot):
    settings, chosen = load_bot(written(tmp_path, bot={**CONFIG["bot"], **bot}))
    return settings.model_copy(update={"environment": Environment.LIVE, "address": address}), chosen


def looked_at(tmp_path, one, faults=None, **bot):
    """What the doctor says of a live bot's key, and what a start says."""

    async def main():
        async with venue(exchange_for(config()), keys=(one,), faults=faults) as house:
            settings, chosen = live_settings(tmp_path, house.address, **bot)
            secrets = Secrets(key=SecretStr(one.key), secret=SecretStr(one.secret))
            found = await examine(settings, chosen, secrets)
            gateway = account_of(settings, chosen, secrets).gateway()
            try:
                refuse_risks(await gateway.key_rights(), settings)
            except NotPermitted as error:
                return found, str(error)
            finally:
                await gateway.close()
            return found, ""

    found, refusal = asyncio.run(main())
    return next(each for each in found if each.what == "key"), found, refusal


@pytest.mark.parametrize(
    ("rights", "risk", "said"),
    [
        ({"may_withdraw": True}, "withdraw", "may withdraw"),
        ({"may_transfer": True}, "transfer", "may transfer"),
        ({"addresses": ()}, "unbound", "bound to no address"),
    ],
)
def test_a_live_key_that_endangers_more_than_the_trade_is_refused_unless_the_config_says_so(
    tmp_path, rights, risk, said
):
    found, every, refusal = looked_at(tmp_path, key(**rights))
    for sentence in (f"{found.found} {found.remedy}", refusal):
        assert said in sentence
        assert f"bot.accept_key: [{risk}]" in sentence
        assert KEY.secret not in sentence
    with pytest.raises(Misconfigured, match="checks failed"):
        refuse(every)
    found, every, refusal = looked_at(tmp_path, key(**rights), accept_key=[risk])
    assert (found.remedy, refusal) == ("", "")
    refuse(every)


def test_a_live_key_that_may_only_trade_from_here_is_taken(tmp_path):
    found, every, refusal = looked_at(tmp_path, key())
    assert (found.found, found.remedy, found.warning, refusal) == ("may trade", "", "", "")
    refuse(every)


def test_a_read_only_key_risks_nothing_and_a_key_of_a_simulated_account_is_not_asked(tmp_path):
    async def main():
        async with venue(exchange_for(config()), keys=(key(may_trade=False),)) as house:
            gateway = gateway_to(house.address)
            try:
                return await gateway.key_rights(), house.address
            finally:
                await gateway.close()

    rights, address = asyncio.run(main())
    assert rights == KeyRights(trade=False, withdraw=False, transfer=False, bound=True, account="1")
    settings, _ = load_bot(written(tmp_path))
    refuse_risks(KeyRights(trade=True, withdraw=True, transfer=True, bound=False), settings)
    refuse_risks(None, live_settings(tmp_path, address)[0])


def test_an_unknown_risk_in_a_config_is_a_sentence(tmp_path):
    with pytest.raises(Misconfigured, match=r"bot\.accept_key\.0 is 'everything'"):
        load_bot(written(tmp_path, bot={**CONFIG["bot"], "accept_key": ["everything"]}))


def in_days(days):
    return int(time.time() * 1000 + days * DAY)


def test_the_doctor_warns_of_a_key_that_expires_within_two_weeks(tmp_path):
    found, every, _ = looked_at(tmp_path, key(expires=in_days(13.5)))
    assert "expires at" in found.warning
    assert "keys rotate" in found.warning
    assert found.remedy == ""
    refuse(every)  # a warning stops nobody
    assert looked_at(tmp_path, key(expires=in_days(15)))[0].warning == ""
    assert "has expired" in looked_at(tmp_path, key(expires=in_days(-1)))[0].remedy


def test_when_a_key_expires_is_said_in_words():
    rights = KeyRights(trade=True, withdraw=False, transfer=False, bound=False, expires=1_800_000_000_000)
    assert expiry(rights, rights.expires - 3 * DAY) == "the API key expires at 2027-01-15 08:00 UTC, in 3.0 days"
    assert expiry(rights, rights.expires - 14 * DAY - 1) == ""
    assert expiry(rights, rights.expires) == "the API key has expired at 2027-01-15 08:00 UTC"


def account(settings, chosen, one):
    return account_of(settings, chosen, Secrets(key=SecretStr(one.key), secret=SecretStr(one.secret)))


def running(dsn, name, tmp_path, play, keys=(KEY,), minutes=120, faults=None):
    """A bot that has played so many minutes, and `play(live, bot, house, bus)`; `live.taken` is the key to take."""

    async def main():
        bus = MemoryBus()
        async with venue(exchange_for(config()), keys=keys, faults=faults) as house:
            written(tmp_path)
            settings, chosen = load_bot(tmp_path / "bot.yaml")
            bot = Bot(as_live(config()), house.address, dsn, name)
            await bot.start()
            for _ in range(minutes):
                await bot.steps.minute()
            behind = Backing(bot.store, bus, None, dsn, None)
            live = LiveBot(settings, as_live(chosen), bot.runtime, control_of(settings, chosen), behind)
            live.path = tmp_path / "bot.yaml"
            bot.runtime.config = as_live(chosen)  # what `written` says, in which nothing has changed
            here = settings.model_copy(update={"address": house.address})
            live.account = account(here, chosen, KEY)
            live.taken = KEY
            live.read_account = lambda: account(here, chosen, live.taken)
            try:
                return await play(live, bot, house, bus)
            finally:
                await bot.stop()

    return asyncio.run(main())


async def signed_in_anew(bot, house, one):
    """Wait until the private stream runs by this key."""
    async with asyncio.timeout(20):
        while one.key not in {each.key for each in house.server.listeners}:
            await bot.runtime.gateway.now()  # its streams run on meanwhile
        await bot.runtime.gateway.listening()
    await bot.steps.begin()


def resting(exchange):
    return sorted((one.id, one.client_order_id, one.price, one.lots) for one in exchange.live(None))


def stops(exchange):
    return {symbol: [(one.stop_type, one.price) for one in book.live] for symbol, book in exchange.books.items()}


def test_a_running_bot_takes_another_key_at_reload_and_its_orders_and_stops_stay(dsn, name, tmp_path):
    previous = structlog.get_config()
    concealed = Concealed([KEY.secret])
    structlog.configure(processors=[concealed, structlog.processors.JSONRenderer()])

    async def play(live, bot, house, bus):
        exchange = house.exchange
        await live.check_key()
        before = resting(exchange), stops(exchange), len(exchange.known)
        said = [await live.act(command("reload"))]
        house.server.keys[NEW.key] = NEW
        live.taken = NEW
        said.append(await live.act(command("reload")))
        house.server.revoke(KEY.key)
        await signed_in_anew(bot, house, NEW)
        after = resting(exchange), stops(exchange), len(exchange.known)
        filled = len(exchange.trades)
        for _ in range(120):
            await bot.steps.minute()
        known = sum(one["fills"] for one in (await live.status())["pairs"])
        said.append(await live.act(command("reload")))
        return said, before, after, len(exchange.trades) - filled, len(exchange.trades), known

    try:
        said, before, after, more, fills, known = running(dsn, name, tmp_path, play)
    finally:
        structlog.configure(**previous)
    assert said == ["nothing has changed", "adopted another API key", "nothing has changed"]
    assert before == after
    assert before[0]
    assert more > 0
    assert known >= fills > 0
    assert NEW.secret in concealed.secrets


UNFIT = (
    (Key(NEW.key, "not-its-secret-000"), "signature does not fit"),
    (Key("never-made-0123456", NEW.secret), "not known here"),
    (Key(NEW.key, NEW.secret, may_trade=False), "may not trade linear; the one before is used on"),
    (Key(NEW.key, NEW.secret, account="2"), "of another account; the one before is used on"),
    (Key(NEW.key, NEW.secret, expires=1), "has expired"),
)


def test_a_new_key_that_will_not_do_is_refused_and_the_one_before_trades_on(dsn, name, tmp_path):
    async def play(live, bot, house, bus):
        await live.check_key()
        for one, sentence in UNFIT:
            known = Key(NEW.key, NEW.secret, one.may_trade, account=one.account, expires=one.expires)
            house.server.keys[NEW.key] = known
            live.taken = one
            with pytest.raises(NotPermitted, match=sentence) as caught:
                await live.act(command("reload"))
            assert one.secret not in str(caught.value)
        await bot.steps.minute()
        await bot.runtime.gateway.account()
        return bot.runtime.gateway.client.apiKey

    assert running(dsn, name, tmp_path, play, minutes=1) == KEY.key


def alarms(bus):
    return [(one.id, one.severity, one.over) for one in bus.told if type(one).__name__ == "Alarm"]


def test_a_running_bot_says_once_a_day_that_its_key_expires_and_that_this_is_over(dsn, name, tmp_path, monkeypatch):
    soon = Key(KEY.key, KEY.secret, expires=in_days(5))

    async def play(live, bot, house, bus):
        for days in (0.0, 0.5, 1.1):
            now = in_days(days)
            monkeypatch.setattr("services.runtime.live._now", lambda now=now: now)
            await live.check_key()
        house.server.keys[KEY.key] = KEY
        await live.check_key()
        await live.check_key()
        return alarms(bus)

    warned = ("key_expiry", "warning", False)
    assert running(dsn, name, tmp_path, play, keys=(soon,), minutes=1) == [
        warned,
        warned,
        ("key_expiry", "warning", True),
    ]


def test_a_running_bot_is_silent_about_a_key_that_is_in_order_and_where_nobody_says(dsn, name, tmp_path):
    async def play(live, bot, house, bus):
        await live.check_key()
        house.server.faults = Faults(demo=True)
        await live.check_key()
        return alarms(bus)

    assert running(dsn, name, tmp_path, play, minutes=1) == []


def test_a_running_live_bot_says_that_its_key_was_given_more_rights(dsn, name, tmp_path):
    async def play(live, bot, house, bus):
        live.settings, _ = live_settings(tmp_path, house.address)
        await live.check_key()
        house.server.keys[KEY.key] = key(may_withdraw=True)
        await live.check_key()
        return alarms(bus)

    assert running(dsn, name, tmp_path, play, keys=(key(),), minutes=1) == [("key_rights", "warning", False)]


def test_a_start_with_a_key_that_may_withdraw_ends_before_anything_is_sent(dsn, name, tmp_path, monkeypatch):
    """The start itself, of a live bot; the simulated exchange stands in for Bybit's address."""
    dangerous = key(may_withdraw=True)

    async def main():
        async with venue(exchange_for(config()), keys=(dangerous,)) as house:
            bot = {"name": name, "database": dsn, "redis": "none", "data_dir": str(tmp_path)}
            settings, chosen = live_settings(tmp_path, house.address, **bot)
            monkeypatch.setattr("services.app.bot.load_bot", lambda _path: (settings, chosen))
            monkeypatch.setattr("services.app.bot.refuse_untested", _nobody)
            monkeypatch.setenv("TRADERAGENT_KEY", dangerous.key)
            monkeypatch.setenv("TRADERAGENT_SECRET", dangerous.secret)
            previous = structlog.get_config()
            try:
                with pytest.raises(NotPermitted, match="may withdraw"):
                    async with build_bot(tmp_path / "bot.yaml"):
                        pytest.fail("it was built")
            finally:
                structlog.configure(**previous)
            return len(house.exchange.known)

    assert asyncio.run(main()) == 0


async def _nobody(*_):
    return None
