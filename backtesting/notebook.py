"""Backtests from Python and notebooks: one call for one pair, several pairs and `auto`, and a result that shows itself.

`simulate` takes keywords, a dict, a YAML file or a config, and candles as frames, files or `Candles`. Its result holds
figures, frames for analysis (times as UTC datetimes) and the page of the run; what a run computes lies below, in
`backtesting.run` and `backtesting.portfolio_run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from backtesting import run as single_run
from backtesting.portfolio_result import PortfolioResult
from backtesting.portfolio_run import simulate_portfolio
from backtesting.reports.labels import LABELS, label, written
from backtesting.reports.page import chart_page, run_page
from backtesting.reports.run_view import currency_of, view_of
from backtesting.result import BacktestResult
from bot.errors import Misconfigured
from coordinator.config import BacktestConfig, PortfolioConfig, load_config
from coordinator.config_file import KEYS, read_values, symbol_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from backtesting.metrics import Metrics
    from coordinator.config import Source

HEADLINE = (
    *("total_return_pct", "benchmark_return_pct", "max_drawdown_pct", "sharpe", "trades", "win_rate_pct"),
    *("profit_factor", "open_profit", "fees"),
)
PERIOD = {"start": "from", "end": "to"}
WHOLE = ("candles", "instruments")  # sections of pairs, which replace those of the source
CHART_HEIGHT = 900  # pixels of a frame that shows the chart with its controls and readings
NEW_NAMES = {"qty": "quantity", "realized": "realized_pnl", "pnl_pct": "return_pct", "mae": "mae_pct", "mfe": "mfe_pct"}


def simulate(
    config: Source | None = None,
    candles: Any = None,
    *,
    fetched: Any = None,
    funding: Any = None,
    bounds: bool = False,
    progress: Callable[[float], None] | None = None,
    **values: Any,
) -> SimulationResult:
    """Backtest what a config and `values` over it ask: a strategy on one pair or several, or `auto`.

    `config` is a dict, a YAML file's path or a model, or left out; `values` are its keys (`start` and `end` for `from`
    and `to`), sections as dicts that add to those of the source, or keys of the strategy, such as `levels=20`. Times
    are datetimes (UTC if they name no zone) or text. `candles`, `fetched` (instruments) and `funding` are given by
    pair, or as they are where there is one pair; candles are Polars or pandas frames, paths or `Candles`. `bounds`
    adds figures under the worst and the best rules. `progress` hears the share of several pairs that is done.
    Raises Misconfigured and BadCandles with one sentence.
    """
    asked = _config(config, values)
    if isinstance(asked, BacktestConfig):
        own = [_by_pair(given, (asked.pair,), name) for name, given in _given(candles, fetched, funding)]
        table, instrument, rates = (None if one is None else one.get(asked.pair) for one in own)
        return SimulationResult(single_run.simulate(asked, table, fetched=instrument, funding=rates, bounds=bounds))
    if bounds:
        raise Misconfigured("bounds is true but it is for one strategy on one pair; leave it out.")
    tables, instruments, histories = (
        _by_pair(given, asked.pairs, name) for name, given in _given(candles, fetched, funding)
    )
    made = simulate_portfolio(asked, tables, fetched=instruments, funding=histories, progress=progress)
    return SimulationResult(made)


def _config(source: Source | None, values: dict[str, Any]) -> BacktestConfig | PortfolioConfig:
    """Lay values over a source, a section's over its section; raises Misconfigured."""
    if not values and source is not None:
        return load_config(source)
    known = _known(source)
    short = {}
    for name, value in values.items():
        key = PERIOD.get(name, name)
        section = known.get(key)
        if isinstance(value, dict) and key not in WHOLE:
            known[key] = {**(section if isinstance(section, dict) else {}), **value}
        elif key in KEYS:
            known[key] = value
        else:
            short[key] = value
    return load_config(known, short)


def _known(source: Source | None) -> dict[str, Any]:
    """Keys and values of a source, to be changed."""
    if isinstance(source, BacktestConfig | PortfolioConfig):
        return source.document()
    return dict(source or {}) if source is None or isinstance(source, dict) else read_values(Path(source))


def _given(candles: Any, fetched: Any, funding: Any) -> list[tuple[str, Any]]:
    return [("candles", candles), ("fetched", fetched), ("funding", funding)]


def _by_pair(given: Any, pairs: tuple[str, ...], name: str) -> dict[str, Any] | None:
    """What was given for each pair; raises Misconfigured where one thing was given for several."""
    if given is None:
        return None
    if isinstance(given, Mapping):
        return {symbol_of(pair): one for pair, one in given.items()}
    if len(pairs) > 1:
        raise Misconfigured(f"{name} is one but the pairs are {', '.join(pairs)[:200]}; give a dict by pair.")
    return {pairs[0]: given}


