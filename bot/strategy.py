"""What a strategy is: parameters, a state, and one kernel that decides.

    decide(pair, params, state, slots, event)

is called on every event and changes `state` and `slots` alone. It must give the same answer to the same
call: no clock, no chance, no memory elsewhere. A strategy of your own is one file with a `Strategy` in it,
loaded as `module:NAME` or `path/to/file.py:NAME`.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bot import strategy_file
from bot.costs import COSTS
from bot.errors import Misconfigured, cut, shown
from bot.inputs import Input
from bot.instrument import INSTRUMENT, Instrument
from bot.kernel import Record, kernel
from bot.ledger import LEDGER
from bot.order import FILL, WHOLE_POSITION, OrderKind, Signal, set_order
from bot.parameters import Parameters
from bot.rollup import BAR
from bot.sources import is_provided, is_users_file, module_file


class JudgedAs(IntEnum):
    """How the SMC filter judges the entries of a strategy: a whole range when the grid is laid, or each entry."""

    RANGE = 0
    ENTRY = 1
    LADDER = 2  # the first like any other; the safety orders that follow keep at least half of their size


class Event(IntEnum):
    """What a strategy is told. BASE and SIGNAL bars are closed; a FILL may come at any moment.

    VERDICT and those after it occur only where a coordinator runs the pair.
    """

    BASE = 0  # a base bar closed
    SIGNAL = 1  # a bar of the strategy's timeframe closed, complete
    FILL = 2
    REFUSED = 3  # the order in event.execution.slot was refused, by the venue or the coordinator; its slot is cleared
    VERDICT = 4  # the range proposed in pair.range_* was judged: pair.range_share of its size may be used
    RESET = 5  # the strategy no longer runs the pair and all orders are cleared: keep indicators alone
    DIRECTIVE = 6  # a directive of the portfolio; for the pair, not for a strategy
    FOREIGN = 7  # the position was changed from outside; for the pair


EVENT = np.dtype([("kind", "i8"), ("timeframe", "i8"), ("bar", BAR), ("execution", FILL)], align=True)

PAIR = np.dtype(
    [
        ("instrument", INSTRUMENT),
        ("ledger", LEDGER),
        ("time", "i8"),  # ms: the end of what is known
        ("bar_ms", "i8"),  # length of a base bar
        ("price", "f8"),  # last price, quote currency
        ("target", "f8"),  # capital allocated to the pair, quote currency
        ("multiplier", "f8"),  # of sizes, which the target has in it already; 0 where nobody says
        ("invested", "f8"),  # of it, what was added since the bot began, less what was taken out, quote currency
        ("signal_bars", "i8"),  # complete signal bars seen
        ("may_enter", "b1"),  # entries are allowed now
        ("watch_above", "f8"),  # base bars that stay inside (watch_below, watch_above)
        ("watch_below", "f8"),  # change nothing: the driver need not ask. Quote currency
        ("under_minimum", "i8"),  # entries not placed because the venue's minimum is larger
        ("costs", COSTS),  # what would not have paid for its costs
        ("credit", "f8"),  # money of the account outside this ledger that stands behind its orders, quote currency
        ("wake_at", "i8"),  # ms: a base bar that closes then or later matters whatever its prices
        ("left_above", "f8"),  # bars that lie wholly above or below these matter too: a zone was left. Quote currency
        ("left_below", "f8"),
        ("range_lower", "f8"),  # range for which a strategy asks a verdict, quote currency
        ("range_upper", "f8"),
        ("range_share", "f8"),  # the verdict: share of its size
        ("range_asked", "b1"),
        ("coordinated", "b1"),  # a coordinator decides which entries may rest, so each may be set
        ("shared", "b1"),  # cross margin: the account holds other pairs too, and is liquidated as a whole
    ],
    align=True,
)

Decide = Callable[[Record, Record, Record, Record, Record], None]
Check = Callable[[Any, Instrument, float, float, float], None]
Inputs = Mapping[str, Input] | Callable[[Any], Mapping[str, Input]]


def _accept(_parameters: Any, _instrument: Instrument, _capital: float, _price: float, _leverage: float) -> None:
    """Accept every parameter set: what a strategy without a check of its own does."""


def _waits(_parameters: Any) -> bool:
    """Wait for a signal bar: what a strategy does that does not say otherwise."""
    return False


def _by_index(count: int) -> tuple[str, ...]:
    """Name slots by where they are: what a strategy without roles of its own does."""
    return tuple(f"slot/{index}" for index in range(count))


@dataclass(frozen=True)
class Variation:
    """Another way in which the router may ask for a strategy, by its name: other parameters, a share of the sizes."""

    name: str
    changed: Callable[[Any], Any]
    size: float = 1.0


@dataclass(frozen=True)
class Strategy:
    """A strategy as the drivers know it.

    `slots(parameters)` is how many orders they need; `roles(count)` names what each slot of so many is for, by
    which an order finds its slot again when the table has another length after a restart; `entries` names the kinds of
    entry a slot may carry; `check(parameters, instrument, capital, price, leverage)` raises Misconfigured for what
    cannot work; `own_stop`: it sets a stop, or leaves, whenever it holds something, so that none is added;
    `at_once(parameters)`: it may want to look at base bars before its first signal bar. `inputs`: columns that it
    reads as `event.inputs` with SIGNAL, by name; or a function of the parameters that returns them, under the same
    names. `heeds`: the input at whose 0 or NaN a SIGNAL tells it nothing, so that a simulation passes it by.
    `counters`: fields of the state that count what people want to read with a result. `ungated`: the strategy
    that this one is, behind a gate that `gated_by` has put before it (bot/gate.py).
    """

    name: str
    version: int
    parameters: type[Parameters]
    state: np.dtype[Any]
    slots: Callable[[Any], int]
    decide: Decide
    entries: tuple[str, ...] = ("entry",)
    check: Check = field(default=_accept)
    judged_as: JudgedAs = JudgedAs.ENTRY
    variations: tuple[Variation, ...] = ()
    own_stop: bool = False
    at_once: Callable[[Any], bool] = field(default=_waits)
    inputs: Inputs = field(default_factory=dict, hash=False)
    roles: Callable[[int], tuple[str, ...]] = field(default=_by_index)
    heeds: str = ""
    counters: tuple[str, ...] = ()
    ungated: Strategy | None = None
    gated_by: Callable[[Strategy], Strategy] | None = None

    @property
    def code_name(self) -> str:
        """Word that tells its machine code from another's."""
        word = "".join(one if one.isalnum() else "_" for one in self.name)
        return word if self.ungated is None else f"gated_{word}"

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Travel to another process by name, if it was loaded by one: compiled functions cannot be pickled."""
        if self.ungated is not None and self.gated_by is not None:
            return self.gated_by, (self.ungated,)
        place = _places.get(self)
        return super().__reduce__() if place is None else (_strategy_at, place)


@kernel
def watch_nothing(pair: Record) -> None:
    """Say that no base bar matters until this is changed: only signal bars and fills do."""
    pair.watch_above = np.inf
    pair.watch_below = -np.inf


@kernel
def watch_everything(pair: Record) -> None:
    """Say that every base bar matters."""
    pair.watch_above = -np.inf
    pair.watch_below = np.inf


@kernel
def outside_watch_band(pair: Record, bar: Record) -> bool:
    """Whether a closed base bar left the band that the strategy watches; every driver asks this before BASE."""
    return bar.high >= pair.watch_above or bar.low <= pair.watch_below


@kernel
def needs_evaluation(pair: Record, bar: Record) -> bool:
    """Whether a closed base bar matters to a coordinated pair, which watches more than its strategy does."""
    return (
        outside_watch_band(pair, bar)
        or bar.low > pair.left_above
        or bar.high < pair.left_below
        or bar.ts + pair.bar_ms >= pair.wake_at
    )


@kernel
def average_entry(pair: Record) -> float:
    """Average price of the position's entries, quote currency; there has to be a position."""
    return pair.ledger.cost / (pair.ledger.position * pair.instrument.lot_size)


