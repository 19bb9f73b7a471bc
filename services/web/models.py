"""What the API takes and gives, as models: the OpenAPI document and the checks of input come from them."""

from __future__ import annotations

from enum import StrEnum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from pydantic import BaseModel, ConfigDict, Field, create_model

from coordinator.bot_status import BotStatus, CapitalPhaseStanding, PairOrders
from coordinator.operator import CommandKind
from services.web.access import LEAST_PASSWORD, LONGEST_PASSWORD
from services.web.scopes import Scope


def described(typed: Any, name: str, **more: Any) -> type[BaseModel]:
    """Make a model of a TypedDict and of those inside it; what has other fields or types is of another version."""
    fields: dict[str, Any] = {key: (_type_of(hint), ...) for key, hint in get_type_hints(typed).items()}
    made: type[BaseModel] = create_model(name, __doc__=typed.__doc__, **fields, **more)
    return made


def _type_of(hint: Any) -> Any:
    if is_typeddict(hint):
        return described(hint, f"{hint.__name__}Model")
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (list, dict):
        return origin[tuple(_type_of(one) for one in inner)]
    if origin is UnionType:
        return Union[tuple(_type_of(one) for one in inner)]  # noqa: UP007, of a tuple
    return hint


BotStatusModel = described(
    *(BotStatus, "BotStatusModel"),
    environment=(str | None, None),
    phase_standing=(described(CapitalPhaseStanding, "CapitalPhaseStandingModel") | None, None),
)
PairOrdersModel = described(PairOrders, "PairOrdersModel")

Name = Annotated[str, Field(pattern=r"^[a-z0-9]{1,8}$", description="name of a bot", examples=["main"])]
Pair = Annotated[str, Field(pattern=r"^[A-Z0-9]{1,30}$", description="symbol", examples=["BTCUSDT"])]
SessionId = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", description="`id` of a session")]
Ms = Annotated[int, Field(description="epoch milliseconds, UTC", examples=[1_709_640_000_000])]
Cursor = Annotated[str | None, Field(description="`next` of the page before", examples=[None])]


class Given(BaseModel):
    """A body: keys that nobody knows are refused."""

    model_config = ConfigDict(extra="forbid")


class PasswordGiven(Given):
    """A sign-in."""

    password: str = Field(max_length=LONGEST_PASSWORD, examples=["correct horse battery staple"])
    code: str = Field("", max_length=40, description="of the second factor, where it is on", examples=["123456"])


class CodeGiven(Given):
    """A code of the second factor: six digits of the authenticator, or a recovery code."""

    code: str = Field(min_length=1, max_length=40, examples=["123456"])


class LinkGiven(Given):
    """A sign-in by what follows `#link=` in the link that the terminal printed."""

    link: str = Field(max_length=100, examples=["Nq3v0lB6m2n0cXbYb3yU1h2pQW4j5s6t"])


class NewPassword(Given):
    """A password to set; `old` where there is one."""

    old: str | None = Field(None, max_length=LONGEST_PASSWORD, examples=[None])
    new: str = Field(min_length=LEAST_PASSWORD, max_length=LONGEST_PASSWORD, examples=["correct horse battery staple"])


class NewToken(Given):
    """A token for a program."""

    label: str = Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]+$", examples=["grafana"])
    scope: Scope = Field(Scope.READ, examples=["read"])
    days: int = Field(90, ge=1, le=3650, examples=[90])


class CommandGiven(Given):
    """What to tell a bot."""

    command: CommandKind = Field(examples=["pause"])
    pair: Pair | None = Field(None, description="pause and resume: this pair alone", examples=["BTCUSDT"])
    force: bool = Field(False, description="resume: a second time on the same UTC day")
    amount: float = Field(0.0, ge=-1e12, le=1e12, allow_inf_nan=False, description="invest: quote currency")
    setting: str = Field("", max_length=100, description="set: key of the config", examples=[""])
    value: str = Field("", max_length=200, description="set: what it is to be, as the config writes it", examples=[""])


