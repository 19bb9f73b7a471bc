"""Files of sessions: the newest stay, none grows without end, and none is left open."""

from __future__ import annotations

import json
import stat

import psutil

from services.runtime import sessions
from services.runtime.sessions import KEPT, session_file


def test_the_newest_sessions_of_a_pair_stay_and_are_their_owners(tmp_path):
    for number in range(KEPT + 2):
        session_file(tmp_path, "SOLUSDT")({"number": number})
    session_file(tmp_path, "BTCUSDT")
    files = sorted(tmp_path.glob("SOLUSDT-*.jsonl"))
    assert [json.loads(file.read_text())["number"] for file in files] == list(range(2, KEPT + 2))
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_session_that_is_too_large_ends_and_no_file_stays_open(tmp_path, monkeypatch):
    monkeypatch.setattr(sessions, "LARGEST", 40)
    write = session_file(tmp_path, "SOLUSDT")
    for number in range(10):
        write({"number": number})
    assert len((tmp_path / "SOLUSDT-1.jsonl").read_text().splitlines()) == 3
    assert not [one for one in psutil.Process().open_files() if one.path.startswith(str(tmp_path))]
