"""Parameters of the whole algorithm, by section, and the one record that its kernels read."""

from __future__ import annotations

from functools import cache
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from bot.parameters import Fraction, Number, Section, Timeframe
from bot.record import new_record
from bot.rollup import TIMEFRAMES
from coordinator.allocation import FAMILIES, PerformanceMeasure
from coordinator.risk import HaltPolicy
from coordinator.router import BearStrategy, Router
from coordinator.vocabulary import Family, Variant
from filters.smc import SmcParameters
from strategies.dca import DcaParameters
from strategies.grid import GridParameters, Spacing
from strategies.trend import Direction, TrendParameters

MOST_PAIRS = 512
VARIANTS = len(Variant)
CAUTION = 0.7
ACCUMULATING_ORDERS = 3


class RegimeParameters(Section):
    """Regime, router and transitions."""

    regime_timeframe: Timeframe = Field("1h", description="length of a regime bar")
    warmup_bars: int = Field(200, ge=60, le=100_000, description="regime bars seen before anything is routed, bars")
    enter_range: Number = Field(18.0, gt=0, lt=100, description="ADX under which a range begins, points")
    exit_range: Number = Field(22.0, gt=0, lt=100, description="ADX above which a range ends, points")
    exit_trend: Number = Field(25.0, gt=0, lt=100, description="ADX under which a trend ends, points")
    enter_trend: Number = Field(32.0, gt=0, lt=100, description="ADX above which a trend begins, points")
    wide_atr_pct: Number = Field(1.0, gt=0, le=100, description="ATR from which a range is wide, % of price")
    volatile_atr_pct: Number = Field(2.0, gt=0, le=100, description="ATR from which a transition is volatile, %")
    atr_band: Fraction = Field(0.10, ge=0, lt=1, description="band around the ATR limits, fraction of the limit")
    direction_band: Fraction = Field(0.001, ge=0, lt=1, description="EMA divergence that turns a trend, fraction")
    confirmations: int = Field(3, ge=1, le=100, description="regime bars in a row that confirm a candidate, bars")
    router: Router = Field(Router.REGIME, description="regime, or always grid, dca or trend as configured")
    bear_strategy: BearStrategy = Field(BearStrategy.DCA, description="dca, trend_short or cash in a falling market")
    min_regime_hours: Number = Field(4.0, ge=0, le=10_000, description="least time between two switches, hours")
    transition_hours: Number = Field(2.0, ge=0, le=10_000, description="time a position gets to leave by itself, hours")
    transition_stop: Number = Field(2.0, gt=0, le=50, description="stop during a transition, ATRs")
    transition_target: Number = Field(1.0, gt=0, le=50, description="target during a transition, ATRs")

    @model_validator(mode="after")
    def _hysteresis(self) -> Self:
        if not self.enter_range < self.exit_range <= self.exit_trend < self.enter_trend:
            raise ValueError(
                f"enter_range ({self.enter_range:g}) < exit_range ({self.exit_range:g}) <= exit_trend "
                f"({self.exit_trend:g}) < enter_trend ({self.enter_trend:g}) must hold; move the one that breaks it"
            )
        return self


class AllocationParameters(Section):
    """Capital between the pairs."""

    rebalance_hours: Number = Field(4.0, gt=0, le=10_000, description="time between two allocations, hours")
    rebalance_change: Fraction = Field(
        0.05, gt=0, le=1, description="change of equity that allocates at once, fraction"
    )
    reserve: Fraction = Field(0.15, ge=0, lt=1, description="share of the equity never allocated, fraction")
    pair_cap: Fraction = Field(0.25, gt=0, le=1, description="most of the pool for one pair, fraction; at least 1/N")
    strategy_cap: Fraction = Field(0.40, gt=0, le=1, description="most of the pool for one strategy; at least 1/N")
    fill_pool: bool = Field(False, description="pour what the caps take over the other pairs")
    performance_measure: PerformanceMeasure = Field(PerformanceMeasure.PROFIT_FACTOR, description="or win_rate")
    performance_days: Number = Field(30.0, gt=0, le=10_000, description="age of trades that count, days")
    least_trades: int = Field(10, ge=1, le=30, description="closed trades before they count, of the last 30")
    probation: Fraction = Field(0.3, ge=0, le=1, description="performance of a pair that comes back, factor")
    probation_hours: Number = Field(72.0, ge=0, le=100_000, description="time at zero before it comes back, hours")
    weights: dict[str, float] = Field({}, description="weight of each pair by its symbol; default equal")


