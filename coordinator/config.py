"""What a bot or a backtest is asked: one validated model, from a file, a dict or options, and back to a file.

The strategy's parameters stand in a section with the strategy's name (`grid:`). A mistake becomes one
sentence that names the field, the value and the remedy.
"""

from __future__ import annotations

import difflib
import itertools
import math
from dataclasses import replace
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
from bot.errors import Misconfigured, cut
from bot.gate import with_gate
from bot.instrument import Market
from bot.parameters import Fraction, Number, Parameters
from bot.strategy import Strategy, inputs_of, load_strategy
from bot.validation import validated
from coordinator import config_file
from coordinator.config_file import AUTO, KEYS, config_values, joins, names_of_pairs, reference, set_value, symbol_of
from coordinator.parameters import (
    MOST_PAIRS,
    SHARED_SECTIONS,
    AlgorithmParameters,
    Alone,
    Own,
    RiskParameters,
    unlimited,
)
from coordinator.presets import RiskLevel, laid_under
from coordinator.roster import BUILT_IN
from coordinator.router import BearStrategy
from filters.smc import SmcParameters

BY_NAME = {one.name: one for one in BUILT_IN}
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


class FundingSource(StrEnum):
    """Which rates of funding a simulation pays: the venue's history where it is known, or the constant one."""

    HISTORY = "history"
    CONSTANT = "constant"


class SimulationRules(BaseModel):
    """The rules of the simulated exchange; docs/execution.md has them in full."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Literal["close_fill"] | None = Field(None, description="close_fill: as engines that fill at the close do")
    fill_rule: FillRule = Field(FillRule.THROUGH, description="through (by a tick) or touch")
    path: BarPath = Field(BarPath.ADVERSE, description="adverse or nearest extreme first")
    fill_policy: FillPolicy = Field(FillPolicy.NEXT_OPEN, description="next_open or close")
    slippage_bps: Number = Field(1.0, ge=0, le=1000, description="taker slippage, basis points")
    slippage_ticks: Number = Field(0.0, ge=0, le=1_000_000, description="taker slippage besides, ticks")
    slippage_impact: Number = Field(0.0, ge=0, le=10, description="slippage per share of the volume, fraction")
    forced_exit_bps: Number = Field(5.0, ge=0, le=1000, description="extra slippage of forced exits, basis points")
    max_participation: Fraction = Field(1.0, gt=0, le=1, description="share of a bar's volume filled, fraction")
    funding: FundingSource = Field(FundingSource.HISTORY, description="history where there is one, or constant")
    funding_rate: Fraction = Field(0.0001, ge=-0.05, le=0.05, description="constant: longs pay every 8 h, fraction")

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        preset = isinstance(values, dict) and values.get("preset") == CLOSE_FILL
        return {**CLOSE_FILL_RULES, **values} if preset else values


CLOSE_FILL = "close_fill"
# Decisions and fills on the same close, one slippage for all, no funding.
CLOSE_FILL_RULES: dict[str, Any] = {
    "fill_policy": "close",
    "slippage_bps": 1.0,
    "forced_exit_bps": 0.0,
    "max_participation": 1.0,
    "funding": "constant",
    "funding_rate": 0.0,
}
CLOSE_FILL_FEES = {Market.SPOT: "0.00075", Market.LINEAR: "0.001"}


def _time(value: Any) -> Any:
    """Accept whatever `parse_time` reads; keep it as epoch milliseconds."""
    return parse_time(str(value)) if value is not None else None


Time = Annotated[int, BeforeValidator(_time)]


class Investment(BaseModel):
    """Capital that is added while a simulated bot runs, or taken out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: Time = Field(description="when, UTC")
    amount: Number = Field(ge=-1e12, le=1e12, description="capital to add, negative to take out, quote currency")


