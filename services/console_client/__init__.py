"""A typed client of the console's API. Written by `services.web.client_source`; a test says when it is old.

client = ConsoleClient("http://127.0.0.1:8800", token)
for bot in client.bots()["items"]:
    print(bot["bot"], bot["status"] and bot["status"]["equity"])
"""

# ruff: noqa: E501
from __future__ import annotations

import json
from typing import Any, Literal, NotRequired, TypedDict, cast

from services.console_client.transport import ConsoleRefused as ConsoleRefused
from services.console_client.transport import Transport, quoted


class AccountLimitsModelJson(TypedDict):
    """What the account may lose and hold before its risk rules act."""

    halt_day_loss_pct: float
    halt_drawdown_pct: float
    exposure: float
    reserve: float
    group_exposure: float


class AccountShownJson(TypedDict):
    """What moved a wallet in a period, in the settlement coin."""

    bot: str
    coin: str
    entries: int
    sums: dict[str, float]
    before: float
    change: float
    wallet: float
    differences: list[str]


class ActionGivenJson(TypedDict):
    """What is done at the last bar that was shown, after `number` actions."""

    number: int
    since: NotRequired[int]
    do: Literal["step", "jump", "order", "cancel", "protect", "close", "note"]
    bars: NotRequired[int]
    to: NotRequired[Literal["asia", "london", "new_york", "day"]]
    entry: NotRequired[int | None]
    side: NotRequired[Literal["buy", "sell"] | None]
    kind: NotRequired[Literal["limit", "stop"]]
    price: NotRequired[float | None]
    quantity: NotRequired[float | None]
    risk: NotRequired[float | None]
    stop: NotRequired[float | None]
    target: NotRequired[float | None]
    text: NotRequired[str]


class AllocationListJson(TypedDict):
    """Allocation over time, oldest first: the last of each of 120 steps."""

    items: list[AllocationMarkJson]


class AllocationMarkJson(TypedDict):
    """What each pair had from a moment on, quote currency."""

    at: int
    equity: float
    free: float
    targets: dict[str, float]


class AuditListJson(TypedDict):
    """A page, the newest first."""

    items: list[AuditRowJson]
    next: str | None


class AuditRowJson(TypedDict):
    """Something that was done through the console."""

    id: int
    at: int
    who: str
    address: str
    action: str
    bot: str | None
    pair: str | None
    key: str
    fields: dict[str, Any]
    refused: bool
    outcome: str | None


class BotChoicesJson(TypedDict):
    """What a bot can be made of."""

    strategies: list[str]
    presets: list[str]
    saved: list[list[Any]]
    keys: list[TradingKeyJson]


class BotGivenJson(TypedDict):
    """A bot to create: of a strategy with its defaults, of a preset, or of a saved strategy."""

    name: str
    strategy: NotRequired[Literal["grid", "dca", "trend", "auto"] | None]
    preset: NotRequired[str | None]
    saved: NotRequired[str | None]
    pairs: list[str]
    capital: NotRequired[float | None]
    environment: Literal["venue", "demo", "testnet", "live"]
    address: NotRequired[str | None]
    user: NotRequired[str]
    untested: NotRequired[bool]
    start: NotRequired[bool]


class BotListJson(TypedDict):
    """Every bot of the console's database; those that wait for a decision first."""

    items: list[BotShownJson]


class BotSeenJson(TypedDict):
    """What a bot would have done up to here."""

    bot: str
    fills: list[dict[str, Any]]
    orders: list[dict[str, Any]]
    spans: list[dict[str, Any]]
    position: float
    figures: dict[str, float | None]


class BotShownJson(TypedDict):
    """A bot, and how it stands as far as is known."""

    bot: str
    runs: bool
    age: float | None
    trouble: str
    status: BotStatusModelJson | None


class BotStatusModelJson(TypedDict):
    """The whole."""

    at: str | None
    equity: float
    wallet: float
    exposure: float
    day_loss_pct: float
    drawdown_pct: float
    modes: list[str]
    halted: bool
    answer: str | None
    decide_by: str | None
    limits: AccountLimitsModelJson
    transfers_at: int
    capital_phase: CapitalPhaseStatusModelJson | None
    streams: dict[str, bool]
    stream_age_seconds: float
    errors: dict[str, int]
    changes: dict[str, int]
    bot: str
    pairs: list[PairStatusModelJson]
    environment: NotRequired[str | None]
    phase_standing: NotRequired[CapitalPhaseStandingModelJson | None]


class CandleSpanJson(TypedDict):
    """From when to when there are candles."""

    first: int
    last: int


class CapitalPhaseStandingModelJson(TypedDict):
    """That, and what the config asks for before the next phase."""

    share: float
    since: int
    trades: int
    drawdown: float
    number: int
    of: int
    missing: list[str]


class CapitalPhaseStatusModelJson(TypedDict):
    """What the portfolio knows of the phase of its capital."""

    share: float
    since: int
    trades: int
    drawdown: float


class CloneGivenJson(TypedDict):
    """Changes that make another strategy of a saved one."""

    changes: dict[str, Any]


class CodeGivenJson(TypedDict):
    """A code of the second factor: six digits of the authenticator, or a recovery code."""

    code: str


class CommandDoneJson(TypedDict):
    """What the bot has done, in words."""

    done: str
    again: bool


class CommandGivenJson(TypedDict):
    """What to tell a bot."""

    command: CommandKindJson
    pair: NotRequired[str | None]
    force: NotRequired[bool]
    amount: NotRequired[float]
    setting: NotRequired[str]
    value: NotRequired[str]


CommandKindJson = Literal[
    "pause",
    "resume",
    "halt",
    "close-all",
    "hold",
    "reduce-50",
    "reload",
    "set",
    "stop",
    "stop-leave-entries",
    "shutdown",
    "invest",
    "close",
    "phase-up",
    "phase-down",
]


class CommandListJson(TypedDict):
    """A page, the newest first."""

    items: list[CommandRowJson]
    next: str | None


class CommandRowJson(TypedDict):
    """What an operator said."""

    key: str
    command: str
    pair: str | None
    force: bool
    amount: float
    who: str
    source: str
    refused: bool
    outcome: str | None
    at: int


class ConsoleReadyJson(TypedDict):
    """Whether everything it reads answers."""

    ready: bool
    trouble: dict[str, str]


class ContributionRowJson(TypedDict):
    """What was realised under a strategy in a regime, quote currency."""

    strategy: str
    regime: str
    profit: float
    fees: float
    funding: float
    fills: int


class CorrelationRowJson(TypedDict):
    """How alike two pairs earn."""

    pair: str
    other: str
    days: int
    correlation: float


class CoverageShownJson(TypedDict):
    """What is stored, day by day."""

    first: str | None
    days: int
    items: list[SeriesCoverageJson]
    left_out: int


class DashboardJson(TypedDict):
    """Everything at a glance."""

    items: list[BotShownJson]
    equity: float
    exposure: float
    trouble: dict[str, str]


class DatedInstrumentShownJson(TypedDict):
    """An instrument as it was stated to be; numbers are decimals as text."""

    symbol: str
    since: str | None
    tick_size: str
    lot_size: str
    min_quantity: str
    min_notional: str
    maker_fee: str
    taker_fee: str


class DatedInstrumentsJson(TypedDict):
    """Instruments of a market as of a day, by symbol."""

    items: list[DatedInstrumentShownJson]
    later: int


class DecisionListJson(TypedDict):
    """A page, the newest first."""

    items: list[DecisionRowJson]
    next: str | None


class DecisionRowJson(TypedDict):
    """Something the algorithm decided."""

    id: int
    pair: str | None
    kind: str
    at: int
    fields: dict[str, Any]


class DriftDayListJson(TypedDict):
    """Days that are kept, the newest first."""

    items: list[DriftDayShownJson]


class DriftDayShownJson(TypedDict):
    """What a day cost beside its simulation."""

    day: str
    cost: float
    volume: float
    bps: float | None
    costs: dict[str, float]
    alone: int
    uncompared: int


