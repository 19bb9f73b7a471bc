"""What a pair's loop does in sessions where something goes wrong, line by line as it was recorded."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.golden.sessions import SESSIONS, played

FOLDER = Path(__file__).parent


PLAIN = ("closed_by_hand", "restarted")


@pytest.mark.parametrize(
    "session", [one if one in PLAIN else pytest.param(one, marks=pytest.mark.slow) for one in SESSIONS]
)
def test_a_session_is_decided_as_it_was_recorded(dsn, name, session, monkeypatch):
    lines = played(dsn, name, session, monkeypatch)
    file = FOLDER / f"{session}.jsonl"
    if os.environ.get("TRADERAGENT_RECORD"):
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    recorded = file.read_text(encoding="utf-8").splitlines()
    for number, (now, before) in enumerate(zip(lines, recorded)):
        assert now == before, f"line {number + 1} of {file.name}"
    assert len(lines) == len(recorded)
