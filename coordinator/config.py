"""What a bot or a backtest is asked: one validated model, from a file, a dict or options, and back to a file.

The strategy's parameters stand in a section with the strategy's name (`grid:`). A mistake becomes one
sentence that names the field, the value and the remedy.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializeAsAny,
    field_validator,
    model_validator,
)

from bot.candles import iso, parse_time
from bot.errors import Misconfigured
from bot.instrument import Market
from bot.parameters import Fraction, Number, Parameters
from bot.strategy import Strategy, load_strategy
from bot.validation import validated
from coordinator.config_file import AUTO, BUILT_IN, config_values, refuse_unknown
from coordinator.parameters import MOST_PAIRS, AlgorithmParameters
from coordinator.router import BearStrategy

Source = Any  # a config, a dict, or the path of a YAML file


class FillRule(StrEnum):
    """When a resting limit fills: the price went through it by a tick, or touched it."""

    THROUGH = "through"
    TOUCH = "touch"


class BarPath(StrEnum):
    """Which extreme of a bar comes first."""

    ADVERSE = "adverse"
    NEAREST = "nearest"


class FillPolicy(StrEnum):
    """Where an order decided at a close and taking liquidity fills."""

    NEXT_OPEN = "next_open"
    CLOSE = "close"


class Execution(BaseModel):
    """The rules of the simulated exchange; docs/execution.md has them in full."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fill_rule: FillRule = Field(FillRule.THROUGH, description="through (by a tick) or touch")
    path: BarPath = Field(BarPath.ADVERSE, description="adverse or nearest extreme first")
    fill_policy: FillPolicy = Field(FillPolicy.NEXT_OPEN, description="next_open or close")
    slippage_bps: Number = Field(1.0, ge=0, le=1000, description="taker slippage, basis points")
    slippage_impact: Number = Field(0.0, ge=0, le=10, description="slippage per share of the volume, fraction")
    forced_exit_bps: Number = Field(5.0, ge=0, le=1000, description="extra slippage of forced exits, basis points")
    max_participation: Fraction = Field(1.0, gt=0, le=1, description="share of a bar's volume filled, fraction")
    funding_rate: Fraction = Field(0.0001, ge=-0.05, le=0.05, description="paid by longs every 8 h, fraction")


def _time(value: Any) -> Any:
    """Accept whatever `parse_time` reads; keep it as epoch milliseconds."""
    return parse_time(str(value)) if value is not None else None


Time = Annotated[int, BeforeValidator(_time)]


class RunConfig(BaseModel):
    """What every backtest is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)

    version: Literal[1] = Field(1, description="version of this file's format")
    strategy: str = Field(description="grid, dca, trend, auto, or module:NAME of your own")
    exchange: str = Field("bybit", description="whose candles: a venue's name, or synth")
    market: Market = Field(Market.LINEAR, description="spot or linear")
    start: Time | None = Field(None, alias="from", description="first minute that may trade, UTC")
    end: Time | None = Field(None, alias="to", description="end of the period, not included, UTC")
    capital: Number = Field(10_000.0, gt=0, le=1e12, description="initial capital, quote currency")
    leverage: Number = Field(1.0, ge=1, le=125, description="leverage, linear only")
    execution: Execution = Field(Execution(), description="rules of the simulated exchange")

    def _plain(self, *left_out: str) -> dict[str, Any]:
        plain = self.model_dump(mode="json", by_alias=True, exclude=set(left_out), exclude_none=True)
        for key in ("from", "to"):
            if key in plain:
                plain[key] = iso(plain[key])
        return plain

    def document(self) -> dict[str, Any]:
        """Plain dict for a YAML file: reading it back gives this config."""
        return self._plain()

    def changed(self, **values: Any) -> Self:
        """Return a copy with `values` replaced, validated again."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**fields, **values})


class BacktestConfig(RunConfig):
    """Everything that decides the result of one strategy on one pair."""

    pair: str = Field(min_length=2, description="symbol at the venue, such as BTCUSDT")
    reinvest: bool = Field(False, description="size by present equity instead of the initial capital")
    candles: Path | None = Field(None, description="a candle file instead of the store")
    instrument: dict[str, Any] | None = Field(None, description="fields of the instrument, over the known ones")
    parameters: SerializeAsAny[Parameters] = Field(description="the strategy's own section")
    loaded: Strategy = Field(exclude=True)

    def document(self) -> dict[str, Any]:
        """Plain dict for a YAML file: reading it back gives this config."""
        section = self.parameters.model_dump(mode="json", exclude={"preset"}, exclude_none=True)
        return {**self._plain("parameters"), self.loaded.name: section}


