"""A pair's twin: a copy of a live pair's state whose orders the simulated exchange fills, minute by minute.

The twin begins each minute as the live pair did, so one difference is one difference and not the beginning of many. It
never touches the live pair's memory. Kernels are interpreted: the bits are the same, and nothing waits for a compiler.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from backtesting.exchange import RUN, World, most_fills, move, receive, trade_bar
from backtesting.loop import begin_bar
from backtesting.simulator import settings_record
from bot.instrument import in_ticks
from bot.kernel import interpreted, template
from bot.order import FILL, OrderKind
from bot.record import new_records
from coordinator import pair as pair_step
from coordinator.machine import PairMachine
from coordinator.vocabulary import NO_STRATEGY

if TYPE_CHECKING:
    from bot.instrument import Instrument
    from bot.strategy import Decide
    from coordinator.config import PortfolioConfig
    from coordinator.roster import Roster

# Why an order leaves is nothing that an exchange knows: what a forced exit costs besides is part of the drift.
WITHOUT_SURCHARGE = {"forced_exit_bps": 0.0}
MARKET_LOTS = 1e15  # of a market that fills whatever the price passes: a lot may be a millionth of a coin
COPIED = ("pairs", "states", "slots", "rollups", "reports", "paid", "params", "next_number", "asked")

decide = cast("Decide", None)


@template
def arrive(world: World, market: float) -> None:
    """Let the exchange receive what is desired anew, at market price `market` (ticks)."""
    receive(world, market)


@template
def walk(world: World, ts: int, volume: float, open_: float, high: float, low: float, close: float) -> None:
    """Walk one bar's path, prices in ticks, and fill what it reaches."""
    begin_bar(world, 0, ts, volume)
    if volume > 0.0:
        trade_bar(world, open_, high, low, close)


@template
def go(world: World, ts: int, volume: float, x: float, y: float) -> None:
    """Let the price go straight from `x` to `y`, ticks, and fill what it passes."""
    begin_bar(world, 0, ts, volume)
    move(world, x, y)


@cache
def _kernels(roster: Roster) -> tuple[Any, Any, Any]:
    bindings = {"decide": pair_step.decide, "dispatch": roster.dispatch()}
    return interpreted(arrive, **bindings), interpreted(walk, **bindings), interpreted(go, **bindings)


def _most_fills(slots: Any) -> int:
    """Count the fills that one bar may bring."""
    return 2 * int(interpreted(most_fills)(slots))


class Twin:
    """One pair, its state and its orders on the simulated exchange."""

    def __init__(self, config: PortfolioConfig, instrument: Instrument, bar_ms: int) -> None:
        execution = config.execution.model_copy(update=WITHOUT_SURCHARGE)
        settings = settings_record(config.changed(execution=execution), every_bar=False, keep_desired_orders=False)
        self.machine = PairMachine(config.algorithm, instrument, config.leverage, bar_ms)
        self.settings = settings[0]
        self.runs = new_records(RUN, 1)
        self.fills = new_records(FILL, _most_fills(self.machine.slots))
        self.market = 0.0  # ticks: the last price

    def follow(self, live: PairMachine) -> None:
        """Take over the state of the live pair; orders that stand as before are no news to the exchange."""
        before = self.machine.slots
        for name in COPIED:
            setattr(self.machine, name, getattr(live, name).copy())
        self.machine.instrument, self.machine.renamed = live.instrument, live.renamed.copy()
        self.market = float(live.pairs[0].price) / float(live.pairs[0].instrument.tick_size)
        own = self.machine.slots
        if len(before) == len(own):
            same = before["active"] & own["active"]
            for name in ("generation", "price", "kind", "side"):
                same &= before[name] == own[name]
            for name in ("fresh", "crossing"):
                own[name][same] = before[name][same]
        if len(self.fills) < _most_fills(own):
            self.fills = new_records(FILL, _most_fills(own))
        self.arrive()

    def rest(self) -> None:
        """Take every order as one that rests at the exchange already: it was sent long ago."""
        self.machine.slots["fresh"] = False

    def arrive(self) -> None:
        """Let the exchange receive what is desired anew, at the last price."""
        slots = self.machine.slots
        if np.any(slots["active"] & slots["fresh"]):
            with np.errstate(all="ignore"):  # as compiled code does
                _kernels(self.machine.roster)[0](self._world(), self.market)

    def walk(self, bar: Any) -> Any:
        """Play one closed bar, BAR (a record): returns the fills, FILL (n,), whose `slot` is the place in the table."""
        tick = float(self.machine.instrument.tick_size)
        quoted = np.array([bar[name] for name in ("open", "high", "low", "close")])
        prices = [float(one) for one in in_ticks(quoted, tick)]
        self.market = prices[3]
        if not self._is_reached(*prices):
            return self.fills[:0]
        with np.errstate(all="ignore"):
            _kernels(self.machine.roster)[1](self._world(), int(bar["ts"]), float(bar["volume"]), *prices)
        return self.fills[: int(self.runs[0].fills)]

    def go(self, price: float) -> Any:
        """Let the price go straight from the last one to another, quote currency, on a market that fills everything.

        Returns the fills, FILL (n,).
        """
        tick, volume = float(self.machine.instrument.tick_size), MARKET_LOTS * float(self.machine.instrument.lot_size)
        to = float(in_ticks(np.array([price]), tick)[0])
        with np.errstate(all="ignore"):
            _kernels(self.machine.roster)[2](self._world(), self.machine.time, volume, self.market, to)
        self.market = to
        return self.fills[: int(self.runs[0].fills)]

    def take(self, bars: Any) -> None:
        """Let the pair decide about closed bars, BAR (n,)."""
        self.machine.take_bars(bars)

    @property
    def trades(self) -> bool:
        """Whether the pair may desire an order: it has one, a strategy runs, or one is to."""
        slots, state = self.machine.slots, self.machine.states[0]
        if not state.started:
            return False
        if np.any(slots["active"] | slots["suspended"]):
            return True
        return int(state.family) != NO_STRATEGY or int(state.directive.family) != NO_STRATEGY

    def _world(self) -> World:
        machine, runs = self.machine, self.runs
        runs[0] = np.zeros(1, RUN)[0]
        runs[0].up, runs[0].down = -np.inf, np.inf  # no band is known: the path asks every order
        machine.pairs[0].credit = np.inf  # the rest of the account stands behind the pair
        return World(
            *(machine.pairs[0], machine.params[0], machine.states[0], machine.slots, machine.events[0]),
            *(runs[0], self.settings, self.fills),
        )

    def _is_reached(self, _open: float, high: float, low: float, _close: float) -> bool:
        """Whether a bar may reach an order; one that it does not reach need not be walked."""
        slots = self.machine.slots
        slots = slots[slots["active"]]
        if not len(slots):
            return False
        stop = slots["kind"] == OrderKind.STOP
        falling = (slots["side"] < 0) == stop  # it waits for a lower price
        reached = np.where(falling, low <= slots["price"], high >= slots["price"])
        return bool(np.any(reached | slots["crossing"] | (slots["kind"] == OrderKind.MARKET)))
