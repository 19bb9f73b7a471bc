"""What the API takes and gives of research: jobs, sessions of searches, variants, saved strategies, indicators."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from services.web.models import Cursor, Given, Ms, Pair

SearchName = Annotated[
    str, Field(pattern=r"^[0-9a-f]{16}$", description="name of a session of a search", examples=["3f2a9c41d07be586"])
]
JobNumber = Annotated[int, Field(ge=1, le=2**62, description="number of a job", examples=[12])]
Content = Annotated[
    str, Field(pattern=r"^[0-9a-f]{16}$", description="`content` of a saved strategy", examples=["9f3c2a0b14d6e785"])
]
REQUEST = {
    "strategy": "grid",
    "pair": "BTCUSDT",
    "grid": {"levels": {"from": 5, "to": 40, "step": 5}, "range_factor": [6, 12, 24]},
}
Request = Annotated[
    dict[str, Any],
    Field(
        description="a config whose ranges are searched; `batch`: as a batch's file has it; `download` and `repair`: "
        "pair, exchange, market, from and to; `scan`: a config with days and pairs",
        examples=[REQUEST],
    ),
]
JobKind = Annotated[
    Literal["sweep", "walkforward", "staged", "batch", "download", "repair", "scan"],
    Field(description="what is done", examples=["staged"]),
]


class JobGiven(Given):
    """A request for a worker."""

    kind: JobKind
    request: Request


class EstimateGiven(Given):
    """A request to read without playing it."""

    kind: Literal["sweep", "walkforward", "staged", "batch", "download", "repair", "scan", "run"] = Field(
        description="`run`: a config without ranges", examples=["staged"]
    )
    request: Request


class RunGiven(Given):
    """A config without ranges, of which a report is made."""

    request: Request


class VariantGiven(Given):
    """A variant of a session."""

    session: SearchName
    variant: int = Field(ge=0, le=2**62, description="its number in a row", examples=[17])


class PresetGiven(VariantGiven):
    """A variant to save among your presets."""

    name: str = Field(max_length=200, description="small letters, digits, - and _", examples=["grid-btc"])
    replace: bool = Field(False, description="over one of this name")


class ProposalGiven(Given):
    """A pair of a scan whose config to save among your presets."""

    job: JobNumber
    place: int = Field(ge=1, le=10_000, description="its rank in the scan, from 1", examples=[1])
    name: str = Field(max_length=200, description="small letters, digits, - and _", examples=["trend-eth"])
    replace: bool = Field(False, description="over one of this name")


class CloneGiven(Given):
    """Changes that make another strategy of a saved one."""

    changes: dict[str, Any] = Field(
        min_length=1, description="values by key, such as trend.stop", examples=[{"trend.stop": 3}]
    )


class JobShown(BaseModel):
    """A job as it stands."""

    job: JobNumber
    owner: str = Field(examples=["owner"])
    kind: str = Field(examples=["staged"])
    strategy: str | None = Field(examples=["grid"])
    pair: str | None = Field(examples=["BTCUSDT"])
    status: Literal["queued", "running", "succeeded", "failed", "cancelled"]
    priority: int
    attempts: int = Field(description="workers that have begun it")
    lost: int = Field(description="of them, those that died; progress falls back then")
    worker: str | None
    done: int
    total: int = Field(description="0: not known")
    session: str | None = Field(description="of the search that is played", examples=["3f2a9c41d07be586"])
    best: dict[str, Any] | None = Field(
        description="best so far; `of` says that it is in sample: it has chosen itself",
        examples=[{"variant": 17, "information_ratio": 1.2, "of": "in sample"}],
    )
    fault: str | None
    queued: Ms
    began: Ms | None
    heartbeat: Ms | None
    ended: Ms | None


class JobDetail(JobShown):
    """A job with what was asked for, and what came of it."""

    request: dict[str, Any]
    result: dict[str, Any] | None = Field(description="without its rows: /backtests/top has them")


class JobList(BaseModel):
    """A page, the newest first."""

    items: list[JobShown]
    next: Cursor
    workers: int = Field(description="connected now; with none, jobs wait")


class RequestRead(BaseModel):
    """What a request comes to before it begins."""

    variants: int | None = Field(description="combinations of all values; none: a batch", examples=[24])
    most: int | None = Field(description="that the method plays at most", examples=[24])
    seconds: float | None = Field(
        None, description="that it may take, by the last jobs of its kind and strategy here; none: there were none"
    )
    axes: list[dict[str, Any]] = Field(examples=[[{"key": "grid.levels", "values": 8}]])


class SearchShown(BaseModel):
    """A session of a search."""

    session: SearchName
    kind: str = Field(examples=["sweep"])
    strategy: str | None = Field(examples=["grid"])
    pair: str | None = Field(examples=["BTCUSDT"])
    method: str | None = Field(examples=["grid"])
    status: Literal["running", "finished", "failed", "cancelled"]
    trials: int = Field(description="variants scored")
    created: Ms
    ended: Ms | None
    verdict: list[str] = Field(description="sentences: what it is worth", examples=[["It has not passed: …"]])


class SearchDetail(SearchShown):
    """A session with the space that was searched, and its config."""

    document: dict[str, Any]
    config: str | None = Field(description="of the best, as YAML; none: it has not finished")


class SearchList(BaseModel):
    """A page, the newest first."""

    items: list[SearchShown]
    next: Cursor


class VariantRow(BaseModel):
    """A variant: each figure in sample beside its twin on the days held out."""

    rank: int
    variant: int
    variant_key: str
    parameters: dict[str, Any] = Field(examples=[{"grid.levels": 15}])
    passed: bool = Field(description="the filters")
    in_sample: dict[str, float | None] = Field(examples=[{"total_return_pct": 12.5, "beta": 0.3}])
    held_out: dict[str, float | None] = Field(examples=[{"total_return_pct": 3.1, "beta": 0.4}])


class VariantRows(BaseModel):
    """The best, first; `windows` of a walk-forward instead."""

    session: str
    ranking: list[str] = Field(examples=[["total_return_pct"]])
    sentences: list[str]
    items: list[VariantRow]
    windows: list[dict[str, Any]] = Field(description="one row for each window, in sample and out of sample")


class MatrixCell(BaseModel):
    """A strategy on a timeframe: its figure on days that have chosen nothing, over sessions and their windows."""

    strategy: str
    timeframe: str = Field(examples=["1h"])
    least: float | None
    mean: float | None
    most: float | None
    sessions: list[str]
    trades: int
    colour: str = Field(description="good or bad and how much so; none: without a figure", examples=["good-2"])


class MatrixRow(BaseModel):
    """Cells of a strategy, one for each timeframe; none where no session has played it."""

    strategy: str
    cells: list[MatrixCell | None]


class MatrixShown(BaseModel):
    """Strategies by timeframes of a pair."""

    pair: str
    by: str = Field(examples=["information_ratio"])
    timeframes: list[str]
    rows: list[MatrixRow]
    pairs: list[str] = Field(description="that have sessions")


class ScannedRow(BaseModel):
    """A pair of a scan: what a config would have earned of late."""

    symbol: str
    exchange: str
    market: str
    alpha_pct: float | None = Field(description="per cent a year beyond the pair's own; none: too few days")
    alpha_low_pct: float | None = Field(description="where nine in ten resamples of its days lie, from")
    alpha_high_pct: float | None = Field(description="and to")
    beta: float | None
    total_return_pct: float | None
    benchmark_return_pct: float | None = Field(description="of holding the pair")
    max_drawdown_pct: float | None
    trades: float | None
    words: str = Field(description="what the alpha says")
    config: str = Field(description="proposed, as YAML")
    document: dict[str, Any] = Field(description="the same as data")


class ScanShown(BaseModel):
    """Pairs ranked by alpha, in sample, and those that could not be played."""

    job: JobNumber
    verdict: list[str]
    items: list[ScannedRow]
    failed: list[dict[str, Any]]


class ResearchDefaults(BaseModel):
    """What holds unless a request says otherwise."""

    kinds: list[str]
    methods: list[str]
    rankings: list[str] = Field(description="of staged requests")
    figures: dict[str, Literal["highest", "lowest"]] = Field(description="which value of a figure is best")
    limits: dict[str, int]


class ReportShown(BaseModel):
    """How a report stands: ask again while it is being played."""

    report: str = Field(examples=["5d41402abc4b2a76b9719d911017c592"])
    state: Literal["ready", "playing", "failed"]
    fault: str = Field(description="why it failed")
    place: str = Field(description="of the page, once it is ready")
    config: str | None = Field(description="that is played, as YAML")


class EquityCurve(BaseModel):
    """Equity of a run over its initial capital."""

    at: list[int] = Field(description="epoch milliseconds, UTC")
    equity_pct: list[float]


class PresetSaved(BaseModel):
    """A preset that was saved."""

    name: str
    text: str = Field(description="its file")


class StrategyShown(BaseModel):
    """A saved strategy; it is never changed."""

    name: str = Field(examples=["trend-4h-9f3c2a"])
    content: Content
    strategy: str
    status: Literal["draft", "tested", "running"]
    tests: list[dict[str, Any]] = Field(description="finished backtests and searches")
    tested_on: list[str]
    runs: list[dict[str, Any]] = Field(description="the last run of each bot with it")
    cloned_from: str | None
    created: Ms
    document: dict[str, Any] = Field(description="sections of a config, every value resolved")


class StrategyList(BaseModel):
    """Saved strategies, newest first, and what may be searched of those that are built in."""

    items: list[StrategyShown]


class StrategySaved(BaseModel):
    """A strategy that was saved, or was there already."""

    name: str
    new: bool


class ParameterShown(BaseModel):
    """A parameter of a strategy, as data."""

    name: str = Field(examples=["grid.levels"])
    meaning: str
    unit: str | None
    lower: float | None
    lower_included: bool
    upper: float | None
    upper_included: bool
    whole: bool
    words: list[str]
    default: Any
    search: str = Field(description="what may stand in place of one value", examples=["range or list"])
    risk: bool = Field(description="`staged` keeps it for its second stage")
    by_class: dict[str, Any] = Field(description="what a search of each class of pairs looks at")


class ParameterList(BaseModel):
    """Parameters by strategy."""

    strategies: dict[str, list[ParameterShown]]


class IndicatorSetting(BaseModel):
    """A parameter of an indicator."""

    name: str
    default: float
    least: float
    most: float
    step: float


class IndicatorShown(BaseModel):
    """An indicator that rules may name."""

    name: str = Field(examples=["RSI"])
    group: str
    outputs: list[str]
    settings: list[IndicatorSetting]
    rule: str = Field(description="what is long and short by default, in a sentence")


class IndicatorList(BaseModel):
    """Every indicator, by group."""

    items: list[IndicatorShown]


class IndicatorGiven(Given):
    """An indicator over stored candles."""

    indicator: str = Field(max_length=60, description="of GET /indicators", examples=["RSI"])
    parameters: dict[str, float] = Field({}, description="by name; left out: defaults")
    pair: Pair
    timeframe: str = Field("1h", pattern=r"^[1-9]\d{0,4}[smhdw]$", description="length of its bars")
    exchange: str | None = Field(None, max_length=60, description="whose candles", examples=["bybit"])
    market: Literal["spot", "linear"] = "linear"
    start: str | None = Field(None, max_length=40, description="first bar, UTC", examples=["2024-03-05"])
    end: str | None = Field(None, max_length=40, description="end, not included, UTC", examples=["2024-04-05"])


class IndicatorEstimate(BaseModel):
    """What computing it comes to."""

    read: int = Field(description="stored bars that are read, history included")
    bars: int = Field(description="of the timeframe, at most")
    told: int = Field(description="of them in an answer: the last ones")
    outputs: list[str]
    refused: bool = Field(description="too many bars for an answer")


class IndicatorComputed(BaseModel):
    """Outputs at every complete bar that has enough history."""

    at: list[int] = Field(description="opening of each bar, epoch milliseconds, UTC")
    close: list[float]
    outputs: dict[str, list[float | None]]
    left_out: int = Field(description="earlier bars that an answer has no room for")


class StoredPair(BaseModel):
    """A pair of a venue of which the store has candles."""

    pair: str
    exchange: str
    market: str


class VenueMarketShown(BaseModel):
    """A market of an exchange, by the id that it keeps for ever."""

    id: int = Field(examples=[4])
    exchange: str = Field(examples=["bybit"])
    market: str = Field(examples=["linear"])


class VenueMarketList(BaseModel):
    """Every market that can be collected, by id."""

    items: list[VenueMarketShown]


class TradableSymbol(BaseModel):
    """A symbol that can be traded."""

    symbol: str = Field(examples=["BTCUSDT"])
    market_id: int
    exchange: str
    market: str
    base: str
    quote: str


class TradableSymbols(BaseModel):
    """A page, by symbol and then market id: the order never changes."""

    items: list[TradableSymbol]
    next: Cursor
    count: int = Field(description="of all pages")


class DatedInstrumentShown(BaseModel):
    """An instrument as it was stated to be; numbers are decimals as text."""

    symbol: str = Field(examples=["BTCUSDT"])
    since: str | None = Field(description="day from which this held; none: not known", examples=["2024-03-05"])
    tick_size: str
    lot_size: str
    min_quantity: str
    min_notional: str
    maker_fee: str
    taker_fee: str


class DatedInstruments(BaseModel):
    """Instruments of a market as of a day, by symbol."""

    items: list[DatedInstrumentShown]
    later: int = Field(description="known from later days only")


class SeriesCoverage(BaseModel):
    """How much of each day is stored of a series."""

    pair: str
    exchange: str
    market: str
    bar: str = Field(examples=["1m"])
    first: str = Field(description="day of the first bar")
    last: str = Field(description="day of the last bar")
    bars: int
    missing: int = Field(description="bars between the first and the last that are not there")
    shares: list[float | None] = Field(
        description="of each day, from `first` of the answer on; none: nothing is stored"
    )


class CoverageShown(BaseModel):
    """What is stored, day by day."""

    first: str | None = Field(description="the first of the days", examples=["2024-03-05"])
    days: int
    items: list[SeriesCoverage]
    left_out: int = Field(description="series that a narrower `text` would show")


class StoredPairs(BaseModel):
    """Pairs that may be searched, by name; generated candles last."""

    items: list[StoredPair]