@kernel
def guard_price(lots: int, average: float, price: float, share: float) -> float:
    """Stop price of a position that has no other: `share` (fraction) from its average, or from the price if worse.

    Prices in quote currency; `lots` signed; one of the prices may be 0 where it is not known.
    """
    direction = 1 if lots > 0 else -1
    worse = min(average, price) if lots > 0 else max(average, price)
    if average <= 0.0 or price <= 0.0:
        worse = max(average, price)
    return worse * (1.0 - direction * share)


@kernel
def tighter(first: int, second: int, direction: int) -> int:
    """Tighter of two stops of a position of this direction, ticks; 0 is none."""
    if first <= 0 or second <= 0:
        return max(first, second)
    return max(first, second) if direction > 0 else min(first, second)


@kernel
def too_small(pair: Record, lots: int, price: float) -> bool:
    """Whether the venue would refuse an order of so few lots at `price` (quote currency)."""
    instrument = pair.instrument
    return lots < max(instrument.min_quantity, 1) or lots * instrument.lot_size * price < instrument.min_notional


@kernel
def protect(pair: Record, slots: Record, index: int, distance: float) -> None:
    """Set, in slot `index`, a stop for a position whose strategy sets none: `distance` (fraction) from its average.

    The strategy's own slots lie before it. A position that an order closes at the market, the whole of it, needs none,
    nor one that has a stop; without a position the slot is cleared.
    """
    position, covered = pair.ledger.position, False
    direction = 1 if position > 0 else -1
    if position != 0:
        for own in range(index):
            slot = slots[own]
            leaves = slot.kind == OrderKind.STOP or (slot.kind == OrderKind.MARKET and slot.quantity >= abs(position))
            if slot.active and slot.reduce_only and leaves and slot.part == WHOLE_POSITION and slot.side != direction:
                covered = True
    stop = 0
    if position != 0 and not covered:
        average = average_entry(pair)
        stop = order_ticks(pair, -direction, guard_price(position, average, average, distance), True)
    set_order(slots, index, -direction, OrderKind.STOP, stop, abs(position), Signal.EXIT_SL, WHOLE_POSITION)