class DriftDocumentJson(TypedDict):
    """A day of a bot beside its simulation."""

    bot: str
    day: str
    minutes: dict[str, int]
    volume: float
    cost: float
    bps: float | None
    sums: list[DriftSumModelJson]
    rows: list[DriftRowModelJson]
    uncompared: list[UncomparedModelJson]


class DriftRowModelJson(TypedDict):
    """Lots of a live fill beside the same lots of its simulated twin."""

    kind: Literal["paired", "late", "missed", "unexpected"]
    pair: str
    side: Literal["buy", "sell"]
    quantity: float
    order: str
    reason: str
    live: DriftSideModelJson | None
    simulated: DriftSideModelJson | None
    seconds: float
    costs: dict[str, float]
    bps: float
    why: str


class DriftSideModelJson(TypedDict):
    """A fill of one side; a simulation knows the opening of its minute."""

    at: int
    price: float
    fee: float
    maker: bool
    execution: str


class DriftSumModelJson(TypedDict):
    """One kind of cost on one pair, or on all of them."""

    pair: str
    kind: Literal["fees", "slippage", "late", "missed", "unexpected"]
    fills: int
    cost: float
    bps: float | None


class EarnedRowJson(TypedDict):
    """What was realised on a UTC day on a pair, quote currency."""

    day: str
    pair: str
    profit: float
    fees: float
    funding: float
    fills: int


class EquityCurveJson(TypedDict):
    """Equity of a run over its initial capital."""

    at: list[int]
    equity_pct: list[float]


class EquityMarkJson(TypedDict):
    """What the account was worth."""

    at: int
    equity: float


class EstimateGivenJson(TypedDict):
    """A request to read without playing it."""

    kind: Literal["sweep", "walkforward", "staged", "batch", "download", "repair", "scan", "run"]
    request: dict[str, Any]


class FillListJson(TypedDict):
    """A page, the newest first."""

    items: list[FillRowJson]
    next: str | None


class FillRowJson(TypedDict):
    """An execution, or a payment of funding, which has no side."""

    execution: str
    pair: str
    client_order_id: str
    side: Literal["buy", "sell"] | None
    price: float
    quantity: float
    fee: float
    maker: bool
    cause: str
    reason: str
    position: float | None
    realised: float | None
    at: int


class FleetBotShownJson(TypedDict):
    """A bot of the fleet."""

    name: str
    environment: Literal["venue", "demo", "testnet", "live"]
    strategy: str
    pairs: list[str]
    config: str
    state: Literal["starting", "warming_up", "running", "stopping", "stopped", "failed"]
    since: int
    wanted: Literal["running", "stopped"]
    failures: int
    next_start: int | None
    reason: str


class FleetShownJson(TypedDict):
    """The bots of the fleet, by name."""

    runs: bool
    items: list[FleetBotShownJson]


class HealthJson(TypedDict):
    """It lives."""

    alive: NotRequired[bool]


class HeardSignalJson(TypedDict):
    """A signal as a file of signals has it, at the bar at whose close it was heard."""

    signal_id: str
    entry_price: float
    sl_price: float
    tp_price: float
    entry_timestamp: int


class HeardSignalsJson(TypedDict):
    """Signals that a bot heard on a pair: written into a file, `traderagent backtest --signals` trades the same."""

    signals: list[HeardSignalJson]


class IndicatorComputedJson(TypedDict):
    """Outputs at every complete bar that has enough history."""

    at: list[int]
    close: list[float]
    outputs: dict[str, list[float | None]]
    left_out: int


class IndicatorEstimateJson(TypedDict):
    """What computing it comes to."""

    read: int
    bars: int
    told: int
    outputs: list[str]
    refused: bool


class IndicatorGivenJson(TypedDict):
    """An indicator over stored candles."""

    indicator: str
    parameters: NotRequired[dict[str, float]]
    pair: str
    timeframe: NotRequired[str]
    exchange: NotRequired[str | None]
    market: NotRequired[Literal["spot", "linear"]]
    start: NotRequired[str | None]
    end: NotRequired[str | None]


class IndicatorListJson(TypedDict):
    """Every indicator, by group."""

    items: list[IndicatorShownJson]


class IndicatorSettingJson(TypedDict):
    """A parameter of an indicator."""

    name: str
    default: float
    least: float
    most: float
    step: float


class IndicatorShownJson(TypedDict):
    """An indicator that rules may name."""

    name: str
    group: str
    outputs: list[str]
    settings: list[IndicatorSettingJson]
    rule: str


class JobDetailJson(TypedDict):
    """A job with what was asked for, and what came of it."""

    job: int
    owner: str
    kind: str
    strategy: str | None
    pair: str | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    priority: int
    attempts: int
    lost: int
    worker: str | None
    done: int
    total: int
    session: str | None
    best: dict[str, Any] | None
    fault: str | None
    queued: int
    began: int | None
    heartbeat: int | None
    ended: int | None
    request: dict[str, Any]
    result: dict[str, Any] | None


class JobGivenJson(TypedDict):
    """A request for a worker."""

    kind: Literal["sweep", "walkforward", "staged", "batch", "download", "repair", "scan"]
    request: dict[str, Any]


class JobListJson(TypedDict):
    """A page, the newest first."""

    items: list[JobShownJson]
    next: str | None
    workers: int


class JobShownJson(TypedDict):
    """A job as it stands."""

    job: int
    owner: str
    kind: str
    strategy: str | None
    pair: str | None
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    priority: int
    attempts: int
    lost: int
    worker: str | None
    done: int
    total: int
    session: str | None
    best: dict[str, Any] | None
    fault: str | None
    queued: int
    began: int | None
    heartbeat: int | None
    ended: int | None


class JournalListJson(TypedDict):
    """Records by exit, the newest first."""

    items: list[JournalRecordJson]
    next: int | None
    outbox: dict[str, Any]


class JournalRecordJson(TypedDict):
    """A trade in the journal."""

    record: str
    revision: int
    source: Literal["replay", "live"]
    origin: str
    symbol: str
    timeframe: str | None
    side: str | None
    quantity: float | None
    entry: int
    entry_price: float | None
    exit: int
    exit_price: float | None
    reason: str | None
    pnl: float | None
    r: float | None
    pictures: list[str]
    notes: str
    tags: list[str]


class LinkGivenJson(TypedDict):
    """A sign-in by what follows `#link=` in the link that the terminal printed."""

    link: str


class MarketListJson(TypedDict):
    """Pairs of the bots that answer, by bot, then by symbol."""

    items: list[MarketRowJson]


class MarketRowJson(TypedDict):
    """A pair that a bot trades."""

    bot: str
    pair: str
    price: float


class MatrixCellJson(TypedDict):
    """A strategy on a timeframe: its figure on days that have chosen nothing, over sessions and their windows."""

    strategy: str
    timeframe: str
    least: float | None
    mean: float | None
    most: float | None
    sessions: list[str]
    trades: int
    colour: str


class MatrixRowJson(TypedDict):
    """Cells of a strategy, one for each timeframe; none where no session has played it."""

    strategy: str
    cells: list[MatrixCellJson | None]


class MatrixShownJson(TypedDict):
    """Strategies by timeframes of a pair."""

    pair: str
    by: str
    timeframes: list[str]
    rows: list[MatrixRowJson]
    pairs: list[str]


class NewPasswordJson(TypedDict):
    """A password to set; `old` where there is one."""

    old: NotRequired[str | None]
    new: str


class NewTokenJson(TypedDict):
    """A token for a program."""

    label: str
    scope: NotRequired[ScopeJson]
    days: NotRequired[int]


class OrderListJson(TypedDict):
    """A page, the newest first."""

    items: list[OrderRowJson]
    next: str | None


class OrderRowJson(TypedDict):
    """An order as it was sent last."""

    client_order_id: str
    pair: str
    side: Literal["buy", "sell"]
    kind: Literal["limit", "stop", "market"]
    price: float
    quantity: float
    reduce_only: bool
    reason: str
    stop: float
    at: int


