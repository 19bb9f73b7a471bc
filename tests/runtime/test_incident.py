"""A bot's last hours in one archive: everything is there, it can be played again, and no secret is in it."""

from __future__ import annotations

import asyncio
import json
import stat
import zipfile

import asyncpg
import pytest
from typer.testing import CliRunner

from bot.errors import Misconfigured
from coordinator.session import replay
from services.app.incident import TABLES, Concealer, history_of, pack, rows_of, span_of
from services.command_line.main import app
from services.control.client import control_file, log_file
from services.keys.key_store import ApiKey, KeyName, KeyStore
from services.keys.master_key import made_master_key
from services.telegram.users import TelegramSettings, write_settings
from tests.runtime.house import Bot, config, exchange_for, gateway_to, venue

SYMBOL = "SOLUSDT"
PLANTED = {
    "of the environment": "env-key-0123456789",
    "with a quotation mark": 'env"secret\\9876543210',
    "of the key store": "store-key-0123456789",
    "of its secret": "store-secret-9876543210",
    "of Telegram": "123456789:AAtelegramtokentelegramtokentelegra",
    "of the control interface": "control-token-0123456789",
    "of the database": "database-password-1",
}
BY_PLACE = ("postgresql://user:never-seen-before@host/db", "Authorization: Bearer never.seen.before-either")


@pytest.fixture(scope="module")
def name():
    return "incident"


@pytest.fixture(scope="module")
def planted(dsn, name, tmp_path_factory):
    """A bot that has traded, and secrets wherever something is read from."""
    tmp_path = tmp_path_factory.mktemp("incident")
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield from plant(dsn, name, tmp_path, monkeypatch)


def plant(dsn, name, tmp_path, monkeypatch):
    monkeypatch.setenv("TRADERAGENT_KEY", PLANTED["of the environment"])
    monkeypatch.setenv("TRADERAGENT_SECRET", PLANTED["with a quotation mark"])
    monkeypatch.delenv("TRADERAGENT_MASTER_KEY", raising=False)
    made_master_key(tmp_path)
    key = ApiKey(PLANTED["of the key store"], PLANTED["of its secret"])
    KeyStore(tmp_path).add(KeyName("owner", "bybit", "demo"), key)
    write_settings(tmp_path, TelegramSettings(PLANTED["of Telegram"], ()))
    everything = " ".join((*PLANTED.values(), *BY_PLACE))
    history = []

    async def main():
        chosen = config((SYMBOL,))
        exchange = exchange_for(chosen)
        async with venue(exchange) as house:
            folder = tmp_path / "bots" / name / "sessions"
            bot = Bot(chosen, house.address, dsn, name, options={"sessions": folder})
            await bot.start()
            for _ in range(170):
                await bot.steps.minute()
            await bot.runtime.snapshot()
            history.extend(await history_of(bot.runtime.gateway, [SYMBOL], span_of("1d")))
            await bot.stop()
        connection = await asyncpg.connect(dsn)
        fields = json.dumps({"said": everything})
        await connection.execute("UPDATE decisions SET fields = $2 WHERE bot = $1", name, fields)
        await connection.execute("UPDATE snapshots SET state = $2 WHERE bot = $1 AND name = 'portfolio'", name, fields)
        await connection.execute(
            "INSERT INTO commands (bot, key, command, pair, force, amount, who, source, at, outcome) "
            "VALUES ($1, 'k', 'pause', '', false, 0, $2, 'ctl', now(), $2)",
            *(name, everything),
        )
        await connection.close()
        return folder

    folder = asyncio.run(main())
    control_file(tmp_path, name).write_text(json.dumps({"token": PLANTED["of the control interface"]}))
    lines = [{"timestamp": f"2024-01-0{day}T00:00:00Z", "event": "said", "what": everything} for day in (1, 2)]
    log_file(tmp_path, name).write_text("".join(json.dumps(one) + "\n" for one in lines) + everything + "\n")
    file = next(folder.glob("*.jsonl"))
    with file.open("a") as out:
        out.write(json.dumps({"in": None, "waiting": 0, "now": 0.0, "said": everything}) + "\n")
    history.append({"what": "trouble", "sentence": everything})
    yield tmp_path, history


def texts_of(archive):
    with zipfile.ZipFile(archive) as found:
        return {name: found.read(name).decode() for name in found.namelist()}


def test_all_is_packed_and_nothing_secret_is(planted, dsn, name):
    data_dir, history = planted
    rows = asyncio.run(rows_of(dsn, name, span_of("2h")))
    conceal = Concealer.of(data_dir, name, [PLANTED["of the database"]])
    out = data_dir / "out" / "incident.zip"
    told = pack(out, data_dir, name, span_of("2h"), rows, history, conceal)
    found = texts_of(out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600 and told.left_out == []
    for place, secret in PLANTED.items():
        for member, text in found.items():
            assert secret not in text and json.dumps(secret)[1:-1] not in text, (place, member)
    assert not [member for member, text in found.items() if "never-seen" in text or "never.seen" in text]
    assert set(found) == {"incident.json", *told.packed}
    assert {f"{table}.jsonl" for table in (*TABLES, "memory")} < set(found)
    assert {"log.jsonl", "exchange.jsonl", f"sessions/{SYMBOL}-1.jsonl"} < set(found)
    assert told.packed["fills.jsonl"] > 0 and '"what": "execution"' in found["exchange.jsonl"]
    log = [line for line in found["log.jsonl"].splitlines() if line.startswith("{")]
    assert [json.loads(line)["timestamp"][:10] for line in log] == ["2024-01-02"], "what is older is left out"
    lines = [json.loads(line) for line in found[f"sessions/{SYMBOL}-1.jsonl"].splitlines()][:-1]
    assert not [step for step, _ in replay(lines) if step.expected], "the session can be played again"


def test_the_command_packs_what_is_here_and_says_what_is_not(planted, dsn, name, monkeypatch):
    data_dir, _ = planted
    monkeypatch.setattr("services.command_line.incident.kept_by", lambda *_: (name, data_dir, dsn))
    out = data_dir / "x.zip"
    done = CliRunner().invoke(app, ["incident", "--since", "90m", "--out", str(out)], catch_exceptions=False)
    assert done.exit_code == 0 and "left out: exchange" in done.stdout
    assert json.loads(texts_of(out)["incident.json"])["packed"]["log.jsonl"] == 2
    with pytest.raises(Misconfigured, match="give a length such as"):
        CliRunner().invoke(app, ["incident", "--since", "yesterday"], catch_exceptions=False)
    monkeypatch.setattr("services.command_line.incident.kept_by", lambda *_: ("nobody", data_dir, dsn))
    with pytest.raises(Misconfigured, match="has no rows"):
        CliRunner().invoke(app, ["incident"], catch_exceptions=False)
    assert not list(data_dir.glob(".*partial"))


def test_an_exchange_that_does_not_answer_is_a_line_of_its_history():
    async def main():
        gateway = gateway_to("http://127.0.0.1:1")
        try:
            return await history_of(gateway, [SYMBOL], span_of("1h"))
        finally:
            await gateway.close()

    assert [one["what"] for one in asyncio.run(main())] == ["trouble"]


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("2h", 2), ("3d", 72)])
def test_lengths_are_read(text, hours):
    assert span_of(text).total_seconds() == hours * 3600


@pytest.mark.parametrize("text", ["", "0h", "2", "2w", "-1h", "99999d", "1.5h"])
def test_what_is_no_length_is_a_sentence(text):
    with pytest.raises(Misconfigured, match="give a length such as"):
        span_of(text)
