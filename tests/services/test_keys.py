"""Keys at rest: encrypted for one user and one venue, shown by nothing, opened by one master key."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import stat
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bot.errors import Misconfigured, TradingError
from services import whole_file
from services.app.key_access import secrets_of
from services.command_line.main import app
from services.keys.key_store import ApiKey, KeyName, KeyStore, checked_key
from services.keys.master_key import made_master_key, master_key_file, read_master_key
from services.keys.sealed_secrets import SealedSecrets, SecretKind, reseal_all
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


OTHERS = (KeyName("ann", "bybit", "demo"), KeyName("owner", "bybit", "live", "watching"))
NEW_MASTER = bytes(range(32))


def filled(folder):
    """A store of three keys and a second factor."""
    store = KeyStore(folder)
    for name in (NAME, *OTHERS):
        store.add(name, KEY)
    SealedSecrets(folder, SecretKind.TOTP).keep("owner", "JBSWY3DPEHPK3PXP")
    return store


def all_opens(folder):
    store = KeyStore(folder)
    found = [store.read(one) for one in store.names()]
    return (
        len(found) == 3
        and set(found) == {KEY}
        and SealedSecrets(folder, SecretKind.TOTP).read("owner") == "JBSWY3DPEHPK3PXP"
    )


def test_another_master_key_opens_everything_and_the_former_one_nothing(tmp_path, monkeypatch):
    store = filled(tmp_path)
    added, former = store.added(NAME), master_key_file(tmp_path).read_text()
    assert reseal_all(tmp_path, NEW_MASTER) == 4
    assert read_master_key(tmp_path) == NEW_MASTER
    assert all_opens(tmp_path)
    assert store.added(NAME) == added
    written = everything_written(tmp_path)
    assert KEY.secret.encode() not in written and former.strip().encode() not in written
    assert {one.name for one in tmp_path.iterdir()} == {"keys", "master.key"}
    monkeypatch.setenv("TRADERAGENT_MASTER_KEY", former)
    for trial in (lambda: store.read(NAME), lambda: SealedSecrets(tmp_path, SecretKind.TOTP).read("owner")):
        with pytest.raises(Misconfigured, match="the master key is not the one that encrypted"):
            trial()


def refused(folder, sentence):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(Misconfigured, match=sentence):
        reseal_all(folder, NEW_MASTER)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_change_of_the_master_key_that_cannot_be_whole_changes_nothing(tmp_path, monkeypatch):
    with pytest.raises(Misconfigured, match=r"master\.key is missing"):
        reseal_all(tmp_path, NEW_MASTER)
    filled(tmp_path)
    path = tmp_path / "keys" / OTHERS[0].file_name()
    whole = path.read_text()
    path.write_text(json.dumps(json.loads(whole) | {"sealed": "AAAA"}))
    refused(tmp_path, "is damaged")
    path.write_text(whole)
    strange = tmp_path / "keys" / "notes.json"
    strange.write_text("{}")
    refused(tmp_path, "is no file of this program's")
    strange.unlink()
    monkeypatch.setenv("TRADERAGENT_MASTER_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
    refused(tmp_path, "the master key is not the one that encrypted the")
    monkeypatch.delenv("TRADERAGENT_MASTER_KEY")
    assert all_opens(tmp_path)


def resealed_and_killed(folder, step):
    """Change the master key in a process that is killed before its `step`-th touch of a file; whether it was."""
    child = os.fork()
    if child == 0:
        left = [step]

        def dying(touch):
            def touched(*given, **named):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                return touch(*given, **named)

            return touched

        whole_file.os.fsync = dying(os.fsync)  # a file is written beside, and not yet in its place
        Path.replace, Path.unlink = dying(Path.replace), dying(Path.unlink)
        try:
            reseal_all(folder, NEW_MASTER)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it is killed in a copy of this process")
def test_a_kill_at_any_moment_leaves_everything_by_one_master_key(tmp_path):
    outcomes = []
    for step in range(1, 100):
        folder = tmp_path / str(step)
        filled(folder)
        former = read_master_key(folder)
        if not resealed_and_killed(folder, step):
            break
        assert all_opens(folder), f"killed before touch {step}"
        outcomes.append(read_master_key(folder) == NEW_MASTER)
        KeyStore(folder).replace(NAME, OTHER)
        assert KeyStore(folder).read(NAME) == OTHER
        assert read_master_key(folder) == (NEW_MASTER if outcomes[-1] else former)
        assert reseal_all(folder, NEW_MASTER[::-1]) == 4
    assert outcomes == sorted(outcomes)
    assert {*outcomes} == {False, True}
    assert len(outcomes) > 10


def test_keys_are_read_while_the_master_key_is_changed(tmp_path):
    filled(tmp_path)
    failed, ended = [], threading.Event()

    def reading():
        while not ended.is_set():
            try:
                KeyStore(tmp_path).read(NAME)
            except TradingError as error:
                failed.append(str(error))

    thread = threading.Thread(target=reading)
    thread.start()
    for _ in range(30):
        reseal_all(tmp_path, secrets.token_bytes(32))
    ended.set()
    thread.join()
    assert failed == []


def test_rekey_is_a_command_with_a_random_master_key_or_ones_own(store_dir, tmp_path, monkeypatch):
    filled(store_dir)
    former = read_master_key(store_dir)
    done = command("rekey")
    assert (done.exit_code, "encrypts now: 4; master.key has it" in done.output) == (0, True), done.output
    assert read_master_key(store_dir) != former
    own = base64.b64encode(NEW_MASTER).decode()
    (tmp_path / "new").write_text(f"{own}\n")
    assert command("rekey", "--file", str(tmp_path / "new")).exit_code == 0
    assert read_master_key(store_dir) == NEW_MASTER
    again = command("rekey", "--file", str(tmp_path / "new"))
    assert "the new master key is the present one" in str(again.exception)
    (tmp_path / "new").write_text("not a key")
    assert "new is no master key, which is 32 bytes" in str(command("rekey", "--file", str(tmp_path / "new")).exception)
    monkeypatch.setenv("TRADERAGENT_MASTER_KEY", own)
    assert "which this command cannot change" in str(command("rekey").exception)
    other = base64.b64encode(secrets.token_bytes(32)).decode()
    (tmp_path / "new").write_text(other)
    done = command("rekey", "--file", str(tmp_path / "new"))
    assert "next: put it in the place of the former one" in done.output
    assert other not in done.output
    monkeypatch.setenv("TRADERAGENT_MASTER_KEY", other)
    assert all_opens(store_dir)


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