class OrderStatusModelJson(TypedDict):
    """An order, desired or open."""

    client_order_id: str
    side: str
    kind: str
    price: float
    quantity: float
    filled: float
    reduce_only: bool
    stop: float


class PairOrdersModelJson(TypedDict):
    """What should be open at the venue for a pair, and what is, as far as the bot knows."""

    pair: str
    tick_size: float
    desired: list[OrderStatusModelJson]
    open: list[OrderStatusModelJson]
    stop: float


class PairStatusModelJson(TypedDict):
    """Both together."""

    pair: str
    price: float
    regime: str
    strategy: str
    group: str
    phase: str
    held_off: list[str]
    target: float
    position: float
    equity: float
    exposure: float
    entries: int
    exits: int
    refused_for_costs: int
    open_orders: int
    recovered: bool
    reconciled_seconds: float
    corrections: int
    fills: int
    reactions: ReactionCountsModelJson
    average: float
    stop: float
    counts: dict[str, int]


class ParameterListJson(TypedDict):
    """Parameters by strategy."""

    strategies: dict[str, list[ParameterShownJson]]


class ParameterShownJson(TypedDict):
    """A parameter of a strategy, as data."""

    name: str
    meaning: str
    unit: str | None
    lower: float | None
    lower_included: bool
    upper: float | None
    upper_included: bool
    whole: bool
    words: list[str]
    default: Any
    search: str
    risk: bool
    by_class: dict[str, Any]


class PasswordGivenJson(TypedDict):
    """A sign-in."""

    password: str
    code: NotRequired[str]


class PictureKeptJson(TypedDict):
    """A picture that was kept."""

    name: str
    place: str
    number: int


class PortfolioShownJson(TypedDict):
    """Where the money of a bot is, and what it has earned."""

    bot: BotShownJson
    earned: list[EarnedRowJson]
    contributions: list[ContributionRowJson]
    correlations: list[CorrelationRowJson]
    groups: list[RiskGroupRowJson]
    equity: list[EquityMarkJson]


class PresetGivenJson(TypedDict):
    """A variant to save among your presets."""

    session: str
    variant: int
    name: str
    replace: NotRequired[bool]


class PresetSavedJson(TypedDict):
    """A preset that was saved."""

    name: str
    text: str


class ProblemJson(TypedDict):
    """What is wrong, in one sentence, with the field it is about and what to do."""

    code: str
    message: str
    field: NotRequired[str | None]
    remedy: str


class ProposalGivenJson(TypedDict):
    """A pair of a scan whose config to save among your presets."""

    job: int
    place: int
    name: str
    replace: NotRequired[bool]


class ReactionCountsModelJson(TypedDict):
    """How soon fills were answered: counts by the bounds of `reaction.SECONDS`, and seconds in all."""

    counts: list[int]
    seconds: float


class RecordGivenJson(TypedDict):
    """Other notes and tags of a record."""

    revision: int
    notes: str
    tags: list[str]


class RecoveryCodesJson(TypedDict):
    """They are shown once; each signs in once in place of a code."""

    codes: list[str]


class ReplayBegunJson(TypedDict):
    """A session that has begun."""

    replay: str


class ReplayChoicesJson(TypedDict):
    """What a session may be about."""

    series: list[StoredSeriesJson]
    timeframes: list[str]
    bots: list[str]


class ReplayCostsJson(TypedDict):
    """Rules of the simulated exchange that a person may set."""

    slippage_bps: NotRequired[float]
    max_participation: NotRequired[float]


class ReplayDetailJson(TypedDict):
    """A session and where it stands."""

    replay: str
    pair: str
    exchange: str
    market: str
    timeframe: str
    capital: float
    leverage: float
    blind: bool
    start: int | None
    end: int | None
    moved: int
    undone: int
    created: int
    ended: bool
    state: ReplayStateJson


class ReplayGivenJson(TypedDict):
    """A session to begin: start and end, or so many days by chance whose dates are hidden until the end."""

    pair: str
    exchange: NotRequired[str]
    market: NotRequired[Literal["linear", "spot"]]
    timeframe: str
    start: NotRequired[str | None]
    end: NotRequired[str | None]
    days: NotRequired[int | None]
    capital: NotRequired[float]
    leverage: NotRequired[float]
    execution: NotRequired[ReplayCostsJson]


class ReplayListJson(TypedDict):
    """Sessions, the newest first."""

    items: list[ReplayListedJson]


class ReplayListedJson(TypedDict):
    """A session in a list."""

    replay: str
    pair: str
    exchange: str
    market: str
    timeframe: str
    capital: float
    leverage: float
    blind: bool
    start: int | None
    end: int | None
    moved: int
    undone: int
    created: int
    ended: bool
    actions: int


class ReplayStateJson(TypedDict):
    """Where a session stands at the close of the last bar that was shown; times as they may be seen."""

    number: int
    at: int
    share: float
    over: bool
    since: int
    bars: list[list[float]]
    standing: dict[str, Any]
    fills: list[dict[str, Any]]
    trades: list[dict[str, Any]]
    notes: list[dict[str, Any]]
    tick: float
    lot: float


class ReplayStatisticsJson(TypedDict):
    """The person against a bot."""

    you: dict[str, float | None]
    bot: dict[str, float | None] | None
    name: str
    undone: int


class ReportShownJson(TypedDict):
    """How a report stands: ask again while it is being played."""

    report: str
    state: Literal["ready", "playing", "failed"]
    fault: str
    place: str
    config: str | None


class RequestReadJson(TypedDict):
    """What a request comes to before it begins."""

    variants: int | None
    most: int | None
    seconds: NotRequired[float | None]
    axes: list[dict[str, Any]]


class ResearchDefaultsJson(TypedDict):
    """What holds unless a request says otherwise."""

    kinds: list[str]
    methods: list[str]
    rankings: list[str]
    figures: dict[str, Literal["highest", "lowest"]]
    limits: dict[str, int]


class RiskGroupRowJson(TypedDict):
    """Pairs whose exposure has one limit, quote currency."""

    group: str
    pairs: list[str]
    exposure: float
    target: float
    limit: float | None


class RunAskedJson(TypedDict):
    """What a bot is to do."""

    command: Literal["start", "stop", "restart"]


class RunGivenJson(TypedDict):
    """A config without ranges, of which a report is made."""

    request: dict[str, Any]


class ScanShownJson(TypedDict):
    """Pairs ranked by alpha, in sample, and those that could not be played."""

    job: int
    verdict: list[str]
    items: list[ScannedRowJson]
    failed: list[dict[str, Any]]


class ScannedRowJson(TypedDict):
    """A pair of a scan: what a config would have earned of late."""

    symbol: str
    exchange: str
    market: str
    alpha_pct: float | None
    alpha_low_pct: float | None
    alpha_high_pct: float | None
    beta: float | None
    total_return_pct: float | None
    benchmark_return_pct: float | None
    max_drawdown_pct: float | None
    trades: float | None
    words: str
    config: str
    document: dict[str, Any]


ScopeJson = Literal["read", "control", "money"]


class SearchDetailJson(TypedDict):
    """A session with the space that was searched, and its config."""

    session: str
    kind: str
    strategy: str | None
    pair: str | None
    method: str | None
    status: Literal["running", "finished", "failed", "cancelled"]
    trials: int
    created: int
    ended: int | None
    verdict: list[str]
    document: dict[str, Any]
    config: str | None


class SearchListJson(TypedDict):
    """A page, the newest first."""

    items: list[SearchShownJson]
    next: str | None


class SearchShownJson(TypedDict):
    """A session of a search."""

    session: str
    kind: str
    strategy: str | None
    pair: str | None
    method: str | None
    status: Literal["running", "finished", "failed", "cancelled"]
    trials: int
    created: int
    ended: int | None
    verdict: list[str]


class SecondFactorBegunJson(TypedDict):
    """What an authenticator is given. It is shown once."""

    secret: str
    uri: str
    picture: str


class SecondFactorStateJson(TypedDict):
    """Whether a sign-in by password asks for a code too."""

    on: bool
    recovery_codes: int


