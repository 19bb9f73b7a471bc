"""Market regime: from a pair's features to a label, with the only hysteresis there is.

The family follows ADX relative to the confirmed family; inside a family the label has bands of its own. A
candidate becomes the regime after enough closed regime bars in a row.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from bot.kernel import Record, kernel


class Regime(IntEnum):
    """What kind of market it is; UNKNOWN is never routed."""

    UNKNOWN = 0
    TIGHT_RANGE = 1
    WIDE_RANGE = 2
    QUIET_TRANSITION = 3
    VOLATILE_TRANSITION = 4
    BULL_TREND = 5
    BEAR_TREND = 6


class RegimeKind(IntEnum):
    """The family of a regime."""

    NONE = 0
    RANGE = 1
    TRANSITION = 2
    TREND = 3


REGIME = np.dtype(
    [
        ("confirmed", "i8"),
        ("candidate", "i8"),
        ("count", "i8"),  # bars in a row that gave the candidate
        ("since", "i8"),  # ms: when the confirmed regime was confirmed
        ("bars", "i8"),  # regime bars looked at
    ]
)


@kernel
def kind_of(regime: int) -> int:
    """Family of a regime."""
    if regime == Regime.UNKNOWN:
        return RegimeKind.NONE
    return (
        RegimeKind.RANGE
        if regime <= Regime.WIDE_RANGE
        else RegimeKind.TRANSITION
        if regime <= Regime.VOLATILE_TRANSITION
        else RegimeKind.TREND
    )


@kernel
def family_by_adx(params: Record, kind: int, adx: float) -> int:
    """Family that an ADX gives while `kind` is confirmed."""
    if kind == RegimeKind.RANGE:
        low, high = params.exit_range, params.enter_trend
        return RegimeKind.RANGE if adx <= low else RegimeKind.TREND if adx > high else RegimeKind.TRANSITION
    if kind == RegimeKind.TREND:
        low, high = params.enter_range, params.exit_trend
        return RegimeKind.RANGE if adx < low else RegimeKind.TREND if adx >= high else RegimeKind.TRANSITION
    low, high = params.enter_range, params.enter_trend
    return RegimeKind.RANGE if adx < low else RegimeKind.TREND if adx > high else RegimeKind.TRANSITION


@kernel
def beyond(limit: float, band: float, value: float, was_above: bool, was_below: bool) -> bool:
    """Whether `value` counts as above `limit`, which lies `band` (fraction) further off for who comes from one side."""
    if was_below:
        return value >= limit * (1.0 + band)
    if was_above:
        return value >= limit * (1.0 - band)
    return value >= limit


@kernel
def classify(params: Record, confirmed: int, adx: float, atr_pct: float, fast: float, slow: float) -> int:
    """Regime of a closed regime bar, given the confirmed one; `atr_pct` in per cent of the close."""
    kind = family_by_adx(params, kind_of(confirmed), adx)
    if kind == RegimeKind.RANGE:
        wide = beyond(
            params.wide_atr_pct,
            params.atr_band,
            atr_pct,
            confirmed == Regime.WIDE_RANGE,
            confirmed == Regime.TIGHT_RANGE,
        )
        return Regime.WIDE_RANGE if wide else Regime.TIGHT_RANGE
    if kind == RegimeKind.TRANSITION:
        volatile = beyond(
            params.volatile_atr_pct,
            params.atr_band,
            atr_pct,
            confirmed == Regime.VOLATILE_TRANSITION,
            confirmed == Regime.QUIET_TRANSITION,
        )
        return Regime.VOLATILE_TRANSITION if volatile else Regime.QUIET_TRANSITION
    apart = abs(fast - slow) / slow >= params.direction_band
    if not apart and confirmed == Regime.BULL_TREND:
        return Regime.BULL_TREND
    if not apart and confirmed == Regime.BEAR_TREND:
        return Regime.BEAR_TREND
    return Regime.BULL_TREND if fast > slow else Regime.BEAR_TREND


@kernel
def confirm(params: Record, regime: Record, candidate: int, now: int) -> bool:
    """Count a closed bar's candidate; True when it becomes the confirmed regime with this bar.

    The confirmed regime clears the counter, another candidate starts again at 1, and with nothing confirmed the
    first is taken at once.
    """
    if candidate == regime.confirmed:
        regime.candidate = candidate
        regime.count = 0
        return False
    regime.count = regime.count + 1 if candidate == regime.candidate else 1
    regime.candidate = candidate
    if regime.confirmed != Regime.UNKNOWN and regime.count < params.confirmations:
        return False
    regime.confirmed = candidate
    regime.count = 0
    regime.since = now
    return True
