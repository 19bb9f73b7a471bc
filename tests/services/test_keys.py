"""Keys at rest: encrypted for one user and one venue, shown by nothing, opened by one master key."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import threading

import pytest
from typer.testing import CliRunner

from bot.errors import Misconfigured, TradingError
from services.app.key_access import secrets_of
from services.command_line.main import app
from services.keys.key_store import ApiKey, KeyName, KeyStore, checked_key
from services.keys.master_key import made_master_key, master_key_file
from services.runtime.config import BotSettings

NAME = KeyName("owner", "bybit", "live")
KEY = ApiKey("a-key-of-the-owner-01", "a-secret-of-the-owner-02")
OTHER = ApiKey("another-key-of-the-owner-03", "another-secret-of-the-owner-04")
HIDDEN = (KEY.key, KEY.secret, OTHER.key, OTHER.secret)


@pytest.fixture(autouse=True)
def _no_keys_of_this_machine(monkeypatch):
    for name in ("MASTER_KEY", "KEY", "SECRET"):
        monkeypatch.delenv(f"TRADERAGENT_{name}", raising=False)


def everything_written(folder):
    return b"\n".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_key_comes_back_and_stands_nowhere_in_plain(tmp_path):
    store = KeyStore(tmp_path)
    store.add(NAME, KEY)
    assert KeyStore(tmp_path).read(NAME) == KEY
    assert store.names() == [NAME]
    written = everything_written(tmp_path)
    assert not [one for one in HIDDEN if one.encode() in written or base64.b64encode(one.encode()) in written]
    assert KEY.secret not in repr(KEY)
    for path in (master_key_file(tmp_path), *(tmp_path / "keys").glob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "elsewhere",
    [
        KeyName("ann", "bybit", "live"),
        KeyName("owner", "binance", "live"),
        KeyName("owner", "bybit", "demo"),
        KeyName("owner", "bybit", "live", "watching"),
    ],
)
def test_a_ciphertext_that_was_moved_to_another_user_or_venue_is_refused(tmp_path, elsewhere):
    store = KeyStore(tmp_path)
    store.add(NAME, KEY)
    (tmp_path / "keys" / NAME.file_name()).rename(tmp_path / "keys" / elsewhere.file_name())
    with pytest.raises(Misconfigured, match="moved there from another user or venue"):
        store.read(elsewhere)


def test_a_byte_that_was_changed_is_refused(tmp_path):
    store = KeyStore(tmp_path)
    store.add(NAME, KEY)
    path = tmp_path / "keys" / NAME.file_name()
    kept = json.loads(path.read_text())
    sealed = bytearray(base64.b64decode(kept["sealed"]))
    for place in (0, 20, len(sealed) - 1):
        changed = bytes([*sealed[:place], sealed[place] ^ 1, *sealed[place + 1 :]])
        path.write_text(json.dumps({**kept, "sealed": base64.b64encode(changed).decode()}))
        with pytest.raises(Misconfigured, match="is damaged"):
            store.read(NAME)
    for nonsense in ("", "[]", "null", "{", '{"master": 1}', "\x00"):
        path.write_text(nonsense)
        with pytest.raises(Misconfigured):
            store.read(NAME)


def test_a_wrong_master_key_is_a_sentence(tmp_path, monkeypatch):
    store = KeyStore(tmp_path)
    store.add(NAME, KEY)
    monkeypatch.setenv("TRADERAGENT_MASTER_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    for trial in (lambda: store.read(NAME), lambda: store.replace(NAME, OTHER), lambda: _add_another(store)):
        with pytest.raises(Misconfigured, match="the master key is not the one that encrypted"):
            trial()
    monkeypatch.delenv("TRADERAGENT_MASTER_KEY")
    assert store.read(NAME) == KEY


def _add_another(store):
    store.add(KeyName("ann", "bybit", "live"), OTHER)


@pytest.mark.parametrize("given", ["short", "a" * 44, base64.b64encode(b"x" * 16).decode(), "\u0430" * 44])
def test_a_master_key_that_is_none_is_a_sentence_that_does_not_show_it(tmp_path, monkeypatch, given):
    monkeypatch.setenv("TRADERAGENT_MASTER_KEY", given)
    with pytest.raises(Misconfigured, match="is no master key, which is 32 bytes") as caught:
        KeyStore(tmp_path).add(NAME, KEY)
    assert given not in str(caught.value)


def test_the_environment_may_have_the_master_key_and_no_file_is_made_then(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADERAGENT_MASTER_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    KeyStore(tmp_path).add(NAME, KEY)
    assert KeyStore(tmp_path).read(NAME) == KEY
    assert not master_key_file(tmp_path).exists()


def test_a_lost_master_key_is_not_made_anew_and_one_that_others_may_read_is_refused(tmp_path):
    store = KeyStore(tmp_path)
    store.add(NAME, KEY)
    master_key_file(tmp_path).chmod(0o640)
    with pytest.raises(Misconfigured, match=r"may be read by others \(mode 640\); `chmod 600`"):
        store.read(NAME)
    master_key_file(tmp_path).unlink()
    for trial in (lambda: store.read(NAME), lambda: _add_another(store)):
        with pytest.raises(Misconfigured, match=r"master\.key is missing"):
            trial()
    assert not master_key_file(tmp_path).exists()


def test_the_first_use_by_many_at_once_makes_one_master_key(tmp_path):
    found = set()
    threads = [threading.Thread(target=lambda: found.add(made_master_key(tmp_path))) for _ in range(16)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize(("key", "secret"), [("", "s" * 20), ("k" * 20, "with space"), ("k" * 20, "кириллица")])
def test_what_cannot_be_a_key_is_refused_unseen(key, secret):
    with pytest.raises(Misconfigured, match="copy it again") as caught:
        checked_key(key, secret)
    assert not [one for one in (key, secret) if one and one in str(caught.value)]


def test_a_bot_takes_the_key_of_the_environment_before_that_of_the_store(tmp_path, monkeypatch):
    settings = BotSettings(environment="live", data_dir=tmp_path)
    with pytest.raises(Misconfigured, match=r"TRADERAGENT_KEY is not set.*keys add --environment live"):
        secrets_of(settings)
    KeyStore(tmp_path).add(NAME, KEY)
    assert secrets_of(settings).secret.get_secret_value() == KEY.secret
    with pytest.raises(Misconfigured, match="no trading key of ann for bybit live"):
        secrets_of(settings.model_copy(update={"user": "ann"}))
    monkeypatch.setenv("TRADERAGENT_KEY", OTHER.key)
    with pytest.raises(Misconfigured, match="TRADERAGENT_SECRET is not set"):
        secrets_of(settings)
    monkeypatch.setenv("TRADERAGENT_SECRET", OTHER.secret)
    assert secrets_of(settings).key.get_secret_value() == OTHER.key


def command(*words, given=None):
    return CliRunner().invoke(app, ["keys", *words], input=given, env={"COLUMNS": "200", "TERM": "dumb"})


def test_keys_are_asked_for_or_read_from_a_file_and_never_shown(store_dir, tmp_path):
    file = tmp_path / "new.txt"
    file.write_text(f"{OTHER.key}\n{OTHER.secret}\n")
    live = ("--environment", "live")
    steps = [
        (command("add", *live, given=f"{KEY.key}\n{KEY.secret}\n"), 0, "key of owner for bybit live is kept"),
        (command("list"), 0, "owner"),
        (command("list", "--json"), 0, '"purpose": "trading"'),
        (command("add", *live, "--file", str(file)), None, "is there already"),
        (command("rotate", *live, "--file", str(file)), 0, "ctl reload"),
    ]  # fmt: skip
    assert KeyStore(store_dir).read(NAME) == OTHER
    steps += [
        (command("remove", *live), 0, "delete it at the exchange too"),
        (command("remove", *live), None, "there is no trading key"),
        (command("rotate", *live, "--file", str(file)), None, "there is no trading key"),
        (command("add", "--environment", "paper"), None, "environment is 'paper'; choose one of demo"),
        (command("add", "--exchange", "mtgox"), None, "exchange is 'mtgox'"),
        (command("add", "--user", "../ann"), None, "user is '../ann'"),
        (command("add", "--purpose", "fun"), None, "purpose is 'fun'; choose one of trading, watching"),
    ]
    file.write_text(KEY.key)
    steps.append((command("add", "--file", str(file)), None, "holds 1 words"))
    for done, code, said in steps:
        told = done.output + str(done.exception or "")
        assert said in told
        assert done.exit_code == 0 if code == 0 else isinstance(done.exception, TradingError)
        assert not [one for one in HIDDEN if one in told]


def test_no_option_takes_a_secret():
    """What stands in argv is seen by every user of the machine."""
    for word in ("add", "rotate"):
        said = command(word, "--help").output
        assert "--file" in said
        assert "--key" not in said
        assert "--secret" not in said
    assert not os.environ.get("TRADERAGENT_KEY")
