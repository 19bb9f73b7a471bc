"""How a running bot stands, as plain numbers and words: for `ctl status`, the terminal and the metrics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bot.candles import iso
from bot.errors import Misconfigured, shown, suggestion
from bot.order import OrderKind, Side
from bot.strategy import whole_ms
from bot.times import MINUTE
from coordinator.capital_phase import phase_status
from coordinator.phase import Phase
from coordinator.regime import Regime
from coordinator.vocabulary import HaltAnswer, HeldOff

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from bot.ports import Gateway, OpenOrder, Order
    from coordinator.bot_status import (
        BotStatus,
        GatewayStatus,
        LoopPair,
        OrderStatus,
        PairOrders,
        PairStatus,
        PortfolioPair,
        PortfolioStatus,
    )
    from coordinator.master_loop import MasterLoop
    from coordinator.pair_core import PairCore
    from coordinator.strategy_loop import StrategyLoop


def merged(
    name: str, portfolio: PortfolioStatus, loops: dict[str, LoopPair], gateways: list[GatewayStatus]
) -> BotStatus:
    """One status of what the portfolio, the loops by pair, and every process' gateway say."""
    return {
        **portfolio,
        "bot": name,
        "streams": {kind: all(one["streams"][kind] for one in gateways) for kind in gateways[0]["streams"]},
        "stream_age_seconds": max(one["stream_age_seconds"] for one in gateways),
        "errors": dict(sum((Counter(one["errors"]) for one in gateways), Counter())),
        "changes": dict(sum((Counter(one["changes"]) for one in gateways), Counter())),
        "pairs": [_whole(pair, loops[pair["pair"]]) for pair in portfolio["pairs"]],
    }


def _whole(pair: PortfolioPair, loop: LoopPair) -> PairStatus:
    """What portfolio and loop know of a pair; the loop knows first that the database is away."""
    return {**pair, **loop, "held_off": pair["held_off"] + loop["held_off"]}


def portfolio_status(loop: MasterLoop, instruments: dict[str, Instrument], named: dict[str, str]) -> PortfolioStatus:
    """What the portfolio knows; `named`: the risk groups of a config that states some, by pair."""
    portfolio_state = loop.core.machine.portfolio_state
    risk, account, params = portfolio_state.portfolio.risk, loop.core.account(), loop.core.machine.params[0]
    return {
        "at": iso(loop.core.at) if loop.core.at else None,
        "equity": account.equity,
        "wallet": account.wallet,
        "exposure": account.exposure,
        "day_loss_pct": account.day_loss_pct,
        "drawdown_pct": account.drawdown_pct,
        "modes": account.modes,
        "halted": bool(risk.halted),
        "transfers_at": int(portfolio_state.portfolio.transfers_at),
        "capital_phase": phase_status(portfolio_state.portfolio, portfolio_state.reports),
        "answer": HaltAnswer(int(risk.answer)).name.lower() if risk.halted else None,
        "decide_by": _decide_by(params, risk),
        "limits": {
            "halt_day_loss_pct": 100.0 * float(params.halt_day_loss),
            "halt_drawdown_pct": 100.0 * float(params.halt_drawdown),
            "exposure": float(params.exposure),
            "reserve": float(params.reserve),
            "group_exposure": float(params.group_exposure),
        },
        "pairs": [_pair(loop, index, instruments[symbol], named) for index, symbol in enumerate(loop.core.symbols)],
    }


def _decide_by(params: Any, risk: Any) -> str | None:
    if not risk.halted or int(risk.answer) != HaltAnswer.WAITING:
        return None
    return iso(int(risk.halted_at) + whole_ms(float(params.decide_minutes), MINUTE))


def _pair(loop: MasterLoop, index: int, instrument: Instrument, named: dict[str, str]) -> PortfolioPair:
    portfolio_state = loop.core.machine.portfolio_state
    alike = instrument.symbol if named else loop.core.symbols[int(portfolio_state.groups[index])]
    report, family = portfolio_state.reports[index], int(portfolio_state.reports[index].family)
    return {
        "pair": instrument.symbol,
        "price": float(report.price),
        "regime": Regime(int(portfolio_state.regimes[index].confirmed)).name.lower(),
        "strategy": loop.core.machine.roster.name_of(family),
        "group": named.get(instrument.symbol, alike),
        "phase": Phase(int(report.phase)).name.lower(),
        "held_off": [str(why.name).lower() for why in HeldOff(int(portfolio_state.routes[index].held_off))],
        "target": float(portfolio_state.allocations[index].target),
        "position": float(instrument.quantity(int(report.position))),
        "equity": float(report.equity),
        "exposure": float(report.exposure),
        "entries": int(report.entries),
        "exits": int(report.exits),
        "refused_for_costs": int(report.refused_for_costs),
    }


def loop_status(loop: StrategyLoop) -> LoopPair:
    """What a pair's loop alone knows."""
    return {
        "open_orders": len(loop.core.open_orders),
        "held_off": ["database"] if loop.core.memory.unavailable else [],
        "recovered": loop.recovered.is_set(),
        "reconciled_seconds": loop.reconciled_seconds(),
        "corrections": loop.core.corrections,
        "fills": loop.core.books.fills,
        "reactions": {
            "counts": list(loop.core.executor.reactions.counts),
            "seconds": loop.core.executor.reactions.total,
        },
        "average": loop.core.machine.average,
        "stop": _price(loop.core, loop.core.books.stop) if loop.core.machine.position else 0.0,
        "counts": loop.core.machine.counts,
    }


def no_such_pair(symbol: str, pairs: Sequence[str]) -> Misconfigured:
    """Return the error of whoever asks for a pair that the bot does not trade."""
    return Misconfigured(f"pair {shown(symbol)} is not traded by this bot; {suggestion(symbol, pairs)}.")


def pair_orders(loop: StrategyLoop) -> PairOrders:
    """What should be open at the venue, and what is."""
    core = loop.core
    return {
        "pair": core.symbol,
        "tick_size": float(core.machine.instrument.tick_size),
        "desired": [_order(core, one, 0) for one in core.due()],
        "open": [_order(core, one, one.filled) for one in core.open_orders.values()],
        "stop": _price(core, core.books.stop),
    }


def _price(core: PairCore, ticks: int) -> float:
    return float(core.machine.instrument.price(ticks))


def _order(core: PairCore, one: Order | OpenOrder, filled: int) -> OrderStatus:
    instrument = core.machine.instrument
    return {
        "client_order_id": one.client_order_id,
        "side": Side(one.side).name.lower(),
        "kind": OrderKind(one.kind).name.lower(),
        "price": _price(core, one.price),
        "quantity": float(instrument.quantity(one.lots)),
        "filled": float(instrument.quantity(filled)),
        "reduce_only": one.reduce_only,
        "stop": _price(core, one.stop),
    }


def gateway_status(gateway: Gateway) -> GatewayStatus:
    """How one process hears and speaks to the venue."""
    health, traffic = gateway.health(), gateway.traffic()
    return {
        "streams": health.up,
        "stream_age_seconds": health.silent_seconds,
        "errors": traffic.errors,
        "changes": traffic.changes,
    }
