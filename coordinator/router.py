"""The router: which strategy a regime calls for, which it forbids, and when the switch may come."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from bot.kernel import Record, kernel
from bot.strategy import whole_ms
from bot.times import HOUR
from coordinator.regime import Regime
from coordinator.vocabulary import NO_STRATEGY, Never, Variant

CASH = "cash"
BY_REGIME = "regime"


class BearStrategy(StrEnum):
    """What a falling market is met with."""

    DCA = "dca"
    TREND_SHORT = "trend_short"
    CASH = "cash"


# What a regime calls for, strategy and variation, and whom it forbids; `bear_strategy` and `routes` change the former.
ROUTES: dict[Regime, tuple[str, Variant]] = {
    Regime.TIGHT_RANGE: ("grid", Variant.ARITHMETIC),
    Regime.WIDE_RANGE: ("grid", Variant.GEOMETRIC),
    Regime.QUIET_TRANSITION: ("grid", Variant.CAUTIOUS),
    Regime.VOLATILE_TRANSITION: ("dca", Variant.CAUTIOUS),
    Regime.BULL_TREND: ("trend", Variant.LONG),
    Regime.BEAR_TREND: ("dca", Variant.ACCUMULATE),
}
FORBIDDEN: dict[tuple[Regime, str], Never] = {
    (Regime.TIGHT_RANGE, "trend"): Never.FORBIDDEN,
    (Regime.VOLATILE_TRANSITION, "grid"): Never.UNLESS_ENHANCED,
    (Regime.BULL_TREND, "grid"): Never.FORBIDDEN,
    (Regime.BULL_TREND, "dca"): Never.FORBIDDEN,
    (Regime.BEAR_TREND, "grid"): Never.FORBIDDEN,
}
BEAR = {
    BearStrategy.DCA: ("dca", Variant.ACCUMULATE),
    BearStrategy.TREND_SHORT: ("trend", Variant.SHORT),
    BearStrategy.CASH: (CASH, Variant.CONFIGURED),
}

ROUTE = np.dtype(
    [
        ("family", "i8"),
        ("variant", "i8"),
        ("switched_at", "i8"),  # ms
        ("blocked", "b1"),  # the candidate forbids the running strategy
        ("held_off", "i8"),  # bits of HeldOff: why there may be no entries on this pair
        ("place_lost", "i8"),  # ms: when it was last no longer one of the pairs that may be open
    ],
    align=True,
)


@kernel
def called_for(params: Record, regime: int) -> tuple[int, int]:
    """Family and variant for a confirmed regime."""
    if params.pinned != NO_STRATEGY:
        return params.pinned, Variant.CONFIGURED
    return params.calls[regime, 0], params.calls[regime, 1]


@kernel
def forbids(params: Record, regime: int, family: int, enhanced: bool) -> bool:
    """Whether a regime's `never` column names the family; `enhanced`: the filter gave the grid its full size."""
    if params.pinned != NO_STRATEGY or family == NO_STRATEGY:
        return False
    never = params.never[regime, family]
    return never == Never.FORBIDDEN or (never == Never.UNLESS_ENHANCED and not enhanced)


@kernel
def reroute(params: Record, route: Record, regime: Record, enhanced: bool, now: int) -> bool:
    """Choose the pair's strategy by its confirmed regime; True when another family takes over.

    After a switch the next one waits `min_regime_hours`, unless the regime forbids what runs. Another variant of the
    same family is no switch.
    """
    confirmed = regime.confirmed
    candidate = regime.candidate if regime.count > 0 else confirmed
    route.blocked = forbids(params, candidate, route.family, enhanced)
    if confirmed == Regime.UNKNOWN:
        return False
    family, variant = called_for(params, confirmed)
    if family == route.family:
        route.variant = variant
        return False
    rested = route.switched_at == 0 or now - route.switched_at >= whole_ms(params.min_regime_hours, HOUR)
    if not rested and not forbids(params, confirmed, route.family, enhanced):
        return False
    route.family, route.variant, route.switched_at = family, variant, now
    route.blocked = forbids(params, candidate, family, False)
    return True
