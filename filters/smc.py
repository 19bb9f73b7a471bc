"""The SMC filter: verdicts on entries from the zones of two timeframes. Judging changes nothing."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Any

import numpy as np
from pydantic import Field, model_validator

from bot.kernel import Record, kernel
from bot.parameters import Fraction, Number, Section
from bot.strategy import whole_ms
from bot.times import DAY
from filters.structure import STRUCTURE, Fact, mean_volume, structure_update
from filters.zones import (
    TABLE,
    End,
    ZoneKind,
    add_zone,
    decay,
    find_quiet,
    grow_old,
    kill,
    quality,
    reshape,
    zones_touch,
)

NO_ZONE = 0


class Mitigation(StrEnum):
    """What uses an order block up: a wick beyond it, or a close."""

    WICK = "wick"
    CLOSE = "close"


BY_CLOSE = list(Mitigation).index(Mitigation.CLOSE)


class Verdict(IntEnum):
    """What becomes of an entry."""

    ENHANCED = 0  # full size
    NEUTRAL = 1
    REFUSED = 2


class Reason(IntEnum):
    """Why."""

    NO_ZONE = 0  # no living zone within reach: no data is not a bad signal
    OWN_ZONE = 1
    OPPOSING_ZONE = 2
    OPPOSING_LIQUIDITY = 3
    LIQUIDITY_SHARE = 4  # too much of a grid's range is liquidity


class SmcParameters(Section):
    """The filter on market structure."""

    enabled: bool = Field(False, description="judge entries at all; a section that says anything else means true")
    swing_length_1h: int = Field(10, ge=1, le=100, description="bars each side of a swing on 1h, bars")
    swing_length_4h: int = Field(50, ge=1, le=100, description="bars each side of a swing on 4h, bars")
    atr_period: int = Field(14, ge=2, le=500, description="ATR period of both timeframes, bars")
    close_break: bool = Field(True, description="a level breaks by a close, not by a wick")
    order_block_lookback: int = Field(50, ge=1, le=200, description="bars before a break that may be its block, bars")
    mitigation: Mitigation = Field(Mitigation.WICK, description="wick or close uses an order block up")
    fvg_min_pct: Fraction = Field(0.001, ge=0, le=1, description="least height of a gap, fraction of price")
    liquidity_range: Fraction = Field(0.01, ge=0, le=1, description="how near equal highs lie, fraction of price")
    liquidity_points: Number | None = Field(None, gt=0, description="the same in quote currency, instead")
    max_touches: int = Field(2, ge=1, le=100, description="visits that use a zone up")
    zone_max_age_days: Number = Field(30.0, gt=0, le=10_000, description="age at which a zone dies, days")
    zone_reach: Number = Field(1.0, ge=0, le=100, description="how near a zone must lie to count, ATRs of 4h")
    enhanced: Fraction = Field(0.7, ge=0, le=1, description="confidence that keeps the full size")
    min_confidence: Fraction = Field(0.4, ge=0, le=1, description="confidence under which an entry is refused")
    neutral_size: Fraction = Field(0.5, gt=0, le=1, description="size between the two, factor")
    liquidity_share: Fraction = Field(0.3, ge=0, le=1, description="share of a grid's range that liquidity may take")

    @model_validator(mode="before")
    @classmethod
    def _is_meant(cls, values: Any) -> Any:
        """Take a section that is given for one that is wanted."""
        return {"enabled": True, **values} if isinstance(values, dict) and values else values


SMC = np.dtype([("structures", STRUCTURE, (2,)), ("zones", TABLE)], align=True)

VERDICT = np.dtype(
    [
        ("action", "i8"),
        ("reason", "i8"),
        ("multiplier", "f8"),
        ("confidence", "f8"),
        ("zone", "i8"),  # number of the zone that counted, 0 for none
    ],
    align=True,
)


# Zones from facts


@kernel
def smc_bar(params: Record, smc: Record, timeframe: int, bar: Record, now: int) -> None:
    """Take a closed bar of 1h (`timeframe` 0) or 4h (1); `now` is its close, ms."""
    structure, table = smc.structures[timeframe], smc.zones
    length = params.swing_length_4h if timeframe == 1 else params.swing_length_1h
    structure_update(params, structure, length, bar)
    numbered = table.numbered
    used = _use_up(params, table, timeframe, bar, now)
    for index in range(structure.says):
        _learn(structure, table, structure.said[index], timeframe, now)
    grow_old(table, now - whole_ms(params.zone_max_age_days, DAY), now)
    if table.changed:
        find_quiet(table)
    if used or table.numbered != numbered:
        _find_use(table)


@kernel
def _learn(structure: Record, table: Record, fact: Record, timeframe: int, now: int) -> None:
    """Make a zone of a fact that is one."""
    if fact.kind == Fact.LIQUIDITY:
        _learn_liquidity(table, fact, timeframe, now)
    elif fact.kind == Fact.SWEPT:
        for index in range(table.used):
            zone = table.zones[index]
            if _same_liquidity(zone, fact, timeframe):
                kill(table, index, End.SWEPT, now)
    elif fact.kind == Fact.BLOCK or fact.kind == Fact.GAP:  # noqa: PLR1714, Numba has no set of these
        kind = ZoneKind.ORDER_BLOCK if fact.kind == Fact.BLOCK else ZoneKind.FAIR_VALUE_GAP
        zone = add_zone(table, kind, fact.direction, timeframe, fact.bottom, fact.top, now)
        zone.quality = quality(
            fact.displacement, structure.atr.value, fact.broke, fact.volume, mean_volume(structure), timeframe
        )
        table.journal[min(table.entries, len(table.journal) - 1)] = zone
        table.entries += 1


@kernel
def _same_liquidity(zone: Record, fact: Record, timeframe: int) -> bool:
    alive = zone.alive and zone.kind == ZoneKind.LIQUIDITY
    return alive and zone.timeframe == timeframe and zone.group == fact.group


@kernel
def _learn_liquidity(table: Record, fact: Record, timeframe: int, now: int) -> None:
    """Begin the zone of a group with two members, or widen it by another."""
    for index in range(table.used):
        zone = table.zones[index]
        if _same_liquidity(zone, fact, timeframe):
            reshape(table, index, fact.bottom, fact.top)
            return
    zone = add_zone(table, ZoneKind.LIQUIDITY, fact.direction, timeframe, fact.bottom, fact.top, now)
    zone.group = fact.group
    table.journal[min(table.entries, len(table.journal) - 1)] = zone
    table.entries += 1


@kernel
def _use_up(params: Record, table: Record, timeframe: int, bar: Record, now: int) -> bool:
    """Mitigate order blocks and fill gaps of this timeframe by its closed bar; False where it reaches none."""
    if table.used_below[timeframe] <= bar.low and bar.high <= table.used_above[timeframe]:
        return False
    for index in range(table.used):
        zone = table.zones[index]
        if not zone.alive or zone.timeframe != timeframe or zone.kind == ZoneKind.LIQUIDITY:
            continue
        if zone.kind == ZoneKind.ORDER_BLOCK:
            low, high = bar.low, bar.high
            if params.mitigation == BY_CLOSE:
                low, high = min(bar.open, bar.close), max(bar.open, bar.close)
            if (zone.direction > 0 and low < zone.bottom) or (zone.direction < 0 and high > zone.top):
                kill(table, index, End.MITIGATED, now)
            continue
        into = zone.top - bar.low if zone.direction > 0 else bar.high - zone.bottom
        zone.filled = max(zone.filled, min(into / (zone.top - zone.bottom), 1.0))
        if zone.filled >= 1.0:
            kill(table, index, End.FILLED, now)
    return True


@kernel
def _find_use(table: Record) -> None:
    """Find between which prices the next bar of a timeframe uses nothing up; a gap's by a hair too near."""
    table.used_above[:], table.used_below[:] = np.inf, -np.inf
    for index in range(table.used):
        zone = table.zones[index]
        if not zone.alive or zone.kind == ZoneKind.LIQUIDITY:
            continue
        bottom, top, timeframe = zone.bottom, zone.top, zone.timeframe
        if zone.kind == ZoneKind.FAIR_VALUE_GAP:
            left = (1.0 - zone.filled) * (top - bottom)
            bottom, top = (bottom + left) * (1.0 + 1e-12), (top - left) * (1.0 - 1e-12)
        if zone.direction > 0:
            table.used_below[timeframe] = max(table.used_below[timeframe], bottom)
        else:
            table.used_above[timeframe] = min(table.used_above[timeframe], top)


