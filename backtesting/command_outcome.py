"""What a command of the operator's would do to a pair now: a copy of its stored state is given it, by the same kernels.

Exits that it sets leave at the present price on a market that fills whatever comes; nothing else moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backtesting.what_if import copied, loss_at, orders_of
from bot.order import OrderKind
from bot.record import new_records
from coordinator.operator import ANSWERS, CommandKind
from coordinator.reconcile import position_stop
from coordinator.vocabulary import DIRECTIVE, HaltAnswer

if TYPE_CHECKING:
    from backtesting.twin import Twin
    from bot.instrument import Instrument
    from bot.ports import Saved
    from coordinator.config import PortfolioConfig

OUTCOMES = (CommandKind.HALT, CommandKind.HOLD, CommandKind.REDUCE_50, CommandKind.CLOSE_ALL, CommandKind.CLOSE)


@dataclass(frozen=True)
class PairOutcome:
    """How a command would leave a pair; money is quote currency, quantities base currency, signed where held."""

    price: float  # at which it is computed
    position_now: float
    position: float
    entries_cancelled: int  # that rest now and would not any more
    exits_cancelled: int
    closing_orders: int  # at the market, as the exchange takes them
    closed: float  # quantity that they close
    closed_value: float
    realised: float  # profit that becomes final, fees not taken off
    fees: float
    orders: int  # that rest afterwards
    stop: float  # of what is held afterwards; 0 where there is none
    loss_at_stop: float | None  # what would be lost from here to it, fee included; None without one


def command_outcome(
    config: PortfolioConfig,
    instrument: Instrument,
    saved: Saved,
    command: CommandKind,
    price_now: float | None = None,
    params: Any = None,
) -> PairOutcome:
    """Give a copy of a pair's stored state one of `OUTCOMES`, and let its exits at the market be filled."""
    twin, now = copied(config, instrument, saved, price_now, params)
    machine = twin.machine
    ledger: Any = machine.pairs[0].ledger
    held, realised, fees = machine.position, float(ledger.realised), float(ledger.fees)
    before = {(one.slot, one.generation): one for one in orders_of(twin)}
    machine.take_directive(_directive(machine.states[0].directive, command))
    closing = [one for one in orders_of(twin) if one.reduce_only and one.kind == OrderKind.MARKET]
    closed, sent = _leave(twin, len(closing))
    after = orders_of(twin)
    kept = {(one.slot, one.generation) for one in after}
    gone = [one for name, one in before.items() if name not in kept and one.kind != OrderKind.MARKET]
    stop = position_stop(machine.slots, machine.position)
    stop_price = 0.0 if stop is None else float(machine.instrument.price(stop.price))
    ledger = machine.pairs[0].ledger
    return PairOutcome(
        price=now,
        position_now=_quantity(twin, held),
        position=_quantity(twin, machine.position),
        entries_cancelled=sum(not one.reduce_only for one in gone),
        exits_cancelled=sum(one.reduce_only for one in gone),
        closing_orders=sent,
        closed=closed,
        closed_value=closed * now,
        realised=float(ledger.realised) - realised,
        fees=float(ledger.fees) - fees,
        orders=len(after),
        stop=stop_price,
        loss_at_stop=None if stop is None else loss_at(twin, now, stop_price),
    )


def _directive(present: Any, command: CommandKind) -> Any:
    """Make the directive by which the portfolio has a pair follow the command, DIRECTIVE (1,)."""
    given = new_records(DIRECTIVE, 1)
    given[0] = present
    given[0].sequence += 1
    if command is CommandKind.CLOSE:
        given[0].paused, given[0].trim_id, given[0].trim_to = True, given[0].trim_id + 1, 0.0
    else:
        given[0].halted, given[0].answer = True, ANSWERS.get(command, HaltAnswer.WAITING)
    return given


def _leave(twin: Twin, most: int) -> tuple[float, int]:
    """Fill the exits at the market, one after the other where one is too large; their quantity and number."""
    largest, quantity, sent = max(int(twin.machine.pairs[0].instrument.max_market_lots), 1), 0.0, 0
    if most:
        twin.arrive()
        price = twin.market * float(twin.machine.instrument.tick_size)
        for one in twin.go(price).copy():
            quantity += _quantity(twin, int(one["quantity"]))
            sent += -(-int(one["quantity"]) // largest)
    return quantity, sent


def _quantity(twin: Twin, lots: int) -> float:
    return float(twin.machine.instrument.quantity(lots))
