"""What a pair remembers, how it notes what happens, and how it speaks to its strategies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bot.kernel import Record, kernel, template, unowned
from bot.trade import TRADE
from coordinator.features import FEATURES
from coordinator.outcomes import OUTCOMES
from coordinator.phase import Phase
from coordinator.vocabulary import DECISION, DIRECTIVE, NO_PAIR, begin_decision
from filters import smc as filter_

if TYPE_CHECKING:
    from bot.strategy import Strategy

MOST_DECISIONS = 64
OWN = 3  # slots of the pair itself, behind the strategy's: stop, target, closing order
MOST_PARTS = 101  # of a position: a grid's cells, and the whole

Dispatch = Callable[[Record, Record, Record, Record, Record, int, int], None]

# The roster's kernel: `specialise` binds it.
dispatch = cast(Dispatch, None)


@cache
def state_dtype(strategies: tuple[Strategy, ...]) -> np.dtype[Any]:
    """Lay out what a pair remembers: each strategy's own state under its name."""
    own = [(one.name, one.state) for one in strategies]
    return np.dtype([*_BEFORE, *own, ("signal_bars", "i8", (len(strategies),)), *_AFTER], align=True)


_BEFORE: list[Any] = [
    ("phase", "i8"),
    ("family", "i8"),  # strategy that runs, or whose position this is
    ("variant", "i8"),
    ("directive", DIRECTIVE),
    ("features", FEATURES),
    ("smc", filter_.SMC),
    ("verdict", filter_.VERDICT),
]
_AFTER: list[Any] = [
    ("watch_above", "f8"),  # the running strategy's band
    ("watch_below", "f8"),
    ("wake_above", "f8"),  # the same with the day's loss, but without the zones
    ("wake_below", "f8"),
    ("entries_notional", "f8"),  # notional of the entries that the gate lets rest, quote currency
    ("gated", "i8"),  # version of the table of desired orders that the gate has seen
    ("waiting", "b1"),  # an entry of it may yet pass
    ("rested", "b1"),  # entries were allowed to rest then
    ("full", "b1"),  # and the pair had no place among those that may be open
    ("asks", "b1"),  # an entry waits for such a place
    ("asked", "i8"),  # ms: since when one at the market does; 0 for none
    ("enhanced", "b1"),  # the filter gave the standing grid its full size
    ("started", "b1"),
    ("acted", "b1"),  # more than zones has changed since the driver last looked
    ("day", "i8"),
    ("day_equity", "f8"),
    ("paused_until", "i8"),  # ms
    ("pause", "i8"),
    ("drain_start", "i8"),  # ms
    ("drain_stop", "i8"),  # ticks; 0 for none. A halt that holds uses it too
    ("drain_target", "i8"),
    ("guard_stop", "i8"),  # ticks: of a position that no strategy owns; 0 for none
    ("fault", "i8"),  # phase and trigger of a transition that cannot happen, see phase.py; 0 for none
    ("disowned", "b1"),  # lots came by another hand: the position waits for the operator
    ("answered", "i8"),
    ("trimmed", "i8"),  # number of the last trim carried out
    ("withdrawn", "i8"),
    ("blocked", "b1"),
    ("stays", "b1"),  # a transition waits: closing would cost more than the position risks by staying
    ("costs_recorded", "i8"),  # of pair.costs.refused
    ("hour", "i8"),
    ("hour_close", "f8"),
    ("parts", TRADE, (MOST_PARTS,)),
    ("closed", TRADE, (MOST_PARTS,)),
    ("outcomes", OUTCOMES),
    ("decided", "i8"),  # notes not yet taken
    ("decisions", DECISION, (MOST_DECISIONS,)),
]


@kernel
def record_decision(pair: Record, state: Record, kind: int) -> Record:
    """Begin a decision of this pair."""
    entry = begin_decision(state.decisions, state.decided, pair.time, NO_PAIR, kind)
    state.decided += 1
    return entry


@kernel
def strategy_slots(slots: Record) -> Record:
    """The strategy's part of the table."""
    return unowned(slots[: len(slots) - OWN])


@template
def tell(pair: Record, params: Record, state: Record, slots: Record, event: Record, kind: int, family: int) -> None:
    """Let one strategy decide on the event, as `kind`, with its variant's parameters."""
    event.kind = kind
    dispatch(pair, params, state, strategy_slots(slots), event, family, state.variant)
    if family == state.family:
        state.watch_above, state.watch_below = pair.watch_above, pair.watch_below


@kernel
def may_rest(state: Record) -> bool:
    """Whether entries may rest at all: not while a transition waits."""
    return state.phase == Phase.RUNNING and not state.stays


@kernel
def waits_for_place(pair: Record, state: Record) -> bool:
    """Whether as many pairs are open as may be, and this is none of them."""
    return bool(state.directive.full) and pair.ledger.position == 0


@kernel
def may_open(pair: Record, params: Record, state: Record) -> bool:
    """Whether new entries are allowed."""
    directive = state.directive
    warm = state.family >= 0 and state.signal_bars[max(state.family, 0)] >= params.warmups[max(state.family, 0)]
    return may_rest(state) and warm and not directive.blocked and pair.target > 0.0
