"""Files that take another's place are on the disk before they do, and their folder after."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.market_data.canonical import Receipt, Source
from services.market_data.raw import RawRows
from services.market_data.store import CandleStore
from services.whole_file import write_private, write_whole, write_whole_bytes
from tests.conftest import START, walk


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
    folder = tmp_path / "candles" / "bybit" / "linear" / "BTCUSDT" / "1m"
    made = list(folder.parents)[:5][::-1]  # each tells the disk of the folder in it
    assert happened == [
        *(("disk", one) for one in made),
        ("disk", folder / "2024-01.partial"),
        ("replace", folder / "2024-01.parquet"),
        ("disk", folder),
    ]


def test_rows_leave_the_journal_when_the_disk_has_them_elsewhere(tmp_path, happened, monkeypatch):
    rows, unlink = RawRows(tmp_path), Path.unlink

    def unlinked(self, **options):
        happened.append(("unlink", self))
        unlink(self, **options)

    monkeypatch.setattr(Path, "unlink", unlinked)
    rows.append([Receipt.of(1, "BTCUSDT", (START, 1.0, 1.0, 1.0, 1.0, 1.0), START + 60_000, Source.STREAM)])
    happened.clear()
    rows.sync()
    journal = tmp_path / "raw" / "2024-01-01T00.jsonl"
    assert happened == [("disk", journal)]
    rows.sync()  # nothing is new
    rows.compact(START + 2 * 3_600_000)
    day = tmp_path / "raw" / "2024-01-01.parquet"
    assert happened[1:] == [
        ("disk", day.with_suffix(".partial")),
        ("replace", day),
        ("disk", day.parent),
        ("unlink", journal),
    ]
    rows.close()
