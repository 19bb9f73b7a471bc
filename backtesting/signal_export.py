"""A run of signals for other programs: what it came to, its trades with the signals that made them, and the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtesting.trades import trades_of
from strategies.signals import SIGNALS, SignalsParameters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtesting.result import BacktestResult, SamplePicture

COLUMNS = (
    *("trade_id", "signal_id", "entry_time", "entry_price", "exit_time", "exit_price", "exit_reason", "pnl", "rr"),
)


def is_of_signals(result: Any) -> bool:
    """Whether a result is that of signals on one pair."""
    return getattr(result.config, "loaded", None) is SIGNALS


def exported_trades(result: BacktestResult) -> pl.DataFrame:
    """Trades by entry, each with its signal; times as ISO text."""
    parameters = _parameters(result)
    numbers = trades_of(result.recording)["part"]
    names = [parameters.signals[number].signal_id for number in numbers.tolist()]
    times = (pl.from_epoch(name, "ms").dt.strftime("%Y-%m-%dT%H:%M:%SZ") for name in ("entry_time", "exit_time"))
    named = result.trades.with_columns(pl.Series("signal_id", names, pl.String), *times, rr=pl.col("r_multiple"))
    return named.select(COLUMNS)


def passed_over(result: BacktestResult) -> list[dict[str, str]]:
    """Signals that made no trade, and why."""
    trades, parameters = trades_of(result.recording), _parameters(result)
    ts, length = result.candles["ts"].to_numpy(), parameters.timeframe_ms
    entries = trades["entry_ts"]
    leaves = np.where(trades["held"] == 0, trades["exit_ts"], np.iinfo(np.int64).max)
    traded, found = set(trades["part"].tolist()), []
    for number, one in enumerate(parameters.signals):
        if number in traded:
            continue
        start = one.entry_timestamp // length * length
        at = int(np.searchsorted(ts, start))
        if at >= len(ts) or ts[at] >= start + length:
            reason = "no candles at its time"
        elif np.any((entries <= start + length) & (start + length <= leaves)):
            reason = "another signal was traded"
        else:
            reason = "its stop or target was passed, or the order too small"
        found.append({"signal_id": one.signal_id, "reason": reason})
    return found


def export_document(result: BacktestResult, samples: Sequence[SamplePicture]) -> dict[str, Any]:
    """Content of export.json."""
    document, metrics, parameters = result.document, result.metrics, _parameters(result)
    closed = result.trades.filter(pl.col("exit_time").is_not_null())
    wins = closed.filter(pl.col("pnl") > 0).height
    win, loss = metrics.average_win, metrics.average_loss
    return {
        "run_id": document.run_id,
        "setup_id": parameters.setup_id,
        "rule_version": parameters.rule_version,
        "symbol": document.pair,
        "timeframe": parameters.timeframe,
        "period": {"from": document.start, "to": document.end},
        "trades_count": closed.height,
        "wins": wins,
        "losses": closed.height - wins,
        "winrate": metrics.win_rate_pct,
        "avg_rr": win / -loss if win is not None and loss else None,
        "max_drawdown": metrics.max_drawdown_pct,
        "total_pnl": metrics.total_profit,
        "trades_by_month": {month: one.model_dump() for month, one in document.trades_by_month.items()},
        "sample_pngs": [path for one in samples for path in (one.original, one.annotated)],
        "data_snapshot": document.snapshot,
        "signals_passed_over": passed_over(result),
        "trades": exported_trades(result).to_dicts(),
    }


def _parameters(result: BacktestResult) -> SignalsParameters:
    parameters = result.config.parameters
    assert isinstance(parameters, SignalsParameters)
    return parameters
