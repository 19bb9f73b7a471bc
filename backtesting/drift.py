"""Live fills beside simulated ones: which belong together, and what the difference cost, by kind.

Pure: fills come in, rows and sums go out. Every lot of every fill is in exactly one row. A cost is positive where the
market was worse than the simulation. Fills without a partner are valued at `mark`, the close of their minute.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from bot.times import MINUTE

WINDOW = 15 * MINUTE  # within which orders of one slot are taken for the same although their generations differ


class RowKind(StrEnum):
    """What became of a fill."""

    PAIRED = "paired"  # on both sides, in the same minute
    LATE = "late"  # on both sides, in another minute
    MISSED = "missed"  # simulated, and not live
    UNEXPECTED = "unexpected"  # live, and not simulated


class CostKind(StrEnum):
    """What reality costs: the first two of fills on both sides in one minute; fees of late ones are fees too."""

    FEES = "fees"
    SLIPPAGE = "slippage"
    LATE = "late"
    MISSED = "missed"
    UNEXPECTED = "unexpected"


@dataclass(frozen=True)
class TradedFill:
    """A fill of either side; money is quote currency, and so are prices."""

    pair: str
    at: int  # ms; a simulation knows the opening of the minute
    order: str  # client order id; empty: nobody here asked for it
    side: int
    price: float
    lots: int
    lot: float  # base currency
    fee: float
    maker: bool
    mark: float  # close of its minute
    reason: str = ""  # why its order existed
    execution: str = ""  # the exchange's id, live

    @property
    def minute(self) -> int:
        """Opening of its minute, ms."""
        return self.at - self.at % MINUTE

    @property
    def slot(self) -> tuple[str, str]:
        """Pair and slot of its order, without the generation."""
        return self.pair, self.order.rpartition("-")[0]

    @property
    def notional(self) -> float:
        """What was traded."""
        return self.price * self.lots * self.lot

    @property
    def gain(self) -> float:
        """What it has brought by the close of its minute."""
        return self.side * (self.mark - self.price) * self.lots * self.lot - self.fee

    def part(self, lots: int) -> TradedFill:
        """Return so many lots of it, with their share of the fee."""
        return self if lots == self.lots else replace(self, lots=lots, fee=self.fee * lots / self.lots)


@dataclass(frozen=True)
class DriftRow:
    """Lots of a live fill beside the same lots of its simulated twin; one of the two may be missing."""

    kind: RowKind
    live: TradedFill | None
    simulated: TradedFill | None
    why: str = ""  # of one without a partner

    @property
    def known(self) -> TradedFill:
        """The live fill, or else the simulated one."""
        found = self.live or self.simulated
        assert found is not None
        return found

    @property
    def seconds(self) -> float:
        """How much later it was filled than simulated; negative: earlier."""
        if self.kind is not RowKind.LATE or self.live is None or self.simulated is None:
            return 0.0
        return (self.live.at - self.simulated.at) / 1000.0

    @property
    def costs(self) -> dict[CostKind, float]:
        """What the difference cost, by kind."""
        live, simulated = self.live, self.simulated
        if live is None:
            return {CostKind.MISSED: self.known.gain}
        if simulated is None:
            return {CostKind.UNEXPECTED: -live.gain}
        moved = live.side * (live.price - simulated.price) * live.lots * live.lot
        kind = CostKind.LATE if self.kind is RowKind.LATE else CostKind.SLIPPAGE
        return {CostKind.FEES: live.fee - simulated.fee, kind: moved}


@dataclass(frozen=True)
class DriftSum:
    """One kind of cost on one pair, or on all of them (`pair` is empty)."""

    pair: str
    kind: CostKind
    fills: int  # that differ so
    cost: float
    bps: float | None  # of the traded volume; None without any


@dataclass(frozen=True)
class Uncompared:
    """A span of time about which nothing can be said, and why."""

    pair: str
    since: int  # ms
    until: int
    why: str
    fills: int = 0  # live ones in it


@dataclass(frozen=True)
class Drift:
    """What was compared, row by row."""

    rows: tuple[DriftRow, ...]
    uncompared: tuple[Uncompared, ...] = ()
    minutes: dict[str, int] = field(default_factory=dict)  # compared, by pair

    @property
    def volume(self) -> float:
        """What was traded live, and compared; what was simulated where nothing was."""
        return volume_of(self.rows)

    @property
    def sums(self) -> list[DriftSum]:
        """Costs by pair and kind, and of all pairs; kinds that did not occur too."""
        pairs = sorted({one.known.pair for one in self.rows} | set(self.minutes))
        found = [one for pair in pairs for one in sums_of(pair, [row for row in self.rows if row.known.pair == pair])]
        return [*found, *sums_of("", self.rows)]

    @property
    def cost(self) -> float:
        """What reality cost in all."""
        return sum(sum(row.costs.values()) for row in self.rows)

    @property
    def bps(self) -> float | None:
        """What reality cost in all, of the traded volume; None without any."""
        return bps_of(self.cost, self.volume)


def volume_of(rows: Iterable[DriftRow]) -> float:
    """What was traded live; what was simulated where nothing was."""
    rows = list(rows)
    live = sum(row.live.notional for row in rows if row.live is not None)
    return live or sum(row.simulated.notional for row in rows if row.simulated is not None)


def bps_of(cost: float, volume: float) -> float | None:
    """Give a cost in bps of a volume; None without any."""
    return None if volume <= 0.0 else cost / volume * 1e4


NEGLIGIBLE = 1e-9  # of a fill's worth: what sums of floats leave


def differs(row: DriftRow, kind: CostKind) -> bool:
    """Whether a row counts among a kind: it has this cost, or lacks its partner so, or is late."""
    if kind.value == row.kind.value:
        return True
    return kind in row.costs and abs(row.costs[kind]) > NEGLIGIBLE * max(row.known.notional, 1.0)


def sums_of(pair: str, rows: Sequence[DriftRow]) -> list[DriftSum]:
    """Sum these rows up by kind."""
    volume = volume_of(rows)
    found = []
    for kind in CostKind:
        cost = sum(row.costs.get(kind, 0.0) for row in rows)
        fills = sum(differs(row, kind) for row in rows)
        found.append(DriftSum(pair, kind, fills, cost, bps_of(cost, volume)))
    return found


def pair_fills(live: Iterable[TradedFill], simulated: Iterable[TradedFill]) -> list[DriftRow]:
    """Lay live fills beside simulated ones, lot by lot, in order of their times.

    First by the order that both name, then by slot within `WINDOW`: where an order was sent anew, only the generation
    differs. What nobody here asked for has no twin.
    """
    rows: list[DriftRow] = []
    rest_live, rest_simulated = _joined(rows, live, simulated, lambda one: (one.pair, one.order, one.side), None)
    rest_live, rest_simulated = _joined(rows, rest_live, rest_simulated, lambda one: (one.slot, one.side), WINDOW)
    rows += [DriftRow(RowKind.UNEXPECTED, one, None) for one in rest_live]
    rows += [DriftRow(RowKind.MISSED, None, one) for one in rest_simulated]
    return sorted(rows, key=lambda row: _when(row.known))


def _when(one: TradedFill) -> tuple[object, ...]:
    """Order of fills that does not depend on how they arrive."""
    return one.at, one.pair, one.order, one.side, one.price, one.lots, one.fee, one.execution


def _joined(
    rows: list[DriftRow],
    live: Iterable[TradedFill],
    simulated: Iterable[TradedFill],
    key: Callable[[TradedFill], Hashable],
    window: int | None,
) -> tuple[list[TradedFill], list[TradedFill]]:
    """Join what has the same key into rows; returns what is left of both sides."""
    waiting: dict[Hashable, list[TradedFill]] = defaultdict(list)
    for one in sorted(simulated, key=_when):
        waiting[key(one)].append(one)
    left = []
    for one in sorted(live, key=_when):
        rest: TradedFill | None = one
        while rest is not None and rest.order:
            twin = next((other for other in waiting[key(one)] if window is None or _near(one, other, window)), None)
            if twin is None:
                break
            lots = min(rest.lots, twin.lots)
            late = one.minute != twin.minute
            rows.append(DriftRow(RowKind.LATE if late else RowKind.PAIRED, rest.part(lots), twin.part(lots)))
            place = waiting[key(one)].index(twin)
            over = twin.lots - lots
            waiting[key(one)][place : place + 1] = [twin.part(over)] if over else []
            rest = rest.part(rest.lots - lots) if rest.lots > lots else None
        if rest is not None:
            left.append(rest)
    return left, [one for ones in waiting.values() for one in ones]


def _near(one: TradedFill, other: TradedFill, window: int) -> bool:
    return abs(one.minute - other.minute) <= window
