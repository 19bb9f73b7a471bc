"""Parameters of the whole algorithm, by section, and the one record that its kernels read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bot.gate import with_gate
from bot.inputs import LONG_BLOCK
from bot.parameters import Fraction, Number, Parameters, Section, Timeframe
from bot.record import new_record
from bot.rollup import TIMEFRAMES
from bot.strategy import Strategy
from coordinator.allocation import MOST_PERFORMANCE_DAYS, UNPROVEN, Performance, PerformanceMeasure
from coordinator.columns import Asked, inputs_by_variant, inputs_start
from coordinator.regime import Regime
from coordinator.risk import MOST_DAYS, HaltPolicy
from coordinator.roster import BUILT_IN, Roster, all_variants, parameter_fields
from coordinator.router import BEAR, BY_REGIME, CASH, FORBIDDEN, ROUTES, BearStrategy
from coordinator.vocabulary import NO_STRATEGY, Never, Variant
from filters.smc import SmcParameters
from strategies.dca_parameters import DcaParameters
from strategies.grid import GridParameters
from strategies.trend import TrendParameters

MOST_PAIRS = 512
# A fraction that no loss, share or reserve comes to; finite, since nothing times infinity is no number.
UNREACHABLE = 1e9


class RegimeParameters(Section):
    """Regime, router and transitions."""

    preset: str | None = Field(None, description="name of a preset whose values stand for those not given: classic")
    regime_timeframe: Timeframe = Field("4h", description="length of a regime bar")
    warmup_bars: int = Field(60, ge=60, le=100_000, description="regime bars seen before anything is routed, bars")
    enter_range: Number = Field(18.0, gt=0, lt=100, description="ADX under which a range begins, points")
    exit_range: Number = Field(22.0, gt=0, lt=100, description="ADX above which a range ends, points")
    exit_trend: Number = Field(25.0, gt=0, lt=100, description="ADX under which a trend ends, points")
    enter_trend: Number = Field(32.0, gt=0, lt=100, description="ADX above which a trend begins, points")
    wide_atr_pct: Number = Field(1.0, gt=0, le=100, description="ATR from which a range is wide, % of price")
    volatile_atr_pct: Number = Field(2.0, gt=0, le=100, description="ATR from which a transition is volatile, %")
    atr_band: Fraction = Field(0.10, ge=0, lt=1, description="band around the ATR limits, fraction of the limit")
    direction_band: Fraction = Field(0.001, ge=0, lt=1, description="EMA divergence that turns a trend, fraction")
    confirmations: int = Field(3, ge=1, le=100, description="regime bars in a row that confirm a candidate, bars")
    router: str = Field("trend", description="regime, or always one strategy as it is configured, by its name")
    routes: dict[str, str] = Field({}, description="strategy by regime, such as tight_range: grid; cash for none")
    bear_strategy: BearStrategy = Field(BearStrategy.DCA, description="dca, trend_short or cash in a falling market")
    min_regime_hours: Number = Field(4.0, ge=0, le=10_000, description="least time between two switches, hours")
    transition_hours: Number = Field(
        2.0, ge=0, le=10_000, description="time a position gets to reach its stop or target, hours"
    )
    transition_stop: Number = Field(2.0, gt=0, le=50, description="stop during a transition, ATRs")
    transition_target: Number = Field(1.0, gt=0, le=50, description="target during a transition, ATRs")
    transition_costs: Number = Field(
        1.0, ge=0, le=1000, description="a transition waits while staying risks less than so many closing costs; 0: off"
    )
    expected_slippage: Fraction = Field(
        0.0001, ge=0, le=0.1, description="slippage of closing that transitions reckon with, fraction"
    )

    @model_validator(mode="before")
    @classmethod
    def _routes_are_meant(cls, values: Any) -> Any:
        """Take a config that says what regimes call for as one of a router by regime."""
        says = isinstance(values, dict) and (values.get("routes") or values.get("bear_strategy"))
        return {"router": BY_REGIME, **values} if says else values

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        if not self.enter_range < self.exit_range <= self.exit_trend < self.enter_trend:
            raise ValueError(
                f"enter_range ({self.enter_range:g}) < exit_range ({self.exit_range:g}) <= exit_trend "
                f"({self.exit_trend:g}) < enter_trend ({self.enter_trend:g}) must hold; move the one that breaks it"
            )
        known = [regime.name.lower() for regime in ROUTES]
        unknown = next((name for name in self.routes if name not in known), None)
        if unknown is not None:
            raise ValueError(f"routes names {unknown[:200]!r}, which is no regime; choose of {', '.join(known)}")
        return self


class AllocationParameters(Section):
    """Capital between the pairs."""

    rebalance_hours: Number = Field(4.0, gt=0, le=10_000, description="time between two allocations, hours")
    rebalance_change: Fraction = Field(
        0.05, gt=0, le=1, description="change of equity that allocates at once, fraction"
    )
    reserve: Fraction = Field(0.15, ge=0, lt=1, description="share of the equity never allocated, fraction")
    pair_cap: Fraction = Field(0.25, gt=0, le=1, description="most of the pool for one pair, fraction; at least 1/N")
    strategy_cap: Fraction = Field(1.0, gt=0, le=1, description="most of the pool for one strategy; at least 1/N")
    fill_pool: bool = Field(False, description="pour what the caps take over the other pairs")
    performance: Performance = Field(
        Performance.MONEY, description="money (profit of the last days) or classic (steps by closed trades)"
    )
    performance_days: Number = Field(
        30.0, gt=0, le=10_000, description="days that count; money: whole ones, at most 120"
    )
    performance_span: Fraction = Field(
        0.05,
        gt=0,
        le=10,
        description="money: profit that gives the most, loss that gives the least, of the mean target",
    )
    performance_least: Fraction = Field(0.3, gt=0, le=UNPROVEN, description="money: least performance, factor")
    performance_most: Number = Field(1.2, ge=UNPROVEN, le=10, description="money: largest performance, factor")
    performance_step: Number = Field(
        0.2, gt=0, le=10, description="money: most that performance moves in a day, factor"
    )
    performance_measure: PerformanceMeasure = Field(
        PerformanceMeasure.PROFIT_FACTOR, description="classic: profit_factor or win_rate"
    )
    least_trades: int = Field(10, ge=1, le=30, description="closed trades before they count, of the last 30")
    probation: Fraction = Field(0.3, ge=0, le=1, description="classic: performance of a pair that comes back, factor")
    probation_hours: Number = Field(
        72.0, ge=0, le=100_000, description="classic: time at zero before it comes back, hours"
    )
    weights: dict[str, float] = Field({}, description="weight of each pair by its symbol; default equal")

    @model_validator(mode="after")
    def _days_are_remembered(self) -> Self:
        if self.performance is Performance.MONEY and self.performance_days > MOST_PERFORMANCE_DAYS:
            raise ValueError(
                f"performance_days is {self.performance_days:g} but money is remembered for {MOST_PERFORMANCE_DAYS} "
                "days; choose fewer, or performance: classic"
            )
        return self


class RiskParameters(Section):
    """Limits of a pair and of the account."""

    pair_day_loss: Fraction = Field(0.10, gt=0, le=1, description="loss of a day that pauses a pair, of its target")
    protective_stop: Fraction = Field(0.20, gt=0, lt=1, description="stop of a position without one, from its average")
    losing_trades: int = Field(3, ge=1, le=1000, description="losing trades in a row that pause a pair")
    losing_pause_hours: Number = Field(2.0, ge=0, le=10_000, description="pause after losing trades, hours")
    reduce_day_loss: Fraction = Field(0.05, gt=0, le=1, description="day's loss that enters REDUCED, of the day's open")
    halt_day_loss: Fraction = Field(0.10, gt=0, le=1, description="day's loss that halts, of the day's opening equity")
    halt_drawdown: Fraction = Field(0.30, gt=0, le=1, description="drawdown that halts, of the all-time high")
    reduced_size: Fraction = Field(0.5, gt=0, le=1, description="size in REDUCED, factor")
    stress_size: Fraction = Field(0.5, gt=0, le=1, description="size in STRESS, factor")
    exposure: Number = Field(0.70, gt=0, le=125, description="largest exposure, fraction of equity")
    stress_exposure: Number = Field(0.40, gt=0, le=125, description="largest exposure in STRESS, fraction of equity")
    group_exposure: Number = Field(0.30, gt=0, le=125, description="largest exposure of one group, of the pool")
    max_open_pairs: int | None = Field(
        None, ge=1, le=MOST_PAIRS, description="pairs with a position or entries at once; the others wait; default all"
    )
    groups: dict[str, str] = Field({}, description="correlation group of each pair by its symbol; default measured")
    stress_correlation: Fraction = Field(0.8, ge=-1, le=1, description="correlation that counts as high")
    stress_hours: int = Field(24, ge=2, le=720, description="hourly returns of the correlation")
    stress_least: int = Field(20, ge=2, le=720, description="hourly returns that must be known")
    stress_enter: Fraction = Field(0.6, ge=0, le=1, description="share of pairs-of-pairs that enters STRESS")
    stress_leave: Fraction = Field(0.5, ge=0, le=1, description="share at which STRESS ends")
    high_days: int = Field(90, ge=1, le=MOST_DAYS - 1, description="days whose highest equity DRAWDOWN looks at, days")
    drawdown_enter: Fraction = Field(0.15, gt=0, le=1, description="fall under it that enters DRAWDOWN")
    drawdown_leave: Fraction = Field(0.12, ge=0, le=1, description="fall under it at which DRAWDOWN ends")
    drawdown_span: Fraction = Field(0.20, gt=0, le=1, description="drawdown beyond that takes the targets to zero")
    drawdown_least: Fraction = Field(0.25, ge=0, le=1, description="least share of the targets in DRAWDOWN")
    overcommitted: Fraction = Field(0.90, gt=0, le=10, description="reserved share of equity that cancels entries")
    decide_minutes: Number = Field(30.0, ge=0, le=10_000, description="time the operator has after a halt, minutes")
    hold_stop: Number = Field(1.5, gt=0, le=50, description="stop when a halt holds, ATRs")
    halt_policy: HaltPolicy = Field(HaltPolicy.NONE, description="the simulated operator: none, hold, close_all …")
    halt_resume_hours: Number = Field(24.0, gt=0, le=1e6, description="when the simulated operator resumes, hours")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for low, high in (
            ("reduce_day_loss", "halt_day_loss"),
            ("drawdown_leave", "drawdown_enter"),
            ("drawdown_enter", "halt_drawdown"),
            ("stress_leave", "stress_enter"),
        ):
            if getattr(self, low) > getattr(self, high):
                raise ValueError(f"{low} ({getattr(self, low):g}) must not exceed {high} ({getattr(self, high):g})")
        return self


@dataclass(frozen=True)
class Alone:
    """What a bot of one strategy is told of it: no router, and a fixed share of the capital for every pair.

    `capital`, quote currency, is the most that all pairs together use; infinite where results are reinvested.
    `allocated`: the config has a section `allocation`, by which the pairs share instead; `limited`: a section `risk`.
    """

    strategy: str
    capital: float = math.inf
    allocated: bool = False
    limited: bool = False


@dataclass(frozen=True)
class Own:
    """A strategy of the user's: where it was found, and how it is configured."""

    reference: str
    strategy: Strategy
    parameters: Parameters


