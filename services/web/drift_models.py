"""What the API takes and gives of drift and what-if."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from services.web.models import Ms, Name, Pair

Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$", description="UTC day", examples=["2024-03-05"])]
RowKindName = Literal["paired", "late", "missed", "unexpected"]
CostKindName = Literal["fees", "slippage", "late", "missed", "unexpected"]
Side = Literal["buy", "sell"]


class DriftDayShown(BaseModel):
    """What a day cost beside its simulation."""

    day: Day
    cost: float = Field(description="positive: the market was worse than the simulation, quote currency")
    volume: float
    bps: float | None = Field(description="of the traded volume; none without any")
    costs: dict[CostKindName, float] = Field(examples=[{"fees": 0.0, "slippage": 1.25}])
    alone: int = Field(description="fills without a partner")
    uncompared: int = Field(description="live fills that could not be compared")


class DriftDayList(BaseModel):
    """Days that are kept, the newest first."""

    items: list[DriftDayShown]


class DriftSumModel(BaseModel):
    """One kind of cost on one pair, or on all of them."""

    pair: str = Field(description="empty: all", examples=["BTCUSDT"])
    kind: CostKindName
    fills: int
    cost: float
    bps: float | None


class DriftSideModel(BaseModel):
    """A fill of one side; a simulation knows the opening of its minute."""

    at: Ms
    price: float
    fee: float
    maker: bool
    execution: str


class DriftRowModel(BaseModel):
    """Lots of a live fill beside the same lots of its simulated twin."""

    kind: RowKindName
    pair: Pair
    side: Side
    quantity: float
    order: str
    reason: str
    live: DriftSideModel | None
    simulated: DriftSideModel | None
    seconds: float = Field(description="how much later it was filled than simulated, where late")
    costs: dict[CostKindName, float] = Field(examples=[{"fees": 0.0, "slippage": 1.25}])
    bps: float
    why: str = Field(description="of one without a partner: why that may be")


class UncomparedModel(BaseModel):
    """A span of time about which nothing can be said."""

    pair: Pair
    since: Ms
    until: Ms
    why: str
    fills: int = Field(description="live ones in it")


class DriftDocument(BaseModel):
    """A day of a bot beside its simulation."""

    bot: Name
    day: Day
    minutes: dict[str, int] = Field(description="compared, by pair", examples=[{"BTCUSDT": 1440}])
    volume: float
    cost: float
    bps: float | None
    sums: list[DriftSumModel]
    rows: list[DriftRowModel]
    uncompared: list[UncomparedModel]


class SupposedFillModel(BaseModel):
    """A fill on the way to a price."""

    side: Side
    price: float
    quantity: float
    fee: float
    maker: bool
    reason: str
    rested: bool = Field(description="it rests now; else the strategy set it in answer to another")


class SupposedOrderModel(BaseModel):
    """An order that the strategy would then want."""

    side: Side
    kind: Literal["limit", "stop", "market"]
    price: float = Field(description="0 at the market")
    quantity: float
    reason: str
    new: bool = Field(description="it does not rest now as it would then")


class WhatIfShown(BaseModel):
    """How a pair would stand at a price."""

    bot: Name
    pair: Pair
    at: Ms
    price_now: float
    price: float
    position_now: float
    position: float
    average: float = Field(description="entry price of what is held then; 0 when flat")
    profit: float = Field(description="from now to then, quote currency")
    fills: list[SupposedFillModel]
    desired: list[SupposedOrderModel]
    stop: float = Field(description="of what is held then; 0 for none")
    stopped: bool = Field(description="the stop that rests now is met on the way")
    loss_at_stop: float | None = Field(
        description="from there to the stop, with what fills on that way and fees; none without one"
    )
