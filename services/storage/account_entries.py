"""Reads what moved the money of a bot's account, and holds the rows against what the bot counts.

What a pair has added to the wallet stands in its memory, written in one transaction with its fills and payments; what
came from elsewhere stands in the portfolio's, written with its decisions. So a row that is missing is missed, by pair.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from math import fsum
from typing import Any

from bot.candles import iso
from bot.order import Side
from bot.ports import Cause, Saved
from coordinator.machine import NAME, remembered_deposits, remembered_money, remembered_units
from coordinator.vocabulary import DecisionKind, WalletOrigin
from services.account_statement import AccountEntry, AccountStatement, EntryKind
from services.storage.closed_trades import chained
from services.storage.store import epoch

FILLS = "SELECT * FROM fills WHERE bot = $1 ORDER BY at, execution"
MOVES = "SELECT fields, at FROM decisions WHERE bot = $1 AND kind = $2 ORDER BY at, id"
MEMORY = "SELECT name, layout, data FROM memory WHERE bot = $1"
LEAST = 1e-6  # quote currency: what adding up in another order may come to
WALLET = DecisionKind.WALLET.name.lower()


async def account_statement(connection: Any, bot: str) -> AccountStatement:
    """Read the statement of a bot by a connection; the bot may trade meanwhile."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        fills = await connection.fetch(FILLS, bot)
        moves = await connection.fetch(MOVES, bot, WALLET)
        memory = await connection.fetch(MEMORY, bot)
    kept = {row["name"]: Saved(row["layout"], row["data"]) for row in memory}
    return await asyncio.to_thread(statement_of, bot, fills, moves, kept)


def statement_of(bot: str, fills: Sequence[Any], moves: Sequence[Any], kept: dict[str, Saved]) -> AccountStatement:
    """Lay out rows as entries, and say where they are not what the memories hold."""
    entries = [*(_moved(one) for one in moves), *_booked(fills, kept)]
    entries.sort(key=lambda one: (one.kind is not EntryKind.OPENING, one.at))
    settled = {pair: remembered_money(pair, saved)[1] for pair, saved in kept.items() if pair != NAME}
    differences = [*_pair_differences(entries, settled), *_gaps(fills)]
    wallet = fsum(settled.values())
    if NAME in kept:
        deposits, present = remembered_deposits(kept[NAME])
        own = deposits - fsum(amount for pair, amount in settled.items() if present and pair not in present)
        differences += _account_differences(entries, own)
        wallet += own
    return AccountStatement(bot, tuple(entries), wallet, tuple(differences))


def _moved(row: Any) -> AccountEntry:
    fields = json.loads(row["fields"])
    return AccountEntry(
        epoch(row["at"]), EntryKind(WalletOrigin[fields["origin"].upper()].name.lower()), "", fields["amount"]
    )


def _booked(fills: Sequence[Any], kept: dict[str, Saved]) -> Iterator[AccountEntry]:
    units = {pair: remembered_units(pair, saved) for pair, saved in kept.items() if pair != NAME}
    for row in fills:
        at, id_, pair = epoch(row["at"]), row["execution"], row["symbol"]
        if row["cause"] == Cause.FUNDING.value:
            yield AccountEntry(at, EntryKind.FUNDING, id_, -row["fee"], pair=pair)
            continue
        tick, lot = units.get(pair, (1.0, 1.0))
        traded = (Side(row["side"]).name.lower(), row["price"] * tick, row["lots"] * lot)
        yield AccountEntry(at, EntryKind.TRADE, id_, row["realised"] or 0.0, row["fee"], pair, *traded)


def _pair_differences(entries: Sequence[AccountEntry], settled: dict[str, float]) -> Iterator[str]:
    """Pairs whose rows are not what the pair has added to the wallet."""
    amounts = defaultdict(list)
    for one in entries:
        if one.pair:
            amounts[one.pair].append(one.amount)
    for pair in sorted({*amounts, *settled}):
        rows, added = fsum(amounts[pair]), settled.get(pair, 0.0)
        if abs(added - rows) > LEAST:
            yield (
                f"{pair}: its rows add up to {rows:+,.8f}, and it has added {added:+,.8f} to the wallet: "
                f"{added - rows:+,.8f} is in no row."
            )


def _gaps(fills: Sequence[Any]) -> Iterator[str]:
    """Where a position goes from one row to the next by something that is no row."""
    held: dict[str, tuple[int, str]] = {}
    for row in chained([one for one in fills if one["position"] is not None]):
        pair, at = row["symbol"], iso(epoch(row["at"]))
        before, since = held.get(pair, (0, "the beginning"))
        if before + row["side"] * row["lots"] != row["position"]:
            yield (
                f"{pair}: between {since} and {at} the position changed by "
                f"{row['position'] - before - row['side'] * row['lots']:+,d} lots that are in no row."
            )
        held[pair] = row["position"], at


def _account_differences(entries: Sequence[AccountEntry], deposits: float) -> Iterator[str]:
    """Whether what came from elsewhere is all there."""
    moved = [one for one in entries if not one.pair]
    rows = fsum(one.amount for one in moved)
    if abs(deposits - rows) <= LEAST:
        return
    said = f"account: {deposits - rows:+,.8f} of what the wallet held at first, or of transfers, is in no row"
    if not any(one.kind is EntryKind.OPENING for one in moved):
        said += "; the bot began with a version that did not record it, and the exchange's own statement has it"
    yield f"{said}."