class SeriesCoverageJson(TypedDict):
    """How much of each day is stored of a series."""

    pair: str
    exchange: str
    market: str
    bar: str
    first: str
    last: str
    bars: int
    missing: int
    shares: list[float | None]


class SessionListJson(TypedDict):
    """Every session and token that has not ended."""

    items: list[SessionShownJson]


class SessionShownJson(TypedDict):
    """A session of a browser, or a token of a program."""

    id: str
    kind: Literal["browser", "token"]
    label: str
    scope: ScopeJson
    created: int
    expires: int
    own: bool


class SettingShownJson(TypedDict):
    """A value of a bot's config."""

    key: str
    value: Any
    live: bool
    bounds: str
    meaning: str


class SettingsShownJson(TypedDict):
    """What this console is."""

    version: str
    languages: list[str]
    session_days: int
    least_password: int
    bus: bool


class SignInStateJson(TypedDict):
    """Whether there is a password, and who asks."""

    password: bool
    signed_in: bool
    scope: ScopeJson | None


class SignalGivenJson(TypedDict):
    """A signal of somebody else for a bot."""

    id: str
    pair: str
    side: Literal["long", "short", "close"]
    stop: NotRequired[float]
    target: NotRequired[float]
    seconds: NotRequired[int]


class SignalListJson(TypedDict):
    """Signals, the newest first."""

    items: list[SignalShownJson]


SignalOutcomeJson = Literal[
    "waiting",
    "unheard",
    "late",
    "passed_over",
    "filled",
    "ordered",
    "refused",
    "held",
    "price_passed",
    "not_opened",
    "nothing_held",
    "not_left",
]


class SignalSecretJson(TypedDict):
    """What signs a bot's signals; it is shown this once."""

    secret: str


class SignalSecretStateJson(TypedDict):
    """Whether a bot has a secret that signs its signals."""

    made: bool


class SignalShownJson(TypedDict):
    """A signal as it came, and what the bot did."""

    number: int
    signal: str
    pair: str
    direction: int
    stop: float
    target: float
    at: int
    expired: bool
    outcome: SignalOutcomeJson
    heard: int | None
    price: float | None
    quantity: float
    fill_price: float
    decisions: list[DecisionRowJson]


class SignalTakenJson(TypedDict):
    """A signal that was written down; the bot hears it when its next bar closes."""

    number: int


class SignedInJson(TypedDict):
    """A session that began; a browser keeps its cookie."""

    scope: ScopeJson
    csrf: str
    expires: int


StatementFormatJson = Literal["csv", "koinly", "cointracking"]


class StoredPairJson(TypedDict):
    """A pair of a venue of which the store has candles."""

    pair: str
    exchange: str
    market: str


class StoredPairsJson(TypedDict):
    """Pairs that may be searched, by name; generated candles last."""

    items: list[StoredPairJson]


class StoredSeriesJson(TypedDict):
    """A pair that has candles."""

    pair: str
    exchange: str
    market: str


class StrategyListJson(TypedDict):
    """Saved strategies, newest first, and what may be searched of those that are built in."""

    items: list[StrategyShownJson]


class StrategySavedJson(TypedDict):
    """A strategy that was saved, or was there already."""

    name: str
    new: bool


class StrategyShownJson(TypedDict):
    """A saved strategy; it is never changed."""

    name: str
    content: str
    strategy: str
    status: Literal["draft", "tested", "running"]
    tests: list[dict[str, Any]]
    tested_on: list[str]
    runs: list[dict[str, Any]]
    cloned_from: str | None
    created: int
    document: dict[str, Any]


class SupposedFillModelJson(TypedDict):
    """A fill on the way to a price."""

    side: Literal["buy", "sell"]
    price: float
    quantity: float
    fee: float
    maker: bool
    reason: str
    rested: bool


class SupposedOrderModelJson(TypedDict):
    """An order that the strategy would then want."""

    side: Literal["buy", "sell"]
    kind: Literal["limit", "stop", "market"]
    price: float
    quantity: float
    reason: str
    new: bool


class TokenMadeJson(TypedDict):
    """A new token. It is shown once: send it as `Authorization: Bearer …`."""

    token: str
    expires: int


class TradableSymbolJson(TypedDict):
    """A symbol that can be traded."""

    symbol: str
    market_id: int
    exchange: str
    market: str
    base: str
    quote: str


class TradableSymbolsJson(TypedDict):
    """A page, by symbol and then market id: the order never changes."""

    items: list[TradableSymbolJson]
    next: str | None
    count: int


class TradeListJson(TypedDict):
    """A page, the newest first."""

    items: list[TradeRowJson]
    next: str | None
    funding: dict[str, float]


class TradeRowJson(TypedDict):
    """A trade from flat to flat."""

    pair: str
    side: Literal["long", "short"]
    opened: str
    closed: str
    profit: float
    fees: float
    fills: int


class TradingKeyJson(TypedDict):
    """A key that may be used, by whose it is and where it trades; the key itself is shown nowhere."""

    user: str
    environment: str


class UncomparedModelJson(TypedDict):
    """A span of time about which nothing can be said."""

    pair: str
    since: int
    until: int
    why: str
    fills: int


class UndoGivenJson(TypedDict):
    """Take back the last of `number` actions."""

    number: int
    since: NotRequired[int]


class VariantGivenJson(TypedDict):
    """A variant of a session."""

    session: str
    variant: int


class VariantRowJson(TypedDict):
    """A variant: each figure in sample beside its twin on the days held out."""

    rank: int
    variant: int
    variant_key: str
    parameters: dict[str, Any]
    passed: bool
    in_sample: dict[str, float | None]
    held_out: dict[str, float | None]


class VariantRowsJson(TypedDict):
    """The best, first; `windows` of a walk-forward instead."""

    session: str
    ranking: list[str]
    sentences: list[str]
    items: list[VariantRowJson]
    windows: list[dict[str, Any]]


class VenueMarketListJson(TypedDict):
    """Every market that can be collected, by id."""

    items: list[VenueMarketShownJson]


class VenueMarketShownJson(TypedDict):
    """A market of an exchange, by the id that it keeps for ever."""

    id: int
    exchange: str
    market: str


class WhatIfShownJson(TypedDict):
    """How a pair would stand at a price."""

    bot: str
    pair: str
    at: int
    price_now: float
    price: float
    position_now: float
    position: float
    average: float
    profit: float
    fills: list[SupposedFillModelJson]
    desired: list[SupposedOrderModelJson]
    stop: float
    stopped: bool
    loss_at_stop: float | None


class WhyJson(TypedDict):
    """Why a bot holds what it holds on a pair."""

    at: str | None
    sentences: list[str]


