"""Risk of the whole account: the day's loss, drawdown, modes, and the halt, which is a latch."""

from __future__ import annotations

from enum import IntFlag, StrEnum

import numpy as np

from bot.kernel import Record, kernel
from bot.strategy import whole_ms
from bot.times import DAY, HOUR, MINUTE
from coordinator.vocabulary import HaltAnswer


class Mode(IntFlag):
    """Modes of the portfolio; several may hold. None of them is NORMAL."""

    REDUCED = 1
    STRESS = 2
    DRAWDOWN = 4
    HALT = 8


class HaltPolicy(StrEnum):
    """Who plays the operator in a simulation: nobody, or one who answers at once."""

    NONE = "none"
    HOLD = "hold"
    CLOSE_ALL = "close_all"
    REDUCE_50 = "reduce_50"


MOST_DAYS = 366  # whose highs are remembered

RISK = np.dtype(
    [
        ("equity", "f8"),
        ("high", "f8"),  # highest marked equity of all time
        ("recent_high", "f8"),  # of the last `high_days` days
        ("highs", "f8", (MOST_DAYS,)),  # of each of the last days, by its number; 0 where none is known
        ("day", "i8"),  # days since the epoch
        ("anchor", "f8"),  # equity at 00:00 UTC
        ("reduced", "b1"),
        ("stress", "b1"),
        ("drawdown", "b1"),
        ("halted", "b1"),
        ("answer", "i8"),
        ("halted_at", "i8"),  # ms
        ("resumed_day", "i8"),  # day of the last resume
        ("stress_share", "f8"),  # NaN while unknown
        ("stress_hour", "i8"),  # hours since the epoch: when a share was known last
        ("correlation", "f8"),  # mean over pairs-of-pairs, NaN while unknown
    ],
    align=True,
)


@kernel
def day_loss(risk: Record) -> float:
    """Loss since 00:00 UTC as a share of the equity then."""
    return 1.0 - risk.equity / risk.anchor if risk.anchor > 0.0 else 0.0


@kernel
def drawdown(risk: Record) -> float:
    """Fall under the highest equity of all time, as a share of it."""
    return 1.0 - risk.equity / risk.high if risk.high > 0.0 else 0.0


@kernel
def recent_drawdown(risk: Record) -> float:
    """Fall under the highest equity of the last `high_days` days, as a share of it."""
    return 1.0 - risk.equity / risk.recent_high if risk.recent_high > 0.0 else 0.0


@kernel
def modes(risk: Record) -> int:
    """The modes in force as bits of Mode; 0 is NORMAL."""
    return int(risk.reduced) + 2 * int(risk.stress) + 4 * int(risk.drawdown) + 8 * int(risk.halted)


@kernel
def mark(params: Record, risk: Record, equity: float, now: int) -> bool:
    """Value the account, start a new day at midnight, enter and leave modes; True when the halt begins."""
    day = now // DAY
    _know_high(risk)
    if day != risk.day:
        _begin_day(params, risk, equity, day)
    risk.equity = equity
    risk.high = max(risk.high, equity)
    if equity > risk.recent_high:
        risk.recent_high = risk.highs[day % MOST_DAYS] = equity
    # Losses are compared as products: this runs at every evaluation, and a division costs more than all the rest.
    if equity < risk.anchor * (1.0 - params.reduce_day_loss):
        risk.reduced = True
    if equity < risk.recent_high * (1.0 - params.drawdown_enter):
        risk.drawdown = True
    elif equity >= risk.recent_high * (1.0 - params.drawdown_leave):
        risk.drawdown = False
    lost = equity < risk.anchor * (1.0 - params.halt_day_loss)
    fallen = equity < risk.high * (1.0 - params.halt_drawdown)
    if risk.halted or not (lost or fallen):
        return False
    risk.halted = True
    risk.halted_at = now
    risk.answer = HaltAnswer.WAITING
    return True


@kernel
def _know_high(risk: Record) -> None:
    """Begin with the high of all time where a state of an older version knows no other."""
    if risk.recent_high <= 0.0:
        risk.recent_high = risk.highs[risk.day % MOST_DAYS] = risk.high


@kernel
def _begin_day(params: Record, risk: Record, equity: float, day: int) -> None:
    """Move the anchor, and let highs that are too old go."""
    for gone in range(max(risk.day + 1, day - MOST_DAYS + 1), day + 1):
        risk.highs[gone % MOST_DAYS] = 0.0
    risk.highs[day % MOST_DAYS] = equity
    risk.recent_high = 0.0
    for back in range(params.high_days):
        risk.recent_high = max(risk.recent_high, risk.highs[(day - back) % MOST_DAYS])
    risk.day = day
    risk.anchor = equity
    risk.reduced = False


@kernel
def note_high(risk: Record) -> None:
    """Take the equity of an hour among those whose highest counts for its day, once that is a day of the past."""
    place = risk.day % MOST_DAYS
    risk.highs[place] = max(risk.highs[place], risk.equity)


