"""What to collect, as a YAML file says it."""

from __future__ import annotations

import difflib
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bot.errors import Misconfigured, shown
from services.market_data.feed import ListedInstrument
from services.market_data.markets import VenueMarket, market_named

Symbol = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=40)]
MOST_SYMBOLS = 1000
PARQUET = "parquet"


class SymbolRule(BaseModel):
    """Which symbols of a market to collect, by a rule: those traded most, in that order."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    quote: str | None = Field(None, max_length=20, description="quote currency, such as USDT; none: any")
    least_turnover: Decimal = Field(Decimal(0), ge=0, description="traded in the last 24 hours, quote currency")
    most: int = Field(100, ge=1, le=MOST_SYMBOLS, description="how many symbols at most")


class CollectorSettings(BaseModel):
    """A config of `traderagent collect`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    markets: dict[str, tuple[Symbol, ...] | SymbolRule] = Field(
        min_length=1,
        description="symbols, or a rule, by market: binance spot, binance linear, bybit spot, bybit linear",
    )
    trades: dict[str, tuple[Symbol, ...]] = Field(
        default_factory=dict, description="symbols whose public trades are kept too, by market"
    )
    data_dir: Path = Field(description="the data directory, which one collector at a time writes")
    history_days: int = Field(1, ge=0, le=30, description="days before now whose missing minutes are asked for, days")
    disagreement_bps: float = Field(
        50.0, gt=0, le=10_000, description="closes of two venues that lie further apart are flagged, basis points"
    )
    port: int = Field(0, ge=0, le=65_535, description="of its metrics and minutes on this machine; 0: any that is free")
    store: str = Field(PARQUET, description="where minutes are stored: parquet, in data_dir, or clickhouse://…")
    redis: str = Field("none", max_length=500, description="where closed bars are told: none, embedded or redis://…")
    addresses: dict[str, str] = Field(
        default_factory=dict,
        description="by market: a server that speaks like the exchange, such as http://127.0.0.1:1",
    )

    @field_validator("markets", "trades", "addresses", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {str(market_named(str(name))): own for name, own in value.items()}

    @field_validator("markets")
    @classmethod
    def _not_empty(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name, own in value.items():
            if isinstance(own, tuple) and not 1 <= len(own) <= MOST_SYMBOLS:
                raise ValueError(f"{name} has {len(own)} symbols; give 1 to {MOST_SYMBOLS} of them")
        return value

    @model_validator(mode="after")
    def _traded_where_collected(self) -> Self:
        for name in self.trades:
            if name not in self.markets:
                raise ValueError(f"trades: {name} is not among markets; name it there too")
        return self

    def wanted(self) -> dict[VenueMarket, tuple[str, ...] | SymbolRule]:
        """What to collect, by market, in the order of their ids."""
        return dict(sorted((market_named(name), own) for name, own in self.markets.items()))


def chosen(
    market: VenueMarket,
    wanted: tuple[str, ...] | SymbolRule,
    listed: list[ListedInstrument],
    turnovers: dict[str, Decimal],
    known: set[str],
) -> list[str]:
    """Symbols to collect, of those that can be traded; `known` have been collected before.

    Raises Misconfigured for a symbol that the venue does not list and that was never collected.
    """
    tradable = {one.instrument.symbol: one for one in listed if one.tradable}
    if isinstance(wanted, tuple):
        for symbol in wanted:
            if symbol not in tradable and symbol not in known:
                near = ", ".join(difflib.get_close_matches(symbol, tradable, n=3)) or "the venue's own names"
                raise Misconfigured(f"markets: {shown(symbol)} is not traded on {market}; did you mean {near}?")
        return sorted(symbol for symbol in set(wanted) if symbol in tradable)
    fitting = [
        symbol
        for symbol, one in tradable.items()
        if wanted.quote in (None, one.quote) and turnovers.get(symbol, Decimal(0)) >= wanted.least_turnover
    ]
    most = sorted(fitting, key=lambda symbol: (-turnovers.get(symbol, Decimal(0)), symbol))[: wanted.most]
    if not most:
        raise Misconfigured(
            f"markets: no symbol of {market} fits the rule {shown(wanted.model_dump(mode='json'))}; widen it."
        )
    return sorted(most)