# Sections of the built-in strategies in the order of their roster.
SECTIONS = tuple(one.name for one in BUILT_IN)
SHARED_SECTIONS = ("auto", "allocation", "risk", "smc")


class AlgorithmParameters(BaseModel):
    """Every section of the whole algorithm."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    auto: RegimeParameters = RegimeParameters()
    allocation: AllocationParameters = AllocationParameters()
    risk: RiskParameters = RiskParameters()
    smc: SmcParameters = SmcParameters()
    grid: GridParameters = GridParameters()
    dca: DcaParameters = DcaParameters()
    trend: TrendParameters = TrendParameters()
    own: tuple[Own, ...] = Field((), exclude=True)
    alone: Alone | None = Field(None, exclude=True)

    @model_validator(mode="after")
    def _known(self) -> Self:
        self.roster.check_names()
        inputs_by_variant(self.asked())  # which checks every input
        known = {**{name: name for name in self.roster.names}, **{one.reference: one.strategy.name for one in self.own}}
        if self.alone is not None:  # who has no router
            return self
        places = {"auto.router": self.auto.router} if self.auto.router != BY_REGIME else {}
        places.update({f"auto.routes.{regime}": name for regime, name in self.auto.routes.items() if name != CASH})
        for place, name in places.items():
            if name not in known:
                raise ValueError(f"{place} is {name[:200]!r}; choose one of {', '.join(known)}, or FILE.py:NAME")
        return self

    @property
    def roster(self) -> Roster:
        """The strategies that may trade, as they are configured: the built-in ones and the user's, or these alone."""
        return Roster(tuple(strategy for strategy, _ in self._both()))

    def _both(self) -> list[tuple[Strategy, Any]]:
        """Each strategy that may trade, as its parameters have it, with them."""
        both = [(one.strategy, one.parameters) for one in self.own]
        if self.alone is None or self.alone.strategy in SECTIONS:
            both = [*((one, getattr(self, one.name)) for one in BUILT_IN), *both]
        return [(with_gate(strategy, parameters), parameters) for strategy, parameters in both]

    @property
    def fixed_shares(self) -> bool:
        """Whether every pair has a fixed share of the account."""
        return self.alone is not None and not self.alone.allocated

    def fixed_share(self, pair: str, count: int) -> float:
        """Share of the account that one of `count` pairs has where shares are fixed: by its weight, else equal."""
        weights = self.allocation.weights
        return weights.get(pair, 0.0) / self._open_weights(count) if weights else 1.0 / self._open_weights(count)

    def _open_weights(self, count: int) -> float:
        """Most that the weights of those of `count` pairs sum to that may be open at once."""
        weights = sorted(self.allocation.weights.values(), reverse=True) or [1.0] * count
        return sum(weights[: self.risk.max_open_pairs])

    def configured(self) -> list[Any]:
        """Parameters of the roster's strategies as they are configured."""
        return [parameters for _, parameters in self._both()]

    def trading(self) -> list[tuple[Strategy, Any]]:
        """Those strategies that may ever be called for, with their parameters."""
        return [(one, own) for one, own in self._both() if self.alone is None or one.name == self.alone.strategy]

    def timeframes(self) -> tuple[int, ...]:
        """Every length of bar that somebody waits for, ms, ascending."""
        lengths = {TIMEFRAMES[self.auto.regime_timeframe], TIMEFRAMES["1h"]}
        lengths.update(one.timeframe_ms for one in self.configured())
        if self.smc.enabled:
            lengths.add(TIMEFRAMES["4h"])
        return tuple(sorted(lengths))

    def asked(self) -> list[Asked]:
        """Every strategy of the roster with its parameters by variant, as inputs are computed for them."""
        variants = ([one for one, _ in own] for own in self.variants())
        return list(zip(self.roster.strategies, variants, strict=True))

    @property
    def warmup_ms(self) -> int:
        """How much is to be seen before the first entry, ms; a strategy alone waits for no regime."""
        signal = max(one.warmup_bars * one.timeframe_ms for _, one in self.trading())
        if self.alone is not None:
            return int(signal)
        return int(max(signal, self.auto.warmup_bars * TIMEFRAMES[self.auto.regime_timeframe]))

    def history_start(self, start: int) -> int:
        """Time from which base bars are needed so that trading can begin at `start`, ms."""
        return min(start - self.warmup_ms, inputs_start(self.asked(), start))

    @property
    def most_history_ms(self) -> int:
        """How much history is needed at most, whatever the start, ms."""
        return max(start - self.history_start(start) for start in (0, LONG_BLOCK - 1))

    def variants(self) -> list[list[tuple[Any, float]]]:
        """Parameters and share of the sizes of every strategy by variant."""
        return [all_variants(*both) for both in zip(self.roster.strategies, self.configured(), strict=True)]

    def record(self, pairs: list[str]) -> Any:
        """Build the kernels' view for these pairs: one record of `dtype` of the roster."""
        roster = self.roster
        record = new_record(dtype(roster.strategies))
        for section in (self.auto, self.allocation, self.risk):
            values = section.record()
            for name in values.dtype.names:
                record[name] = values[name]
        record["smc"] = self.smc.record()
        for family, variants in enumerate(self.variants()):
            configured, strategy = variants[Variant.CONFIGURED][0], roster.strategies[family]
            for index, (one, size) in enumerate(variants):
                record[strategy.name][index] = one.record()
                record.sizes[family, index] = size
            record.timeframes[family], record.warmups[family] = configured.timeframe_ms, configured.warmup_bars
            record.judged_as[family], record.own_stop[family] = strategy.judged_as, strategy.own_stop
            record.at_once[family] = strategy.at_once(configured)
        self._route(record)
        record.open_weights = self._open_weights(len(pairs))
        names = list(dict.fromkeys(self.risk.groups.values()))
        record.grouped = bool(names)
        for index, pair in enumerate(pairs):
            record.weights[index] = self.allocation.weights.get(pair, 0.0 if self.allocation.weights else 1.0)
            record.groups[index] = names.index(self.risk.groups[pair]) if pair in self.risk.groups else -1
        return record

    def _route(self, record: Any) -> None:
        """Fill in whom the router calls for, and when."""
        roster = self.roster
        families = {**{name: roster.family(name) for name in roster.names}, CASH: NO_STRATEGY}
        families.update({one.reference: roster.family(one.strategy.name) for one in self.own})
        record.pinned = families.get(self.auto.router, NO_STRATEGY)
        record.capital = math.inf
        if self.alone is not None:
            record.solo, record.fixed_shares = True, self.fixed_shares
            record.pinned, record.capital = families[self.alone.strategy], self.alone.capital
            return
        for regime, (name, variant) in {**ROUTES, Regime.BEAR_TREND: BEAR[self.auto.bear_strategy]}.items():
            called = families[self.auto.routes.get(regime.name.lower(), name)]
            record.calls[regime] = called, variant
            for forbidden in SECTIONS:
                if families[forbidden] != called:
                    record.never[regime, families[forbidden]] = FORBIDDEN.get((regime, forbidden), Never.ALLOWED)