@kernel
def lots_for(pair: Record, notional: float, price: float) -> int:
    """Whole lots worth at most `notional` at `price` (quote currency), 0 if the venue would refuse so few.

    Never more than one market order can close again, nor than the risk tier holds.
    """
    instrument = pair.instrument
    if price <= 0.0:
        return 0
    notional = min(notional, instrument.max_position_notional)
    lots = min(whole_down(notional / (price * instrument.lot_size)), instrument.max_market_lots)
    if too_small(pair, lots, price):
        pair.under_minimum += 1
        return 0
    return lots


@kernel
def equity_now(pair: Record) -> float:
    """Equity at the last price, quote currency."""
    return pair.ledger.cash + pair.ledger.position * pair.price * pair.instrument.lot_size


@kernel
def affordable(pair: Record) -> float:
    """Largest notional of entries that the target carries, quote currency."""
    return carried(pair, pair.target)


@kernel
def carried(pair: Record, capital: float) -> float:
    """Largest notional of entries that `capital` carries: margin and the taker fees of both ways, quote currency."""
    instrument = pair.instrument
    return capital / (1.0 / instrument.leverage + 2.0 * max(instrument.taker_fee, 0.0))


@kernel
def tolerance(value: float) -> float:
    """Tolerance within which a computed number counts as whole: 1e-9 of itself, at most 0.001."""
    return min(1e-9 * max(abs(value), 1.0), 1e-3)


@kernel
def whole_down(value: float) -> int:
    """Largest whole number not above `value`; one that misses a whole number by rounding is that number."""
    return int(np.floor(value + tolerance(value)))


@kernel
def whole_up(value: float) -> int:
    """Smallest whole number not below `value`, with the same tolerance."""
    return int(np.ceil(value - tolerance(value)))


@kernel
def whole_ms(duration: float, unit: int) -> int:
    """Whole milliseconds of `duration` times `unit` (ms): 0.2 days are exactly 17,280,000."""
    return int(np.rint(duration * unit))


@kernel
def order_ticks(pair: Record, side: int, price: float, stop: bool) -> int:
    """Ticks of a resting order's price (quote currency), rounded away from the market.

    A limit buy and a stop sell lie below the market and round down; a limit sell and a stop buy round up.
    """
    ticks = price / pair.instrument.tick_size
    below = side < 0 if stop else side > 0
    return whole_down(ticks) if below else whole_up(ticks)


@kernel
def enter(
    pair: Record, slots: Record, index: int, side: int, kind: int, price: int, quantity: int, part: int
) -> Record:
    """Set an entry; while entries are not allowed and no coordinator runs the pair, clear the slot instead.

    Returns the slot.
    """
    allowed = pair.may_enter or pair.coordinated
    return set_order(slots, index, side, kind, price, quantity if allowed else 0, Signal.ENTRY, part)


