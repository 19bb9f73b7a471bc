"""An instrument: what one tick and one lot are worth, the smallest order, and what trading costs.

Orders and fills are whole ticks and lots; this file is the only place where prices and quantities
become whole, and each rounding says which way.
"""

from __future__ import annotations

import math
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from bot.market import Market as Market  # noqa: PLC0414, whoever has an instrument finds its market here

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTRUMENT = np.dtype(
    [
        ("tick_size", "f8"),
        ("lot_size", "f8"),
        ("tick_value", "f8"),  # quote currency per tick and lot
        ("min_quantity", "i8"),  # lots
        ("min_notional", "f8"),
        ("max_market_lots", "i8"),  # lots of the largest market order: what one exit can close
        ("max_position_lots", "i8"),  # lots that its stops can close
        ("max_position_notional", "f8"),  # largest position that the risk tier of the leverage holds, quote currency
        ("maker_fee", "f8"),
        ("taker_fee", "f8"),
        ("maintenance_margin", "f8"),
        ("leverage", "f8"),
        ("linear", "b1"),
    ]
)

NO_LIMIT = 1 << 48  # lots, where the venue states none

# Stops, each of one market order, that together cover a large position: with the stop of the whole position they are
# the ten conditional orders that a venue takes of a symbol.
PARTIAL_STOPS = 9

# Prices further than this fraction of a tick from the grid keep their fraction, and so do those that would be zero.
ON_GRID = 1e-6


Positive = Annotated[Decimal, Field(gt=0, allow_inf_nan=False)]


class RiskTier(BaseModel):
    """How large a position may be at which leverage."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_notional: Positive = Field(description="largest position, quote currency")
    max_leverage: Positive = Field(description="largest leverage for it")


class Instrument(BaseModel):
    """What the venue says of one symbol. Fees are fractions of the notional; a negative one is a rebate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str = Field(description="the venue's own name, such as BTCUSDT")
    market: Market = Field(Market.LINEAR, description="spot or linear")
    tick_size: Positive = Field(description="smallest price step, quote currency")
    lot_size: Positive = Field(description="smallest quantity step, base currency")
    min_quantity: Decimal = Field(Decimal(0), ge=0, description="smallest order, base currency")
    min_notional: Decimal = Field(Decimal(0), ge=0, description="smallest order, quote currency")
    max_quantity: Positive | None = Field(None, description="largest limit order, base currency")
    max_market_quantity: Positive | None = Field(None, description="largest market order, base currency")
    max_notional: Positive | None = Field(None, description="largest order, quote currency")
    max_leverage: Positive | None = Field(None, description="largest leverage")
    risk_tiers: tuple[RiskTier, ...] = Field((), description="largest positions by leverage; none: no limit")
    large_positions: bool = Field(False, description="a position may be larger than one market order closes")
    price_band: Positive | None = Field(None, description="how far a price may lie beyond the mark, fraction")
    maker_fee: Decimal = Field(Decimal("0.0002"), gt=-1, lt=1, description="fraction of the notional")
    taker_fee: Decimal = Field(Decimal("0.00055"), gt=-1, lt=1, description="fraction of the notional")
    maintenance_margin: Decimal = Field(Decimal("0.005"), ge=0, lt=1, description="fraction of the notional")
    pip_size: Positive | None = Field(None, description="what its traders call a pip, quote currency; none: one tick")
    synthetic_short: bool = Field(False, description="spot that a simulation lets be sold short, without funding")

    @property
    def linear(self) -> bool:
        """Whether it is traded as a perpetual contract is: long and short."""
        return self.market is Market.LINEAR or self.synthetic_short

    @property
    def pip(self) -> Decimal:
        """What a pip is, quote currency: as it is stated, else one tick."""
        return self.pip_size or self.tick_size

    @property
    def tick_value(self) -> float:
        """Worth of one lot that is priced at one tick, quote currency."""
        return float(self.tick_size * self.lot_size)

    def lots(self, quantity: Decimal) -> int:
        """Whole lots that fit into `quantity` (base currency); never rounds an order up."""
        return int((quantity / self.lot_size).to_integral_value(ROUND_DOWN))

    def price(self, ticks: int) -> Decimal:
        """Price in quote currency of a whole number of ticks, exact."""
        return self.tick_size * ticks

    def quantity(self, lots: int) -> Decimal:
        """Quantity in base currency of a whole number of lots, exact."""
        return self.lot_size * lots

    def price_text(self, ticks: int) -> str:
        """Price as people read it, such as 41123.4."""
        return f"{self.price(ticks).normalize():f}"

    def quantity_text(self, lots: int) -> str:
        """Quantity as people read it, such as 0.016."""
        return f"{self.quantity(lots).normalize():f}"

    def smallest_order(self, price: float) -> float:
        """Notional of the smallest order the venue takes at `price`, quote currency."""
        return max(float(self.min_notional), float(max(self.min_quantity, self.lot_size)) * price)

    def max_position_notional(self, leverage: float) -> float:
        """Largest position that may be held with `leverage`, quote currency; infinite where the venue states none."""
        if not self.risk_tiers:
            return math.inf
        allowed = (float(one.max_notional) for one in self.risk_tiers if float(one.max_leverage) >= leverage)
        return max(allowed, default=0.0)

    def record(self, leverage: float = 1.0) -> Any:
        """Build the kernels' view of this instrument: one INSTRUMENT record."""
        records = np.zeros(1, INSTRUMENT)
        record = records[0]  # fields of a plain record are set ten times as fast as attributes
        record["tick_size"] = float(self.tick_size)
        record["lot_size"] = float(self.lot_size)
        record["tick_value"] = self.tick_value
        record["min_quantity"] = -int(-self.min_quantity // self.lot_size)
        record["min_notional"] = float(self.min_notional)
        largest = self.max_market_quantity
        record["max_market_lots"] = NO_LIMIT if largest is None else self.lots(largest)
        several = PARTIAL_STOPS if self.large_positions and largest is not None else 1
        record["max_position_lots"] = several * record["max_market_lots"]
        record["max_position_notional"] = self.max_position_notional(leverage)
        record["maker_fee"] = float(self.maker_fee)
        record["taker_fee"] = float(self.taker_fee)
        record["maintenance_margin"] = float(self.maintenance_margin)
        record["leverage"] = leverage
        record["linear"] = self.linear
        return records.view(np.recarray)[0]


def in_ticks(prices: NDArray[np.float64], tick_size: float) -> NDArray[np.float64]:
    """Prices in units of ticks, shape unchanged: whole where the price is on the grid, else fractional.

    Kernels compare these with order prices, which are whole ticks, without any rounding error.
    """
    ticks = prices / tick_size
    whole = np.rint(ticks)
    on_grid = (np.abs(ticks - whole) < ON_GRID) & ((whole != 0) | (prices == 0))
    return whole if on_grid.all() else np.where(on_grid, whole, ticks)
