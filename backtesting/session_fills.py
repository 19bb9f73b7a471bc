"""What a simulation would have filled while a live pair traded: the pair's session played again, with a twin beside it.

The pair is played by its own core, which decides as it did then; the twin begins each minute with the state that the
pair had stored, and the simulated exchange fills its orders over the candle that the pair was told of.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.drift import TradedFill
from backtesting.twin import Twin
from bot.candles import iso
from bot.errors import Misconfigured, OutOfStep
from bot.order import Liquidity, Signal
from bot.ports import Closed, Execution, Refused, client_order_id_of
from bot.record import new_records
from bot.rollup import BAR
from bot.times import MINUTE
from coordinator.config import load_portfolio
from coordinator.instructions import (
    FetchCandles,
    FetchExecutions,
    FetchExecutionsOf,
    FetchSignals,
    Load,
    Loaded,
    Place,
    Save,
)
from coordinator.messages import Directive, ExposureLimit, InstrumentListed, SetParameters
from coordinator.portfolio import differs
from coordinator.session import StepKind, replay

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig
    from coordinator.pair_core import PairCore
    from coordinator.session import Step

Line = dict[str, Any]


@dataclass
class SimulatedSession:
    """What the twin of a session filled, and what is known of the time that it covers."""

    pair: str
    bot: str
    tick: float
    lot: float
    since: int = 0  # ms: what is covered
    until: int = 0
    fills: list[TradedFill] = field(default_factory=list)
    bars: dict[int, tuple[float, float, float]] = field(default_factory=dict)  # low, high and close by opening time
    sent: set[str] = field(default_factory=set)  # client order ids that the exchange took, or may have taken
    refused: dict[str, str] = field(default_factory=dict)  # what it said of those that it refused
    touch: bool = False  # a touched limit is filled
    ended: str = ""  # why it covers no more, in a sentence; empty: the session ends there
    begun: str = ""  # why it covers nothing of the minute before, in a sentence


def simulate_session(lines: Iterable[Line], since: int = 0) -> SimulatedSession:
    """Play a session with a twin beside it; fills before `since` (ms) are left out.

    Raises Misconfigured for lines that are no session of this version, or that hold nothing but its beginning.
    """
    lines = iter(lines)
    first = next(lines, {})
    play: _Play | None = None
    try:
        for step, core in replay(chain([first], lines)):
            if play is None:
                play = _Play(core, load_portfolio(first["config"]), since)
            if step.expected:
                play.found.ended = (
                    f"this program decides otherwise than the one that traded, from {iso(play.found.until)} on "
                    f"(line {step.number} of the session)"
                )
                break
            play.hear(step, core)
            if play.found.ended:
                break
    except OutOfStep as error:
        if play is None:
            raise
        play.found.ended = str(error)
    if play is None:
        raise Misconfigured("the session holds nothing but its beginning; the pair was stopped at once.")
    return play.found


class _Play:
    """The twin of one session, and what it has filled."""

    def __init__(self, core: PairCore, config: PortfolioConfig, since: int) -> None:
        machine = core.machine
        self.twin = Twin(config, machine.instrument, int(machine.pairs[0].bar_ms))
        self.since = since
        self.fees = config.instrument_fields(config.instruments.get(core.symbol))
        self.simulated: dict[str, int] = {}  # lots, by client order id
        self.waiting: list[Any] = []  # bars that the core has taken and the twin has not, BAR (n,)
        self.asked: Any = None  # the instruction that is answered next
        self.executions: list[Execution] = []  # that the core has heard of, of the minute that forms and later ones
        self.found = SimulatedSession(
            *(core.symbol, core.bot, float(machine.instrument.tick_size), float(machine.instrument.lot_size)),
            touch=self.twin.settings.through == 0.0,
        )

    def hear(self, step: Step, core: PairCore) -> None:
        """Take one step of the session."""
        if step.kind is StepKind.MESSAGE:
            self._on_message(step.told, core)
        elif step.kind is StepKind.INSTRUCTION:
            self.asked = step.told
            if isinstance(step.told, Save):
                self._catch_up(core)
        else:
            self._on_answer(self.asked, step.told, core)
        if step.last:
            self._catch_up(core)

    def _on_message(self, message: Any, core: PairCore) -> None:
        twin = self.twin
        match message:
            case Closed() if core.recovered:
                bar = new_records(BAR, 1)
                bar[0] = (message.ts, message.open, message.high, message.low, message.close, message.volume)
                self.waiting.append(bar)
            case Directive() if differs(twin.machine.states[0].directive, message.record[0]):
                twin.machine.take_directive(message.record)
                twin.arrive()
            case ExposureLimit():
                twin.machine.states[0].directive.exposure_limit = message.limit
                twin.machine.states[0].directive.others = message.others
            case SetParameters():
                twin.machine.params[...] = message.params
            case InstrumentListed(instrument) if _same_units(instrument, twin.machine.instrument):
                twin.machine.take_terms(instrument)
            case Execution() if message.funding:
                twin.machine.take_funding(-message.fee)
            case Execution():
                self.executions.append(message)

    def _on_answer(self, asked: Any, answer: Any, core: PairCore) -> None:
        match asked, answer:
            case Load(), Loaded():
                self.twin.machine.restore(answer.saved)
                self.twin.rest()
                self.found.since = self.twin.machine.time
                self.found.sent.update(answer.orders)
            case Load(), None:
                self.found.since = core.start
            case FetchCandles(), np.ndarray():
                self._on_bars(asked, answer, core)
            case FetchSignals(), list():
                self.twin.machine.hear(answer, asked.bar)
            case FetchExecutions() | FetchExecutionsOf(), list():
                self.executions += [one for one in answer if not one.funding]
                if not self.found.until and self._is_ahead(core):
                    self._leave_out_minute()
            case Place(order), Refused():
                self.found.refused[order.client_order_id] = str(answer)
            case Place(order), _:
                self.found.sent.add(order.client_order_id)

    def _on_bars(self, asked: FetchCandles, bars: Any, core: PairCore) -> None:
        machine = self.twin.machine
        if machine.time and asked.until == machine.time:  # the history of inputs
            machine.take_history(bars)
            return
        if machine.time == 0 and core.start:
            bars = bars[bars["ts"] < core.start]
        self.waiting.append(bars)

    def _catch_up(self, core: PairCore) -> None:
        """Play what the core has taken since, and begin anew where the core stands."""
        bars = np.concatenate(self.waiting) if self.waiting else new_records(BAR, 0)
        self.waiting = []
        bars = bars[bars["ts"] >= self.twin.machine.time]
        if not len(bars):
            return
        if not _same_units(core.machine.instrument, self.twin.machine.instrument):
            self.found.ended = (
                f"tick or lot size changed at {iso(self.found.until)}, and what was stored counts in others"
            )
            return
        bars = bars[np.argsort(bars["ts"], kind="stable")].view(np.recarray)
        if not self.twin.trades:
            self.twin.take(bars)
        else:
            for index in range(len(bars)):
                self._play(bars[index : index + 1], core)
        self._keep(bars)
        if not self._is_ahead(core):
            self.twin.follow(core.machine)

    def _is_ahead(self, core: PairCore) -> bool:
        """Whether the core has booked fills of the minute that forms, which the twin is to fill itself."""
        self.executions = [one for one in self.executions if one.ts >= self.twin.machine.time]
        return any(one.id in core.memory.booked for one in self.executions)

    def _leave_out_minute(self) -> None:
        """Begin a minute later: what was stored has fills of the first minute, which the twin can no longer fill."""
        self.found.since = self.twin.machine.time + MINUTE
        self.found.begun = f"the bot was started again at {iso(self.twin.machine.time)[:16]}, in a minute of fills"

    def _play(self, bar: Any, core: PairCore) -> None:
        for fill in self.twin.walk(bar[0]).copy():
            self._write(fill, float(bar[0]["close"]), core)
        self.twin.take(bar)
        self.twin.arrive()

    def _keep(self, bars: Any) -> None:
        for one in bars[bars["ts"] + MINUTE > max(self.since, self.found.since)]:
            self.found.bars[int(one["ts"])] = float(one["low"]), float(one["high"]), float(one["close"])
        self.found.until = int(bars["ts"][-1]) + MINUTE

    def _write(self, fill: Any, close: float, core: PairCore) -> None:
        """Keep a fill; of an order that is filled already, the simulation has no more lots."""
        machine = self.twin.machine
        slot = machine.slots[int(fill["slot"])]
        order = client_order_id_of(core.bot, core.symbol, int(slot["number"]), int(fill["generation"]))
        known = core.memory.orders.get(order)
        before = self.simulated.get(order, 0)
        most = max(int(fill["quantity"]) if not before else 0, known.lots if known is not None else 0)
        lots = min(int(fill["quantity"]), most - before)
        if lots <= 0:
            return
        self.simulated[order] = before + lots
        if int(fill["ts"]) < self.since:
            return
        maker = int(fill["liquidity"]) == Liquidity.MAKER
        price = int(fill["price"]) * self.found.tick
        self.found.fills.append(
            TradedFill(
                *(core.symbol, int(fill["ts"]), order, int(fill["side"]), price, lots, self.found.lot),
                self._fee(fill, price, lots, maker=maker),
                *(maker, close, Signal(int(fill["signal"])).name.lower()),
            )
        )

    def _fee(self, fill: Any, price: float, lots: int, *, maker: bool) -> float:
        """Reckon the fee by the config's instruments where they say one, else by what the account was told."""
        rate = self.fees.get("maker_fee" if maker else "taker_fee")
        if rate is None:
            return float(fill["fee"]) * lots / int(fill["quantity"])
        return price * lots * self.found.lot * float(rate)


