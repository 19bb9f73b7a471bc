"""Signals in a file, and what trading them costs: spread and slippage in ticks, pips, basis points or per cent."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from bot.errors import Misconfigured, cut, shown
from strategies.signals import COLUMNS, table_of

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from coordinator.config import SimulationRules

STRATEGY = "strategies.signals:SIGNALS"
COST = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(tick|ticks|pip|pips|bps|%|percent)\s*", re.IGNORECASE)
MOST_BPS, MOST_TICKS = 1000.0, 1_000_000.0


def read_signals(path: Path) -> str:
    """Read a file of signals, CSV with a header or JSON, as the text that the parameters hold; raises Misconfigured."""
    place = f"signals {cut(str(path))}"
    if not path.is_file():
        raise Misconfigured(f"{place} is no file; give a CSV or JSON file with {', '.join(COLUMNS)}.")
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        rows = _of_json(content) if content.lstrip()[:1] in (b"[", b"{") else _of_csv(content)
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        raise Misconfigured(f"{place} cannot be read ({cut(str(error))}); give CSV with a header, or JSON.") from None
    return table_of(rows)


def _of_csv(content: bytes) -> list[dict[str, Any]]:
    head = content.split(b"\n", 1)[0].decode("utf-8", "replace")
    separator = max(",;\t", key=head.count)
    frame = pl.read_csv(content, infer_schema=False, separator=separator)
    missing = [name for name in COLUMNS if name not in (one.strip() for one in frame.columns)]
    if missing:
        raise ValueError(f"it has no column {missing[0]}")
    return [{key.strip(): value for key, value in row.items()} for row in frame.iter_rows(named=True)]


def _of_json(content: bytes) -> list[dict[str, Any]]:
    values = json.loads(content)
    rows = values.get("signals") if isinstance(values, dict) else values
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it holds no list of signals")
    return rows


@dataclass(frozen=True)
class TradingCost:
    """A distance of prices: so many ticks, pips, basis points or per cent."""

    amount: float
    unit: str  # tick, pip, bps

    def ticks(self, instrument: Instrument) -> float:
        """The part that is whole prices, ticks."""
        per_unit = {"tick": 1.0, "pip": float(instrument.pip / instrument.tick_size)}
        return self.amount * per_unit.get(self.unit, 0.0)

    @property
    def bps(self) -> float:
        """The part that is a share of the price, basis points."""
        return self.amount if self.unit == "bps" else 0.0


def cost_of(text: str, place: str) -> TradingCost:
    """Read a cost such as "1 pip", "2 ticks", "5 bps" or "0.02 %"; raises Misconfigured."""
    found = COST.fullmatch(text)
    if found is None:
        raise Misconfigured(f"{place} is {shown(text)}; write it like 1pip, 2ticks, 5bps or 0.02%.")
    unit = found[2].lower().removesuffix("s") if found[2].lower() != "bps" else "bps"
    amount = float(found[1])
    if unit in ("%", "percent"):
        amount, unit = amount * 100.0, "bps"
    if amount > (MOST_BPS if unit == "bps" else MOST_TICKS):
        raise Misconfigured(f"{place} is {shown(text)}, more than any market takes; give less.")
    return TradingCost(amount, unit)


def with_costs(
    rules: SimulationRules, instrument: Instrument, slippage: TradingCost | None, spread: TradingCost | None
) -> SimulationRules:
    """Rules by which every order that takes liquidity pays the slippage and half of the spread.

    Without a slippage that of the rules stays.
    """
    bps, ticks = rules.slippage_bps, rules.slippage_ticks
    if slippage is not None:
        bps, ticks = slippage.bps, slippage.ticks(instrument)
    if spread is not None:
        bps, ticks = bps + spread.bps / 2.0, ticks + spread.ticks(instrument) / 2.0
    return rules.model_copy(update={"slippage_bps": bps, "slippage_ticks": ticks})