class RunConfig(BaseModel):
    """What every backtest is told."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)

    version: Literal[1] = Field(1, description="version of this file's format")
    strategy: str = Field(description="grid, dca, trend, rules, auto, or FILE.py:NAME of your own")
    exchange: str = Field("bybit", description="whose candles: a venue's name, or synth")
    market: Market = Field(Market.LINEAR, description="spot or linear")
    bar: str | None = Field(None, pattern=r"^[1-9]\d{0,4}[smhdw]$", description="bars of the store to play, such as 1s")
    start: Time | None = Field(None, alias="from", description="first minute that may trade, UTC")
    end: Time | None = Field(None, alias="to", description="end of the period, not included, UTC")
    capital: Number = Field(10_000.0, gt=0, le=1e12, description="initial capital, quote currency")
    investments: tuple[Investment, ...] = Field(
        (), max_length=1000, description="the simulated operator: capital added or taken out, such as [{at:, amount:}]"
    )
    leverage: Number = Field(1.0, ge=1, le=125, description="leverage, linear only")
    execution: SimulationRules = Field(SimulationRules(), description="rules of the simulated exchange")

    def instrument_fields(self, given: dict[str, Any] | None) -> dict[str, Any]:
        """Fields of an instrument as `given`, over the fees of a preset."""
        fee = CLOSE_FILL_FEES[self.market] if self.execution.preset == CLOSE_FILL else None
        return {**({} if fee is None else {"maker_fee": fee, "taker_fee": fee}), **(given or {})}

    @property
    def deposits(self) -> float:
        """Money that the account begins with, quote currency: the capital, and what is added to it later."""
        return max(itertools.accumulate((one.amount for one in self.investments), initial=self.capital))

    @field_validator("investments")
    @classmethod
    def _one_after_the_other(cls, given: tuple[Investment, ...]) -> tuple[Investment, ...]:
        for before, one in itertools.pairwise(given):
            if one.at <= before.at:
                raise ValueError(f"{iso(one.at)} stands behind {iso(before.at)}; order them by time")
        return given

    @model_validator(mode="after")
    def _capital_stays(self) -> Self:
        capital = self.capital
        for one in self.investments:
            capital += one.amount
            if capital <= 0.0:
                raise ValueError(f"the investment of {iso(one.at)} leaves a capital of {capital:g}; take out less")
        return self

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

    @field_validator("pair")
    @classmethod
    def _is_symbol(cls, value: str) -> str:
        return names_of_pairs([value])[0]

    @model_validator(mode="after")
    def _behind_its_gate(self) -> Self:
        object.__setattr__(self, "loaded", with_gate(self.loaded, self.parameters))
        return self

    @model_validator(mode="after")
    def _reinvests_once(self) -> Self:
        _check_reinvested(self.reinvest, self.loaded.name, self.parameters)
        return self

    def document(self) -> dict[str, Any]:
        """Plain dict for a YAML file: reading it back gives this config."""
        return {**self._plain("parameters"), self.loaded.name: self.parameters.document()}


class PortfolioConfig(RunConfig):
    """Everything that decides the result of the whole algorithm, or of one strategy, on its pairs."""

    strategy: str = Field(AUTO, description="auto: the router chooses; or one strategy for all pairs")
    reinvest: bool = Field(False, description="one strategy: size by present equity instead of the initial capital")
    pairs: tuple[str, ...] = Field(min_length=1, max_length=MOST_PAIRS, description="symbols, such as BTCUSDT")
    candles: dict[str, Path] | None = Field(None, description="candle files by pair instead of the store")
    instruments: dict[str, dict[str, Any]] = Field({}, description="fields of instruments by pair, over the known")
    risk_level: RiskLevel = Field(RiskLevel.MEDIUM, description="auto: how much is at work: low, medium or high")
    algorithm: AlgorithmParameters = Field(AlgorithmParameters(), description="sections of the algorithm")

    @field_validator("pairs", mode="before")
    @classmethod
    def _in_order(cls, value: Any) -> Any:
        """Sort the pairs, so that their order cannot matter, and refuse one that is named twice."""
        names = names_of_pairs(value)
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is named twice; name each pair once")
        return tuple(sorted(names))

    @model_validator(mode="after")
    def _shared_capital(self) -> Self:
        """Tell a strategy that trades alone what its pairs share."""
        if self.algorithm.alone is not None:
            for strategy, own in self.algorithm.trading():
                _check_reinvested(self.reinvest, strategy.name, own)
            alone = replace(self.algorithm.alone, capital=math.inf if self.reinvest else self.capital)
            object.__setattr__(self, "algorithm", self.algorithm.model_copy(update={"alone": alone}))
        elif self.reinvest:
            raise ValueError("reinvest is for one strategy; auto always sizes by the present equity, so leave it out")
        if self.investments and (self.reinvest or not self.algorithm.fixed_shares):
            raise ValueError(
                "investments change the capital of one strategy that does not size by the present equity; take out "
                "investments, reinvest or the section allocation"
            )
        return self

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
        algorithm, alone = self.algorithm, self.algorithm.alone
        sections = {name: getattr(algorithm, name).document() for name in SHARED_SECTIONS}
        if alone is not None:
            weights = algorithm.allocation.weights
            kept = {"risk": alone.limited, "allocation": alone.allocated or weights, "smc": algorithm.smc.enabled}
            sections = {name: sections[name] for name, given in kept.items() if given}
            if algorithm.risk.max_open_pairs is not None and not alone.limited:
                sections["risk"] = {"max_open_pairs": algorithm.risk.max_open_pairs}
            if weights and not alone.allocated:
                sections["allocation"] = {"weights": weights}
        own = {strategy.name: parameters for strategy, parameters in algorithm.trading()}
        sections.update({name: one.document() for name, one in own.items()})
        return {**self._plain("algorithm", "risk_level" if alone else "reinvest"), **sections}


def _check_reinvested(reinvest: bool, name: str, parameters: Parameters) -> None:
    """Refuse profits that would be reinvested twice."""
    share = getattr(parameters, "reinvest_pct", 0.0)
    if reinvest and share > 0.0:
        raise ValueError(
            f"reinvest is true, which sizes by all profits already, and {name}.reinvest_pct is {share:g}; leave one out"
        )


def load_config(
    source: Source, changes: dict[str, Any] | None = None, *, together: bool = False
) -> BacktestConfig | PortfolioConfig:
    """Validate a config from a model, a dict or a YAML file, `changes` laid over it by dotted key.

    A key without its section is that of the chosen strategy, or of the one section that has it.

    Raises Misconfigured with one sentence for the first thing that is wrong.
    """
    if isinstance(source, BacktestConfig | PortfolioConfig):
        if not changes and (isinstance(source, PortfolioConfig) or not together):
            return source
        source = source.document()
    plain, short = _by_fullness(changes or {})
    values = config_values(source, plain)
    values.pop("bot", None)  # where and under which name it trades live decides nothing
    name = values["strategy"]
    if name != AUTO and "risk_level" in values:
        raise Misconfigured(
            "risk_level is for strategy auto; leave it out, or size the strategy by its own parameters."
        )
    for key, value in short.items():
        set_value(values, key_meant(key, name), value)
    config = _portfolio(name, values) if together or needs_portfolio(name, values) else _single(name, values)
    if config.start is not None and config.end is not None and config.start >= config.end:
        raise Misconfigured(f"from ({iso(config.start)}) must lie before to ({iso(config.end)}); swap or widen them.")
    if config.market is Market.SPOT and config.leverage != 1:
        raise Misconfigured(f"leverage is {config.leverage:g} but spot has none; set 1, or market: linear.")
    return config


def load_portfolio(source: Source, changes: dict[str, Any] | None = None) -> PortfolioConfig:
    """Load a config as `load_config` does, of whatever strategy, as one of pairs that share an account."""
    config = load_config(source, changes, together=True)
    assert isinstance(config, PortfolioConfig)
    return config


def load_single(source: Source, changes: dict[str, Any] | None = None) -> BacktestConfig:
    """Load a config as `load_config` does, and refuse one of several pairs or of the whole algorithm."""
    config = load_config(source, changes)
    if isinstance(config, PortfolioConfig):
        raise Misconfigured(
            f"strategy {config.strategy} on {', '.join(config.pairs)[:200]} is a portfolio; choose one strategy and "
            "one pair, without investments and the sections risk, allocation and smc."
        )
    return config


def key_meant(key: str, name: str) -> str:
    """Return the key with its section: the strategy's own if it has it, else the only one that does.

    Raises Misconfigured where none or several have it.
    """
    full = keys_meant(key, name)
    if len(full) > 1:
        raise Misconfigured(f"--set {key} may mean {', '.join(full[:-1])} or {full[-1]}; write one of them.")
    if not full:
        known = {one: f"{section}.{one}" for section, model in sections_of(name).items() for one in model.model_fields}
        known.update({one: one for one in (*KEYS, *sections_of(name))}, start="from", end="to")
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
        remedy = f"did you mean {known[close[0]]}" if close else f"`traderagent parameters {cut(name)}` lists them"
        raise Misconfigured(f"{cut(key)} is no known key; {remedy}.")
    return full[0]


def keys_meant(key: str, name: str) -> list[str]:
    """List the keys of sections that a key without one may mean to a strategy, or to auto."""
    sections = sections_of(name)
    if key in sections:
        return [key]
    full = [f"{section}.{key}" for section, model in sections.items() if key in model.model_fields]
    own = name != AUTO and key in next(iter(sections.values())).model_fields
    return full[:1] if own else full


def sections_of(name: str) -> dict[str, Any]:
    """Models of the sections that a config of this strategy may have, its own first."""
    strategies = BUILT_IN if name == AUTO else (strategy_named(name),)
    fields = AlgorithmParameters.model_fields
    others = {section: fields[section].annotation for section in SHARED_SECTIONS}
    return {**{one.name: one.parameters for one in strategies}, "execution": SimulationRules, **others}


def _by_fullness(changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Part changes into those whose key is whole, and those of a section that is to be found."""
    whole = {key: value for key, value in changes.items() if "." in key or key in KEYS}
    return whole, {key: value for key, value in changes.items() if key not in whole}