class SignalGiven(Given):
    """A signal of somebody else for a bot."""

    id: str = Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9._:-]+$", description="of your making; once used, never again", examples=["breakout-2024-03-05-1"])  # fmt: skip # noqa: E501
    pair: Pair
    side: Literal["long", "short", "close"] = Field(description="close leaves what is held", examples=["long"])
    stop: float = Field(0.0, ge=0, lt=1e12, allow_inf_nan=False, description="quote currency; not with close", examples=[41_000.0])  # fmt: skip # noqa: E501
    target: float = Field(0.0, ge=0, lt=1e12, allow_inf_nan=False, description="as stop", examples=[45_000.0])
    seconds: int = Field(120, ge=1, le=86_400, description="how long it is good for", examples=[120])


class SignalTaken(BaseModel):
    """A signal that was written down; the bot hears it when its next bar closes."""

    number: int = Field(description="of the pair, rising by one", examples=[7])


class HeardSignal(BaseModel):
    """A signal as a file of signals has it, at the bar at whose close it was heard."""

    signal_id: str = Field(examples=["breakout-2024-03-05-1"])
    entry_price: float = Field(description="between stop and target; it says the direction alone", examples=[43_000.0])
    sl_price: float = Field(description="0 with one to leave, as tp_price", examples=[41_000.0])
    tp_price: float = Field(examples=[45_000.0])
    entry_timestamp: Ms


class HeardSignals(BaseModel):
    """Signals that a bot heard on a pair: written into a file, `traderagent backtest --signals` trades the same."""

    signals: list[HeardSignal]


class SignalSecret(BaseModel):
    """What signs a bot's signals; it is shown this once."""

    secret: str = Field(examples=["Zk3v…"])


class SignalSecretState(BaseModel):
    """Whether a bot has a secret that signs its signals."""

    made: bool


class SignInState(BaseModel):
    """Whether there is a password, and who asks."""

    password: bool
    signed_in: bool
    scope: Scope | None = Field(examples=["money"])


class SignedIn(BaseModel):
    """A session that began; a browser keeps its cookie."""

    scope: Scope
    csrf: str = Field(description="send it as X-CSRF-Token with every change", examples=["5f2b…"])
    expires: Ms


class SecondFactorState(BaseModel):
    """Whether a sign-in by password asks for a code too."""

    on: bool
    recovery_codes: int = Field(description="that are left", examples=[10])


class SecondFactorBegun(BaseModel):
    """What an authenticator is given. It is shown once."""

    secret: str = Field(examples=["JBSWY3DPEHPK3PXP…"])
    uri: str = Field(examples=["otpauth://totp/…"])
    picture: str = Field(description="the same as a QR code, `data:image/svg+xml`", examples=["data:image/svg+xml;…"])


class RecoveryCodes(BaseModel):
    """They are shown once; each signs in once in place of a code."""

    codes: list[str] = Field(examples=[["kq3mz-8trwd"]])


class TokenMade(BaseModel):
    """A new token. It is shown once: send it as `Authorization: Bearer …`."""

    token: str = Field(examples=["mD0Z…"])
    expires: Ms


class SessionShown(BaseModel):
    """A session of a browser, or a token of a program."""

    id: str = Field(examples=["0b8f2c…"])
    kind: Literal["browser", "token"]
    label: str = Field(examples=["Firefox on Linux"])
    scope: Scope
    created: Ms
    expires: Ms
    own: bool = Field(description="whether it is the one that asks")


class SessionList(BaseModel):
    """Every session and token that has not ended."""

    items: list[SessionShown]


class BotShown(BaseModel):
    """A bot, and how it stands as far as is known."""

    bot: Name
    runs: bool = Field(description="whether it answered last time it was asked")
    age: float | None = Field(description="seconds since it last said how it stands", examples=[0.4])
    trouble: str = Field(description="what is wrong, in a sentence; empty: it answers", examples=[""])
    status: BotStatusModel | None  # type: ignore[valid-type]


class BotList(BaseModel):
    """Every bot of the console's database; those that wait for a decision first."""

    items: list[BotShown]


class Dashboard(BotList):
    """Everything at a glance."""

    equity: float = Field(description="of all bots that answer, quote currency")
    exposure: float
    trouble: dict[str, str] = Field(description="what is away, in words: database, bus", examples=[{}])


class DecisionRow(BaseModel):
    """Something the algorithm decided."""

    id: int
    pair: str | None = Field(description="none: the account", examples=["BTCUSDT"])
    kind: str = Field(examples=["regime"])
    at: Ms
    fields: dict[str, Any]