@dataclass(frozen=True, repr=False)
class SimulationResult:
    """A finished run as people look at it; `run` is what it was made of. Money is quote currency, times are UTC."""

    run: BacktestResult | PortfolioResult

    @property
    def config(self) -> BacktestConfig | PortfolioConfig:
        """The config in full: simulating it on the same candles gives the same result."""
        return self.run.config

    @property
    def pairs(self) -> tuple[str, ...]:
        """Symbols that were traded."""
        config = self.config
        return config.pairs if isinstance(config, PortfolioConfig) else (config.pair,)

    @property
    def metrics(self) -> Metrics:
        """Every figure of the account."""
        return self.run.metrics

    @property
    def notices(self) -> tuple[str, ...]:
        """Sentences on what a reader of the figures should know."""
        return self.run.notices

    @property
    def bounds(self) -> dict[str, Metrics] | None:
        """Figures under the worst and the best rules, where they were asked for."""
        return self.run.bounds if isinstance(self.run, BacktestResult) else None

    @property
    def report_table_md(self) -> str:
        """The usual figures as a table in Markdown."""
        return self.run.report_table_md

    @cached_property
    def trades(self) -> pl.DataFrame:
        """Trades of all pairs; open ones have no exit. `return_pct`, `mae_pct`, `mfe_pct`: per cent of the entry."""
        frame = self.run.trade_frame if isinstance(self.run, PortfolioResult) else self.run.trades
        frame = _named(_timed(frame, "entry_time", "exit_time"), "exit_reason", "entry_kind")
        return frame.with_columns((pl.col("exit_time") - pl.col("entry_time")).alias("duration"))

    @cached_property
    def fills(self) -> pl.DataFrame:
        """Executions of all pairs: time, pair, side, price, quantity, fee, position after it, profit realized."""
        frame = self.run.frame("fills") if isinstance(self.run, PortfolioResult) else self.run.fills
        return _named(_timed(frame.rename({"ts": "time"}), "time").rename({"signal": "reason"}), "reason")

    @cached_property
    def equity(self) -> pl.DataFrame:
        """One row a bar: time, equity, benchmark (buy and hold), drawdown_pct, and what each pair held."""
        frame = self.run.equity_frame if isinstance(self.run, PortfolioResult) else self.run.equity
        high = pl.max_horizontal(pl.col("equity").cum_max(), pl.lit(self.metrics.initial_capital))
        drawdown = ((pl.col("equity") / high - 1.0).clip(-1.0) * 100.0).alias("drawdown_pct")
        return _timed(frame.rename({"ts": "time"}), "time").with_columns(drawdown)

    @cached_property
    def figures_by_pair(self) -> pl.DataFrame:
        """One row a pair of several: profit, fees, trades, win rate and the like; of one pair, the account's."""
        if isinstance(self.run, PortfolioResult):
            rows = {
                pair: one.model_dump(exclude={"regimes", "strategies"}) for pair, one in self.run.pair_figures.items()
            }
        else:
            rows = {self.pairs[0]: self.metrics.model_dump(exclude={"entries_by_kind"})}
        return pl.DataFrame([{"pair": pair, **row} for pair, row in rows.items()])

    def plot(self, height: int = CHART_HEIGHT) -> InlinePage:
        """The chart of the report, to be zoomed and searched inside a notebook; `height` in pixels."""
        return InlinePage(chart_page(self.run), height)

    def report(self, height: int = CHART_HEIGHT) -> InlinePage:
        """The whole report inside a notebook; `height` in pixels."""
        return InlinePage(run_page(self.run), height)

    def figure(self) -> Figure:
        """Equity, drawdown and each pair's price with its fills as one picture of Matplotlib."""
        from backtesting.reports.pictures import plot  # noqa: PLC0415, whoever draws nothing does not load Matplotlib

        return plot(self.run)

    def write_report(self, path: str | Path) -> Path:
        """Write the report, one HTML file."""
        Path(path).write_text(run_page(self.run), encoding="utf-8")
        return Path(path)

    def write_run(self, directory: str | Path) -> Path:
        """Write the run directory, as `traderagent backtest` does; raises Misconfigured where something else lies."""
        from backtesting.reports.run_directory import write_run  # noqa: PLC0415, its pictures need Matplotlib

        return write_run(self.run, directory)

    @property
    def title(self) -> str:
        """What traded where."""
        return view_of(self.run).title

    def __repr__(self) -> str:
        figures = "; ".join(f"{name} {value}" for name, value in self._headline()[:5])
        return f"<{self.title}, {self.metrics.start} to {self.metrics.end}: {figures}>"

    def _repr_html_(self) -> str:
        """Headline figures as a small table, and the notices below it."""
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(name)}</td><td style='text-align:right'>{escape(value)}</td></tr>"
            for name, value in self._headline()
        )
        period = f"{self.metrics.start} to {self.metrics.end}"
        notes = "".join(f"<li>{escape(note)}</li>" for note in self.notices)
        return (
            f"<table><caption style='text-align:left'><b>{escape(self.title)}</b><br>{escape(period)}</caption>"
            f"<tbody>{rows}</tbody></table>" + (f"<ul>{notes}</ul>" if notes else "")
        )

    def _headline(self) -> list[tuple[str, str]]:
        currency = currency_of(list(self.pairs))
        return [(LABELS[name][0], written(getattr(self.metrics, name), LABELS[name][1], currency)) for name in HEADLINE]


@dataclass(frozen=True, repr=False)
class InlinePage:
    """A page that a notebook shows in a frame of its own, so that neither's styles and scripts reach the other."""

    html: str
    height: int

    def __repr__(self) -> str:
        return "<a page; a notebook shows it, write_report writes one for the browser>"

    def _repr_html_(self) -> str:
        style = f"width:100%;height:{self.height}px;border:0"
        return f'<iframe title="Backtest" style="{style}" srcdoc="{escape(self.html, quote=True)}"></iframe>'


def _timed(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Epoch milliseconds as UTC datetimes, and columns by the names that people look for."""
    frame = frame.with_columns(pl.col(names).cast(pl.Datetime("ms", "UTC")))
    return frame.rename({old: new for old, new in NEW_NAMES.items() if old in frame.columns})


def _named(frame: pl.DataFrame, *names: str) -> pl.DataFrame:
    """Reasons and kinds in words: `EXIT_TP` is Take profit."""
    found = {name: frame[name].unique().drop_nulls().to_list() for name in names}
    words = {name: {key: label(key) for key in keys} for name, keys in found.items()}
    return frame.with_columns(
        pl.col(name).replace_strict(old, return_dtype=pl.String, default=None) for name, old in words.items() if old
    )
