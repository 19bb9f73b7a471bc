"""Files of sessions: the newest stay, none grows without end, and none is left open."""

from __future__ import annotations

import json
import stat

import psutil

from services.runtime import sessions
from services.runtime.sessions import KEPT, session_file, sessions_of


def test_the_newest_sessions_of_a_pair_stay_and_are_their_owners(tmp_path):
    for number in range(KEPT + 2):
        session_file(tmp_path, "SOLUSDT")({"number": number})
    (tmp_path / "SOLUSDT-other.jsonl").touch(0o600)
    session_file(tmp_path, "BTCUSDT")
    files = sessions_of(tmp_path)["SOLUSDT"]
    assert [json.loads(file.read_text())["number"] for file in files] == list(range(2, KEPT + 2))
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_sessions_stay_by_their_size(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "KEPT_BYTES", 40)
    for number in range(5):
        session_file(tmp_path, "SOLUSDT")({"number": number})
    assert [file.name for file in sessions_of(tmp_path)["SOLUSDT"]] == [
        "SOLUSDT-3.jsonl",
        "SOLUSDT-4.jsonl",
        "SOLUSDT-5.jsonl",
    ]


def test_a_session_that_is_too_large_is_full_and_no_file_stays_open(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "LARGEST", 40)
    write, full = session_file(tmp_path, "SOLUSDT"), []
    for number in range(4):
        write({"number": number})
        full.append(write.full)
    assert full == [False, False, True, True]
    assert not [one for one in psutil.Process().open_files() if one.path.startswith(str(tmp_path))]


def test_a_full_disk_ends_the_record_and_asks_for_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "LARGEST", 10)
    write = session_file(tmp_path, "SOLUSDT")
    write.path.unlink()
    write.path.mkdir()  # what cannot be written to
    write({"number": 1})
    write({"number": 2})
    assert not write.full
