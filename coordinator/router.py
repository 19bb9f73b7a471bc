"""The router: which strategy a regime calls for, which it forbids, and when the switch may come."""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from bot.kernel import Record, kernel
from coordinator.regime import Regime
from coordinator.vocabulary import NOBODY, Family, Variant

HOUR = 3_600_000


class Router(StrEnum):
    """By the regime, or always the same strategy as it is configured."""

    REGIME = "regime"
    GRID = "grid"
    DCA = "dca"
    TREND = "trend"


class BearStrategy(StrEnum):
    """What a falling market is met with."""

    DCA = "dca"
    TREND_SHORT = "trend_short"
    CASH = "cash"


BY_REGIME = list(Router).index(Router.REGIME)
BEAR_DCA, BEAR_SHORT = list(BearStrategy).index(BearStrategy.DCA), list(BearStrategy).index(BearStrategy.TREND_SHORT)

ROUTE = np.dtype(
    [
        ("family", "i8"),
        ("variant", "i8"),
        ("switched_at", "i8"),  # ms
        ("blocked", "b1"),  # the candidate forbids the running strategy
        ("held_off", "i8"),  # bits of HeldOff: why there may be no entries on this pair
    ],
    align=True,
)


@kernel
def called_for(params: Record, regime: int) -> tuple[int, int]:  # noqa: PLR0911, a table
    """Family and variant for a confirmed regime."""
    if params.router != BY_REGIME:
        return params.router - 1, Variant.CONFIGURED
    if regime == Regime.TIGHT_RANGE:
        return Family.GRID, Variant.ARITHMETIC
    if regime == Regime.WIDE_RANGE:
        return Family.GRID, Variant.GEOMETRIC
    if regime == Regime.QUIET_TRANSITION:
        return Family.GRID, Variant.CAUTIOUS
    if regime == Regime.VOLATILE_TRANSITION:
        return Family.DCA, Variant.CAUTIOUS
    if regime == Regime.BULL_TREND:
        return Family.TREND, Variant.LONG
    if params.bear_strategy == BEAR_DCA:
        return Family.DCA, Variant.ACCUMULATE
    if params.bear_strategy == BEAR_SHORT:
        return Family.TREND, Variant.SHORT
    return NOBODY, Variant.CONFIGURED


@kernel
def forbids(params: Record, regime: int, family: int, enhanced: bool) -> bool:
    """Whether a regime's `never` column names the family; `enhanced`: the filter gave the grid its full size."""
    if params.router != BY_REGIME:
        return False
    if regime == Regime.TIGHT_RANGE:
        return family == Family.TREND
    if regime == Regime.VOLATILE_TRANSITION:
        return family == Family.GRID and not enhanced
    if regime == Regime.BULL_TREND:
        return family == Family.GRID or family == Family.DCA  # noqa: PLR1714, Numba has no set of these
    return regime == Regime.BEAR_TREND and family == Family.GRID


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
    rested = route.switched_at == 0 or now - route.switched_at >= params.min_regime_hours * HOUR
    if not rested and not forbids(params, confirmed, route.family, enhanced):
        return False
    route.family, route.variant, route.switched_at = family, variant, now
    route.blocked = forbids(params, candidate, family, False)
    return True