class SignalOutcome(StrEnum):
    """What a bot did with a signal, by what is stored."""

    WAITING = "waiting"  # it is heard when the minute closes
    UNHEARD = "unheard"  # its time was over before the bot heard it
    LATE = "late"  # heard when its time was over
    PASSED_OVER = "passed_over"  # another one of the same minute counted
    FILLED = "filled"
    ORDERED = "ordered"  # and nothing was filled so far
    REFUSED = "refused"  # by the exchange: see `decisions`
    HELD = "held"  # another trade was open
    PRICE_PASSED = "price_passed"  # the price was beyond its stop or target
    NOT_OPENED = "not_opened"  # nothing could be opened: see `decisions`
    NOTHING_HELD = "nothing_held"  # there was nothing to leave
    NOT_LEFT = "not_left"  # no order to leave is known


class SignalShown(BaseModel):
    """A signal as it came, and what the bot did."""

    number: int = Field(examples=[7])
    signal: str = Field(description="the sender's id", examples=["breakout-2024-03-05-1"])
    pair: Pair
    direction: int = Field(description="1 long, -1 short, 0 to leave", examples=[1])
    stop: float = Field(description="quote currency; 0 with one to leave", examples=[41_000.0])
    target: float = Field(description="as stop", examples=[45_000.0])
    at: Ms
    expired: bool = Field(description="its time is over", examples=[False])
    outcome: SignalOutcome = Field(examples=["filled"])
    heard: Ms | None = Field(description="opening of the minute at whose close it was heard", examples=[None])
    price: float | None = Field(description="when it was heard", examples=[43_000.0])
    quantity: float = Field(description="that was filled, base currency", examples=[0.01])
    fill_price: float = Field(description="average; 0 where nothing was filled", examples=[43_010.0])
    decisions: list[DecisionRow] = Field(description="that were made with it, where nothing was filled")


class SignalList(BaseModel):
    """Signals, the newest first."""

    items: list[SignalShown]


class FillRow(BaseModel):
    """An execution, or a payment of funding, which has no side."""

    execution: str
    pair: Pair
    client_order_id: str
    side: Literal["buy", "sell"] | None
    price: float
    quantity: float
    fee: float
    maker: bool
    cause: str = Field(examples=["order"])
    reason: str = Field(description="why its order existed", examples=["entry"])
    position: float | None = Field(description="after it")
    realised: float | None
    at: Ms


class OrderRow(BaseModel):
    """An order as it was sent last."""

    client_order_id: str
    pair: Pair
    side: Literal["buy", "sell"]
    kind: Literal["limit", "stop", "market"]
    price: float
    quantity: float
    reduce_only: bool
    reason: str
    stop: float
    at: Ms


class CommandRow(BaseModel):
    """What an operator said."""

    key: str
    command: str
    pair: str | None
    force: bool
    amount: float
    who: str
    source: str
    refused: bool
    outcome: str | None = Field(description="none: not known")
    at: Ms


class TradeRow(BaseModel):
    """A trade from flat to flat."""

    pair: Pair
    side: Literal["long", "short"]
    opened: str
    closed: str
    profit: float = Field(description="less fees, quote currency")
    fees: float
    fills: int


class DecisionList(BaseModel):
    """A page, the newest first."""

    items: list[DecisionRow]
    next: Cursor


class FillList(BaseModel):
    """A page, the newest first."""

    items: list[FillRow]
    next: Cursor


class OrderList(BaseModel):
    """A page, the newest first."""

    items: list[OrderRow]
    next: Cursor


class CommandList(BaseModel):
    """A page, the newest first."""

    items: list[CommandRow]
    next: Cursor


class TradeList(BaseModel):
    """A page, the newest first."""

    items: list[TradeRow]
    next: Cursor
    funding: dict[str, float] = Field(description="what funding paid, by pair", examples=[{"BTCUSDT": -1.25}])


class CommandDone(BaseModel):
    """What the bot has done, in words."""

    done: str = Field(examples=["paused the pair"])
    again: bool = Field(description="this key was used before: it was not done again")