def needs_portfolio(name: str, values: dict[str, Any]) -> bool:
    """Whether more is asked than one strategy on one pair with all of the capital."""
    several = len(names_of_pairs(values.get("pairs", ()))) > 1
    sections = any(section in values for section in ("risk", "allocation", "smc"))
    return name == AUTO or several or sections or bool(values.get("investments"))


def _single(name: str, values: dict[str, Any]) -> BacktestConfig:
    strategy = strategy_named(name)
    section = values.pop(strategy.name, None) or {}
    return config_of(strategy, validated(strategy.parameters, section, strategy.name), values)


def config_of(strategy: Strategy, parameters: Parameters, others: dict[str, Any]) -> BacktestConfig:
    """Build the config of one strategy on one pair from its parameters and the other values; raises Misconfigured."""
    values = {"reinvest": parameters.reinvests, **others}
    if "pairs" in values:
        values["pair"] = next(iter(names_of_pairs(values.pop("pairs"))), "")
        for plural, singular in (("candles", "candles"), ("instruments", "instrument")):
            if isinstance(values.get(plural), dict):
                values[singular] = _by_symbol(values.pop(plural)).get(values["pair"])
    inputs_of(with_gate(strategy, parameters), parameters)
    config: BacktestConfig = validated(BacktestConfig, {**values, "parameters": parameters, "loaded": strategy}, "")
    return config


