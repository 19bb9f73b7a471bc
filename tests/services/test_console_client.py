"""The typed client: it is what the API's document says now, and it asks a real console.

`TRADERAGENT_WRITE_CLIENT=1 uv run pytest tests/services/test_console_client.py` writes it anew.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from bot.errors import Misconfigured
from bot.ports import Unreachable
from bot.sources import ROOT
from services.console_client import ConsoleClient, ConsoleRefused
from services.web.application import application
from services.web.client_source import client_source
from tests.services.console_house import PAIR, console, write_history

FILE = ROOT / "services" / "console_client" / "__init__.py"


def written_now():
    """The client's source as the API's document gives it, laid out as the project's sources are."""
    parts = SimpleNamespace(version="0.0", access=SimpleNamespace(limits=None))
    text = client_source(application(parts, (), None).openapi())
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(FILE), "-"]
    return subprocess.run(command, input=text, capture_output=True, text=True, check=True, cwd=ROOT).stdout


def test_the_client_is_that_of_the_api_as_it_is_now():
    kept, now = FILE.read_text(encoding="utf-8"), written_now()
    if kept != now and os.environ.get("TRADERAGENT_WRITE_CLIENT"):
        FILE.write_text(now, encoding="utf-8")
        return
    assert kept == now, "the API has changed: write the client anew"


def test_the_client_reads_commands_and_is_refused_with_a_remedy(dsn, name, tmp_path):
    async def main():
        await write_history(dsn, name)
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("control")
            await asyncio.to_thread(use, house, ConsoleClient(house.address, token), name)

    asyncio.run(main())


def use(house, client, name):
    (bot,) = client.bots()["items"]
    assert (bot["bot"], bot["status"]["pairs"][0]["pair"]) == (name, PAIR)
    page = client.fills(name, limit=2)
    rest = client.fills(name, cursor=page["next"], limit=2)
    assert len(page["items"] + rest["items"]) == 3
    assert client.pair_orders(name, PAIR)["stop"] == 41_000.0
    assert len(client.candles(bot=name, pair=PAIR, bars=10)) == 6 * 10 * 8
    said = client.say(name, {"command": "pause", "pair": PAIR}, idempotency_key="by-the-client")
    assert said == {"done": "pause is done", "again": False}
    assert client.say(name, {"command": "pause", "pair": PAIR}, idempotency_key="by-the-client")["again"]
    with pytest.raises(ConsoleRefused, match="asks for the scope money") as caught:
        client.say(name, {"command": "close-all"}, idempotency_key="by-the-client-2")
    assert (caught.value.status, caught.value.code, caught.value.field) == (403, "scope", "command")
    with pytest.raises(ConsoleRefused, match="nobody is signed in"):
        ConsoleClient(house.address, "guess").dashboard()


def test_an_address_that_is_none_or_does_not_answer_is_a_sentence():
    with pytest.raises(Misconfigured, match="address is 'file:///etc/passwd'"):
        ConsoleClient("file:///etc/passwd")
    with pytest.raises(Unreachable, match="does not answer"):
        ConsoleClient("http://127.0.0.1:1").health()