@kernel
def quiet_equities(params: Record, risk: Record) -> tuple[float, float]:
    """Lowest and highest equity that `mark` would answer by nothing on the same day, no new high being one."""
    anchor, high = risk.anchor, risk.recent_high
    low = max(anchor * (1.0 - params.halt_day_loss), risk.high * (1.0 - params.halt_drawdown))
    if not risk.reduced:
        low = max(low, anchor * (1.0 - params.reduce_day_loss))
    if risk.drawdown:
        return low, high * (1.0 - params.drawdown_leave)
    return max(low, high * (1.0 - params.drawdown_enter)), np.inf


@kernel
def note_stress(params: Record, risk: Record, share: float, correlation: float, hour: int) -> None:
    """Take the stress share of an hour: above the limit STRESS begins, at or under the lower one it ends.

    It ends too where no share has been known for twice the hours that one is computed over: too few pairs are left.
    """
    risk.stress_share, risk.correlation = share, correlation
    if not np.isnan(share) or risk.stress_hour == 0:
        risk.stress_hour = hour
    if share > params.stress_enter:
        risk.stress = True
    elif share <= params.stress_leave or hour - risk.stress_hour > 2 * params.stress_hours:
        risk.stress = False


@kernel
def deposited(risk: Record, amount: float) -> None:
    """Move the anchors by a deposit (negative: withdrawal), so that loss and drawdown stay the shares they are."""
    _know_high(risk)
    factor = (risk.equity + amount) / risk.equity if risk.equity > 0.0 else 1.0
    risk.anchor = moved(risk.anchor, factor, amount)
    risk.high = moved(risk.high, factor, amount)
    risk.recent_high = moved(risk.recent_high, factor, amount)
    for index in range(MOST_DAYS):
        if risk.highs[index] != 0.0:
            risk.highs[index] = moved(risk.highs[index], factor, amount)
    risk.equity += amount


@kernel
def moved(anchor: float, factor: float, amount: float) -> float:
    """Move an anchor by the factor of a transfer; by its amount where all is taken out, or nothing was there."""
    return anchor * factor if factor > 0.0 and factor != 1.0 else anchor + amount


@kernel
def drawdown_factor(params: Record, risk: Record) -> float:
    """Share of the targets while in DRAWDOWN: clip(1 - (drawdown - 15 %) / 20 %, 0.25, 1); 1 otherwise."""
    if not risk.drawdown:
        return 1.0
    share = 1.0 - (recent_drawdown(risk) - params.drawdown_enter) / params.drawdown_span
    return min(max(share, params.drawdown_least), 1.0)


@kernel
def size_multiplier(params: Record, risk: Record) -> float:
    """Multiplier of sizes: REDUCED and DRAWDOWN by the smaller, times STRESS."""
    reduced = params.reduced_size if risk.reduced else 1.0
    stressed = params.stress_size if risk.stress else 1.0
    return min(reduced, drawdown_factor(params, risk)) * stressed


@kernel
def exposure_cap(params: Record, risk: Record) -> float:
    """Largest exposure as a share of equity."""
    return params.stress_exposure if risk.stress else params.exposure


@kernel
def answer(params: Record, risk: Record, given: int, now: int) -> bool:
    """Take the operator's answer to a halt; none within the time to decide counts as hold. True when it is new."""
    if not risk.halted or risk.answer != HaltAnswer.WAITING:
        return False
    late = now - risk.halted_at >= whole_ms(params.decide_minutes, MINUTE)
    if given == HaltAnswer.WAITING and not late:
        return False
    risk.answer = given if given != HaltAnswer.WAITING else HaltAnswer.HOLD
    return True


@kernel
def resume(risk: Record, now: int, force: bool) -> bool:
    """Open the latch: new anchors at the present equity, REDUCED for the rest of the day.

    Refused, False, when nothing is halted, or when this UTC day has seen a resume and `force` is not given. The
    high is set anew too: else a drawdown beyond the limit would halt again at the next look.
    """
    day = now // DAY
    if not risk.halted or (risk.resumed_day == day and not force):
        return False
    risk.halted = False
    risk.answer = HaltAnswer.WAITING
    risk.anchor = risk.equity
    risk.high = risk.recent_high = risk.equity
    risk.highs[:] = 0.0
    risk.highs[day % MOST_DAYS] = risk.equity
    risk.drawdown = False
    risk.reduced = True
    risk.day = day
    risk.resumed_day = day
    return True


@kernel
def played_answer(params: Record, risk: Record) -> int:
    """What the simulated operator says: by policy, at once or never."""
    return params.halt_policy if risk.halted else HaltAnswer.WAITING


@kernel
def played_resume(params: Record, risk: Record, now: int) -> bool:
    """Whether the simulated operator opens the latch now, `halt_resume_hours` after the halt."""
    due = risk.halted and now - risk.halted_at >= whole_ms(params.halt_resume_hours, HOUR)
    return due and resume(risk, now, False)
