"""Files that take another's place are on the disk before they do, and their folder after."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.market_data.store import CandleStore
from services.whole_file import write_private, write_whole, write_whole_bytes
from tests.conftest import walk


@pytest.fixture
def happened(monkeypatch):
    """What was written through to the disk or took another's place, in order."""
    told, through, replace = [], os.fsync, Path.replace

    def fsync(descriptor):
        told.append(("disk", Path(f"/proc/self/fd/{descriptor}").resolve()))
        through(descriptor)

    def replaced(self, target):
        told.append(("replace", target))
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replaced)
    return told


@pytest.mark.parametrize(
    "write", [write_whole, write_private, lambda path, text: write_whole_bytes(path, text.encode())]
)
def test_a_power_loss_leaves_the_old_file_or_the_new_one(tmp_path, happened, write):
    path = tmp_path / "file"
    write(path, "text")
    assert path.read_text() == "text"
    assert [what for what, _ in happened] == ["disk", "replace", "disk"]
    assert (happened[0][1].parent, happened[1][1], happened[2][1]) == (tmp_path, path, tmp_path)


def test_candles_are_on_the_disk_before_their_month_is_another(tmp_path, happened):
    CandleStore(tmp_path).write("bybit", "linear", "BTCUSDT", walk(60))
    assert [what for what, _ in happened][:3] == ["disk", "replace", "disk"]