def unlimited(risk: RiskParameters) -> RiskParameters:
    """Take away every limit of losses and exposure, and leave what protects a position and how many pairs are open."""
    losses = ("pair_day_loss", "reduce_day_loss", "halt_day_loss", "halt_drawdown", "drawdown_enter")
    return risk.model_copy(
        update={
            **dict.fromkeys((*losses, "stress_enter", "overcommitted"), UNREACHABLE),
            **dict.fromkeys(("exposure", "stress_exposure", "group_exposure"), math.inf),
            "losing_trades": np.iinfo(np.int64).max,
        }
    )


@cache
def dtype(strategies: tuple[Strategy, ...] = BUILT_IN) -> np.dtype[Any]:
    """Layout of the one record: the sections' numbers side by side, the strategies' by variant."""
    sections = (RegimeParameters.dtype(), AllocationParameters.dtype(), RiskParameters.dtype())
    return np.dtype(
        [
            *((name, section[name]) for section in sections for name in section.names or ()),
            ("smc", SmcParameters.dtype()),
            *parameter_fields(strategies),
            ("pinned", "i8"),  # family that trades whatever the regime, or NO_STRATEGY
            ("solo", "b1"),  # one strategy trades, without router
            ("fixed_shares", "b1"),  # every pair has a fixed share of the account
            ("capital", "f8"),  # the most that fixed shares are taken of, quote currency
            ("weights", "f8", (MOST_PAIRS,)),
            ("open_weights", "f8"),  # the most that those of the pairs sum to that may be open at once
            ("groups", "i8", (MOST_PAIRS,)),
            ("grouped", "b1"),
        ]
    )