@kernel
def smc_touch(params: Record, smc: Record, high: float, low: float, now: int) -> None:
    """Take a closed base bar that `zones_quiet` does not wave through."""
    zones_touch(smc.zones, high, low, params.max_touches, now)


# Verdicts


@kernel
def confidence_at(params: Record, smc: Record, verdict: Record, side: int, price: float) -> float:
    """Confidence of an entry of this side at a price, by the nearest living zone within reach; names the zone."""
    reach = params.zone_reach * smc.structures[1].atr.value
    nearest, confidence = np.inf, 0.5
    verdict.zone, verdict.reason = NO_ZONE, Reason.NO_ZONE
    for index in range(smc.zones.used):
        zone = smc.zones.zones[index]
        if not zone.alive or zone.kind == ZoneKind.LIQUIDITY or reach <= 0.0:
            continue
        distance = max(zone.bottom - price, price - zone.top, 0.0)
        worth = decay(zone.visits, params.max_touches) * zone.quality
        if distance > reach or distance > nearest:
            continue
        own = zone.direction == side
        value = worth if own else 1.0 - worth
        if distance == nearest and verdict.zone != NO_ZONE and value <= confidence:
            continue
        nearest, confidence = distance, value
        verdict.zone = zone.number
        verdict.reason = Reason.OWN_ZONE if own else Reason.OPPOSING_ZONE
    return confidence


