"""Signals of somebody else: at each, an entry at the next opening, with the stop and the target that it names.

The signals stand in the parameters as a table, so that a config holds all that it plays; a bot that listens hears
others while it trades, each at the close of the bar in which it came. One is traded at a time: what comes while another
is open is passed over, and so is one whose stop or target the price has passed already, or that comes while nothing
may be opened. A signal with stop and target 0 closes what is held. The size is that of the loss at the stop. A trade's
part is the number of its signal in the table.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from bot.candles import parse_time
from bot.errors import Misconfigured, shown
from bot.inputs import ByColumn, Input
from bot.instrument import Instrument, Market
from bot.kernel import Record, kernel
from bot.order import OrderKind, Signal, clear_order, clear_orders, set_order
from bot.parameters import Fraction, Parameters, Timeframe
from bot.strategy import Event, Strategy, affordable, enter, lots_for, order_ticks, watch_nothing

if TYPE_CHECKING:
    from bot.ports import ReceivedSignal

ENTRY, STOP, TARGET, EXIT = range(4)
CLOSE = 2.0  # in place of a direction
COLUMNS = ("signal_id", "entry_price", "sl_price", "tp_price", "entry_timestamp")
MOST_SIGNALS = 100_000
LONGEST_ID = 80


class TradeSignal(NamedTuple):
    """One signal. Prices are quote currency, the time epoch ms."""

    signal_id: str
    entry_price: float
    sl_price: float
    tp_price: float
    entry_timestamp: int

    @property
    def closes(self) -> bool:
        """Whether it closes what is held."""
        return self.sl_price == 0.0

    @property
    def direction(self) -> int:
        """+1 where the stop lies below the entry, else -1; CLOSE to leave."""
        if self.closes:
            return int(CLOSE)
        return 1 if self.sl_price < self.entry_price else -1


def table_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """Write signals as the text that the parameters hold, by time; raises Misconfigured for the first odd one."""
    signals = sorted((_signal(row, number) for number, row in enumerate(rows, 1)), key=lambda one: one.entry_timestamp)
    if not signals:
        raise Misconfigured(f"signals: there is none; give rows with {', '.join(COLUMNS)}.")
    if len(signals) > MOST_SIGNALS:
        raise Misconfigured(f"signals: there are {len(signals):,}, more than {MOST_SIGNALS:,}; split them.")
    seen: set[str] = set()
    for one in signals:
        if one.signal_id in seen:
            raise Misconfigured(f"signals: signal_id {shown(one.signal_id)} stands there twice; give each its own.")
        seen.add(one.signal_id)
    return "".join(_line(one) for one in signals)


def _line(one: TradeSignal) -> str:
    return f"{one[0]},{one[1]!r},{one[2]!r},{one[3]!r},{one[4]}\n"


def _signal(row: Mapping[str, Any], number: int) -> TradeSignal:
    place = f"signals, row {number}"
    missing = next((name for name in COLUMNS if row.get(name) in (None, "")), None)
    if missing is not None:
        raise Misconfigured(f"{place}: {missing} is missing; give {', '.join(COLUMNS)}.")
    name = str(row["signal_id"]).strip()
    if not 0 < len(name) <= LONGEST_ID or not name.isprintable() or set(name) & set('",'):
        raise Misconfigured(
            f"{place}: signal_id is {shown(name)}; give 1 to {LONGEST_ID} characters without comma and quote."
        )
    entry = _price(row["entry_price"], f"{place}: entry_price")
    stop, target = (_price(row[column], f"{place}: {column}", least=0.0) for column in COLUMNS[2:4])
    try:
        moment = parse_time(str(row["entry_timestamp"]))
    except Misconfigured as error:
        raise Misconfigured(f"{place}: entry_timestamp: {error}") from None
    closes = stop == target == 0.0
    if not closes and not (0.0 < stop < entry < target or 0.0 < target < entry < stop):
        raise Misconfigured(
            f"{place}: sl_price {stop:g}, entry_price {entry:g} and tp_price {target:g} are in no order of a trade; "
            "stop and target lie on either side of the entry, or are both 0 to leave."
        )
    return TradeSignal(name, entry, stop, target, moment)


def _price(value: Any, place: str, least: float = 1e-12) -> float:
    try:
        price = float(str(value))
    except ValueError:
        price = np.nan
    if not (np.isfinite(price) and least <= price < 1e12):
        raise Misconfigured(f"{place} is {shown(value)}; give a positive price.")
    return price


@lru_cache(maxsize=8)
def signals_in(table: str) -> tuple[TradeSignal, ...]:
    """Read the signals of a table, by time; raises Misconfigured."""
    rows = [dict(zip(COLUMNS, row, strict=False)) for row in csv.reader(table.splitlines())]
    canonical = table_of(rows)
    if canonical == table:
        return tuple(_signal(row, number) for number, row in enumerate(rows, 1))
    return signals_in(canonical)


class SignalsParameters(Parameters):
    """The signals, and how large their trades are."""

    timeframe: Timeframe = Field("1m", description="bars at whose close a signal is seen; the shortest there are")
    warmup_bars: int = Field(0, ge=0, le=100_000, description="signal bars seen before the first entry, bars")
    table: str = Field("", max_length=20_000_000, description="id, entry, stop, target and time of each; --signals")
    setup_id: str = Field("signals", min_length=1, max_length=80, description="what made the signals, for the export")
    rule_version: str = Field("1", min_length=1, max_length=80, description="and in which version")
    risk_per_trade: Fraction = Field(0.01, gt=0, le=1, description="loss at the stop, fraction of target")
    listens: bool = Field(False, description="take signals that are sent to a running bot, POST /api/v1/signals/BOT")

    @field_validator("table")
    @classmethod
    def _is_table(cls, value: str) -> str:
        return "".join(_line(one) for one in signals_in(value)) if value else ""

    @property
    def signals(self) -> tuple[TradeSignal, ...]:
        """The signals by time."""
        return signals_in(self.table) if self.table else ()

    @property
    def sells_short(self) -> bool:
        """Whether one of them sells short."""
        return any(one.direction < 0 for one in self.signals)


@dataclass(frozen=True)
class SignalColumn(Input):
    """What the first signal within a bar says, 0 where there is none."""

    table: str = ""
    field: str = ""
    bar_ms: int = 0
    live: bool = False  # signals may come while a pair trades

    @property
    def listens(self) -> bool:
        """Whether signals may come while a pair trades."""
        return self.live

    def hear(self, signal: ReceivedSignal, at: int) -> SignalColumn:
        """Return it with this signal alone, which came at `at` (ms)."""
        middle = (signal.stop + signal.target) / 2.0 or 1.0
        heard = TradeSignal(signal.id, middle, signal.stop, signal.target, at)
        return replace(self, table=_line(heard))

    def remembers(self) -> bool:
        """Nothing: a value is that of its own bar."""
        return False

    def lookback(self) -> int:
        """Bars before its own: none."""
        return 0

    def column(self, bars: ByColumn, at: slice | NDArray[np.int64]) -> NDArray[np.float64]:
        """Values at the bars numbered `at`."""
        values, times = _arrays(self.table, self.field)
        starts = bars["ts"][at]
        first = np.searchsorted(times, starts)
        inside = (first < len(times)) & (np.append(times, np.iinfo(np.int64).max)[first] < starts + self.bar_ms)
        return np.where(inside, np.append(values, 0.0)[first], 0.0)


@lru_cache(maxsize=32)
def _arrays(table: str, field: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """A field of every signal and their times, (n,) each."""
    signals = signals_in(table) if table else ()
    times = np.array([one.entry_timestamp for one in signals], np.int64)
    if field == "number":
        return np.arange(len(signals), dtype=np.float64), times
    return np.array([getattr(one, field) for one in signals], np.float64), times


def _inputs(parameters: SignalsParameters) -> dict[str, Input]:
    fields = {"side": "direction", "stop": "sl_price", "target": "tp_price", "number": "number"}
    return {
        name: SignalColumn(None, 0, parameters.table, field, parameters.timeframe_ms, parameters.listens)
        for name, field in fields.items()
    }


@kernel
def decide(pair: Record, params: Record, state: Record, slots: Record, event: Record) -> None:
    """Enter at signals, and leave by the stop and the target of the one that is traded."""
    watch_nothing(pair)
    if event.kind == Event.FILL:
        _on_fill(pair, state, slots, event.execution)
    elif event.kind == Event.SIGNAL and not np.isnan(event.inputs.side) and event.inputs.side != 0.0:
        _on_signal(pair, params, state, slots, event.inputs)


@kernel
def _on_signal(pair: Record, params: Record, state: Record, slots: Record, told: Record) -> None:
    if told.side == CLOSE:
        _exit(pair, state, slots)
        return
    direction = 1 if told.side > 0.0 else -1
    if (
        not pair.may_enter
        or pair.ledger.position != 0
        or slots[ENTRY].active
        or (direction < 0 and not pair.instrument.linear)
    ):
        return
    risk, gain = (pair.price - told.stop) * direction, (told.target - pair.price) * direction
    if risk <= 0.0 or gain <= 0.0:
        return
    notional = min(affordable(pair), params.risk_per_trade * pair.target * pair.price / risk)
    state.part, state.direction = int(told.number), direction
    state.stop = order_ticks(pair, -direction, told.stop, True)
    state.target = order_ticks(pair, -direction, told.target, False)
    lots = lots_for(pair, notional, pair.price)
    slot = enter(pair, slots, ENTRY, direction, OrderKind.MARKET, 0, lots, state.part)
    slot.stop = state.stop


@kernel
def _exit(pair: Record, state: Record, slots: Record) -> None:
    """Take back an entry, and leave what is held at the market; stop and target rest until it is flat."""
    clear_order(slots, ENTRY)
    lots = abs(pair.ledger.position)
    if lots > 0:
        gained = pair.ledger.position * pair.price * pair.instrument.lot_size > pair.ledger.cost
        signal = Signal.EXIT_TP if gained else Signal.EXIT_SL
        set_order(slots, EXIT, -state.direction, OrderKind.MARKET, 0, lots, signal, state.part)


@kernel
def _on_fill(pair: Record, state: Record, slots: Record, fill: Record) -> None:
    lots = abs(pair.ledger.position)
    if lots == 0:
        clear_orders(slots)
        return
    if fill.slot != ENTRY:
        clear_order(slots, ENTRY)
    leave = -state.direction
    set_order(slots, STOP, leave, OrderKind.STOP, state.stop, lots, Signal.EXIT_SL, state.part)
    set_order(slots, TARGET, leave, OrderKind.LIMIT, state.target, lots, Signal.EXIT_TP, state.part)


def check(
    parameters: SignalsParameters, instrument: Instrument, _capital: float, _price: float, _leverage: float
) -> None:
    """Refuse a table without signals, and short ones where nothing can be sold short; raises Misconfigured."""
    if not parameters.table and not parameters.listens:
        raise Misconfigured(
            "signals.table is empty; give a file of signals by `traderagent backtest --signals FILE`, or set "
            "signals.listens: true for a bot that others send signals to."
        )
    if parameters.listens and parameters.timeframe != "1m":
        raise Misconfigured(f"signals.timeframe is {parameters.timeframe}; a bot that listens hears at every 1m bar.")
    if parameters.sells_short and instrument.market is Market.SPOT and not instrument.synthetic_short:
        raise Misconfigured("signals sell short but spot cannot be sold short; leave them out, or market: linear.")


SIGNALS = Strategy(
    name="signals",
    version=1,
    parameters=SignalsParameters,
    state=np.dtype([("part", "i8"), ("direction", "i8"), ("stop", "i8"), ("target", "i8")]),
    slots=lambda _parameters: 4,
    decide=decide,
    check=check,
    own_stop=True,
    inputs=_inputs,
    roles=lambda count: ("entry", "stop", "target", "leave")[:count],
    heeds="side",
)