def _portfolio(name: str, values: dict[str, Any]) -> PortfolioConfig:
    if name == AUTO:
        values = laid_under(values)
    _in_plural(values)
    given = {section for section in ("allocation", "risk", "smc") if section in values}
    shared, limits = values.get("allocation"), values.get("risk")
    given_alone = isinstance(limits, dict) and set(limits) == {"max_open_pairs"}
    allocated = isinstance(shared, dict) and bool(set(shared) - {"weights"})
    own = _own_strategies(name, values)
    alone = None if name == AUTO else strategy_named(name)
    sections: dict[str, Any] = {}
    for section, field in AlgorithmParameters.model_fields.items():
        wanted = alone is None or section in given or section == alone.name
        if isinstance(field.annotation, type) and wanted:
            sections[section] = validated(field.annotation, values.pop(section, None) or {}, section)
    if alone is not None:
        limited = "risk" in given and not given_alone
        sections["alone"] = Alone(alone.name, allocated=allocated, limited=limited)
        if not limited:
            sections["risk"] = unlimited(sections.get("risk", RiskParameters()))
        sections.setdefault("smc", SmcParameters(enabled=False))
    algorithm = validated(AlgorithmParameters, {**sections, "own": own}, "")
    if alone is not None:
        values = {"reinvest": algorithm.trading()[0][1].reinvests, **values}
    config: PortfolioConfig = validated(PortfolioConfig, {**values, "algorithm": algorithm}, "")
    if config.market is Market.SPOT and alone is None and algorithm.auto.bear_strategy is BearStrategy.TREND_SHORT:
        raise Misconfigured("auto.bear_strategy is trend_short but spot cannot be sold short; choose dca or cash.")
    return config


def _in_plural(values: dict[str, Any]) -> None:
    """Say what belongs to one pair as it is said of several."""
    if "pair" in values:
        values["pairs"] = [values.pop("pair")]
    names = names_of_pairs(values.get("pairs", ()))
    for singular, plural in (("candles", "candles"), ("instrument", "instruments")):
        one = values.get(singular)
        if one is not None and len(names) == 1 and (plural != singular or isinstance(one, str | Path)):
            values[plural] = {names[0]: values.pop(singular)}
        if isinstance(values.get(plural), dict):
            values[plural] = _by_symbol(values[plural])


def _by_symbol(values: dict[Any, Any]) -> dict[Any, Any]:
    return {symbol_of(key) if isinstance(key, str) else key: value for key, value in values.items()}


def _own_strategies(name: str, values: dict[str, Any]) -> tuple[Own, ...]:
    """Load the strategies of the user's that a config names, with their sections, which leave the values."""
    auto = values.get("auto") or {}
    routes = auto.get("routes") if isinstance(auto, dict) else None
    named = [name, *(routes.values() if isinstance(routes, dict) else ())]
    if isinstance(auto, dict):
        named.append(str(auto.get("router", "")))
    found: dict[str, Own] = {}
    for one in named:
        if isinstance(one, str) and joins(one) and one not in found:
            strategy = strategy_named(one)
            section = values.pop(strategy.name, None) or {}
            found[one] = Own(one, strategy, validated(strategy.parameters, section, strategy.name))
    return tuple(found.values())


def strategy_named(name: str) -> Strategy:
    """Load a built-in strategy by its name, or one's own by FILE.py:NAME; raises Misconfigured."""
    name = reference(name)
    return BY_NAME[name] if name in BY_NAME else load_strategy(config_file.BUILT_IN.get(name, name))
