"""The journal for other programs and for reading: CSV, and Markdown with its pictures."""

from __future__ import annotations

import csv
import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

from bot.candles import iso

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = (
    *("record", "revision", "source", "origin", "symbol", "timeframe", "side", "quantity", "entry", "entry_price"),
    *("exit", "exit_price", "reason", "pnl", "r", "tags", "notes", "pictures"),
)
PICTURE = re.compile(r"[0-9a-f]{16}/[A-Za-z0-9][A-Za-z0-9._-]{0,100}\.png")
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would take for one


def csv_of(records: list[dict[str, Any]]) -> str:
    """Records as CSV, times as UTC text."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for one in records:
        writer.writerow([_cell(name, one[name]) for name in COLUMNS])
    return out.getvalue()


def _cell(name: str, value: Any) -> Any:
    if name in ("entry", "exit"):
        return iso(value)
    text = ";".join(value) if isinstance(value, list) else value
    return f"'{text}" if isinstance(text, str) and text.startswith(FORMULA) else text


def markdown_of(records: list[dict[str, Any]]) -> str:
    """Records as Markdown; pictures are named by their place beside it."""
    parts = ["# Journal\n"]
    for one in records:
        parts.append(f"\n## {one['symbol']} {one['timeframe'] or ''} {one['side'] or ''}, {iso(one['exit'])}\n\n")
        parts.append("| | |\n|---|---|\n")
        parts += [
            f"| {name} | {_plain(_cell(name, one[name]))} |\n" for name in COLUMNS[:16] if one[name] not in (None, "")
        ]
        if one["notes"]:
            parts.append(f"\n{one['notes']}\n")
        parts += [f"\n![{place.partition('/')[2]}](pictures/{place})\n" for place in one["pictures"]]
    return "".join(parts)


def _plain(value: Any) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def image_of(folder: Path, place: str) -> bytes | None:
    """A picture by its place in the folder; None where there is none."""
    if not PICTURE.fullmatch(place):
        return None
    try:
        return (folder / place).read_bytes()
    except FileNotFoundError:
        return None


def zipped(records: list[dict[str, Any]], folder: Path) -> bytes:
    """Markdown with its pictures, as a ZIP."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("journal.md", markdown_of(records))
        for place in dict.fromkeys(place for one in records for place in one["pictures"]):
            image = image_of(folder, place)
            if image is not None:
                archive.writestr(f"pictures/{place}", image)
    return out.getvalue()
