"""What moved the money of a bot's account, row by row, and as files that programs for taxes and books read.

A row has one amount: what it added to the wallet, in the settlement coin. Files of others have a row for a result and
one for its fee, so that the sum of their rows is that of ours whatever their reader does with a fee beside a result.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from math import fsum

COINS = ("USDT", "USDC", "FDUSD", "USD", "EUR", "BTC")  # that pairs are settled in; the longer name first


class EntryKind(StrEnum):
    """Why the wallet changed."""

    OPENING = "opening"  # what was there when the bot began
    TRANSFER = "transfer"
    UNEXPLAINED = "unexplained"  # it came or went, and the exchange's log has no transfer of it
    TRADE = "trade"
    FUNDING = "funding"


class StatementFormat(StrEnum):
    """Which program reads the file."""

    CSV = "csv"
    KOINLY = "koinly"
    COINTRACKING = "cointracking"


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """One change of the wallet; money in the settlement coin, `at` in ms."""

    at: int
    kind: EntryKind
    id: str  # the exchange's, of a fill or a payment; empty for the rest
    result: float  # realised at average cost, paid by funding, or what came or went
    fee: float = 0.0
    pair: str = ""
    side: str = ""  # buy or sell, of a trade
    price: float | None = None
    quantity: float | None = None

    @property
    def amount(self) -> float:
        """What it added to the wallet."""
        return self.result - self.fee


@dataclass(frozen=True)
class AccountStatement:
    """Every change of a wallet, oldest first, and where rows do not add up to what the wallet holds, in sentences."""

    bot: str
    entries: tuple[AccountEntry, ...]
    wallet: float  # as the bot counts it now
    differences: tuple[str, ...]

    @property
    def coin(self) -> str:
        """The settlement coin, by the pairs' names."""
        pairs = {one.pair for one in self.entries if one.pair}
        return next((coin for coin in COINS if pairs and all(one.endswith(coin) for one in pairs)), COINS[0])

    def between(self, start: int | None, end: int | None) -> Period:
        """Rows of a period (ms; the end is not in it), with the wallet before and after it."""
        before = fsum(one.amount for one in self.entries if start is not None and one.at < start)
        inside = (one for one in self.entries if (start is None or one.at >= start) and (end is None or one.at < end))
        return Period(self, tuple(inside), before)


@dataclass(frozen=True)
class Period:
    """Rows of a period of a statement."""

    statement: AccountStatement
    entries: tuple[AccountEntry, ...]
    before: float  # in the wallet when it began, by the rows before it

    def sums(self) -> dict[str, float]:
        """Results by kind, and fees, which together are the wallet's change."""
        found = {kind.value: fsum(one.result for one in self.entries if one.kind is kind) for kind in EntryKind}
        return found | {"fees": -fsum(one.fee for one in self.entries)}

    @property
    def change(self) -> float:
        """What the wallet changed by."""
        return fsum(one.amount for one in self.entries)

    def written(self, form: StatementFormat) -> str:
        """The file's text."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\r\n")
        writer.writerows({"csv": _own, "koinly": _koinly, "cointracking": _cointracking}[form](self))
        return out.getvalue()


Line = Sequence[str]


def _own(period: Period) -> Iterator[Line]:
    """Every field, and what the wallet holds after each row."""
    yield ("time", "kind", "pair", "side", "quantity", "price", "result", "fee", "amount", "coin", "wallet", "id")
    wallet, coin = period.before, period.statement.coin
    for one in period.entries:
        wallet += one.amount
        traded = (
            "" if one.quantity is None else f"{one.quantity:.12g}",
            "" if one.price is None else f"{one.price:.12g}",
        )
        money = (_money(one.result), _money(one.fee), _money(one.amount), coin, _money(wallet))
        yield (_time(one.at), one.kind, one.pair, one.side, *traded, *money, one.id)


KOINLY = (
    *("Date", "Sent Amount", "Sent Currency", "Received Amount", "Received Currency", "Fee Amount", "Fee Currency"),
    *("Net Worth Amount", "Net Worth Currency", "Label", "Description", "TxHash"),
)


KOINLY_LABELS: dict[EntryKind | None, tuple[str, str]] = {  # of money that came, and that went; None: a fee
    EntryKind.OPENING: ("", ""),
    EntryKind.TRANSFER: ("", ""),
    EntryKind.UNEXPLAINED: ("other income", "lost"),
    EntryKind.TRADE: ("realized gain", "realized gain"),
    EntryKind.FUNDING: ("realized gain", "margin fee"),
    None: ("realized gain", "margin fee"),
}


def _koinly(period: Period) -> Iterator[Line]:
    """Koinly's universal template: a result of a contract is money received or sent, not a purchase of its coin."""
    yield KOINLY
    coin = period.statement.coin
    for at, kind, amount, told in _parts(period):
        sides = ("", "", _money(amount), coin) if amount > 0 else (_money(-amount), coin, "", "")
        yield (f"{_time(at)} UTC", *sides, *("",) * 4, KOINLY_LABELS[kind][amount < 0], told, "")


COINTRACKING = (
    *("Type", "Buy Amount", "Buy Currency", "Sell Amount", "Sell Currency", "Fee", "Fee Currency", "Exchange"),
    *("Trade-Group", "Comment", "Date", "Tx-ID"),
)
COINTRACKING_TYPES: dict[EntryKind | None, tuple[str, str]] = {  # of money that came, and that went; None: a fee
    EntryKind.OPENING: ("Deposit", "Withdrawal"),
    EntryKind.TRANSFER: ("Deposit", "Withdrawal"),
    EntryKind.UNEXPLAINED: ("Other Income", "Other Fee"),
    EntryKind.TRADE: ("Derivatives / Futures Profit", "Derivatives / Futures Loss"),
    EntryKind.FUNDING: ("Derivatives / Futures Profit", "Derivatives / Futures Loss"),
    None: ("Other Income", "Margin Fee"),
}


def _cointracking(period: Period) -> Iterator[Line]:
    """CoinTracking's table, as its import of CSV takes it."""
    yield COINTRACKING
    bot, coin = period.statement.bot, period.statement.coin
    for at, kind, amount, told in _parts(period):
        sides = (_money(amount), coin, "", "") if amount > 0 else ("", "", _money(-amount), coin)
        group = "Funding" if kind is EntryKind.FUNDING else "Perpetuals" if kind in (EntryKind.TRADE, None) else ""
        yield (COINTRACKING_TYPES[kind][amount < 0], *sides, "", "", f"traderagent {bot}", group, told, _time(at), "")


def _parts(period: Period) -> Iterator[tuple[int, EntryKind | None, float, str]]:
    """Moment, kind (None: a fee), amount other than zero and description of every line that is one sum of money."""
    for one in period.entries:
        told = " ".join(filter(None, (one.kind.value, one.side, one.pair, one.id)))
        if one.result:
            yield one.at, one.kind, one.result, told
        if one.fee:
            yield one.at, None, -one.fee, f"fee of {told}"


def _money(amount: float) -> str:
    """Every digit that a sum of rows needs."""
    return f"{amount:.12f}".rstrip("0").rstrip(".")


def _time(at: int) -> str:
    """A moment as both programs read it, UTC."""
    return datetime.fromtimestamp(at / 1000.0, UTC).strftime("%Y-%m-%d %H:%M:%S")
