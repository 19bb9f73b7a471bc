"""What the API takes and gives of the manual backtester and of the journal."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from services.web.models import Given, Ms

ReplayName = Annotated[
    str, Field(pattern=r"^[0-9a-f]{16}$", description="`replay` of a session", examples=["5b1f9a0c77e2d384"])
]
RecordName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,200}$", description="`record`", examples=["replay-5b1f9a0c77e2d384-1"])
]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,30}$", examples=["BTCUSDT"])]
Word = Annotated[str, Field(pattern=r"^[a-z0-9_]{1,30}$", examples=["bybit"])]
BotName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_-]{0,60}$", description="a strategy with its defaults, or a preset; none: nobody")
]
TagGiven = Annotated[str, Field(pattern=r"^[^\s,\"\\][^,\"\\]{0,39}$", description="a word or a few")]
Price = Annotated[float, Field(gt=0, lt=1e12, allow_inf_nan=False, description="quote currency")]


class ReplayCosts(Given):
    """Rules of the simulated exchange that a person may set."""

    slippage_bps: float = Field(1.0, ge=0, le=1000, description="of orders at the market, basis points")
    max_participation: float = Field(1.0, gt=0, le=1, description="share of a bar's volume that fills, fraction")


class ReplayGiven(Given):
    """A session to begin: start and end, or so many days by chance whose dates are hidden until the end."""

    pair: Symbol
    exchange: Word = "bybit"
    market: Literal["linear", "spot"] = "linear"
    timeframe: str = Field(pattern=r"^[1-9]\d?[mhdw]$", examples=["15m"])
    start: str | None = Field(None, max_length=40, description="UTC", examples=["2024-03-01"])
    end: str | None = Field(None, max_length=40, description="UTC", examples=["2024-03-08"])
    days: int | None = Field(None, ge=1, le=366, description="blind: by chance, with hidden dates", examples=[None])
    capital: float = Field(10_000.0, gt=0, le=1e12, allow_inf_nan=False)
    leverage: float = Field(1.0, ge=1, le=125, allow_inf_nan=False)
    execution: ReplayCosts = ReplayCosts()


class ActionGiven(Given):
    """What is done at the last bar that was shown, after `number` actions."""

    number: int = Field(ge=0, le=10**7, description="actions so far", examples=[12])
    since: int = Field(0, ge=0, le=10**8, description="bars that the asker has", examples=[312])
    do: Literal["step", "jump", "order", "cancel", "protect", "close", "note"] = Field(examples=["order"])
    bars: int = Field(1, ge=1, le=5000, description="step: how many")
    to: Literal["asia", "london", "new_york", "day"] = Field("day", description="jump: whose opening")
    entry: int | None = Field(
        None, ge=1, le=5, description="order: that it replaces, none for another; cancel: which, none for all",
        examples=[1],
    )  # fmt: skip
    side: Literal["buy", "sell"] | None = Field(None, description="order", examples=["buy"])
    kind: Literal["limit", "stop"] = Field("limit", description="order: what its price is")
    price: Price | None = Field(None, description="order: none for one at the market", examples=[None])
    quantity: float | None = Field(
        None, gt=0, lt=1e15, description="order: base currency; close: how much, none for all", examples=[None]
    )
    risk: float | None = Field(
        None, gt=0, le=1, description="order: loss at its stop, share of equity", examples=[0.01]
    )
    stop: Price | None = Field(None, description="order, protect: none for no stop", examples=[42_000.0])
    target: Price | None = Field(None, description="order, protect: none for no target", examples=[44_000.0])
    text: str = Field("", max_length=2000, description="note")


class UndoGiven(Given):
    """Take back the last of `number` actions."""

    number: int = Field(ge=1, le=10**7, examples=[12])
    since: int = Field(0, ge=0, le=10**8, examples=[312])


class StoredSeries(BaseModel):
    """A pair that has candles."""

    pair: str
    exchange: str
    market: str


class ReplayChoices(BaseModel):
    """What a session may be about."""

    series: list[StoredSeries]
    timeframes: list[str] = Field(examples=[["1m", "5m"]])
    bots: list[str] = Field(description="to compare with", examples=[["trend", "auto"]])


class CandleSpan(BaseModel):
    """From when to when there are candles."""

    first: Ms
    last: Ms


class ReplayBegun(BaseModel):
    """A session that has begun."""

    replay: ReplayName


class ReplayShown(BaseModel):
    """A session; `start` and `end` are hidden of a blind one until it has ended."""

    replay: ReplayName
    pair: str
    exchange: str
    market: str
    timeframe: str
    capital: float
    leverage: float
    blind: bool
    start: Ms | None
    end: Ms | None
    moved: int = Field(description="ms by which shown times were moved, once that is no secret")
    undone: int = Field(description="orders that were taken back")
    created: Ms
    ended: bool


class ReplayListed(ReplayShown):
    """A session in a list."""

    actions: int


class ReplayList(BaseModel):
    """Sessions, the newest first."""

    items: list[ReplayListed]


class ReplayState(BaseModel):
    """Where a session stands at the close of the last bar that was shown; times as they may be seen."""

    number: int = Field(description="actions so far")
    at: Ms
    share: float = Field(description="of the period that has passed, fraction")
    over: bool = Field(description="nothing is left to come")
    since: int = Field(description="number of the first bar given")
    bars: list[list[float]] = Field(description="ts, open, high, low, close, volume")
    standing: dict[str, Any] = Field(description="equity, position, stop, target, the entries that rest")
    fills: list[dict[str, Any]]
    trades: list[dict[str, Any]] = Field(description="by exit, open ones last")
    notes: list[dict[str, Any]] = Field(description="notes and pictures")
    tick: float
    lot: float


class ReplayDetail(ReplayShown):
    """A session and where it stands."""

    state: ReplayState


class PictureKept(BaseModel):
    """A picture that was kept."""

    name: str = Field(examples=["BTCUSDT-15m-20240305T1415-13.png"])
    place: str
    number: int = Field(description="actions so far")


class BotSeen(BaseModel):
    """What a bot would have done up to here."""

    bot: str
    fills: list[dict[str, Any]] = Field(description="the last ones")
    orders: list[dict[str, Any]] = Field(description="that it would have resting now")
    spans: list[dict[str, Any]] = Field(description="its last orders: from when to when each rested, as shown")
    position: float
    figures: dict[str, float | None]


class ReplayStatistics(BaseModel):
    """The person against a bot."""

    you: dict[str, float | None]
    bot: dict[str, float | None] | None
    name: str
    undone: int


class JournalRecord(BaseModel):
    """A trade in the journal."""

    record: RecordName
    revision: int
    source: Literal["replay", "live"]
    origin: str = Field(description="session, or bot")
    symbol: str
    timeframe: str | None
    side: str | None = Field(examples=["long"])
    quantity: float | None
    entry: Ms
    entry_price: float | None
    exit: Ms
    exit_price: float | None
    reason: str | None = Field(examples=["EXIT_SL"])
    pnl: float | None
    r: float | None = Field(description="profit / loss at the planned stop")
    pictures: list[str]
    notes: str
    tags: list[str]


class JournalList(BaseModel):
    """Records by exit, the newest first."""

    items: list[JournalRecord]
    next: int | None = Field(description="`start` of the page after")
    outbox: dict[str, Any]


class RecordGiven(Given):
    """Other notes and tags of a record."""

    revision: int = Field(ge=1, le=10**9, description="that was edited", examples=[1])
    notes: str = Field(max_length=20_000, examples=["Entered late."])
    tags: list[Annotated[str, Field(pattern=r"^[^\s,\"\\][^,\"\\]{0,39}$")]] = Field(
        max_length=20, examples=[["breakout"]]
    )
