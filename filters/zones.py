"""Zones: where they lie, how good they are, how often price has visited them, and when they die.

A zone changes on closed bars of its timeframes; only visits are counted on base bars. The table knows four prices
between which a base bar changes nothing, so that most bars cost four comparisons.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from bot.kernel import Record, kernel

ZONES = 48
JOURNAL = 24


class ZoneKind(IntEnum):
    """What made the zone."""

    ORDER_BLOCK = 0
    FAIR_VALUE_GAP = 1
    LIQUIDITY = 2


class End(IntEnum):
    """Why a zone is dead."""

    ALIVE = 0
    VISITED = 1
    OLD = 2
    MITIGATED = 3
    FILLED = 4
    SWEPT = 5
    REPLACED = 6


ZONE = np.dtype(
    [
        ("number", "i8"),  # from 1
        ("kind", "i8"),
        ("direction", "i8"),  # +1 demand, -1 supply; liquidity: +1 built from highs, -1 from lows
        ("timeframe", "i8"),  # 0: 1h, 1: 4h
        ("bottom", "f8"),
        ("top", "f8"),
        ("born", "i8"),  # ms
        ("died", "i8"),  # ms
        ("end", "i8"),
        ("quality", "f8"),
        ("visits", "i8"),  # completed
        ("visiting", "b1"),
        ("forming", "b1"),  # the stay in which it was born, which is no visit
        ("group", "i8"),
        ("filled", "f8"),  # gap: share filled
        ("alive", "b1"),
    ],
    align=True,
)
TABLE = np.dtype(
    [
        ("zones", ZONE, (ZONES,)),
        ("bottoms", "f8", (ZONES,)),  # beside each other for the scan of every bar; +inf and -inf where no zone lives
        ("tops", "f8", (ZONES,)),
        ("inside", "i1", (ZONES,)),  # 1 while visited
        ("numbered", "i8"),
        ("used", "i8"),  # no zone lives at this place or beyond
        ("untouched_above", "f8"),
        ("untouched_below", "f8"),
        ("visited_top", "f8"),
        ("visited_bottom", "f8"),
        ("high", "f8"),  # of the last base bar
        ("low", "f8"),
        ("changed", "b1"),  # a zone came, went or moved since the prices were last found
        ("used_above", "f8", (2,)),  # a closed bar of a timeframe between these mitigates and fills nothing
        ("used_below", "f8", (2,)),
        ("oldest", "i8"),  # ms: every living zone was born then or later
        ("journal", ZONE, (JOURNAL,)),  # births and deaths that nobody has taken down yet
        ("entries", "i8"),
    ],
    align=True,
)


@kernel
def quality(displacement: float, atr: float, broke: bool, volume: float, mean: float, timeframe: int) -> float:
    """0.35 impulse + 0.25 structure + 0.20 volume + 0.20 timeframe, each 0...1; section 6 of the algorithm."""
    impulse = min(displacement / (2.0 * atr), 1.0) if atr > 0.0 else 0.0
    structure = 1.0 if broke else 0.4
    loud = min(volume / (2.0 * mean), 1.0) if mean > 0.0 else 0.0
    return 0.35 * impulse + 0.25 * structure + 0.20 * loud + 0.20 * (1.0 if timeframe == 1 else 0.8)


@kernel
def decay(visits: int, max_touches: int) -> float:
    """What completed visits leave: 1.0, then 0.7, and nothing from `max_touches` on."""
    if visits >= max_touches:
        return 0.0
    return 1.0 if visits == 0 else 0.7


@kernel
def overlaps(zone: Record, high: float, low: float) -> bool:
    """Whether a bar touches the zone."""
    return high >= zone.bottom and low <= zone.top


@kernel
def _journal(table: Record, zone: Record) -> None:
    table.journal[min(table.entries, JOURNAL - 1)] = zone
    table.entries += 1


@kernel
def kill(table: Record, index: int, end: int, now: int) -> None:
    """End the life of the zone at `index`."""
    zone = table.zones[index]
    zone.alive = False
    zone.end = end
    zone.died = now
    _journal(table, zone)
    table.bottoms[index], table.tops[index], table.inside[index] = np.inf, -np.inf, False
    table.changed = True
    while table.used > 0 and not table.zones[table.used - 1].alive:
        table.used -= 1


@kernel
def reshape(table: Record, index: int, bottom: float, top: float) -> None:
    """Set where the zone at `index` lies."""
    zone = table.zones[index]
    zone.bottom, zone.top = bottom, top
    table.bottoms[index], table.tops[index] = bottom, top
    table.changed = True


@kernel
def add_zone(table: Record, kind: int, direction: int, timeframe: int, bottom: float, top: float, now: int) -> Record:
    """Begin a zone in place of a dead one, or of the oldest; its quality and group are the caller's to set.

    The stay in which it is born is no visit.
    """
    place = _place(table)
    zone = table.zones[place]
    if zone.alive:
        kill(table, place, End.REPLACED, now)
    table.numbered += 1
    zone.number, zone.kind, zone.direction, zone.timeframe = table.numbered, kind, direction, timeframe
    reshape(table, place, bottom, top)
    zone.born, zone.died, zone.end = now, 0, End.ALIVE
    zone.quality, zone.visits, zone.filled, zone.group = 0.0, 0, 0.0, -1
    zone.alive = True
    table.oldest = min(table.oldest, now)
    table.used = max(table.used, place + 1)
    zone.visiting = zone.forming = overlaps(zone, table.high, table.low)
    table.inside[place] = zone.visiting
    return zone


@kernel
def _place(table: Record) -> int:
    """Where no zone lives, or else the oldest."""
    oldest = 0
    for index in range(ZONES):
        zone = table.zones[index]
        if not zone.alive:
            return index
        if zone.born < table.zones[oldest].born:
            oldest = index
    return oldest


@kernel
def zones_quiet(table: Record, high: float, low: float) -> bool:
    """Whether a base bar begins no visit and ends none."""
    return (
        high < table.untouched_above
        and low > table.untouched_below
        and low <= table.visited_top
        and high >= table.visited_bottom
    )


@kernel
def zones_touch(table: Record, high: float, low: float, max_touches: int, now: int) -> None:
    """Let a closed base bar begin and end visits, and find the prices between which the next one changes nothing."""
    table.high, table.low = high, low
    above, below, top, bottom = np.inf, -np.inf, np.inf, -np.inf
    for index in range(table.used):
        lower, upper = table.bottoms[index], table.tops[index]
        if high >= lower and low <= upper:
            if not table.inside[index]:
                table.inside[index] = table.zones[index].visiting = True
            top, bottom = min(top, upper), max(bottom, lower)
            continue
        if table.inside[index] and _end_visit(table, index, max_touches, now):
            continue
        if lower > high:
            above = min(above, lower)
        else:
            below = max(below, upper)
    table.untouched_above, table.untouched_below = above, below
    table.visited_top, table.visited_bottom = top, bottom


@kernel
def _end_visit(table: Record, index: int, max_touches: int, now: int) -> bool:
    """Count a visit that is over; True when it was the last and has used the zone up."""
    zone = table.zones[index]
    zone.visits += 0 if zone.forming else 1
    zone.forming = zone.visiting = table.inside[index] = False
    over = zone.kind != ZoneKind.LIQUIDITY and zone.visits >= max_touches
    if over:
        kill(table, index, End.VISITED, now)
    return over


@kernel
def find_quiet(table: Record) -> None:
    """Find the four prices of `zones_quiet` from what is visited at present."""
    table.changed = False
    above, below, top, bottom = np.inf, -np.inf, np.inf, -np.inf
    for index in range(table.used):
        lower, upper = table.bottoms[index], table.tops[index]
        if table.inside[index]:
            top, bottom = min(top, upper), max(bottom, lower)
        elif lower > table.high:
            above = min(above, lower)
        else:
            below = max(below, upper)
    table.untouched_above, table.untouched_below = above, below
    table.visited_top, table.visited_bottom = top, bottom


@kernel
def grow_old(table: Record, oldest: int, now: int) -> None:
    """End the zones born before `oldest`, ms."""
    if table.oldest >= oldest:
        return
    table.oldest = now
    for index in range(table.used):
        zone = table.zones[index]
        if not zone.alive:
            continue
        if zone.born < oldest:
            kill(table, index, End.OLD, now)
        else:
            table.oldest = min(table.oldest, zone.born)
