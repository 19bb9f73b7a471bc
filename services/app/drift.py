"""Compares what a bot has filled with what a simulation would have: its sessions and its rows make one document."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from backtesting.drift import Drift, DriftRow, RowKind, TradedFill, Uncompared, pair_fills
from backtesting.session_fills import SimulatedSession, simulate_session, why_missed, why_unexpected
from bot.candles import iso
from bot.errors import Misconfigured, OutOfStep
from bot.order import Side
from bot.times import MINUTE
from services.drift_days import VERSION
from services.runtime.sessions import KEPT_BYTES, read_session, sessions_folder, sessions_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from services.storage.live_fills import LiveFills

NOT_KEPT = (
    f"no session of the pair covers it: the newest of a pair are kept, up to {KEPT_BYTES >> 20} MB, with "
    "bot.sessions, on the machine that trades the pair"
)


def compare(
    data_dir: Path,
    bot: str,
    live: LiveFills,
    since: int | None,
    until: int | None,
    progress: Callable[[float, str], None] = lambda _share, _said: None,
) -> Drift:
    """Compare the fills of [since, until), ms, with those of twins; what cannot be compared is said."""
    found = sessions_of(sessions_folder(data_dir, bot))
    pairs = sorted({*found, *(one.pair for one in live.fills)})
    rows: list[DriftRow] = []
    uncompared: list[Uncompared] = []
    minutes: dict[str, int] = {}
    files = [(pair, file) for pair in pairs for file in found.get(pair, [])]
    played: dict[str, list[SimulatedSession]] = {pair: [] for pair in pairs}
    faults: dict[str, list[str]] = {pair: [] for pair in pairs}
    for number, (pair, file) in enumerate(files):

        def tell(share: float, number: int = number, pair: str = pair) -> None:
            progress((number + share) / len(files), pair)

        tell(0.0)
        try:
            session = simulate_session(read_session(file, tell), since or 0)
        except (Misconfigured, OutOfStep) as error:
            faults[pair].append(str(error))
            continue
        if session.until > session.since and session.until > (since or 0):
            played[pair].append(session)
    progress(1.0, "")
    for pair, sessions in played.items():
        units = {(one.tick, one.lot) for one in sessions[-1:]}
        if any((one.tick, one.lot) not in units for one in sessions):
            faults[pair].append("tick or lot size were others then, and what was stored counts in those of now")
            played[pair] = [one for one in sessions if (one.tick, one.lot) in units]
    for pair in pairs:
        own = [one for one in live.fills if one.pair == pair]
        spans, missing = _spans(pair, own, played[pair], faults[pair], since, until)
        uncompared += missing
        minutes[pair] = sum(end - begin for begin, end in spans) // MINUTE
        rows += _rows(own, played[pair], spans, live.causes)
    return Drift(tuple(rows), tuple(uncompared), minutes)


def _spans(
    pair: str,
    live: list[TradedFill],
    sessions: list[SimulatedSession],
    faults: list[str],
    since: int | None,
    until: int | None,
) -> tuple[list[tuple[int, int]], list[Uncompared]]:
    """Return what can be compared of a pair, and what between and around it cannot."""
    spans: list[tuple[int, int]] = []
    reasons: dict[int, str] = {}  # by edge of a span
    for one in sessions:
        begin, end = max(one.since, since or 0), one.until if until is None else min(one.until, until)
        if spans:
            begin = max(begin, spans[-1][1])
        if end > begin:
            spans.append((begin, end))
            reasons |= {begin: one.begun, end: one.ended}
    times = [one.at for one in live]
    first = since if since is not None else min([*times, *(begin for begin, _ in spans[:1])], default=0)
    last = until if until is not None else max([*(one + 1 for one in times), *(end for _, end in spans)], default=first)
    if until is not None:  # nothing is said of minutes that are still to come
        last = min(until, max([*(one + 1 for one in times), *(one.until for one in sessions), first]))
    edges = [first, *(edge for span in spans for edge in span), last]
    gaps = [(begin, end) for begin, end in list(pairwise(edges))[::2] if end > begin]
    said = []
    for begin, end in gaps:
        why = reasons.get(begin) or reasons.get(end) or "; ".join(faults) or NOT_KEPT
        said.append(Uncompared(pair, begin, end, why, sum(begin <= at < end for at in times)))
    if not spans and not said:
        said.append(Uncompared(pair, first, last, "; ".join(faults) or NOT_KEPT))
    return spans, said


def _rows(
    live: list[TradedFill],
    sessions: list[SimulatedSession],
    spans: list[tuple[int, int]],
    causes: dict[str, str],
) -> list[DriftRow]:
    """Pair the fills of these spans, and say of those without a partner why that may be."""
    bars = {minute: bar for one in sessions for minute, bar in one.bars.items()}

    def inside(one: TradedFill) -> bool:
        return any(begin <= one.at < end for begin, end in spans)

    marked = [replace(one, mark=bars[one.minute][2]) if one.minute in bars else one for one in live if inside(one)]
    simulated: list[TradedFill] = []
    told = 0  # ms: until when a session has said what it filled; one after a crash begins with what was stored before
    for session in sessions:
        simulated += [one for one in session.fills if one.at >= told and inside(one)]
        told = max(told, session.until)
    rows = []
    for row in pair_fills(marked, simulated):
        if row.live is not None and row.kind is RowKind.UNEXPECTED:
            why = why_unexpected(row.live, causes.get(row.live.execution, ""), sessions)
            rows.append(replace(row, why=why))
        elif row.simulated is not None and row.kind is RowKind.MISSED:
            rows.append(replace(row, why=why_missed(row.simulated, sessions)))
        else:
            rows.append(row)
    return rows


# As a document


def document(bot: str, drift: Drift, since: int | None, until: int | None) -> dict[str, Any]:
    """Lay a comparison out as plain data."""
    return {
        "version": VERSION,
        "bot": bot,
        "since": since,
        "until": until,
        "minutes": drift.minutes,
        "volume": drift.volume,
        "cost": drift.cost,
        "bps": drift.bps,
        "sums": [{**asdict(one), "kind": one.kind.value} for one in drift.sums],
        "rows": [_row(one) for one in drift.rows],
        "uncompared": [asdict(one) for one in drift.uncompared],
    }


def _row(row: DriftRow) -> dict[str, Any]:
    one = row.known
    return {
        "kind": row.kind.value,
        "pair": one.pair,
        "side": Side(one.side).name.lower(),
        "quantity": round(one.lots * one.lot, 12),
        "order": one.order,
        "reason": one.reason,
        "live": _side(row.live),
        "simulated": _side(row.simulated),
        "seconds": row.seconds,
        "costs": {kind.value: cost for kind, cost in row.costs.items()},
        "bps": 1e4 * sum(row.costs.values()) / one.notional if one.notional else 0.0,
        "why": row.why,
    }


def _side(one: TradedFill | None) -> dict[str, Any] | None:
    if one is None:
        return None
    return {"at": one.at, "price": round(one.price, 12), "fee": one.fee, "maker": one.maker, "execution": one.execution}


def span_text(one: Uncompared) -> str:
    """Say a span that was not compared."""
    fills = f", {one.fills} live fills" if one.fills else ""
    return f"{one.pair} {iso(one.since)} to {iso(one.until)}{fills}: {one.why}"
