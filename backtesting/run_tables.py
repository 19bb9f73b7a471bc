"""The tables of a run, from its result or from its directory, for whoever judges it without playing it again."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from backtesting.portfolio_result import PortfolioResult
from backtesting.validation import RunTables
from backtesting.zone_labels import ZONE_COLUMNS
from bot.candles import parse_time
from bot.errors import Misconfigured, cut
from coordinator.decisions import as_row, decisions_of
from coordinator.vocabulary import DecisionKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from backtesting.result import BacktestResult

TEXT, WHOLE, NUMBER = pl.String(), pl.Int64(), pl.Float64()
TRADES: dict[str, pl.DataType] = {
    **dict.fromkeys(("pair", "strategy", "side", "exit_reason", "entry_kind"), TEXT),
    **dict.fromkeys(("trade_id", "entry_time", "exit_time"), WHOLE),
    **dict.fromkeys(("entry_price", "exit_price", "qty", "pnl", "fees", "r_multiple"), NUMBER),
}
FILLS: dict[str, pl.DataType] = {
    **dict.fromkeys(("pair", "strategy", "signal", "side", "liquidity"), TEXT),
    **dict.fromkeys(("ts", "slot", "generation"), WHOLE),
    **dict.fromkeys(("price", "qty", "fee", "position", "realized"), NUMBER),
}
EQUITY: dict[str, pl.DataType] = {"ts": WHOLE, "equity": NUMBER}
CANDLES = ("pair", "ts", "open", "high", "low", "close", "volume")
ZONES: dict[str, pl.DataType] = {
    **dict.fromkeys(("pair", "kind", "side"), TEXT),
    **dict.fromkeys(("bottom", "top"), NUMBER),
    **dict.fromkeys(("born", "died"), WHOLE),
}
DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, pl.exceptions.PolarsError)


def tables_of(result: BacktestResult | PortfolioResult) -> RunTables:
    """Tables of a run that has just been played."""
    document = json.loads(result.document.model_dump_json(by_alias=True))
    if isinstance(result, PortfolioResult):
        names = result.recording.pairs
        candles = {pair: result.of_pair(pair).candles for pair in names}
        told = decisions_of(result.decisions(DecisionKind.ZONE), names, result.config.algorithm.roster)
        zones = zones_of((as_row(one) for one in told), document)
        frames = (result.trade_frame, result.frame("fills"), result.equity_frame)
    else:
        candles, zones = {result.config.pair: result.candles}, None
        frames = (result.trades, result.fills, result.equity)
    return _tables(document, *frames, zones, candles)


def read_tables(folder: Path, candles: dict[str, pl.DataFrame] | None) -> RunTables:
    """Tables of a run directory; raises Misconfigured where it is none, or is damaged."""
    if not (folder / "result.json").is_file():
        raise Misconfigured(f"run is {cut(str(folder))}, which holds no result.json; give a run directory.")
    try:
        document = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        trades = pl.read_csv(folder / "trades.csv", schema_overrides=TRADES).cast(TRADES)  # type: ignore[arg-type]
        fills = pl.read_csv(folder / "fills.csv", schema_overrides=FILLS).cast(FILLS)  # type: ignore[arg-type]
        equity = pl.read_parquet(folder / "equity.parquet", columns=list(EQUITY)).cast(EQUITY)  # type: ignore[arg-type]
        path, zones = folder / "events.jsonl", None
        if path.exists():
            rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
            zones = zones_of(rows, document)
        return _tables(document, trades, fills, equity, zones, candles)
    except DAMAGED as error:
        raise Misconfigured(
            f"run {cut(str(folder))} cannot be read ({type(error).__name__}: {cut(str(error))}); play it again."
        ) from None


def _tables(
    document: dict[str, Any],
    trades: pl.DataFrame,
    fills: pl.DataFrame,
    equity: pl.DataFrame,
    zones: pl.DataFrame | None,
    candles: dict[str, pl.DataFrame] | None,
) -> RunTables:
    execution = document["execution"]
    slippage = (float(execution["slippage_bps"]) + float(execution["forced_exit_bps"])) / 1e4
    slippage += float(execution["slippage_impact"]) * float(execution["max_participation"])
    instruments = document.get("instruments") or {document["pair"]: document["instrument"]}
    return RunTables(
        run_id=str(document["run_id"]),
        start=parse_time(document["from"]),
        end=parse_time(document["to"]),
        trades=trades,
        fills=fills,
        equity=equity.select("ts", "equity"),
        zones=zones,
        candles=None if candles is None else _together(candles),
        ticks={pair: float(one["tick_size"]) for pair, one in instruments.items()},
        slippage=slippage,
        slippage_ticks=float(execution.get("slippage_ticks", 0.0)),
    )


def _together(candles: dict[str, pl.DataFrame]) -> pl.DataFrame:
    named = [one.with_columns(pl.lit(pair).alias("pair")).select(CANDLES) for pair, one in candles.items()]
    return pl.concat(named)


def zones_of(rows: Iterable[dict[str, Any]], document: dict[str, Any]) -> pl.DataFrame | None:
    """Zones of market structure from the events of a run, by birth; None where its filter was off."""
    if not document["parameters"].get("smc", {}).get("enabled", False):
        return None
    lived: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in rows:
        if row["event"] == "zone":
            key = (row["pair"], row["kind"], row["side"], row["timeframe"], row["born"])
            died = None if row["died"] is None else parse_time(row["died"])
            place = (float(row["bottom"]), float(row["top"]))
            lived[(*key, place if row["kind"] != "liquidity" else None)] = (
                *key[:3], *place, parse_time(row["born"]), died,
            )  # fmt: skip
    return pl.DataFrame(list(lived.values()), schema=ZONES, orient="row").sort("born", *ZONE_COLUMNS[:3])