def load_strategy(reference: str) -> Strategy:
    """Load `module:NAME` or `file.py:NAME`; raises Misconfigured with what was missing.

    A file of the user's is loaded again only when it, or what it imports, has changed.
    """
    place, _, name = reference.rpartition(":")
    try:
        module = _module_at(place)
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"strategy {shown(reference)}: Python finds no module {shown(error.name)}; run in its folder or give "
            "file.py:NAME."
        ) from error
    except Misconfigured:
        raise
    except Exception as error:  # the user's code may raise anything as it is loaded
        raise Misconfigured(
            f"strategy {shown(reference)} cannot be loaded ({_place_in(error, place)}{type(error).__name__}: "
            f"{cut(str(error))}); mend the file."
        ) from error
    found = getattr(module, name, None)
    if not isinstance(found, Strategy):
        own = [one for one, value in vars(module).items() if isinstance(value, Strategy)]
        choice = f"it has {cut(', '.join(own))}" if own else "it has none"
        raise Misconfigured(f"strategy {shown(reference)}: {cut(place)} has no Strategy of that name; {choice}.")
    _places[found] = (module.__name__, name)
    return found


def fresh_copy(strategy: Strategy) -> Strategy:
    """Load a strategy of the user's file anew: nothing that its modules have remembered is there.

    One that comes with the program, or is of no file, is returned as it is.
    """
    module, name = _places.get(strategy, ("", ""))
    if not module.startswith(strategy_file.PREFIX):
        return strategy
    copy: Strategy = getattr(strategy_file.load_again(module), name)
    return copy


def _place_in(error: Exception, place: str) -> str:
    """Say in which file of the user's, and where in it, an error was raised while the strategy was loaded."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or place).name}, line {error.lineno}, "
    frames = [one for one in traceback.extract_tb(error.__traceback__) if is_users_file(Path(one.filename))]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}, " if frames else ""


def _module_at(place: str) -> ModuleType:
    """Load a file, or a module: one that is installed or ours, else one under the folder the program runs in."""
    if place.endswith(".py"):
        path = Path(place).resolve()
        if not path.is_file():
            raise Misconfigured(f"strategy {shown(place)}: there is no such file; give its path.")
        return strategy_file.load(path.parent, path.stem)
    if not is_provided(place.split(".", maxsplit=1)[0]) and module_file(Path.cwd(), place) is not None:
        return strategy_file.load(Path.cwd(), place)
    return importlib.import_module(place)


def _strategy_at(module: str, name: str) -> Strategy:
    """Find a strategy that another process has pickled."""
    found: Strategy = getattr(importlib.import_module(module), name)
    _places[found] = (module, name)
    return found


_places: dict[Strategy, tuple[str, str]] = {}  # module and name of each that was loaded


# Inputs of a strategy


@cache
def names_of(strategy: Strategy) -> tuple[str, ...]:
    """Names of a strategy's inputs, in their order; raises Misconfigured for one that cannot be a field."""
    declared = _declared(strategy, None)
    for name in declared:
        if not isinstance(name, str) or not name.isidentifier() or hasattr(np.record, name):
            raise Misconfigured(
                f"strategy {strategy.name}: input {str(name)[:200]!r} has a name that is no word or that NumPy uses "
                "itself; rename it."
            )
    return tuple(declared)


def inputs_of(strategy: Strategy, parameters: Any) -> dict[str, Input]:
    """A strategy's inputs for these parameters, checked; raises Misconfigured."""
    names, declared = names_of(strategy), _declared(strategy, parameters)
    if set(declared) != set(names):
        odd = min(set(declared) ^ set(names))
        raise Misconfigured(
            f"strategy {strategy.name}: input {odd!r} is there for some parameters only; let the names stay the same."
        )
    for name in names:
        place = f"strategy {strategy.name}: input {name}"
        if not isinstance(declared[name], Input):
            raise Misconfigured(f"{place} is {str(declared[name])[:200]!r}; declare it with talib(…) or python(…).")
        declared[name].check(place)
    return {name: declared[name] for name in names}


def _declared(strategy: Strategy, parameters: Any) -> dict[str, Any]:
    inputs = strategy.inputs
    if callable(inputs):
        return dict(inputs(strategy.parameters() if parameters is None else parameters))
    return dict(inputs)