class PortfolioConfig(RunConfig):
    """Everything that decides the result of the whole algorithm on its pairs."""

    strategy: Literal["auto"] = Field("auto", description="the router chooses")
    pairs: tuple[str, ...] = Field(min_length=1, max_length=MOST_PAIRS, description="symbols, such as BTCUSDT")
    candles: dict[str, Path] | None = Field(None, description="candle files by pair instead of the store")
    instruments: dict[str, dict[str, Any]] = Field({}, description="fields of instruments by pair, over the known")
    algorithm: AlgorithmParameters = Field(AlgorithmParameters(), description="sections of the algorithm")

    @field_validator("pairs", mode="before")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        """Sort the pairs, so that their order cannot matter, and refuse one that is named twice."""
        if isinstance(value, str):
            value = [one.strip() for one in value.split(",") if one.strip()]
        names = [str(one) for one in value]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is named twice; name each pair once")
        return tuple(sorted(names))

    @model_validator(mode="after")
    def _known_pairs(self) -> Self:
        for place, named in (
            ("allocation.weights", self.algorithm.allocation.weights),
            ("risk.groups", self.algorithm.risk.groups),
            ("instruments", self.instruments),
            ("candles", self.candles or {}),
        ):
            stranger = next((name for name in named if name not in self.pairs), None)
            if stranger is not None:
                raise ValueError(f"{place} names {stranger}, which is none of the pairs; add it or take it out")
        weights = self.algorithm.allocation.weights
        if weights and (min(weights.values()) < 0 or sum(weights.values()) <= 0):
            raise ValueError("allocation.weights must be positive; leave them out for equal ones")
        return self

    def document(self) -> dict[str, Any]:
        """Plain dict for a YAML file: reading it back gives this config."""
        sections = self.algorithm.model_dump(mode="json", exclude_none=True)
        for name in ("grid", "dca", "trend"):
            sections[name].pop("preset", None)
        return {**self._plain("algorithm"), **sections}


def load_config(source: Source, changes: dict[str, Any] | None = None) -> BacktestConfig | PortfolioConfig:
    """Validate a config from a model, a dict or a YAML file, `changes` laid over it by dotted key.

    Raises Misconfigured with one sentence for the first thing that is wrong.
    """
    if isinstance(source, BacktestConfig | PortfolioConfig):
        if not changes:
            return source
        source = source.document()
    values = config_values(source, changes)
    name = values["strategy"]
    config = _portfolio(values) if name == AUTO else _single(name, values)
    if config.start is not None and config.end is not None and config.start >= config.end:
        raise Misconfigured(f"from ({iso(config.start)}) must lie before to ({iso(config.end)}); swap or widen them.")
    if config.market is Market.SPOT and config.leverage != 1:
        raise Misconfigured(f"leverage is {config.leverage:g} but spot has none; set 1, or market: linear.")
    return config


def load_single(source: Source, changes: dict[str, Any] | None = None) -> BacktestConfig:
    """Load a config as `load_config` does, and refuse one for the whole algorithm."""
    config = load_config(source, changes)
    if isinstance(config, PortfolioConfig):
        raise Misconfigured("strategy is auto, which is no single strategy; choose grid, dca, trend or your own.")
    return config


def _single(name: str, values: dict[str, Any]) -> BacktestConfig:
    strategy = strategy_named(name)
    section = values.pop(strategy.name, None) or {}
    if "smc" in values:
        raise Misconfigured(
            f"smc judges the entries of strategy auto, not of {name}; leave it out, or set strategy: auto and "
            f"auto.router: {name if name in BUILT_IN else 'grid'}."
        )
    parameters = validated(strategy.parameters, section, strategy.name)
    config: BacktestConfig = validated(BacktestConfig, {**values, "parameters": parameters, "loaded": strategy}, "")
    return config


def _portfolio(values: dict[str, Any]) -> PortfolioConfig:
    if "pair" in values:
        values["pairs"] = [values.pop("pair")]
    if isinstance(values.get("candles"), str | Path) and len(values.get("pairs", ())) == 1:
        values["candles"] = {values["pairs"][0]: values["candles"]}
    sections = {
        name: validated(field.annotation, values.pop(name, None) or {}, name)
        for name, field in AlgorithmParameters.model_fields.items()
        if isinstance(field.annotation, type)
    }
    algorithm = AlgorithmParameters(**sections)
    config: PortfolioConfig = validated(PortfolioConfig, {**values, "algorithm": algorithm}, "")
    if config.market is Market.SPOT and algorithm.auto.bear_strategy is BearStrategy.TREND_SHORT:
        raise Misconfigured("auto.bear_strategy is trend_short but spot cannot be sold short; choose dca or cash.")
    return config


def strategy_named(name: str) -> Strategy:
    """Load a built-in strategy by its name, or one's own by module:NAME; raises Misconfigured."""
    refuse_unknown(name)
    return load_strategy(BUILT_IN.get(name, name))