class SettingShown(BaseModel):
    """A value of a bot's config."""

    key: str = Field(examples=["grid.levels"])
    value: Any = Field(examples=[15])
    live: bool = Field(description="it may change while the bot runs: command `set`")
    bounds: str = Field(examples=[">= 2, <= 100"])
    meaning: str


class Why(BaseModel):
    """Why a bot holds what it holds on a pair."""

    at: str | None
    sentences: list[str] = Field(examples=[["The regime was range since 2024-03-05T12:00:00Z: …"]])


class EarnedRow(BaseModel):
    """What was realised on a UTC day on a pair, quote currency."""

    day: str = Field(examples=["2024-03-05"])
    pair: Pair
    profit: float = Field(description="less fees and funding")
    fees: float
    funding: float
    fills: int


class ContributionRow(BaseModel):
    """What was realised under a strategy in a regime, quote currency."""

    strategy: str = Field(description="the last that was started on the pair; unknown before the first")
    regime: str = Field(description="the last that was confirmed; unknown before the first, and without a router")
    profit: float = Field(description="less fees and funding")
    fees: float
    funding: float
    fills: int


class CorrelationRow(BaseModel):
    """How alike two pairs earn."""

    pair: Pair
    other: Pair
    days: int = Field(description="in common, from 14 on")
    correlation: float = Field(ge=-1.001, le=1.001, description="of what they realised day by day")


class RiskGroupRow(BaseModel):
    """Pairs whose exposure has one limit, quote currency."""

    group: str = Field(description="as the config names it, else the first of its pairs", examples=["BTCUSDT"])
    pairs: list[Pair]
    exposure: float = Field(examples=[430.0])
    target: float = Field(description="capital", examples=[900.0])
    limit: float | None = Field(description="largest exposure; none: it has one pair, or no limit", examples=[2550.0])


class AllocationMark(BaseModel):
    """What each pair had from a moment on, quote currency."""

    at: Ms
    equity: float
    free: float = Field(description="what no pair had, the reserve in it")
    targets: dict[str, float] = Field(description="by pair, those that had something", examples=[{"BTCUSDT": 900.0}])


class AllocationList(BaseModel):
    """Allocation over time, oldest first: the last of each of 120 steps."""

    items: list[AllocationMark]


class EquityMark(BaseModel):
    """What the account was worth."""

    at: Ms
    equity: float


class PortfolioShown(BaseModel):
    """Where the money of a bot is, and what it has earned."""

    bot: BotShown
    earned: list[EarnedRow]
    contributions: list[ContributionRow]
    correlations: list[CorrelationRow] = Field(description="of the thirty pairs with the most fills")
    groups: list[RiskGroupRow] = Field(description="while the bot answers, or as they were last")
    equity: list[EquityMark] = Field(description="the last marks on the bus; empty without one")


class AccountShown(BaseModel):
    """What moved a wallet in a period, in the settlement coin."""

    bot: Name
    coin: str = Field(examples=["USDT"])
    entries: int
    sums: dict[str, float] = Field(
        description="results by kind, and fees: together the wallet's change", examples=[{"trade": 12.5, "fees": -0.8}]
    )
    before: float = Field(description="in the wallet when the period began, by the rows before it")
    change: float
    wallet: float = Field(description="as the bot counts it now")
    differences: list[str] = Field(description="where rows do not add up to the wallet, over all that is stored")


class MarketRow(BaseModel):
    """A pair that a bot trades."""

    bot: Name
    pair: Pair
    price: float


class MarketList(BaseModel):
    """Pairs of the bots that answer, by bot, then by symbol."""

    items: list[MarketRow]


class AuditRow(BaseModel):
    """Something that was done through the console."""

    id: int
    at: Ms
    who: str
    address: str
    action: str
    bot: str | None
    pair: str | None
    key: str
    fields: dict[str, Any]
    refused: bool
    outcome: str | None


class AuditList(BaseModel):
    """A page, the newest first."""

    items: list[AuditRow]
    next: Cursor


class SettingsShown(BaseModel):
    """What this console is."""

    version: str
    languages: list[str]
    session_days: int
    least_password: int
    bus: bool = Field(description="whether events come by a bus")


class Health(BaseModel):
    """It lives."""

    alive: bool = True


class ConsoleReady(BaseModel):
    """Whether everything it reads answers."""

    ready: bool
    trouble: dict[str, str] = Field(examples=[{}])
