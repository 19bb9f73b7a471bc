"""What a page says of a run in sentences, each of which follows from its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtesting.funding import told_together
from backtesting.portfolio_result import PortfolioDocument

if TYPE_CHECKING:
    from backtesting.grid_figures import GridFigures
    from backtesting.metrics import Metrics
    from backtesting.portfolio_result import AlgorithmFigures
    from backtesting.reports.run_view import RunView

MOST_CASH = 75.0  # % of the equity, from which a return is mostly that of what did nothing
MOST_COMMITTED = 90.0  # % of the capital, under which a grid's risk budget keeps some of it idle


def verdict(metrics: Metrics, currency: str) -> str:
    """What the figures say."""
    if metrics.fills == 0:
        return "It never traded: nothing in this period met its conditions."
    earned = "Earned" if metrics.total_return_pct >= 0 else "Lost"
    held = "gained" if metrics.benchmark_return_pct >= 0 else "lost"
    better = metrics.total_return_pct > metrics.benchmark_return_pct
    sentence = (
        f"{earned} {abs(metrics.total_return_pct):.2f} % with a drawdown of {metrics.max_drawdown_pct:.2f} %, "
        f"while buying and holding {held} {abs(metrics.benchmark_return_pct):.2f} %: "
        f"{'better' if better else 'worse'} than holding."
    )
    cash = 100.0 - metrics.mean_exposure_pct
    if cash >= MOST_CASH:
        sentence += f" On average {cash:.0f} % of the equity was cash."
    if metrics.win_rate_pct is not None and metrics.win_rate_pct > 60 and metrics.closed_profit < 0:
        sentence += (
            f" It won {metrics.win_rate_pct:.0f} % of its closed trades and still lost by them: the losses were few, "
            "and larger than all that was won."
        )
    if metrics.open_trades:
        sentence += (
            f" Still open: {metrics.open_trades} of its trades, {metrics.open_profit:+,.2f} {currency} so far, beside "
            f"{metrics.closed_profit:+,.2f} {currency} of those it closed."
        )
    if 0 < metrics.trades < 30:
        sentence += f" {metrics.trades} trades are too few to judge by."
    return sentence


def whole_verdict(view: RunView) -> str:
    """What the figures say of a run of any kind, of `auto` also what the algorithm did."""
    said = verdict(view.document.metrics, view.currency)
    if isinstance(view.document, PortfolioDocument):
        said = f"{said} {algorithm_words(view.document.algorithm, len(view.pairs), view.currency)}"
    return said.strip()


def algorithm_words(figures: AlgorithmFigures, pairs: int, currency: str) -> str:
    """What router, filter and risk did."""
    sentences = []
    if figures.transitions:
        sentences.append(
            f"It changed strategy with a position {figures.transitions} times, {figures.forced_closes} of them had to "
            f"close at the market, at a cost of {figures.transition_cost:,.2f} {currency}."
        )
    asked = sum(figures.verdicts.values())
    if asked:
        refused = figures.verdicts["refused"] / asked * 100.0
        sentences.append(f"The filter gave {asked:,} verdicts and refused {refused:.0f} %.")
    if figures.halts:
        sentences.append(f"It halted {figures.halts} times, {figures.halt_hours:.0f} hours in all.")
    if figures.diversification_ratio is not None and pairs > 1:
        sentences.append(
            f"The pairs' daily risks add up to {figures.diversification_ratio:.2f} times that of the account."
        )
    return " ".join(sentences)


def budget_words(figures: GridFigures) -> str:
    """Say that the risk budget of a grid keeps capital idle, where it does."""
    share = figures.committed_pct
    if share is None or share >= MOST_COMMITTED:
        return ""
    return (
        f"The risk budget uses {share:.0f} % of your capital, with every cell filled; grid.risk_budget: 100% uses all, "
        "and can lose more at the stop."
    )


def subtitle(view: RunView) -> str:
    """Where, when and by which rules it was run."""
    document, rules = view.document, view.document.execution
    funding = document.funding if isinstance(document.funding, str) else told_together(document.funding)
    parts = [
        f"{document.exchange} {document.market}",
        f"{document.start} to {document.end}",
        f"run {document.run_id}",
        f"fill rule {_plain(rules['fill_rule'])}, path {_plain(rules['path'])}",
        f"fill policy {_plain(rules['fill_policy'])}, slippage {rules['slippage_bps']:g} bps",
        f"leverage {_leverage(view):g}",
        f"funding: {funding}",
    ]
    return " · ".join(parts)


def _plain(word: str) -> str:
    return word.replace("_", " ")


def _leverage(view: RunView) -> float:
    config = view.portfolio.config if view.portfolio else next(iter(view.singles.values())).config
    return config.leverage


def marks(view: RunView) -> list[str]:
    """What a reader of the figures should know first."""
    told = list(view.document.notices)
    if view.document.exchange == "synth":
        told.insert(0, "Generated candles: good for trying out, not for believing.")
    if view.document.outcome != "complete":
        told.insert(0, f"The run ended early: the account was {view.document.outcome}.")
    return told