@kernel
def _conclude(params: Record, verdict: Record, confidence: float) -> None:
    """Full size, reduced size or nothing, by confidence."""
    verdict.confidence = confidence
    if confidence >= params.enhanced:
        verdict.action, verdict.multiplier = Verdict.ENHANCED, 1.0
    elif confidence >= params.min_confidence:
        verdict.action, verdict.multiplier = Verdict.NEUTRAL, params.neutral_size
    else:
        verdict.action, verdict.multiplier = Verdict.REFUSED, 0.0


@kernel
def _refuse(verdict: Record, reason: int) -> None:
    verdict.action, verdict.multiplier, verdict.reason = Verdict.REFUSED, 0.0, reason


@kernel
def judge_entry(params: Record, smc: Record, verdict: Record, side: int, price: float) -> None:
    """Judge a single entry (side +1 buy, -1 sell; price in quote currency) into `verdict`."""
    confidence = confidence_at(params, smc, verdict, side, price)
    _conclude(params, verdict, confidence)
    for index in range(smc.zones.used):
        zone = smc.zones.zones[index]
        against = zone.alive and zone.kind == ZoneKind.LIQUIDITY and zone.direction == side
        if against and zone.bottom <= price <= zone.top:
            _refuse(verdict, Reason.OPPOSING_LIQUIDITY)
            verdict.zone = zone.number


@kernel
def liquidity_share(smc: Record, lower: float, upper: float) -> float:
    """Share of a range that living liquidity covers, overlaps counted once."""
    covered, reached = 0.0, lower
    while reached < upper:
        following, end = upper, reached
        for index in range(smc.zones.used):
            zone = smc.zones.zones[index]
            if not zone.alive or zone.kind != ZoneKind.LIQUIDITY or zone.top <= reached:
                continue
            if zone.bottom <= reached:
                end = max(end, zone.top)
            else:
                following = min(following, zone.bottom)
        if end > reached:
            covered += min(end, upper) - reached
            reached = end
        else:
            reached = following
    return covered / (upper - lower)


@kernel
def judge_range(params: Record, smc: Record, verdict: Record, lower: float, upper: float) -> None:
    """Judge a grid as a whole, as a buy at its centre and at its lower third: the better counts."""
    third = confidence_at(params, smc, verdict, 1, lower + (upper - lower) / 3.0)
    zone, reason = verdict.zone, verdict.reason
    centre = confidence_at(params, smc, verdict, 1, (lower + upper) / 2.0)
    if third > centre:
        verdict.zone, verdict.reason = zone, reason
    _conclude(params, verdict, max(third, centre))
    if liquidity_share(smc, lower, upper) > params.liquidity_share:
        _refuse(verdict, Reason.LIQUIDITY_SHARE)