class RiskParameters(Section):
    """Limits of a pair and of the account."""

    pair_day_loss: Fraction = Field(0.03, gt=0, le=1, description="loss of a day that pauses a pair, of its target")
    protective_stop: Fraction = Field(0.20, gt=0, lt=1, description="stop of a position without one, from its average")
    losing_trades: int = Field(3, ge=1, le=1000, description="losing trades in a row that pause a pair")
    losing_pause_hours: Number = Field(2.0, ge=0, le=10_000, description="pause after losing trades, hours")
    reduce_day_loss: Fraction = Field(0.05, gt=0, le=1, description="day's loss that enters REDUCED, of the day's open")
    halt_day_loss: Fraction = Field(0.10, gt=0, le=1, description="day's loss that halts, of the day's opening equity")
    halt_drawdown: Fraction = Field(0.30, gt=0, le=1, description="drawdown that halts, fraction of the high")
    reduced_size: Fraction = Field(0.5, gt=0, le=1, description="size in REDUCED, factor")
    stress_size: Fraction = Field(0.5, gt=0, le=1, description="size in STRESS, factor")
    exposure: Number = Field(0.70, gt=0, le=125, description="largest exposure, fraction of equity")
    stress_exposure: Number = Field(0.40, gt=0, le=125, description="largest exposure in STRESS, fraction of equity")
    group_exposure: Number = Field(0.30, gt=0, le=125, description="largest exposure of one group, of the pool")
    groups: dict[str, str] = Field({}, description="correlation group of each pair by its symbol; default measured")
    stress_correlation: Fraction = Field(0.8, ge=-1, le=1, description="correlation that counts as high")
    stress_hours: int = Field(24, ge=2, le=720, description="hourly returns of the correlation")
    stress_least: int = Field(20, ge=2, le=720, description="hourly returns that must be known")
    stress_enter: Fraction = Field(0.6, ge=0, le=1, description="share of pairs-of-pairs that enters STRESS")
    stress_leave: Fraction = Field(0.5, ge=0, le=1, description="share at which STRESS ends")
    drawdown_enter: Fraction = Field(0.15, gt=0, le=1, description="drawdown that enters DRAWDOWN")
    drawdown_leave: Fraction = Field(0.12, ge=0, le=1, description="drawdown at which DRAWDOWN ends")
    drawdown_span: Fraction = Field(0.20, gt=0, le=1, description="drawdown beyond that takes the targets to zero")
    drawdown_least: Fraction = Field(0.25, ge=0, le=1, description="least share of the targets in DRAWDOWN")
    overcommitted: Fraction = Field(0.90, gt=0, le=10, description="reserved share of equity that withdraws entries")
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


