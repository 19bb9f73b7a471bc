"""Capital phases: how much of its capital a live bot uses, until it has shown that more may be entrusted to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bot.candles import parse_time
from bot.parameters import Fraction, Number
from bot.times import DAY
from coordinator.operator import CommandKind, CommandRejected

if TYPE_CHECKING:
    from coordinator.bot_status import AccountStatus, CapitalPhaseStanding, CapitalPhaseStatus
    from coordinator.operator import OperatorCommand

SAME_SHARE = 1e-9


class CapitalPhases(BaseModel):
    """The section `bot.capital_phases`: the shares, and what each asks for before the next."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shares: tuple[Fraction, ...] = Field(
        (0.05, 0.25, 1.0), min_length=2, max_length=20, description="of the capital, phase by phase, the last 100 %"
    )
    days: Number = Field(14.0, ge=0, le=3650, description="least days in a phase")
    trades: int = Field(20, ge=0, le=1_000_000, description="least closed trades in a phase")
    drawdown: Fraction = Field(
        0.10, gt=0, lt=1, description="deepest fall, of the capital at work; beyond it the phase before begins again"
    )
    drift_bps: Number | None = Field(
        10.0, gt=0, le=1e4, description="most drift against simulation, bps of what was traded; null asks for none"
    )
    chaos_kills: int = Field(100, ge=0, le=1_000_000, description="least kills of a passed `traderagent chaos`")

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.shares) != sorted(set(self.shares)) or self.shares[0] <= 0.0 or self.shares[-1] != 1.0:
            told = ", ".join(f"{share:.0%}" for share in self.shares)
            raise ValueError(f"shares are {told}; let them rise from above 0 % to 100 %")
        return self

    def number_of(self, share: float) -> int:
        """Index of the phase with this share of the capital, or of the largest below it; the first where none is."""
        return max(sum(one <= share + SAME_SHARE for one in self.shares) - 1, 0)


class PhaseEvidence(NamedTuple):
    """What is known of a bot besides its account."""

    drift_bps: float | None  # as measured last; None: never
    kills: int  # of the longest passed chaos run of its strategy


def standing_of(
    phases: CapitalPhases | None, account: AccountStatus, evidence: PhaseEvidence
) -> CapitalPhaseStanding | None:
    """How far the phase is from the next; None where there is none."""
    seen = account["capital_phase"]
    if phases is None or seen is None:
        return None
    number = phases.number_of(seen["share"])
    now = seen["since"] if account["at"] is None else parse_time(account["at"])
    short = missing(phases, seen, evidence, now) if number + 1 < len(phases.shares) else []
    return {**seen, "number": number + 1, "of": len(phases.shares), "missing": short}


def due_share(phases: CapitalPhases, seen: CapitalPhaseStatus) -> float:
    """Share of the phase that has to begin now: after too deep a fall, or under other shares; 0 for none."""
    number = phases.number_of(seen["share"])
    if seen["drawdown"] > phases.drawdown and number > 0:
        return phases.shares[number - 1]
    return 0.0 if abs(phases.shares[number] - seen["share"]) < SAME_SHARE else phases.shares[number]


def next_share(phases: CapitalPhases, standing: CapitalPhaseStanding, said: OperatorCommand) -> float:
    """Share of the phase that the operator asks for; raises CommandRejected with what is missing for it.

    Back from the first phase, that phase begins anew.
    """
    at = standing["number"] - 1
    if said.kind is CommandKind.PHASE_DOWN:
        return phases.shares[max(at - 1, 0)]
    if at + 1 == len(phases.shares):
        raise CommandRejected("all of the capital is at work already.")
    if standing["missing"] and not said.force:
        raise CommandRejected(
            f"the phase of {phases.shares[at + 1]:.0%} asks for {'; '.join(standing['missing'])}; "
            "wait, or say --force to go on without."
        )
    return phases.shares[at + 1]


def missing(phases: CapitalPhases, seen: CapitalPhaseStatus, evidence: PhaseEvidence, now: int) -> list[str]:
    """Say what is missing for the next phase, one sentence part each; `now` is the market's time, ms."""
    days = (now - seen["since"]) / DAY
    drift = evidence.drift_bps
    asked = (
        (days >= phases.days, f"{days:.1f} of {phases.days:g} days"),
        (seen["trades"] >= phases.trades, f"{seen['trades']} of {phases.trades} closed trades"),
        (
            seen["drawdown"] <= phases.drawdown,
            f"a drawdown of at most {phases.drawdown:.0%} of the capital at work, it was {seen['drawdown']:.1%}",
        ),
        (
            phases.drift_bps is None or (drift is not None and drift <= phases.drift_bps),
            f"a drift of at most {phases.drift_bps:g} bps, "
            + ("`traderagent drift` has measured none" if drift is None else f"it was {drift:.1f}")
            if phases.drift_bps is not None
            else "",
        ),
        (
            evidence.kills >= phases.chaos_kills,
            f"a passed `traderagent chaos` of this strategy with {phases.chaos_kills} kills"
            + (f", the longest had {evidence.kills}" if evidence.kills else ""),
        ),
    )
    return [sentence for met, sentence in asked if not met]
