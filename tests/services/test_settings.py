"""Settings of a machine: secrets may stand in files, and one address serves everything that needs a database."""

from __future__ import annotations

import os

import pytest

from bot.errors import Misconfigured
from services.app.console import ConsoleOptions
from services.runtime.config import BotSettings
from services.settings import IN_FILES, Settings, read_secret_files

ADDRESS = "postgresql://traderagent:a-password@db.example/traderagent"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    for name in (*IN_FILES, "TRADERAGENT_WEB_DATABASE", "TRADERAGENT_WEB_REDIS"):
        monkeypatch.setenv(name, "")  # and so, afterwards, as it was
        monkeypatch.setenv(f"{name}_FILE", "")


def test_what_stands_in_a_file_is_as_if_the_environment_had_it(tmp_path, monkeypatch):
    (tmp_path / "url").write_text(f"{ADDRESS}\n")
    monkeypatch.setenv("TRADERAGENT_DATABASE_FILE", str(tmp_path / "url"))
    assert Settings().database == Settings().redis == "embedded"
    read_secret_files()
    assert os.environ["TRADERAGENT_DATABASE"] == ADDRESS
    assert Settings().database == BotSettings().database == ConsoleOptions(tmp_path).database == ADDRESS
    assert BotSettings(database="embedded").database == "embedded", "a config has the last word"
    read_secret_files()  # as a process that this one starts does
    assert os.environ["TRADERAGENT_DATABASE"] == ADDRESS


@pytest.mark.parametrize(
    ("content", "also", "sentence"),
    [
        (None, "", "cannot be read"),
        ("", "", "is empty or too long"),
        ("x" * 5000, "", "is empty or too long"),
        ("new", "old", "are both set"),
    ],
)
def test_a_file_without_a_secret_is_one_sentence_that_does_not_show_it(tmp_path, monkeypatch, content, also, sentence):
    if content is not None:
        (tmp_path / "secret").write_text(content)
    monkeypatch.setenv("TRADERAGENT_SECRET_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("TRADERAGENT_SECRET", also)
    with pytest.raises(Misconfigured, match=sentence) as told:
        read_secret_files()
    assert "xxx" not in str(told.value)
    assert "new" not in str(told.value)