def _same_units(one: Any, other: Any) -> bool:
    return (one.tick_size, one.lot_size) == (other.tick_size, other.lot_size)


def why_missed(fill: TradedFill, sessions: Iterable[SimulatedSession]) -> str:
    """Say why a fill that was simulated may not have happened."""
    for one in sessions:
        if fill.order in one.refused:
            return f"the exchange refused the order: {one.refused[fill.order]}"
        if not one.since <= fill.at < one.until or one.pair != fill.pair:
            continue
        if fill.order not in one.sent:
            return "the bot had not sent the order by then: it answers something of the same minute, or was held back"
        low, high, _ = one.bars.get(fill.minute, (fill.price, fill.price, 0.0))
        beyond = round((fill.price - low if fill.side > 0 else high - fill.price) / one.tick)
        return (
            f"the order rested and the price went {max(beyond, 0)} ticks beyond it; it stood in a queue, was taken "
            "back first, or the fill is not known to the bot"
        )
    return "the order is not known any more"


def why_unexpected(fill: TradedFill, cause: str, sessions: Iterable[SimulatedSession]) -> str:
    """Say why a fill may have happened that was not simulated; `cause` as the bot booked it."""
    if cause == "forced":
        return "the exchange closed it by force: liquidation, deleveraging or settlement"
    if not fill.order:
        return "nobody here asked for it: an order by hand, or of another program on the account"
    for one in sessions:
        if fill.pair == one.pair and fill.minute in one.bars:
            low, high, _ = one.bars[fill.minute]
            if not low <= fill.price <= high:
                return (
                    f"its price lies outside the minute's candle ({low:g} to {high:g}), which the simulation fills by"
                )
            reach = low if fill.side > 0 else high
            if fill.maker and not one.touch and round(abs(fill.price - reach) / one.tick) == 0:
                return "the market only touched its price; the simulation fills when it is passed by a tick (fill_rule)"
    return "the simulation had no such order in that minute: the bot set it, or moved it, within the minute"