class AlgorithmParameters(BaseModel):
    """Every section of the whole algorithm."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    auto: RegimeParameters = RegimeParameters()
    allocation: AllocationParameters = AllocationParameters()
    risk: RiskParameters = RiskParameters()
    smc: SmcParameters = SmcParameters()
    grid: GridParameters = GridParameters()
    dca: DcaParameters = DcaParameters()
    trend: TrendParameters = TrendParameters()

    def timeframes(self) -> tuple[int, ...]:
        """Every length of bar that somebody waits for, ms, ascending."""
        named = {self.auto.regime_timeframe, self.grid.timeframe, self.dca.timeframe, self.trend.timeframe, "1h"}
        if self.smc.enabled:
            named.add("4h")
        return tuple(sorted(TIMEFRAMES[name] for name in named))

    @property
    def warmup_ms(self) -> int:
        """How much is to be seen before the first entry, ms."""
        signal = max(one.warmup_bars * one.timeframe_ms for one in (self.grid, self.dca, self.trend))
        return max(signal, self.auto.warmup_bars * TIMEFRAMES[self.auto.regime_timeframe])

    def variants(self) -> tuple[list[Any], list[Any], list[Any]]:
        """Parameters of grid, DCA and trend by variant; one that means nothing to a strategy is as configured."""
        grids: list[GridParameters] = [self.grid] * VARIANTS
        grids[Variant.ARITHMETIC] = self.grid.changed(spacing=Spacing.ARITHMETIC)
        grids[Variant.GEOMETRIC] = self.grid.changed(spacing=Spacing.GEOMETRIC)
        grids[Variant.CAUTIOUS] = self.grid.changed(
            levels=max(2, round(self.grid.levels * CAUTION)), range_factor=self.grid.range_factor * CAUTION
        )
        deals: list[DcaParameters] = [self.dca] * VARIANTS
        few = self.dca.changed(max_safety_orders=min(self.dca.max_safety_orders, ACCUMULATING_ORDERS))
        deals[Variant.CAUTIOUS] = deals[Variant.ACCUMULATE] = few
        trends: list[TrendParameters] = [self.trend] * VARIANTS
        trends[Variant.LONG] = self.trend.changed(direction=Direction.LONG)
        trends[Variant.SHORT] = self.trend.changed(direction=Direction.SHORT)
        return grids, deals, trends

    def record(self, pairs: list[str]) -> Any:
        """Build the kernels' view for these pairs: one record of `dtype()`."""
        record = new_record(dtype())
        for section in (self.auto, self.allocation, self.risk):
            values = section.record()
            for name in values.dtype.names:
                record[name] = values[name]
        record["smc"] = self.smc.record()
        for name, variants in zip(("grid", "dca", "trend"), self.variants(), strict=True):
            for index, one in enumerate(variants):
                record[name][index] = one.record()
        record.sizes[:] = 1.0
        record.sizes[Family.DCA, Variant.CAUTIOUS] = 0.5
        record.sizes[Family.DCA, Variant.ACCUMULATE] = 0.5
        for index, name in enumerate(("grid", "dca", "trend")):
            record.timeframes[index] = getattr(self, name).timeframe_ms
            record.warmups[index] = getattr(self, name).warmup_bars
        names = list(dict.fromkeys(self.risk.groups.values()))
        record.grouped = bool(names)
        for index, pair in enumerate(pairs):
            record.weights[index] = self.allocation.weights.get(pair, 0.0 if self.allocation.weights else 1.0)
            record.groups[index] = names.index(self.risk.groups[pair]) if pair in self.risk.groups else -1
        return record


@cache
def dtype() -> np.dtype[Any]:
    """Layout of the one record: the sections' numbers side by side, the strategies' by variant."""
    own = [
        (name, section.dtype()[name])
        for section in (RegimeParameters, AllocationParameters, RiskParameters)
        for name in section.dtype().names or ()
    ]
    return np.dtype(
        [
            *own,
            ("smc", SmcParameters.dtype()),
            ("grid", GridParameters.dtype(), (VARIANTS,)),
            ("dca", DcaParameters.dtype(), (VARIANTS,)),
            ("trend", TrendParameters.dtype(), (VARIANTS,)),
            ("sizes", "f8", (FAMILIES, VARIANTS)),
            ("timeframes", "i8", (FAMILIES,)),
            ("warmups", "i8", (FAMILIES,)),
            ("weights", "f8", (MOST_PAIRS,)),
            ("groups", "i8", (MOST_PAIRS,)),
            ("grouped", "b1"),
        ]
    )