class ConsoleClient:
    """Every route of the API as a method. Raises ConsoleRefused, or Unreachable where nobody answers."""

    def __init__(self, address: str, token: str = "", seconds: float = 30.0) -> None:
        """`address` such as http://127.0.0.1:8800; `token` from the console's page Settings."""
        self.transport = Transport(address, token, seconds)

    def state(self) -> SignInStateJson:
        """Say whether there is a password, and whether somebody is signed in. Open to everybody."""
        return cast("SignInStateJson", json.loads(self.transport.ask("GET", "/api/v1/auth/state", {}, {})[0]))

    def sign_in(self, body: PasswordGivenJson) -> SignedInJson:
        """Sign in with the password, and a code where the second factor is on. Open to everybody, five times a minute."""
        return cast("SignedInJson", json.loads(self.transport.ask("POST", "/api/v1/auth/sign-in", {}, {}, body)[0]))

    def link(self, body: LinkGivenJson) -> SignedInJson:
        """Sign in with a link that the terminal printed; it works once. Open to everybody, five times a minute."""
        return cast("SignedInJson", json.loads(self.transport.ask("POST", "/api/v1/auth/link", {}, {}, body)[0]))

    def sign_out(self) -> None:
        """End the session that asks."""
        self.transport.ask("POST", "/api/v1/auth/sign-out", {}, {})

    def password(self, body: NewPasswordJson) -> None:
        """Set or change the password; every other browser is signed out."""
        self.transport.ask("PUT", "/api/v1/auth/password", {}, {}, body)

    def second_factor(self) -> SecondFactorStateJson:
        """Say whether a sign-in by password asks for a code too."""
        return cast(
            "SecondFactorStateJson", json.loads(self.transport.ask("GET", "/api/v1/auth/second-factor", {}, {})[0])
        )

    def confirm_second_factor(self, body: CodeGivenJson) -> RecoveryCodesJson:
        """Turn the second factor on by its first code; every other browser is signed out. The recovery codes are shown this once; each signs in once in place of a code."""
        return cast(
            "RecoveryCodesJson", json.loads(self.transport.ask("PUT", "/api/v1/auth/second-factor", {}, {}, body)[0])
        )

    def begin_second_factor(self) -> SecondFactorBegunJson:
        """Make a secret for an authenticator; nothing is on until a code of it has been given, within ten minutes."""
        return cast(
            "SecondFactorBegunJson", json.loads(self.transport.ask("POST", "/api/v1/auth/second-factor", {}, {})[0])
        )

    def end_second_factor(self, body: CodeGivenJson) -> None:
        """Turn the second factor off by a code, or a recovery code."""
        self.transport.ask("POST", "/api/v1/auth/second-factor/off", {}, {}, body)

    def sessions(self) -> SessionListJson:
        """List the sessions and tokens that have not ended."""
        return cast("SessionListJson", json.loads(self.transport.ask("GET", "/api/v1/auth/sessions", {}, {})[0]))

    def end_session(self, session: str) -> None:
        """End a session or a token, at once."""
        self.transport.ask("DELETE", f"/api/v1/auth/sessions/{quoted(session)}", {}, {})

    def token(self, body: NewTokenJson) -> TokenMadeJson:
        """Make a token for a program, with a scope and an end; it is shown this once."""
        return cast("TokenMadeJson", json.loads(self.transport.ask("POST", "/api/v1/auth/tokens", {}, {}, body)[0]))

    def bots(self) -> BotListJson:
        """List every bot; those that wait for a decision first."""
        return cast("BotListJson", json.loads(self.transport.ask("GET", "/api/v1/bots", {}, {})[0]))

    def create_bot(self, body: BotGivenJson, *, idempotency_key: str) -> CommandDoneJson:
        """Create a bot and take it into the fleet, once its config is one that `traderagent run` takes. One that trades real money asks for the scope `money`."""
        return cast(
            "CommandDoneJson",
            json.loads(self.transport.ask("POST", "/api/v1/bots", {}, {"Idempotency-Key": idempotency_key}, body)[0]),
        )

    def status(self, bot: str) -> BotShownJson:
        """Say how a bot stands, as it said last."""
        return cast(
            "BotShownJson", json.loads(self.transport.ask("GET", f"/api/v1/bots/{quoted(bot)}/status", {}, {})[0])
        )

    def decisions(
        self,
        bot: str,
        *,
        pair: str | None = None,
        kind: str | None = None,
        cursor: str | None = None,
        since: int | None = None,
        limit: int | None = None,
    ) -> DecisionListJson:
        """List what a bot decided, the newest first; of a pair with what concerns the account."""
        return cast(
            "DecisionListJson",
            json.loads(
                self.transport.ask(
                    "GET",
                    f"/api/v1/bots/{quoted(bot)}/decisions",
                    {"pair": pair, "kind": kind, "cursor": cursor, "since": since, "limit": limit},
                    {},
                )[0]
            ),
        )

    def fills(
        self,
        bot: str,
        *,
        pair: str | None = None,
        cursor: str | None = None,
        since: int | None = None,
        limit: int | None = None,
    ) -> FillListJson:
        """List executions and payments of funding, the newest first."""
        return cast(
            "FillListJson",
            json.loads(
                self.transport.ask(
                    "GET",
                    f"/api/v1/bots/{quoted(bot)}/fills",
                    {"pair": pair, "cursor": cursor, "since": since, "limit": limit},
                    {},
                )[0]
            ),
        )

    def orders(
        self,
        bot: str,
        *,
        pair: str | None = None,
        cursor: str | None = None,
        since: int | None = None,
        limit: int | None = None,
    ) -> OrderListJson:
        """List orders as they were sent last, the newest first."""
        return cast(
            "OrderListJson",
            json.loads(
                self.transport.ask(
                    "GET",
                    f"/api/v1/bots/{quoted(bot)}/orders",
                    {"pair": pair, "cursor": cursor, "since": since, "limit": limit},
                    {},
                )[0]
            ),
        )

    def trades(
        self, bot: str, *, pair: str | None = None, cursor: str | None = None, limit: int | None = None
    ) -> TradeListJson:
        """List closed trades, the newest first; the cursor is how many came before."""
        return cast(
            "TradeListJson",
            json.loads(
                self.transport.ask(
                    "GET", f"/api/v1/bots/{quoted(bot)}/trades", {"pair": pair, "cursor": cursor, "limit": limit}, {}
                )[0]
            ),
        )

    def config(self, bot: str) -> list[SettingShownJson]:
        """List every value of a running bot's config, with meaning and bounds; asked of the bot, without secrets."""
        return cast(
            "list[SettingShownJson]",
            json.loads(self.transport.ask("GET", f"/api/v1/bots/{quoted(bot)}/config", {}, {})[0]),
        )

    def said(
        self,
        bot: str,
        *,
        pair: str | None = None,
        cursor: str | None = None,
        since: int | None = None,
        limit: int | None = None,
    ) -> CommandListJson:
        """List what operators have said to a bot from wherever, the newest first."""
        return cast(
            "CommandListJson",
            json.loads(
                self.transport.ask(
                    "GET",
                    f"/api/v1/bots/{quoted(bot)}/commands",
                    {"pair": pair, "cursor": cursor, "since": since, "limit": limit},
                    {},
                )[0]
            ),
        )

    def say(self, bot: str, body: CommandGivenJson, *, idempotency_key: str) -> CommandDoneJson:
        """Tell a bot something. What moves money (close, reduce-50, invest, phases, shutdown, …) asks for scope `money`."""
        return cast(
            "CommandDoneJson",
            json.loads(
                self.transport.ask(
                    "POST", f"/api/v1/bots/{quoted(bot)}/commands", {}, {"Idempotency-Key": idempotency_key}, body
                )[0]
            ),
        )

    def pair_orders(self, bot: str, pair: str) -> PairOrdersModelJson:
        """What should be open at the venue for a pair, and what is; asked of the bot."""
        return cast(
            "PairOrdersModelJson",
            json.loads(self.transport.ask("GET", f"/api/v1/bots/{quoted(bot)}/pairs/{quoted(pair)}/orders", {}, {})[0]),
        )

    def why(self, bot: str, pair: str) -> WhyJson:
        """Say in sentences why a bot holds what it holds on a pair."""
        return cast(
            "WhyJson",
            json.loads(self.transport.ask("GET", f"/api/v1/bots/{quoted(bot)}/pairs/{quoted(pair)}/why", {}, {})[0]),
        )

    def venue_markets(self) -> VenueMarketListJson:
        """List the markets of exchanges by the ids that they keep for ever."""
        return cast(
            "VenueMarketListJson", json.loads(self.transport.ask("GET", "/api/v1/market-data/venue-markets", {}, {})[0])
        )

    def symbols(
        self,
        *,
        text: str | None = None,
        market_id: int | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> TradableSymbolsJson:
        """List the symbols that can be traded, by name and market id: the order never changes."""
        return cast(
            "TradableSymbolsJson",
            json.loads(
                self.transport.ask(
                    "GET",
                    "/api/v1/market-data/symbols",
                    {"text": text, "market_id": market_id, "cursor": cursor, "limit": limit},
                    {},
                )[0]
            ),
        )

    def instruments(self, *, market_id: int, as_of: str, text: str | None = None) -> DatedInstrumentsJson:
        """List tick, lot, minimum and fees of a market's instruments as they were stated at a day."""
        return cast(
            "DatedInstrumentsJson",
            json.loads(
                self.transport.ask(
                    "GET", "/api/v1/market-data/instruments", {"market_id": market_id, "as_of": as_of, "text": text}, {}
                )[0]
            ),
        )

    def coverage(
        self, *, text: str | None = None, until: str | None = None, days: int | None = None
    ) -> CoverageShownJson:
        """Say how much of each day is stored of each series; without `until` up to the last stored day."""
        return cast(
            "CoverageShownJson",
            json.loads(
                self.transport.ask(
                    "GET", "/api/v1/market-data/coverage", {"text": text, "until": until, "days": days}, {}
                )[0]
            ),
        )

    def drift_days(self, bot: str) -> DriftDayListJson:
        """List what the last days cost beside their simulation, the newest first."""
        return cast(
            "DriftDayListJson", json.loads(self.transport.ask("GET", f"/api/v1/bots/{quoted(bot)}/drift", {}, {})[0])
        )

    def drift_day(self, bot: str, day: str) -> DriftDocumentJson:
        """Give each live fill of a day beside its simulated twin."""
        return cast(
            "DriftDocumentJson",
            json.loads(self.transport.ask("GET", f"/api/v1/bots/{quoted(bot)}/drift/{quoted(day)}", {}, {})[0]),
        )

    def compare_day(self, bot: str, day: str) -> DriftDocumentJson:
        """Compare a day anew, by the sessions of the bot's pairs; it takes seconds."""
        return cast(
            "DriftDocumentJson",
            json.loads(self.transport.ask("POST", f"/api/v1/bots/{quoted(bot)}/drift/{quoted(day)}", {}, {})[0]),
        )

    def what_if(self, bot: str, pair: str, *, price: float) -> WhatIfShownJson:
        """Say what a pair would do if its price went somewhere: a copy of its state, moved by the same kernels."""
        return cast(
            "WhatIfShownJson",
            json.loads(
                self.transport.ask(
                    "GET", f"/api/v1/bots/{quoted(bot)}/pairs/{quoted(pair)}/what-if", {"price": price}, {}
                )[0]
            ),
        )

    def fleet(self) -> FleetShownJson:
        """List the bots of the fleet, and how each stands. The database is not asked."""
        return cast("FleetShownJson", json.loads(self.transport.ask("GET", "/api/v1/fleet", {}, {})[0]))

    def fleet_choices(self) -> BotChoicesJson:
        """Say what a bot can be made of."""
        return cast("BotChoicesJson", json.loads(self.transport.ask("GET", "/api/v1/fleet/choices", {}, {})[0]))

    def run_bot(self, bot: str, body: RunAskedJson, *, idempotency_key: str) -> CommandDoneJson:
        """Start, stop or restart a bot of the fleet. Starting one that trades real money asks for the scope `money`."""
        return cast(
            "CommandDoneJson",
            json.loads(
                self.transport.ask(
                    "POST", f"/api/v1/bots/{quoted(bot)}/run", {}, {"Idempotency-Key": idempotency_key}, body
                )[0]
            ),
        )

    def delete_bot(self, bot: str, *, idempotency_key: str, leave_positions: bool | None = None) -> CommandDoneJson:
        """Take a stopped bot out of the fleet. Its history stays; one that holds positions is refused."""
        return cast(
            "CommandDoneJson",
            json.loads(
                self.transport.ask(
                    "DELETE",
                    f"/api/v1/bots/{quoted(bot)}",
                    {"leave_positions": leave_positions},
                    {"Idempotency-Key": idempotency_key},
                )[0]
            ),
        )

    def dashboard(self) -> DashboardJson:
        """Everything at a glance."""
        return cast("DashboardJson", json.loads(self.transport.ask("GET", "/api/v1/dashboard", {}, {})[0]))

    def portfolio(self, bot: str) -> PortfolioShownJson:
        """Where the money of a bot is, what it was worth, and what it has earned by day and pair."""
        return cast(
            "PortfolioShownJson", json.loads(self.transport.ask("GET", f"/api/v1/portfolio/{quoted(bot)}", {}, {})[0])
        )

    def allocation(self, bot: str, *, since: int | None = None) -> AllocationListJson:
        """Say what was allocated to each pair over time, and what was free."""
        return cast(
            "AllocationListJson",
            json.loads(
                self.transport.ask("GET", f"/api/v1/portfolio/{quoted(bot)}/allocation", {"since": since}, {})[0]
            ),
        )

    def account(self, bot: str, *, since: int | None = None, until: int | None = None) -> AccountShownJson:
        """Say what moved a bot's wallet from one moment up to another, and whether the rows add up to it."""
        return cast(
            "AccountShownJson",
            json.loads(
                self.transport.ask(
                    "GET", f"/api/v1/portfolio/{quoted(bot)}/account", {"since": since, "until": until}, {}
                )[0]
            ),
        )

    def account_file(
        self,
        bot: str,
        *,
        program: StatementFormatJson | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> bytes:
        """Give every trade, fee, payment of funding and transfer of a bot, for taxes and books."""
        return self.transport.ask(
            "GET",
            f"/api/v1/portfolio/{quoted(bot)}/account.csv",
            {"program": program, "since": since, "until": until},
            {},
        )[0]

    def markets(self) -> MarketListJson:
        """List the pairs of the bots that answer, by bot and symbol."""
        return cast("MarketListJson", json.loads(self.transport.ask("GET", "/api/v1/market-data/markets", {}, {})[0]))

    def candles(
        self, *, bot: str, pair: str, minutes: int | None = None, bars: int | None = None, until: int | None = None
    ) -> bytes:
        """Give candles of a pair where a bot trades, the last ones or those before a moment, in one binary body."""
        return self.transport.ask(
            "GET",
            "/api/v1/market-data/candles",
            {"bot": bot, "pair": pair, "minutes": minutes, "bars": bars, "until": until},
            {},
        )[0]

    def stored_candles(
        self,
        *,
        bot: str,
        pair: str,
        minutes: int | None = None,
        bars: int | None = None,
        since: int | None = None,
        until: int | None = None,
    ) -> bytes:
        """Give candles of a pair as they are stored of the exchange where a bot trades, years of them where there are."""
        return self.transport.ask(
            "GET",
            "/api/v1/market-data/stored-candles",
            {"bot": bot, "pair": pair, "minutes": minutes, "bars": bars, "since": since, "until": until},
            {},
        )[0]

    def settings(self) -> SettingsShownJson:
        """Say what this console is."""
        return cast("SettingsShownJson", json.loads(self.transport.ask("GET", "/api/v1/settings", {}, {})[0]))

    def audit(self, *, bot: str | None = None, cursor: int | None = None, limit: int | None = None) -> AuditListJson:
        """List what was done through this console, the newest first."""
        return cast(
            "AuditListJson",
            json.loads(
                self.transport.ask("GET", "/api/v1/audit", {"bot": bot, "cursor": cursor, "limit": limit}, {})[0]
            ),
        )

    def replay_choices(self) -> ReplayChoicesJson:
        """List pairs that have candles, timeframes, and bots to compare with."""
        return cast("ReplayChoicesJson", json.loads(self.transport.ask("GET", "/api/v1/replays/choices", {}, {})[0]))

    def replay_span(self, *, pair: str, exchange: str | None = None, market: str | None = None) -> CandleSpanJson:
        """Say from when to when there are candles of a pair."""
        return cast(
            "CandleSpanJson",
            json.loads(
                self.transport.ask(
                    "GET", "/api/v1/replays/span", {"pair": pair, "exchange": exchange, "market": market}, {}
                )[0]
            ),
        )

    def replays(self) -> ReplayListJson:
        """List the newest sessions of the manual backtester."""
        return cast("ReplayListJson", json.loads(self.transport.ask("GET", "/api/v1/replays", {}, {})[0]))

    def begin_replay(self, body: ReplayGivenJson) -> ReplayBegunJson:
        """Begin a session."""
        return cast("ReplayBegunJson", json.loads(self.transport.ask("POST", "/api/v1/replays", {}, {}, body)[0]))

    def replay(self, replay: str, *, since: int | None = None) -> ReplayDetailJson:
        """Show where a session stands, with its bars from a number on; nothing that comes later is told."""
        return cast(
            "ReplayDetailJson",
            json.loads(self.transport.ask("GET", f"/api/v1/replays/{quoted(replay)}", {"since": since}, {})[0]),
        )

    def delete_replay(self, replay: str) -> None:
        """Forget a session; its journal stays."""
        self.transport.ask("DELETE", f"/api/v1/replays/{quoted(replay)}", {}, {})

    def act_in_replay(self, replay: str, body: ActionGivenJson) -> ReplayDetailJson:
        """Let bars pass, or order something at the last bar that was shown."""
        return cast(
            "ReplayDetailJson",
            json.loads(self.transport.ask("POST", f"/api/v1/replays/{quoted(replay)}/actions", {}, {}, body)[0]),
        )

    def undo_in_replay(self, replay: str, body: UndoGivenJson) -> ReplayDetailJson:
        """Take back the last action; orders that were taken back are counted."""
        return cast(
            "ReplayDetailJson",
            json.loads(self.transport.ask("POST", f"/api/v1/replays/{quoted(replay)}/undo", {}, {}, body)[0]),
        )

    def keep_picture(self, replay: str, body: bytes, *, number: int | None = None) -> PictureKeptJson:
        """Keep a picture of the chart, a PNG of at most 2 MB, with the record of the trade that it was made in."""
        return cast(
            "PictureKeptJson",
            json.loads(
                self.transport.ask("POST", f"/api/v1/replays/{quoted(replay)}/pictures", {"number": number}, {}, body)[
                    0
                ]
            ),
        )

    def bot_in_replay(self, replay: str, *, bot: str | None = None) -> BotSeenJson:
        """Say what a bot would have done on the bars that were shown."""
        return cast(
            "BotSeenJson",
            json.loads(self.transport.ask("GET", f"/api/v1/replays/{quoted(replay)}/bot", {"bot": bot}, {})[0]),
        )

    def replay_statistics(self, replay: str, *, bot: str | None = None) -> ReplayStatisticsJson:
        """Compare the person with a bot, on the bars that were shown."""
        return cast(
            "ReplayStatisticsJson",
            json.loads(self.transport.ask("GET", f"/api/v1/replays/{quoted(replay)}/statistics", {"bot": bot}, {})[0]),
        )

    def end_replay(self, replay: str) -> None:
        """End a session: its closed trades go into the journal, and hidden dates are told."""
        self.transport.ask("POST", f"/api/v1/replays/{quoted(replay)}/end", {}, {})

    def journal(
        self,
        *,
        search: str | None = None,
        source: str | None = None,
        symbol: str | None = None,
        tag: str | None = None,
        start: int | None = None,
        limit: int | None = None,
    ) -> JournalListJson:
        """List records of manual and live trades, the newest exit first."""
        return cast(
            "JournalListJson",
            json.loads(
                self.transport.ask(
                    "GET",
                    "/api/v1/journal",
                    {"search": search, "source": source, "symbol": symbol, "tag": tag, "start": start, "limit": limit},
                    {},
                )[0]
            ),
        )

    def edit_record(self, record: str, body: RecordGivenJson) -> JournalRecordJson:
        """Give a record other notes and tags; it gets a revision more, which is sent to whoever is told."""
        return cast(
            "JournalRecordJson",
            json.loads(self.transport.ask("POST", f"/api/v1/journal/{quoted(record)}", {}, {}, body)[0]),
        )

    def journal_picture(self, replay: str, name: str) -> bytes:
        """Give a picture of a record."""
        return self.transport.ask("GET", f"/api/v1/journal/pictures/{quoted(replay)}/{quoted(name)}", {}, {})[0]

    def jobs(
        self,
        *,
        own: bool | None = None,
        active: bool | None = None,
        cursor: int | None = None,
        limit: int | None = None,
    ) -> JobListJson:
        """List jobs, the newest first, and how many workers are connected."""
        return cast(
            "JobListJson",
            json.loads(
                self.transport.ask(
                    "GET", "/api/v1/jobs", {"own": own, "active": active, "cursor": cursor, "limit": limit}, {}
                )[0]
            ),
        )

    def submit_job(self, body: JobGivenJson) -> JobDetailJson:
        """Queue a request; the same one of this user that waits or runs already is found, not queued twice."""
        return cast("JobDetailJson", json.loads(self.transport.ask("POST", "/api/v1/jobs", {}, {}, body)[0]))

    def job(self, job: int) -> JobDetailJson:
        """Show how far a job is, and what came of it."""
        return cast(
            "JobDetailJson", json.loads(self.transport.ask("GET", f"/api/v1/jobs/{quoted(str(job))}", {}, {})[0])
        )

    def cancel_job(self, job: int) -> JobDetailJson:
        """End a job that waits or runs; one that has ended stays as it is."""
        return cast(
            "JobDetailJson",
            json.loads(self.transport.ask("POST", f"/api/v1/jobs/{quoted(str(job))}/cancel", {}, {})[0]),
        )

    def retry_job(self, job: int) -> JobDetailJson:
        """Queue a failed or cancelled job anew; a search goes on from the rows that it has."""
        return cast(
            "JobDetailJson", json.loads(self.transport.ask("POST", f"/api/v1/jobs/{quoted(str(job))}/retry", {}, {})[0])
        )

    def searches(self, *, cursor: int | None = None, limit: int | None = None) -> SearchListJson:
        """List the sessions of searches, the newest first."""
        return cast(
            "SearchListJson",
            json.loads(self.transport.ask("GET", "/api/v1/sessions", {"cursor": cursor, "limit": limit}, {})[0]),
        )

    def search(self, search: str) -> SearchDetailJson:
        """Show what was asked, and what came of it."""
        return cast(
            "SearchDetailJson", json.loads(self.transport.ask("GET", f"/api/v1/sessions/{quoted(search)}", {}, {})[0])
        )

    def search_rows(self, search: str, *, by: str | None = None, then: str | None = None) -> VariantRowsJson:
        """Give the best rows of a session, each figure in sample beside its twin on days that have chosen nothing."""
        return cast(
            "VariantRowsJson",
            json.loads(
                self.transport.ask("GET", f"/api/v1/sessions/{quoted(search)}/rows", {"by": by, "then": then}, {})[0]
            ),
        )

    def runtime_defaults(self) -> ResearchDefaultsJson:
        """Give limits, rankings and methods as they stand unless a request says otherwise."""
        return cast(
            "ResearchDefaultsJson",
            json.loads(self.transport.ask("GET", "/api/v1/backtests/runtime-defaults", {}, {})[0]),
        )

    def stored_pairs(self) -> StoredPairsJson:
        """List the pairs of which the store has candles."""
        return cast("StoredPairsJson", json.loads(self.transport.ask("GET", "/api/v1/backtests/pairs", {}, {})[0]))

    def read_job(self, body: EstimateGivenJson) -> RequestReadJson:
        """Read a request without playing it: how many variants it has, or what is wrong with which field."""
        return cast(
            "RequestReadJson", json.loads(self.transport.ask("POST", "/api/v1/backtests/estimate", {}, {}, body)[0])
        )

    def top(
        self, *, job: int, by: str | None = None, then: str | None = None, limit: int | None = None
    ) -> VariantRowsJson:
        """Give the best rows of a finished job, by one or two figures, in sample beside held out."""
        return cast(
            "VariantRowsJson",
            json.loads(
                self.transport.ask(
                    "GET", "/api/v1/backtests/top", {"job": job, "by": by, "then": then, "limit": limit}, {}
                )[0]
            ),
        )

    def scan(self, *, job: int) -> ScanShownJson:
        """Give the pairs of a finished scan, the highest alpha first, each with the config that is proposed."""
        return cast(
            "ScanShownJson", json.loads(self.transport.ask("GET", "/api/v1/backtests/scan", {"job": job}, {})[0])
        )

    def save_proposal(self, body: ProposalGivenJson) -> PresetSavedJson:
        """Save what a scan has proposed for a pair among your presets."""
        return cast(
            "PresetSavedJson", json.loads(self.transport.ask("POST", "/api/v1/backtests/scan-presets", {}, {}, body)[0])
        )

    def matrix(self, *, pair: str | None = None, by: str | None = None) -> MatrixShownJson:
        """Score strategies by timeframes of a pair on days that have chosen nothing, over the newest 1,000 sessions."""
        return cast(
            "MatrixShownJson",
            json.loads(self.transport.ask("GET", "/api/v1/backtests/matrix", {"pair": pair, "by": by}, {})[0]),
        )

    def variant_report(self, body: VariantGivenJson) -> ReportShownJson:
        """Give a variant's config, and begin to play its report, once; asked again, it says how that stands."""
        return cast(
            "ReportShownJson",
            json.loads(self.transport.ask("POST", "/api/v1/backtests/variant-report", {}, {}, body)[0]),
        )

    def run_report(self, body: RunGivenJson) -> ReportShownJson:
        """Begin to play a config without ranges; asked again, it says how that stands."""
        return cast("ReportShownJson", json.loads(self.transport.ask("POST", "/api/v1/backtests/run", {}, {}, body)[0]))

    def report_state(self, *, report: str) -> ReportShownJson:
        """Say how a report stands."""
        return cast(
            "ReportShownJson",
            json.loads(self.transport.ask("GET", "/api/v1/backtests/report-state", {"report": report}, {})[0]),
        )

    def report_page(self, report: str) -> bytes:
        """Give the page of a report that is ready."""
        return self.transport.ask("GET", f"/api/v1/backtests/reports/{quoted(report)}", {}, {})[0]

    def report_equity(self, report: str) -> EquityCurveJson:
        """Give the line of equity of a report that is ready."""
        return cast(
            "EquityCurveJson",
            json.loads(self.transport.ask("GET", f"/api/v1/backtests/reports/{quoted(report)}/equity", {}, {})[0]),
        )

    def variant_config(self, search: str, variant: int) -> bytes:
        """Give the config of a variant, for `backtest`, `run` and `demo`."""
        return self.transport.ask(
            "GET", f"/api/v1/sessions/{quoted(search)}/variants/{quoted(str(variant))}/config.yaml", {}, {}
        )[0]

    def best_config(self, search: str) -> bytes:
        """Give the config of a session's best, which says in comments how it was chosen."""
        return self.transport.ask("GET", f"/api/v1/sessions/{quoted(search)}/best.yaml", {}, {})[0]

    def save_preset(self, body: PresetGivenJson) -> PresetSavedJson:
        """Save a variant among your presets, with where it comes from and until when it stands."""
        return cast(
            "PresetSavedJson", json.loads(self.transport.ask("POST", "/api/v1/backtests/presets", {}, {}, body)[0])
        )

    def strategies(self) -> StrategyListJson:
        """List saved strategies, newest first: draft, tested or running."""
        return cast("StrategyListJson", json.loads(self.transport.ask("GET", "/api/v1/strategies", {}, {})[0]))

    def save_strategy(self, body: VariantGivenJson) -> StrategySavedJson:
        """Save the strategy of a variant, under a name that is made of its content."""
        return cast("StrategySavedJson", json.loads(self.transport.ask("POST", "/api/v1/strategies", {}, {}, body)[0]))

    def strategy_parameters(self) -> ParameterListJson:
        """Give every parameter of the strategies that are built in: unit, bounds, default, what a search may vary."""
        return cast(
            "ParameterListJson", json.loads(self.transport.ask("GET", "/api/v1/strategies/parameters", {}, {})[0])
        )

    def clone_strategy(self, content: str, body: CloneGivenJson) -> StrategySavedJson:
        """Save a strategy with some values changed, as another one."""
        return cast(
            "StrategySavedJson",
            json.loads(self.transport.ask("POST", f"/api/v1/strategies/{quoted(content)}/clone", {}, {}, body)[0]),
        )

    def delete_strategy(self, content: str) -> None:
        """Forget a strategy that no bot runs. Its tests stay: the same strategy saved again is tested."""
        self.transport.ask("DELETE", f"/api/v1/strategies/{quoted(content)}", {}, {})

    def indicators(self) -> IndicatorListJson:
        """List the indicators that rules may name, with outputs, parameters and what is long and short."""
        return cast("IndicatorListJson", json.loads(self.transport.ask("GET", "/api/v1/indicators", {}, {})[0]))

    def estimate_indicator(self, body: IndicatorGivenJson) -> IndicatorEstimateJson:
        """Say how many bars computing an indicator reads and gives, or what is wrong with which field."""
        return cast(
            "IndicatorEstimateJson",
            json.loads(self.transport.ask("POST", "/api/v1/indicators/estimate", {}, {}, body)[0]),
        )

    def compute_indicator(self, body: IndicatorGivenJson) -> IndicatorComputedJson:
        """Compute an indicator over stored candles, as strategies see it; the last 20,000 bars."""
        return cast(
            "IndicatorComputedJson",
            json.loads(self.transport.ask("POST", "/api/v1/indicators/compute", {}, {}, body)[0]),
        )

    def send_signal(
        self, bot: str, body: SignalGivenJson, *, x_signal_timestamp: str, x_signal_signature: str
    ) -> SignalTakenJson:
        """Write a signal down, which the bot trades when its next bar closes. Signed by the bot's own secret."""
        return cast(
            "SignalTakenJson",
            json.loads(
                self.transport.ask(
                    "POST",
                    f"/api/v1/signals/{quoted(bot)}",
                    {},
                    {"X-Signal-Timestamp": x_signal_timestamp, "X-Signal-Signature": x_signal_signature},
                    body,
                )[0]
            ),
        )

    def signals(self, bot: str, *, pair: str | None = None, limit: int | None = None) -> SignalListJson:
        """List the signals that came for a bot with what it did, the newest first."""
        return cast(
            "SignalListJson",
            json.loads(
                self.transport.ask("GET", f"/api/v1/signals/{quoted(bot)}", {"pair": pair, "limit": limit}, {})[0]
            ),
        )

    def heard_signals(self, bot: str, pair: str) -> HeardSignalsJson:
        """Give what a bot heard in time on a pair as a file of signals, for `traderagent backtest --signals`."""
        return cast(
            "HeardSignalsJson",
            json.loads(
                self.transport.ask("GET", f"/api/v1/signals/{quoted(bot)}/pairs/{quoted(pair)}/heard", {}, {})[0]
            ),
        )

    def signal_secret(self, bot: str) -> SignalSecretStateJson:
        """Say whether there is a secret that signs a bot's signals."""
        return cast(
            "SignalSecretStateJson",
            json.loads(self.transport.ask("GET", f"/api/v1/signals/{quoted(bot)}/secret", {}, {})[0]),
        )

    def new_signal_secret(self, bot: str) -> SignalSecretJson:
        """Make the secret that signs a bot's signals, in the place of a former one; it is shown this once."""
        return cast(
            "SignalSecretJson",
            json.loads(self.transport.ask("POST", f"/api/v1/signals/{quoted(bot)}/secret", {}, {})[0]),
        )

    def end_signal_secret(self, bot: str) -> None:
        """Forget the secret: nothing is taken for the bot any more."""
        self.transport.ask("DELETE", f"/api/v1/signals/{quoted(bot)}/secret", {}, {})

    def health(self) -> HealthJson:
        """Say that the console lives. Open to everybody."""
        return cast("HealthJson", json.loads(self.transport.ask("GET", "/health", {}, {})[0]))

    def ready(self) -> Any:
        """Say whether everything that the console reads answers. Open to everybody."""
        return cast("Any", json.loads(self.transport.ask("GET", "/ready", {}, {})[0]))

    def metrics(self) -> bytes:
        """Figures of the console for Prometheus; of bots it has only whether they answer. Open to everybody."""
        return self.transport.ask("GET", "/metrics", {}, {})[0]
