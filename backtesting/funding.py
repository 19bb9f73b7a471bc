"""Funding of a perpetual contract: the settlements of its history, and what each bar of a run pays.

At a settlement longs pay `rate` of their position's worth, shorts receive it; a negative rate turns that round.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bot.candles import iso
from bot.errors import Misconfigured
from bot.record import new_records
from bot.times import HOUR

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SPAN_MS = 8 * HOUR  # the constant rate is paid per 8 hours: at 00:00, 08:00 and 16:00 UTC
PAYMENT = np.dtype([("bar", "i8"), ("rate", "f8")])


@dataclass(frozen=True, slots=True)
class FundingHistory:
    """Settlements of one pair, ascending: `ts` int64 (n,), ms UTC; `rate` float64 (n,), fraction paid by longs.

    Any interval, and one that changes. Raises Misconfigured for times that do not ascend and rates of 100 % or more.
    """

    ts: NDArray[np.int64]
    rate: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.ts) != len(self.rate):
            raise Misconfigured(f"funding: {len(self.ts)} times but {len(self.rate)} rates; give one rate per time.")
        late = np.flatnonzero(np.diff(self.ts) <= 0)
        if len(late):
            raise Misconfigured(f"funding: time {iso(int(self.ts[late[0] + 1]))} does not ascend; sort the rows.")
        wrong = np.flatnonzero(~(np.abs(self.rate) < 1.0))
        if len(wrong):
            at, rate = iso(int(self.ts[wrong[0]])), self.rate[wrong[0]]
            raise Misconfigured(f"funding: rate {rate:g} at {at} is no fraction under 1; give 0.0001 for 0.01 %.")

    def __len__(self) -> int:
        return len(self.ts)

    def snapshot(self) -> str:
        """Hash of times and rates, 16 hex digits; equal data, equal name."""
        return hashlib.sha256(self.ts.tobytes() + self.rate.tobytes()).hexdigest()[:16]

    def settles(self, ends: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Whether there is a settlement in the 8 hours up to and including each of `ends` (ms)."""
        found = np.searchsorted(self.ts, ends, "right") > np.searchsorted(self.ts, ends - SPAN_MS, "right")
        return np.asarray(found, np.bool_)


def settlements(first: int, last: int, history: FundingHistory | None) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Times in (first, last], ms, and rates of what is settled, both (f,); a rate of NaN is the constant one.

    Each 8 hours without a settlement in the history pay the constant rate at their end.
    """
    ends = np.arange((first // SPAN_MS + 1) * SPAN_MS, last + 1, SPAN_MS, dtype=np.int64)
    if history is None:
        return ends, np.full(len(ends), np.nan)
    within = (history.ts > first) & (history.ts <= last)
    ends = ends[~history.settles(ends)]
    ts = np.concatenate([ends, history.ts[within]])
    rates = np.concatenate([np.full(len(ends), np.nan), history.rate[within]])
    order = np.argsort(ts)
    return ts[order], rates[order]


def payments_over(ts: NDArray[np.int64], history: FundingHistory | None) -> Any:
    """Payments of bars that open at `ts`, PAYMENT (f,), ascending; a rate of NaN is the constant one.

    A settlement falls on the first bar that opens at or after it, several on one where bars are missing; the first
    bar pays nothing.
    """
    ends, rates = settlements(int(ts[0]), int(ts[-1]), history)
    payments = new_records(PAYMENT, len(ends))
    payments["bar"], payments["rate"] = np.searchsorted(ts, ends), rates
    return payments


def with_constant(payments: Any, rate: float) -> Any:
    """Return a copy of payments with the constant rate where there is no history."""
    whole = payments.copy()
    whole["rate"][np.isnan(payments["rate"])] = rate
    return whole


def fingerprint(payments: Any) -> list[str]:
    """Name the settlements of a history that a run was given, as its candles are named; none without a history."""
    own = payments[~np.isnan(payments["rate"])]
    return [hashlib.sha256(own.tobytes()).hexdigest()[:16]] if len(own) else []


def told_together(told_: Mapping[str, str]) -> str:
    """Say it of several pairs, those of which the same is said together."""
    if len(set(told_.values())) == 1:
        return next(iter(told_.values()))
    groups: dict[str, list[str]] = {}
    for pair, words in told_.items():
        groups.setdefault(words, []).append(pair)
    return "; ".join(f"{', '.join(pairs)}: {words}" for words, pairs in groups.items())


def told(payments: Any, ts: NDArray[np.int64], rate: float) -> str:
    """Say where the rates of a run come from: `payments` over bars that open at `ts` (ms), `rate` the constant one."""
    if not len(payments):
        return "none"
    constant = np.isnan(payments["rate"])
    settled = len(payments) - int(constant.sum())
    words = f"constant rate {rate * 100:g} % per 8 h"
    if not settled:
        return words
    history = f"history, {settled:,} settlements"
    if not constant.any():
        return history
    at = ts[payments["bar"][constant]]
    return (
        f"{history}; {words} at {len(at):,} of {len(payments):,} payments, where the history has none "
        f"(first {iso(int(at[0]))}, last {iso(int(at[-1]))})"
    )
