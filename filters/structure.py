"""Market structure of one timeframe, streaming and causal: swings, breaks, order blocks, gaps, liquidity.

`structure_update` takes one closed bar and writes into `said` what that bar makes known; nothing said is ever taken
back. A swing exists only once its right side has closed. Definitions follow the library smartmoneyconcepts,
without its knowledge of later bars; docs/smc.md has the mapping and what differs.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from bot.indicators import ATR, atr_update
from bot.kernel import Record, kernel

KEPT = 256  # bars remembered; a swing needs 2 x swing_length of them
SWINGS = 16
GROUPS = 32
LABELS = 8
SAID = 16
MEAN_VOLUME = 20


class Fact(IntEnum):
    """What a bar can make known."""

    CANDIDATE = 0  # a swing whose right side has closed; a farther one of its run may still replace it
    SWING = 1  # a swing that no later one replaces: the opposite side has begun
    BOS = 2  # break of structure, with the trend
    CHOCH = 3  # change of character, against it
    BREAK = 4  # a close beyond the last swing: `index` is the swing's bar
    BLOCK = 5  # order block behind that break
    GAP = 6
    LIQUIDITY = 7  # another swing joined a group of two or more
    SWEPT = 8


FACT = np.dtype(
    [
        ("kind", "i8"),
        ("direction", "i8"),  # +1 bullish or built from highs, -1 bearish or built from lows
        ("index", "i8"),  # number of the bar that it is about
        ("bottom", "f8"),  # a level has bottom = top
        ("top", "f8"),
        ("displacement", "f8"),  # price
        ("volume", "f8"),
        ("broke", "b1"),  # the displacement broke a swing
        ("group", "i8"),  # liquidity: number of its group
        ("until", "f8"),  # liquidity: the price that sweeps it
    ],
    align=True,
)
SWING = np.dtype(
    [("index", "i8"), ("direction", "i8"), ("level", "f8"), ("crossed", "b1"), ("swept", "b1"), ("broken", "i8")],
    align=True,
)
LABEL = np.dtype([("kind", "i8"), ("direction", "i8"), ("index", "i8"), ("level", "f8"), ("pending", "b1")], align=True)
GROUP = np.dtype(
    [
        ("number", "i8"),
        ("direction", "i8"),
        ("first", "i8"),  # bar of the first swing
        ("level", "f8"),  # of the first swing
        ("reach", "f8"),
        ("bottom", "f8"),  # span of the members
        ("top", "f8"),
        ("members", "i8"),
        ("swept", "i8"),  # bar, 0 before
        ("open", "b1"),
    ],
    align=True,
)
STRUCTURE = np.dtype(
    [
        ("opens", "f8", (KEPT,)),
        ("highs", "f8", (KEPT,)),
        ("lows", "f8", (KEPT,)),
        ("closes", "f8", (KEPT,)),
        ("volumes", "f8", (KEPT,)),
        ("count", "i8"),  # bars seen; the present one is count - 1
        ("atr", ATR),
        ("swings", SWING, (SWINGS,)),
        ("swung", "i8"),  # swings so far, the last of them still replaceable
        ("labels", LABEL, (LABELS,)),
        ("labelled", "i8"),
        ("groups", GROUP, (GROUPS,)),
        ("grouped", "i8"),
        ("said", FACT, (SAID,)),
        ("says", "i8"),
        ("calm_above", "f8"),  # a bar between these breaks and sweeps nothing
        ("calm_below", "f8"),
    ],
    align=True,
)


@kernel
def structure_update(params: Record, structure: Record, swing_length: int, bar: Record) -> None:
    """Take one closed bar; what it makes known stands in `said[:says]`. Prices in quote currency."""
    at = structure.count % KEPT
    structure.opens[at], structure.highs[at], structure.lows[at] = bar.open, bar.high, bar.low
    structure.closes[at], structure.volumes[at] = bar.close, bar.volume
    structure.count += 1
    structure.says = 0
    atr_update(structure.atr, bar.high, bar.low, bar.close, params.atr_period)
    broke, stirs = False, bar.high >= structure.calm_above or bar.low <= structure.calm_below
    if stirs:
        broke = _breaks(params, structure)
        _sweeps(params, structure, bar)
    _gap(params, structure, broke)
    if _swing(params, structure, swing_length) or stirs:
        _find_calm(structure)


@kernel
def _say(structure: Record, kind: int, direction: int, index: int, bottom: float, top: float) -> Record:
    """Begin a fact; the last place is used again in the bar that says more than there is room for."""
    fact = structure.said[min(structure.says, SAID - 1)]
    structure.says = min(structure.says + 1, SAID)
    fact.kind, fact.direction, fact.index, fact.bottom, fact.top = kind, direction, index, bottom, top
    fact.displacement = fact.volume = fact.until = 0.0
    fact.broke = False
    fact.group = -1
    return fact


@kernel
def mean_volume(structure: Record) -> float:
    """Mean volume of the last 20 bars, the present one included."""
    known = min(structure.count, MEAN_VOLUME)
    total = 0.0
    for back in range(known):
        total += structure.volumes[(structure.count - 1 - back) % KEPT]
    return total / known if known > 0 else 0.0


# Swings


@kernel
def _is_extreme(structure: Record, middle: int, length: int, direction: int) -> bool:
    """Whether bar `middle` is the extreme of the bars middle - length + 1 ... middle + length; equals count."""
    values = structure.highs if direction > 0 else structure.lows
    level = values[middle % KEPT] * direction
    for index in range(middle + 1, middle + length + 1):
        if values[index % KEPT] * direction > level:
            return False
    for index in range(middle - length + 1, middle):
        if values[index % KEPT] * direction > level:
            return False
    return True


@kernel
def _swing(params: Record, structure: Record, length: int) -> bool:
    """Find the swing whose right side this bar closes; of a run the farthest counts, then the first. True if so."""
    middle = structure.count - 1 - length
    if middle < 2 * length - 1:
        return False
    if _is_extreme(structure, middle, length, 1):
        direction, level = 1, structure.highs[middle % KEPT]
    elif _is_extreme(structure, middle, length, -1):
        direction, level = -1, structure.lows[middle % KEPT]
    else:
        return False
    _say(structure, Fact.CANDIDATE, direction, middle, level, level)
    last = structure.swings[(structure.swung - 1) % SWINGS]
    if structure.swung > 0 and last.direction == direction:
        if (level - last.level) * direction > 0.0:
            last.index, last.level, last.broken = middle, level, 0
            last.crossed = last.swept = False
        return True
    if structure.swung > 0:
        _say(structure, Fact.SWING, last.direction, last.index, last.level, last.level)
        _label(structure)
        _join(params, structure, last)
    swing = structure.swings[structure.swung % SWINGS]
    swing.index, swing.direction, swing.level, swing.broken = middle, direction, level, 0
    swing.crossed = swing.swept = False
    structure.swung += 1
    return True


# Breaks


@kernel
def _find_calm(structure: Record) -> None:
    """Find between which prices a bar leaves every swing and group of swings as it is."""
    above, below = np.inf, -np.inf
    seen_high = seen_low = False
    for back in range(min(structure.swung, SWINGS)):
        swing = _swung(structure, back)
        newest = not seen_high if swing.direction > 0 else not seen_low
        seen_high = seen_high or swing.direction > 0
        seen_low = seen_low or swing.direction < 0
        if swing.broken == 0 or (newest and not swing.crossed) or (back == 0 and not swing.swept):
            if swing.direction > 0:
                above = min(above, swing.level)
            else:
                below = max(below, swing.level)
    for index in range(min(structure.grouped, GROUPS)):
        group = structure.groups[index]
        if group.open and group.direction > 0:
            above = min(above, group.level + group.reach)
        elif group.open:
            below = max(below, group.level - group.reach)
    structure.calm_above, structure.calm_below = above, below


@kernel
def _breaks(params: Record, structure: Record) -> bool:
    """Compare the bar with the swings; a close beyond the last one leaves an order block. True if one was broken."""
    now = structure.count - 1
    close = structure.closes[now % KEPT]
    outer_high = close if params.close_break else structure.highs[now % KEPT]
    outer_low = close if params.close_break else structure.lows[now % KEPT]
    seen_high = seen_low = broke = False
    for back in range(min(structure.swung, SWINGS)):
        swing = structure.swings[(structure.swung - 1 - back) % SWINGS]
        beyond = outer_high > swing.level if swing.direction > 0 else outer_low < swing.level
        if beyond and swing.broken == 0:
            swing.broken = now
        newest = not seen_high if swing.direction > 0 else not seen_low
        seen_high = seen_high or swing.direction > 0
        seen_low = seen_low or swing.direction < 0
        closed = (close - swing.level) * swing.direction > 0.0
        if newest and closed and not swing.crossed:
            swing.crossed = True
            broke = True
            _say(structure, Fact.BREAK, swing.direction, swing.index, swing.level, swing.level)
            _block(params, structure, swing.direction)
    _settle_labels(structure)
    return broke


@kernel
def _block(params: Record, structure: Record, direction: int) -> None:
    """Order block: the last candle against the break before it, within the look-back."""
    now = structure.count - 1
    for index in range(now - 1, max(now - 1 - params.order_block_lookback, -1), -1):
        at = index % KEPT
        if (structure.closes[at] - structure.opens[at]) * direction < 0.0:
            bottom, top = structure.lows[at], structure.highs[at]
            fact = _say(structure, Fact.BLOCK, direction, index, bottom, top)
            close = structure.closes[now % KEPT]
            fact.displacement = max(close - top if direction > 0 else bottom - close, 0.0)
            fact.volume = structure.volumes[now % KEPT]
            fact.broke = True
            return


@kernel
def _swung(structure: Record, back: int) -> Record:
    """Swing `back` before the newest; 0 is the newest."""
    return structure.swings[(structure.swung - 1 - back) % SWINGS]


@kernel
def _label(structure: Record) -> None:
    """Label the third last of four settled swings when they show a break of structure or a change of character."""
    if structure.swung < 4:
        return
    direction = _swung(structure, 0).direction
    newest, last = _swung(structure, 0).level * direction, _swung(structure, 1).level * direction
    middle, first = _swung(structure, 2).level * direction, _swung(structure, 3).level * direction
    kind = -1
    if first < last < middle < newest:
        kind = Fact.BOS
    elif newest > middle > first > last:
        kind = Fact.CHOCH
    if kind < 0:
        return
    swing = _swung(structure, 2)
    label = structure.labels[structure.labelled % LABELS]
    label.kind, label.direction, label.index, label.level = kind, direction, swing.index, swing.level
    label.pending = True
    structure.labelled += 1
    if swing.broken > 0:
        _say_label(structure, label)


@kernel
def _say_label(structure: Record, label: Record) -> None:
    """Say a label whose level is broken; earlier ones that still wait for theirs are void."""
    label.pending = False
    _say(structure, label.kind, label.direction, label.index, label.level, label.level)
    for index in range(LABELS):
        other = structure.labels[index]
        if other.pending and other.index < label.index:
            other.pending = False


@kernel
def _settle_labels(structure: Record) -> None:
    """Say the waiting labels whose swing is broken by now, the latest swing first."""
    for back in range(min(structure.labelled, LABELS)):
        label = structure.labels[(structure.labelled - 1 - back) % LABELS]
        if not label.pending:
            continue
        for age in range(min(structure.swung, SWINGS)):
            swing = _swung(structure, age)
            if swing.index == label.index and swing.direction == label.direction and swing.broken > 0:
                _say_label(structure, label)
                break


# Gaps


@kernel
def _gap(params: Record, structure: Record, broke: bool) -> None:
    """Fair value gap: the first and the third candle leave a hole that the second one ran through."""
    if structure.count < 3:
        return
    first, middle, third = (structure.count - 3) % KEPT, (structure.count - 2) % KEPT, (structure.count - 1) % KEPT
    body = structure.closes[middle] - structure.opens[middle]
    direction, bottom, top = 0, 0.0, 0.0
    if structure.highs[first] < structure.lows[third] and body > 0.0:
        direction, bottom, top = 1, structure.highs[first], structure.lows[third]
    elif structure.lows[first] > structure.highs[third] and body < 0.0:
        direction, bottom, top = -1, structure.highs[third], structure.lows[first]
    if direction == 0 or top - bottom < params.fvg_min_pct * bottom:
        return
    fact = _say(structure, Fact.GAP, direction, structure.count - 2, bottom, top)
    fact.displacement = abs(body)
    fact.volume = structure.volumes[middle]
    fact.broke = broke


# Liquidity


@kernel
def _sweeps(params: Record, structure: Record, bar: Record) -> None:
    """Close the groups whose far edge the bar has reached, and mark the newest swing when it would be so."""
    now = structure.count - 1
    newest = structure.swings[(structure.swung - 1) % SWINGS]
    edge = newest.level + newest.direction * liquidity_reach(params, newest.level)
    newest.swept = newest.swept or (bar.high >= edge if newest.direction > 0 else bar.low <= edge)
    for index in range(min(structure.grouped, GROUPS)):
        group = structure.groups[index]
        if not group.open:
            continue
        edge = group.level + group.direction * group.reach
        reached = bar.high >= edge if group.direction > 0 else bar.low <= edge
        if reached and now > group.first:
            group.open = False
            group.swept = now
            if group.members > 1:
                fact = _say(structure, Fact.SWEPT, group.direction, group.first, group.bottom, group.top)
                fact.group = group.number


@kernel
def _join(params: Record, structure: Record, swing: Record) -> None:
    """Let a settled swing join the oldest open group in whose range it lies, or begin one."""
    for back in range(min(structure.grouped, GROUPS), 0, -1):
        group = structure.groups[(structure.grouped - back) % GROUPS]
        if group.open and group.direction == swing.direction and abs(swing.level - group.level) <= group.reach:
            group.members += 1
            group.bottom, group.top = min(group.bottom, swing.level), max(group.top, swing.level)
            fact = _say(structure, Fact.LIQUIDITY, group.direction, group.first, group.bottom, group.top)
            fact.group, fact.until = group.number, group.level + group.direction * group.reach
            return
    if swing.swept:
        return
    group = structure.groups[structure.grouped % GROUPS]
    group.number, group.direction = structure.grouped, swing.direction
    group.first, group.level = swing.index, swing.level
    group.reach = liquidity_reach(params, swing.level)
    group.bottom = group.top = swing.level
    group.members, group.swept, group.open = 1, 0, True
    structure.grouped += 1


@kernel
def liquidity_reach(params: Record, level: float) -> float:
    """How near swings must lie to be one group: a share of the price, or `liquidity_points` where that is given."""
    return params.liquidity_points if params.liquidity_points > 0.0 else params.liquidity_range * level
