"""The watchdog: each condition begun by one fault, silent without it; and whom it calls, over real HTTP."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import aiohttp
import pytest
import structlog
from aiohttp import web

from bot.errors import Misconfigured
from services.alert_conditions import BY_ID, CONDITIONS
from services.app.watchdog import Accounts, Watchdog, channels_of
from services.control.client import control_file, ended_by_operator, log_file
from services.logs import Concealed
from services.telegram.users import TelegramSettings, TelegramUser, write_settings
from services.watchdog.channels import Later, TelegramChannel, WebhookChannel, posted
from services.watchdog.conditions import AccountSeen, BotTrouble, BotWatch, WatchLimits
from services.watchdog.delivery import Outgoing, ping
from services.watchdog.notices import Notice
from services.watchdog.services import ServiceWatch
from services.watchdog.settings import Webhook, WebhookKind, watchdog_settings
from tests.services.fake_telegram import TOKEN, FakeTelegram

NOTICE = Notice("main", BotTrouble.SILENT, "the bot does not answer: <gone> & *away*")
AT = 1_800_000_000.25


# What is seen


def stands(position=1.0, equity=1000.0, reconciled=5.0, held_off=(), **more):
    pair = {"pair": "BTCUSDT", "position": position, "reconciled_seconds": reconciled, "held_off": list(held_off)}
    account = {"equity": equity, "day_loss_pct": 0.0, "drawdown_pct": 0.0, "halted": False, "answer": None}
    return account | {"decide_by": None, "pairs": [pair]} | more


def watched(limits=None):
    watch = BotWatch("main", limits or WatchLimits(), 0.0)
    watch.stands(stands(), 0.0)
    watch.saw(AccountSeen({"BTCUSDT": 1.0}, 1000.0))
    return watch


def heal(watch, now):
    watch.stands(stands(), now)
    watch.saw(AccountSeen({"BTCUSDT": 1.0}, 1000.0))


def break_silent(watch, now):
    watch.silent("no bot runs here")


def break_unreconciled(watch, now):
    watch.stands(stands(reconciled=181.0), now)


def break_fills(watch, now):
    watch.stands(stands(position=0.0), now)


def break_equity(watch, now):
    watch.stands(stands(equity=940.0), now)


def break_sight(watch, now):
    watch.stands(stands(), now)
    watch.saw(None, "the exchange did not answer")


def break_halt(watch, now):
    told = {"halted": True, "answer": "waiting", "decide_by": "2024-01-01T09:30:00Z"}
    watch.stands(stands(day_loss_pct=5.2, **told), now)


def break_pair(watch, now):
    watch.stands(stands(held_off=["operator", "position"]), now)


FAULTS = {
    BotTrouble.SILENT: (break_silent, 30.0),
    BotTrouble.UNRECONCILED: (break_unreconciled, 0.0),
    BotTrouble.FILLS_UNKNOWN: (break_fills, 20.0),
    BotTrouble.EQUITY_OFF: (break_equity, 120.0),
    BotTrouble.BLIND: (break_sight, 120.0),
    BotTrouble.HALTED: (break_halt, 0.0),
    BotTrouble.HELD_OFF: (break_pair, 60.0),
}


@pytest.mark.parametrize("condition", list(BotTrouble))
def test_a_fault_begins_its_condition_alone_after_its_patience_and_ends_it_once(condition):
    spoil, patience = FAULTS[condition]
    watch, said = watched(), []
    for second in range(400):
        if second >= 100:
            spoil(watch, second)
        else:
            heal(watch, second)
        said += [(second, one.condition, one.over) for one in watch.evaluate(second)]
    began = 99 if condition is BotTrouble.SILENT else 100  # when it was heard last
    assert said == [(began + patience, condition, False)]
    assert not watch.is_well()
    heal(watch, 400)
    assert [(one.condition, one.over) for one in watch.evaluate(400)] == [(condition, True)]
    assert watch.is_well()
    assert watch.evaluate(401) == []


def test_what_an_operator_has_said_or_decided_is_no_trouble():
    watch = watched()
    watch.stands(stands(held_off=["operator", "silence"], halted=True, answer="hold"), 0)
    assert [one for second in range(150) for one in watch.evaluate(second)] == []


def test_a_halt_and_a_pair_that_is_held_off_say_what_and_until_when():
    watch = watched()
    break_halt(watch, 1)
    (halt,) = watch.evaluate(1)
    assert halt.sentence == (
        "it is halted (day loss 5.20 %, drawdown 0.00 %) and holds what it has unless somebody decides by "
        "2024-01-01T09:30:00Z"
    )
    break_pair(watch, 2)
    (over,) = watch.evaluate(2)
    (held_off,) = watch.evaluate(62)
    assert (over.over, held_off.sentence) == (True, "nothing is opened on BTCUSDT (position)")
    assert asyncio.run(TelegramChannel(None, lambda: "", lambda: [1]).send(halt, AT)) is None, "the bot tells it"


def test_what_is_shorter_than_its_patience_is_not_said():
    watch, said = watched(), []
    for second in range(1000):
        heal(watch, second)
        if second % 20 > 2:  # 17 of 20 seconds
            break_fills(watch, second)
        said += watch.evaluate(second)
    assert said == []


def test_what_holds_on_is_said_again_after_an_hour():
    watch, said = watched(), []
    for second in range(0, 8000, 10):
        break_fills(watch, second)
        said += [second for _ in watch.evaluate(second)]
    assert said == [20, 3620, 7220]


def test_a_condition_is_not_over_because_it_cannot_be_seen():
    watch = watched()
    for second in range(30):
        break_fills(watch, second)
        watch.evaluate(second)
    watch.saw(None, "away")
    assert watch.evaluate(31) == []
    watch.silent("gone")
    assert watch.evaluate(32) == []
    assert not watch.is_well()


def test_small_differences_and_pairs_of_others_are_none():
    watch = watched()
    watch.saw(AccountSeen({"BTCUSDT": 1.0 + 1e-12, "XRPUSDT": 500.0}, 1049.0))
    assert [one for second in range(150) for one in watch.evaluate(second)] == []


# Services that it probes

LAG, REACHED = "traderagent_collector_lag_p99_seconds", "traderagent_collector_reachable"
COLLECTOR = f'{LAG}{{market="bybit spot"}} 1.5\n{REACHED}{{market="bybit spot"}} 1.0\n'
AWAY = "traderagent_console_source_away"
ANSWERS = {
    "console": f'{AWAY}{{source="database"}} 0.0\n{AWAY}{{source="redis"}} 0.0\n',
    "worker": "traderagent_jobs_active 1.0\n",
    "collector": COLLECTOR,
}
SERVICE_FAULTS = {
    "console_down": lambda watch: watch.silent("ClientConnectorError"),
    "worker_down": lambda watch: watch.silent("HTTP 503"),
    "collector_down": lambda watch: watch.silent("no answer within 5 s"),
    "console_blind": lambda watch: watch.answered(ANSWERS["console"].replace("0.0", "1.0", 1)),
    "collector_late": lambda watch: watch.answered(COLLECTOR.replace("1.5", "31")),
    "market_unreachable": lambda watch: watch.answered(COLLECTOR.replace("1.0", "0.0")),
}


@pytest.mark.parametrize("condition", [one.id for one in CONDITIONS if one.service])
def test_a_fault_of_a_service_begins_its_condition_alone_and_ends_it_once(condition):
    known = BY_ID[condition]
    watch, said = ServiceWatch(known.service, f"{known.service} here:1", 3600.0), []
    for second in range(0, 1000, 10):
        if second >= 100:
            SERVICE_FAULTS[condition](watch)
        else:
            watch.answered(ANSWERS[known.service])
        said += [(second, one.bot, one.condition, one.over) for one in watch.evaluate(second)]
    assert said == [(100 + known.seconds, watch.name, condition, False)]
    assert not watch.is_well()
    watch.answered(ANSWERS[known.service])
    assert [(one.condition, one.over) for one in watch.evaluate(1000)] == [(condition, True)]
    assert watch.is_well()


@pytest.mark.parametrize("text", ['{"alive": true}', "", "\x00", f"{LAG} nan", f"{LAG} {{", "a" * 5000])
def test_an_answer_without_metrics_is_an_answer_and_ends_nothing_that_metrics_said(text):
    watch = ServiceWatch("collector", "collector here:1", 3600.0)
    for second in range(0, 200, 10):
        SERVICE_FAULTS["collector_late"](watch)
        watch.evaluate(second)
    watch.answered(text)
    assert watch.evaluate(200) == []
    assert not watch.is_well()


def test_a_probe_asks_over_http_and_says_why_nobody_answers(tmp_path):
    async def play(receiver, session):
        url = f"{receiver.address}/metrics"
        dog = dog_of(tmp_path, probes=[{"service": "console", "url": url}, {"service": "worker", "url": url}])
        console, worker = dog.services
        await dog.check_service(session, console)
        well = dog.services[console].why
        receiver.answers = [(503, {})]
        await dog.check_service(session, console)
        await receiver._runner.cleanup()
        await dog.check_service(session, worker)
        dog.evaluate()
        dog.clock.now += 400
        dog.evaluate()
        return well, [one.why for one in dog.services.values()], waiting(dog), url

    well, why, said, url = with_receiver(play)
    where = url.split("/")[2]
    assert (well, why) == ("", ["HTTP 503", "ClientConnectorError"])
    assert said == [(f"console {where}", "console_down", False), (f"worker {where}", "worker_down", False)]


# Whom it calls


class Receiver:
    """A server that keeps what is posted, and answers as a test says."""

    def __init__(self):
        self.got, self.answers, self.pings = [], [], 0
        self.came = asyncio.Event()

    async def __aenter__(self):
        app = web.Application()
        app.router.add_post("/{name:.*}", self._posted)
        app.router.add_get("/{name:.*}", self._pinged)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.address = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_):
        await self._runner.cleanup()

    async def _posted(self, request):
        body, answer = await request.read(), self.answers.pop(0) if self.answers else (200, {})
        if answer[0] == 200:
            said = SimpleNamespace(path=request.path, body=body, headers=request.headers, at=time.monotonic())
            self.got.append(said)
            self.came.set()
        return web.Response(status=answer[0], headers=answer[1])

    async def _pinged(self, _request):
        self.pings += 1
        return web.Response(status=self.answers.pop(0)[0] if self.answers else 200)

    def webhook(self, kind="json", secret="", name="hook"):
        return Webhook(url=f"{self.address}/{name}", kind=kind, secret=secret)


def with_receiver(play):
    async def main():
        async with Receiver() as receiver, aiohttp.ClientSession() as session:
            return await play(receiver, session)

    return asyncio.run(main())


def test_a_signed_webhook_can_be_checked_by_whoever_has_the_secret():
    async def play(receiver, session):
        webhook = receiver.webhook(secret="a-shared-secret")
        await WebhookChannel(session, webhook, lambda: AT).send(NOTICE, AT - 500)
        return receiver.got

    (said,) = with_receiver(play)
    stamp = said.headers["X-Traderagent-Timestamp"]
    assert stamp == "1800000000"  # when it was sent, which a replay window is measured by
    wanted = hmac.new(b"a-shared-secret", stamp.encode() + b"." + said.body, hashlib.sha256).hexdigest()
    assert said.headers["X-Traderagent-Signature"] == f"sha256={wanted}"
    found = json.loads(said.body)
    assert (found["bot"], found["condition"], found["over"]) == ("main", "silent", False)
    assert found["sentence"] == NOTICE.sentence
    assert found["remedy"]
    assert found["at"].startswith("2027-01-15T")
    assert b"a-shared-secret" not in said.body


def test_each_kind_of_webhook_hears_it_in_its_own_words():
    def body(kind, notice=NOTICE):
        return posted(Webhook(url="https://x.org/a", kind=kind), notice, AT)

    discord, slack = (json.loads(body(kind).body) for kind in ("discord", "slack"))
    assert discord == {"content": NOTICE.text, "allowed_mentions": {"parse": []}}
    assert "&lt;gone&gt; &amp;" in slack["text"]
    ntfy = body("ntfy")
    assert ntfy.body.decode() == NOTICE.text
    late = Notice("collector here", "collector_late", "late")
    assert body("ntfy", late).headers["Priority"] == "high"
    assert json.loads(body("json", late).body)["severity"] == "warning"
    assert (ntfy.headers["Title"], ntfy.headers["Priority"]) == ("traderagent main", "urgent")
    over = Notice("main", BotTrouble.SILENT, "it was silent", over=True)
    assert body("ntfy", over).headers["Priority"] == "default"
    long = Notice("main", BotTrouble.SILENT, "x" * 9000)
    assert len(json.loads(body("discord", long).body)["content"]) <= 2000
    assert len(body("ntfy", long).body) <= 4096


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://discord.com/api/webhooks/1/x", WebhookKind.DISCORD),
        ("https://hooks.slack.com/services/x", WebhookKind.SLACK),
        ("https://ntfy.sh/topic", WebhookKind.NTFY),
        ("https://discord.com.evil.org/x", WebhookKind.JSON),
    ],
)
def test_the_address_says_which_kind_it_is(url, kind):
    assert Webhook(url=url).spoken() is kind


def test_a_channel_that_fails_gets_everything_later_in_order_and_once():
    async def play(receiver, session):
        slept = []

        async def sleep(seconds):
            slept.append(seconds)

        receiver.answers = [(500, {}), (429, {"Retry-After": "7"}), (503, {})]
        outgoing = Outgoing(WebhookChannel(session, receiver.webhook("ntfy"), lambda: AT), sleep)
        over = Notice("main", BotTrouble.SILENT, "it was silent", over=True)
        for one in (NOTICE, over):
            outgoing.put(one, AT)
        await outgoing.send_waiting()
        receiver.answers = [(404, {}), (302, {"Location": f"{receiver.address}/elsewhere"})]
        for one in (NOTICE, over):  # refused for good: the next ones are not held up
            outgoing.put(one, AT)
        await outgoing.send_waiting()
        return slept, [one.body.decode()[0] for one in receiver.got], outgoing.waiting, receiver.pings

    slept, said, waiting, followed = with_receiver(play)
    assert slept == [1.0, 7.0, 4.0]
    assert said == ["🚨", "✅"]
    assert followed == 0  # a redirect is not gone after
    assert not waiting


def test_what_waits_for_the_same_condition_is_said_by_the_newest_and_nothing_else_is_left_out():
    outgoing = Outgoing(None)
    first = Notice("a", BotTrouble.SILENT, "first")
    for count in range(1000):
        outgoing.put(first, 0.0)
        for condition in BotTrouble:
            outgoing.put(Notice("main", condition, f"{count}"), float(count))
    assert [one.sentence for one, _ in outgoing.waiting][1:] == ["first", *["999"] * len(BotTrouble)]


def test_one_channel_that_is_away_holds_up_no_other():
    async def play(receiver, session):
        away = Outgoing(WebhookChannel(session, Webhook(url="http://127.0.0.1:1/x"), lambda: AT))
        here = Outgoing(WebhookChannel(session, receiver.webhook("slack"), lambda: AT))
        tasks = [asyncio.create_task(one.run()) for one in (away, here)]
        for one in (away, here):
            one.put(NOTICE, AT)
        async with asyncio.timeout(5):
            await receiver.came.wait()
        for one in tasks:
            one.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(away.waiting)

    assert with_receiver(play) == 1


def refusing(telegram, user, send):
    """Telegram that has enough of messages to one user."""

    async def sendmessage(given):
        if int(given["chat_id"]) == user:
            telegram.failures = [(429, {"ok": False, "parameters": {"retry_after": 3}})]
        return await send(given)

    return sendmessage


def test_telegram_tells_every_user_once_also_when_it_fails_between_them():
    async def main():
        async with FakeTelegram() as telegram, aiohttp.ClientSession() as session:
            channel = TelegramChannel(session, lambda: TOKEN, lambda: [7, 8], telegram.address)
            telegram._sendmessage = refusing(telegram, 8, telegram._sendmessage)
            with pytest.raises(Later) as later:
                await channel.send(NOTICE, AT)
            del telegram._sendmessage
            assert later.value.seconds == 3
            await channel.send(NOTICE, AT)
            await telegram.leave()
            with pytest.raises(Later) as later:
                await channel.send(NOTICE, AT + 1)
            assert TOKEN not in str(later.value)
            return [(one["chat"], one["text"], one["plain"]) for one in telegram.sent]

    assert asyncio.run(main()) == [(7, NOTICE.text, True), (8, NOTICE.text, True)]


def test_a_ping_is_heard_or_logged_without_its_address():
    async def play(receiver, session):
        heard = [await ping(session, f"{receiver.address}/secret-path")]
        receiver.answers = [(500, {})]
        heard.append(await ping(session, f"{receiver.address}/secret-path"))
        with structlog.testing.capture_logs() as logs:
            heard.append(await ping(session, "http://127.0.0.1:1/secret-path"))
        return heard, logs, receiver.pings

    heard, logs, pings = with_receiver(play)
    assert heard == [True, False, False]
    assert pings == 2
    assert "secret-path" not in str(logs)


# What it is told


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"colour": "red"}, "colour is no known key"),
        ({"silent_seconds": 0}, "silent_seconds is 0"),
        ({"bots": ["../main"]}, "bots.0 is '../main'"),
        ({"webhooks": [{"url": "SECRET"}]}, "an address of a webhook or a ping is none; give https"),
        ({"webhooks": [{"url": "ftp://x/SECRET"}]}, "an address of a webhook or a ping is none"),
        ({"webhooks": [{"url": "https://x:99999/SECRET"}]}, "an address of a webhook or a ping is none"),
        ({"webhooks": [{"url": "https://x/SECRET", "kind": "fax"}]}, "webhooks.0.kind is 'fax'"),
        ({"webhooks": "https://x/"}, "webhooks is"),
        ({"ping": {"url": "x SECRET"}}, "an address of a webhook or a ping is none"),
        ({"probes": [{"service": "console", "url": "console:8800"}]}, "an address of a probe is none"),
        ({"probes": [{"service": "fax", "url": "http://x/"}]}, "probes.0.service is 'fax'"),
    ],
)
def test_a_wrong_config_is_a_sentence_that_shows_no_address(values, sentence):
    with pytest.raises(Misconfigured, match=sentence) as caught:
        watchdog_settings(values)
    assert "SECRET" not in str(caught.value)


def test_a_config_with_addresses_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "watchdog.yaml"
    path.write_text("x")
    path.chmod(0o644)
    values = {"webhooks": [{"url": "https://ntfy.sh/topic"}]}
    with pytest.raises(Misconfigured, match=r"\(mode 644\); `chmod 600` it"):
        watchdog_settings(values, path)
    watchdog_settings({"bots": ["main"]}, path)
    path.chmod(0o600)
    assert watchdog_settings(values, path).secrets() == ["https://ntfy.sh/topic"]


def test_nobody_who_hears_is_refused_and_telegram_alone_is_enough(tmp_path):
    async def play(receiver, session):
        settings = watchdog_settings({})
        with pytest.raises(Misconfigured, match="nobody would hear the watchdog"):
            channels_of(tmp_path, settings, session)
        write_settings(tmp_path, TelegramSettings(TOKEN, (TelegramUser(7),)))
        names = [one.name for one in channels_of(tmp_path, settings, session)]
        both = watchdog_settings({"webhooks": [{"url": f"{receiver.address}/x"}]})
        return names, [one.name for one in channels_of(tmp_path, both, session)]

    assert with_receiver(play) == (["telegram"], ["json 127.0.0.1", "telegram"])


# The process


@asynccontextmanager
async def answering_bot(folder, name="main", status=None):
    """What answers as a bot's control interface; its file says where it is."""

    async def answer(_request):
        return web.json_response(status or stands())

    app = web.Application()
    app.router.add_get("/status", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    file = control_file(folder, name)
    file.parent.mkdir(parents=True, exist_ok=True)
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    file.write_text(json.dumps({"address": address, "token": "t" * 20, "process": 1, "venue": None}))
    try:
        yield runner
    finally:
        await runner.cleanup()


def test_an_alarm_is_out_within_three_seconds_and_its_patience_and_pings_end(tmp_path):
    """In real time, over HTTP: a bot that dies while it is watched."""

    async def play(receiver, session):
        settings = watchdog_settings(
            {"silent_seconds": 1, "ping": {"url": f"{receiver.address}/ping", "seconds": 1}}
            | {"webhooks": [{"url": f"{receiver.address}/hook"}]}
        )
        channels = channels_of(tmp_path, settings, session)
        dog = Watchdog(tmp_path, settings, Accounts(tmp_path, "owner"), channels)
        async with answering_bot(tmp_path) as runner:
            running = asyncio.create_task(dog.run(session))
            async with asyncio.timeout(5):
                while not (receiver.pings and dog.watches and dog.watches["main"].status):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert not receiver.got
            await runner.cleanup()
            died = time.monotonic()
            async with asyncio.timeout(10):
                await receiver.came.wait()
            pings = receiver.pings
            assert not dog.all_is_well()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return receiver.got[0].at - died, json.loads(receiver.got[0].body), receiver.pings - pings

    late, said, pings = with_receiver(play)
    assert (said["condition"], said["bot"]) == ("silent", "main")
    assert late < 1.0 + 3.0
    assert pings == 0


def looked(dog, seconds=1):
    """Look so many times, a second apart on the dog's clock."""

    async def looking():
        for _ in range(seconds):
            dog.find_bots()
            for bot in list(dog.watches):
                await dog.check_bot(bot)
            dog.evaluate()
            dog.clock.now += 1.0

    return looking()


class SteppedClock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


class Heard:
    """A channel that keeps what it hears."""

    name = "heard"

    def __init__(self):
        self.notices = []

    async def send(self, notice, at):
        self.notices.append(notice)


def dog_of(folder, **values):
    settings = watchdog_settings(values)
    return Watchdog(folder, settings, Accounts(folder, "owner"), [Heard()], clock=SteppedClock())


def waiting(dog):
    return [(one.bot, str(one.condition), one.over) for one, _ in dog.outgoing[0].waiting]


def ended(folder, reason, name="main"):
    control_file(folder, name).unlink(missing_ok=True)
    log_file(folder, name).write_text(json.dumps({"event": "ended", "bot": name, "reason": reason}) + "\n")


@pytest.mark.parametrize("names", [[], ["main"]])
def test_a_bot_that_an_operator_stops_is_no_alarm_and_one_that_ends_otherwise_is(tmp_path, names):
    async def main():
        dog = dog_of(tmp_path, bots=names)
        async with answering_bot(tmp_path):
            await looked(dog, 5)
            assert waiting(dog) == []
        ended(tmp_path, "`ctl stop` was said")
        assert ended_by_operator(tmp_path, "main")
        await looked(dog, 60)
        assert waiting(dog) == []
        assert not dog.watches
        async with answering_bot(tmp_path):
            await looked(dog, 5)
        ended(tmp_path, "the disk is full")
        await looked(dog, 60)
        return waiting(dog)

    assert asyncio.run(main()) == [("main", "silent", False)]


def test_a_bot_that_is_named_and_never_ran_is_an_alarm_and_nobody_else_is(tmp_path):
    async def main():
        dog = dog_of(tmp_path, bots=["main"])
        await looked(dog, 60)
        return waiting(dog)

    assert asyncio.run(main()) == [("main", "silent", False)]


def test_an_answer_of_another_version_is_silence_with_its_reason(tmp_path):
    async def main():
        dog = dog_of(tmp_path)
        async with answering_bot(tmp_path, status={"equity": 1.0, "pairs": [{"pair": "BTCUSDT"}]}):
            await looked(dog, 40)
        return dog.outgoing[0].waiting[0][0].sentence

    assert "another version" in asyncio.run(main())


def test_no_secret_of_the_watchdog_reaches_a_log(tmp_path):
    """Telegram's token, addresses and secrets of webhooks, with every channel failing."""
    lines = []
    concealed = Concealed([])
    previous = structlog.get_config()

    def kept(_logger, _method, event):
        lines.append(str(event))
        raise structlog.DropEvent

    structlog.configure(processors=[concealed, kept])

    async def play(receiver, session):
        write_settings(tmp_path, TelegramSettings(TOKEN, (TelegramUser(7),)))
        values = {"webhooks": [{"url": f"{receiver.address}/PATH-SECRET", "secret": "HMAC-SECRET"}]}
        settings = watchdog_settings(values | {"ping": {"url": "http://127.0.0.1:1/PING-SECRET"}})
        channels = channels_of(tmp_path, settings, session, telegram="http://127.0.0.1:1")
        for one in channels:
            outgoing = Outgoing(one, _give_up)
            receiver.answers = [(404, {}), (500, {})]
            for _ in range(2):
                outgoing.put(NOTICE, AT)
            with pytest.raises(asyncio.CancelledError):
                await outgoing.send_waiting()
        await ping(session, "http://127.0.0.1:1/PING-SECRET")

    try:
        with_receiver(play)
    finally:
        structlog.configure(**previous)
    assert len(lines) >= 4
    said = "\n".join(lines)
    assert not [one for one in ("PATH-SECRET", "HMAC-SECRET", "PING-SECRET", TOKEN, TOKEN.split(":")[1]) if one in said]


async def _give_up(_seconds):
    raise asyncio.CancelledError


def test_a_moment_is_utc():
    found = json.loads(posted(Webhook(url="https://x.org"), NOTICE, AT).body)["at"]
    assert datetime.fromisoformat(found) == datetime.fromtimestamp(AT, UTC).replace(microsecond=250_000)
