"""A replay: a person trades recorded candles bar by bar. Setup, actions and candles in, what stands out.

The actions are all that is remembered of a session, so it is resumed, and undone, by taking them up again. What stands
at a bar is played on the candles up to its close alone, by the simulator and as the strategy `manual`: the trades are
those that a backtest of the same orders has, and nothing that comes later has any part in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator

from backtesting.result import BacktestResult
from backtesting.simulator import PRICES, PreparedCandles, UniversalSimulator
from bot.errors import Misconfigured, shown
from bot.instrument import Instrument, Market, in_ticks
from bot.order import Liquidity, Side
from bot.rollup import TIMEFRAMES
from coordinator.config import SimulationRules, load_single
from strategies.manual import CLEAR, CLOSE, ENTRY, SET, STOP, TARGET, ManualOrder, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtesting.funding import FundingHistory
    from backtesting.simulator import Recording
    from bot.candles import Candles
    from coordinator.config import BacktestConfig

STRATEGY = "strategies.manual:MANUAL"
CONTEXT = 300  # bars before the period that are shown with the first one
MOST_STEPS = 5000  # bars of one step
BY_HAND = "BY_HAND"  # reason of an exit that was asked for


class ReplaySetup(BaseModel):
    """What a session is about; it stays as it was when the session began."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    exchange: str
    market: Market
    pair: str
    timeframe: str
    start: int  # ms, a close of a bar of the timeframe
    end: int
    capital: float = Field(gt=0, le=1e12)
    leverage: float = Field(ge=1, le=125)
    execution: SimulationRules = SimulationRules()
    instrument: Instrument
    blind: int = 0  # ms by which the dates that are shown are moved, whole weeks; 0: they are shown as they are

    @field_validator("timeframe")
    @classmethod
    def _is_timeframe(cls, value: str) -> str:
        if value not in TIMEFRAMES:
            raise ValueError(f"choose one of {', '.join(TIMEFRAMES)}")
        return value

    @property
    def length(self) -> int:
        """Length of a bar, ms."""
        return TIMEFRAMES[self.timeframe]

    @property
    def since(self) -> int:
        """From when candles are needed, ms."""
        return self.start - CONTEXT * self.length

    def shown(self, ms: int) -> int:
        """A moment as the person may see it."""
        return ms + self.blind


class StepAction(BaseModel):
    """Let so many bars pass."""

    do: Literal["step"] = "step"
    bars: int = Field(ge=1, le=MOST_STEPS)


class EntryAction(BaseModel):
    """Set the entry, in place of one that rests. Prices in ticks, 0 for none; quantities in lots."""

    do: Literal["order"] = "order"
    side: Literal[-1, 1]
    limit: int = Field(0, ge=0)  # 0: at the market
    lots: int = Field(ge=1)
    stop: int = Field(0, ge=0)
    target: int = Field(0, ge=0)


class CancelAction(BaseModel):
    """Withdraw the entry, and a close that was asked for at this very bar."""

    do: Literal["cancel"] = "cancel"


class ProtectAction(BaseModel):
    """Give the position this stop and this target, in place of those that it has; ticks, 0 for none."""

    do: Literal["protect"] = "protect"
    stop: int = Field(0, ge=0)
    target: int = Field(0, ge=0)


class CloseAction(BaseModel):
    """Exit at the market."""

    do: Literal["close"] = "close"


class NoteAction(BaseModel):
    """Write something down; it changes nothing."""

    do: Literal["note"] = "note"
    text: str = Field(min_length=1, max_length=2000)


class PictureAction(BaseModel):
    """Keep a picture of the chart, a file of this name."""

    do: Literal["picture"] = "picture"
    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}\.png$")


Action = Annotated[
    StepAction | EntryAction | CancelAction | ProtectAction | CloseAction | NoteAction | PictureAction,
    Field(discriminator="do"),
]
ACTIONS: TypeAdapter[list[Action]] = TypeAdapter(list[Action])


class AskedOrder(BaseModel):
    """An entry as a person asks for it: prices in quote currency, the size as a quantity or as the loss at the stop."""

    model_config = ConfigDict(extra="forbid")

    side: Literal["buy", "sell"]
    price: float | None = Field(None, gt=0, lt=1e12)  # of a limit; None: at the market
    quantity: float | None = Field(None, gt=0, lt=1e15)  # base currency
    risk: float | None = Field(None, gt=0, le=1)  # loss at the stop, fraction of the equity
    stop: float | None = Field(None, gt=0, lt=1e12)
    target: float | None = Field(None, gt=0, lt=1e12)


@dataclass(frozen=True)
class ReplayedSession:
    """A session as it stands: its setup, the actions so far, and candles that reach at least to its last bar."""

    setup: ReplaySetup
    actions: Sequence[Action]
    candles: Candles
    history: FundingHistory | None = None

    @cached_property
    def _whole(self) -> PreparedCandles:
        held = self.candles.between(self.setup.since, self.setup.end)
        return PreparedCandles.of(held, self.setup.instrument)

    @cached_property
    def _bars(self) -> tuple[Any, Any]:
        """Complete bars of the timeframe (m,), and the base bar that ends each."""
        rolled = self._whole.rollup(self.setup.length)
        return rolled.bars, rolled.ends

    @cached_property
    def before(self) -> int:
        """How many bars are shown before the first step."""
        count = int(np.searchsorted(self._bars[0]["ts"] + self.setup.length, self.setup.start, side="right"))
        if count == 0 or count == len(self._bars[0]):
            raise Misconfigured("the period has no candles, or none before it; choose another one.")
        return count

    @cached_property
    def seen(self) -> int:
        """How many bars have been shown."""
        steps = sum(one.bars for one in self.actions if isinstance(one, StepAction))
        return min(self.before + steps, len(self._bars[0]))

    @property
    def left(self) -> int:
        """How many bars are still to come."""
        return len(self._bars[0]) - self.seen

    @property
    def over(self) -> bool:
        """Whether the last bar has been shown, or the account is gone."""
        return self.left == 0 or self.recording.outcome != 0

    @property
    def now(self) -> int:
        """The close of the last bar that was shown, ms."""
        return int(self._bars[0]["ts"][self.seen - 1]) + self.setup.length

    def bars(self, first: int) -> list[list[float]]:
        """Bars that have been shown from number `first` on: opening (ms, as shown), prices, volume."""
        tick, part = self.setup.instrument.tick_size, self._bars[0][first : self.seen]
        ticks = [in_ticks(part[name], float(tick)).round().astype(np.int64).tolist() for name in PRICES]
        prices = [[exact(one, tick) for one in column] for column in ticks]
        shown_at = [self.setup.shown(ts) for ts in part["ts"].tolist()]
        return [list(row) for row in zip(shown_at, *prices, part["volume"].tolist(), strict=True)]

    @cached_property
    def orders(self) -> list[ManualOrder]:
        """What was asked for, by the bar at whose close it was."""
        bars, place = self._bars[0], self.before
        found: dict[int, ManualOrder] = {}
        for one in self.actions:
            if isinstance(one, StepAction):
                place = min(place + one.bars, len(bars))
                continue
            ts = int(bars["ts"][place - 1])
            row = found.get(ts, ManualOrder(ts))
            match one:
                case EntryAction():
                    row = row._replace(
                        entry=SET, side=one.side, limit=one.limit, lots=one.lots, entry_stop=one.stop,
                        entry_target=one.target,
                    )  # fmt: skip
                case CancelAction():
                    row = row._replace(entry=CLEAR, close=0)
                case ProtectAction():
                    row = row._replace(protect=1, stop=one.stop, target=one.target)
                case CloseAction():
                    row = row._replace(close=1)
                case NoteAction() | PictureAction():
                    continue
            found[ts] = row
        return list(found.values())

    @cached_property
    def config(self) -> BacktestConfig:
        """The session as a backtest: strategy `manual` with what was asked for."""
        setup = self.setup
        return load_single(
            {
                "strategy": STRATEGY,
                "pair": setup.pair,
                "exchange": setup.exchange,
                "market": setup.market,
                "capital": setup.capital,
                "leverage": setup.leverage,
                "execution": setup.execution.model_dump(mode="json"),
                "instrument": setup.instrument.model_dump(mode="json"),
                "manual": {"timeframe": setup.timeframe, "table": table_of(self.orders)},
            }
        )

    @cached_property
    def shown_candles(self) -> Candles:
        """The candles of everything that has been shown, and no other."""
        return self.candles.between(self.setup.since, self.now)

    @cached_property
    def recording(self) -> Recording:
        """What the simulator says of the orders, on the candles that have been shown."""
        prepared = PreparedCandles.of(self.shown_candles, self.setup.instrument, self.history)
        return UniversalSimulator(self.config).run(prepared)

    @cached_property
    def result(self) -> BacktestResult:
        """The same as a result, whose period begins where the session does."""
        first = int(np.searchsorted(self.shown_candles.ts, self.setup.start))
        return BacktestResult(self.config, self.recording, min(first, len(self.shown_candles) - 1))

    @property
    def equity(self) -> float:
        """Worth of the account at the last close, quote currency."""
        return float(self.recording.equity()[-1])

    @property
    def price(self) -> float:
        """The last close."""
        ticks = in_ticks(self._bars[0]["close"][self.seen - 1 : self.seen], float(self.setup.instrument.tick_size))
        return exact(round(float(ticks[0])), self.setup.instrument.tick_size)

    @property
    def lots(self) -> int:
        """Lots held, signed."""
        return int(self.recording.pair.ledger.position)

    def taken(self, asked: AskedOrder) -> EntryAction:
        """Make an entry of what was asked for; raises Misconfigured where it makes no sense."""
        setup, way = self.setup, 1 if asked.side == "buy" else -1
        self._go_on()
        if way < 0 and setup.market is Market.SPOT:
            raise Misconfigured("side is sell, but spot cannot be sold short; close what is held, or replay linear.")
        closes = any(one.close and one.bar + setup.length == self.now for one in self.orders)
        if self.lots * way < 0 and not closes:
            raise Misconfigured(f"side is {asked.side}, against the position; close it first, at this bar or before.")
        entry = asked.price or self.price
        stop, target = (self._level(name, getattr(asked, name), entry, way) for name in ("stop", "target"))
        limit = 0 if asked.price is None else self._ticks(asked.price)
        return EntryAction(
            side=1 if way > 0 else -1,
            limit=limit,
            lots=self._size(asked, entry, way, closes=closes),
            stop=stop,
            target=target,
        )

    def _size(self, asked: AskedOrder, entry: float, way: int, *, closes: bool) -> int:
        instrument = self.setup.instrument
        if (asked.quantity is None) == (asked.risk is None):
            raise Misconfigured("quantity and risk are both given, or neither; give one of them.")
        quantity = asked.quantity or 0.0
        if asked.risk is not None:
            if asked.stop is None:
                raise Misconfigured("risk is the loss at the stop, and stop is missing; give a stop, or a quantity.")
            quantity = asked.risk * self.equity / abs(entry - asked.stop)
        held = instrument.record(self.setup.leverage)
        lots = int(quantity / float(instrument.lot_size) + 1e-9)
        least = max(int(held.min_quantity), 1)
        if lots < least or lots * float(held.lot_size) * entry < float(held.min_notional):
            raise Misconfigured(
                f"quantity is {quantity:.8g}, less than the exchange takes ({least * float(held.lot_size):g}, worth "
                f"{float(held.min_notional):g}); give more."
            )
        most = min(int(held.max_market_lots), int(held.max_position_lots))
        if abs(self.lots) + lots > most:
            raise Misconfigured(
                f"quantity is {quantity:.8g}, more than one order can close again ({most * float(held.lot_size):g}); "
                "give less."
            )
        self._afford(quantity, lots if closes else abs(self.lots + way * lots), entry)
        return lots

    def _afford(self, quantity: float, lots: int, entry: float) -> None:
        """Raise Misconfigured where the exchange would refuse a position of so many lots at a price."""
        held = self.setup.instrument.record(self.setup.leverage)
        worth, fee = lots * float(held.lot_size) * entry, float(self.setup.instrument.taker_fee)
        carried = self.equity / (1.0 / self.setup.leverage + fee)
        if worth > carried:
            raise Misconfigured(
                f"quantity is {quantity:.8g}, which makes a position worth {worth:,.0f}, and the equity carries "
                f"{carried:,.0f}; give less, or move the stop away."
            )

    def _level(self, name: str, price: float | None, entry: float, way: int) -> int:
        """Ticks of a stop or a target for a trade that enters at a price, 0 for none; raises Misconfigured."""
        if price is None:
            return 0
        side = -way if name == "stop" else way
        if (price - entry) * side <= 0:
            there = "below" if side < 0 else "above"
            raise Misconfigured(f"{name} is {price:g}; it belongs {there} {entry:g}.")
        return self._ticks(price)

    def _ticks(self, price: float) -> int:
        return max(round(price / float(self.setup.instrument.tick_size)), 1)

    def protected(self, stop: float | None, target: float | None) -> ProtectAction:
        """Stop and target of what is held; raises Misconfigured without a position, or for a price beyond it."""
        self._hold()
        way = 1 if self.lots > 0 else -1
        return ProtectAction(
            stop=self._level("stop", stop, self.price, way), target=self._level("target", target, self.price, way)
        )

    def closed(self) -> CloseAction:
        """Exit at the market; raises Misconfigured without a position."""
        self._hold()
        return CloseAction()

    def stepped(self, bars: int) -> StepAction:
        """Let bars pass, as many as there are; raises Misconfigured at the end."""
        self._go_on()
        return StepAction(bars=max(min(bars, self.left, MOST_STEPS), 1))

    def bars_until(self, moment: int) -> int:
        """How many bars it is until the first one that opens at a moment or later, 1 at least."""
        ts = self._bars[0]["ts"]
        return max(int(np.searchsorted(ts, moment, side="left")) - self.seen, 1)

    def _go_on(self) -> None:
        if self.over:
            raise Misconfigured("the session is at its end; undo something, or begin another.")

    def _hold(self) -> None:
        self._go_on()
        if self.lots == 0:
            raise Misconfigured("there is no position; enter first.")

    # What is shown

    def fills(self) -> list[dict[str, Any]]:
        """Executions, oldest first, in the units of the person."""
        of = self.setup.instrument
        return [
            {
                "at": self.setup.shown(int(one.ts)),
                "side": Side(int(one.side)).name.lower(),
                "price": exact(int(one.price), of.tick_size),
                "quantity": exact(int(one.quantity), of.lot_size),
                "position": exact(int(one.position), of.lot_size),
                "fee": float(one.fee),
                "realised": float(one.realised),
                "maker": int(one.liquidity) == Liquidity.MAKER,
                "reason": _reason(one),
            }
            for one in self.recording.fills
        ]

    def trades(self) -> list[dict[str, Any]]:
        """Trades by exit, open ones last; `entry_ts`, `exit_ts` as they were, `entry_at`, `exit_at` as shown."""
        reasons = [_reason(one) for one in self.recording.fills if int(one.position) == 0]
        found = []
        for number, row in enumerate(self.result.trades.iter_rows(named=True)):
            left = row["exit_time"]
            found.append(
                {
                    "trade": number + 1,
                    **{name: row[name] for name in ("side", "entry_price", "exit_price", "pnl", "fees", "funding")},
                    "quantity": row["qty"],
                    "r": row["r_multiple"],
                    "entry_ts": row["entry_time"],
                    "exit_ts": left,
                    "entry_at": self.setup.shown(row["entry_time"]),
                    "exit_at": None if left is None else self.setup.shown(left),
                    "reason": None if left is None else reasons[number],
                }
            )
        return found

    def notes(self) -> list[dict[str, Any]]:
        """What was written down and pictured, with the bar's close (ms) at which it was."""
        place, found = self.before, []
        for one in self.actions:
            if isinstance(one, StepAction):
                place = min(place + one.bars, len(self._bars[0]))
            elif isinstance(one, NoteAction | PictureAction):
                at = int(self._bars[0]["ts"][place - 1]) + self.setup.length
                text, picture = (one.text, "") if isinstance(one, NoteAction) else ("", one.name)
                found.append({"ts": at, "at": self.setup.shown(at), "text": text, "picture": picture})
        return found

    def open_order(self) -> dict[str, Any] | None:
        """The entry that rests, or goes at the next opening; None where there is none."""
        slot, state, of = self.recording.slots[ENTRY], self.recording.state, self.setup.instrument
        if not slot.active:
            return None
        return {
            "side": Side(int(slot.side)).name.lower(),
            "price": exact(int(slot.price), of.tick_size) or None,
            "quantity": exact(int(slot.quantity), of.lot_size),
            "stop": exact(int(state.entry_stop), of.tick_size) or None,
            "target": exact(int(state.entry_target), of.tick_size) or None,
        }

    def standing(self) -> dict[str, Any]:
        """How the account stands at the last close."""
        of, ledger, state = self.setup.instrument, self.recording.pair.ledger, self.recording.state
        lots = self.lots
        average = float(ledger.cost) / (lots * float(of.lot_size)) if lots else None
        return {
            "price": self.price,
            "equity": self.equity,
            "profit": self.equity - self.setup.capital,
            "fees": float(ledger.fees),
            "funding": float(ledger.funding),
            "position": exact(lots, of.lot_size),
            "average": average,
            "stop": exact(int(state.stop), of.tick_size) or None if lots else None,
            "target": exact(int(state.target), of.tick_size) or None if lots else None,
            "closing": bool(self.recording.slots[CLOSE].active),
            "order": self.open_order(),
            "refused": self.recording.refused,
            "outcome": self.recording.outcome.name.lower(),
        }


def _reason(fill: Any) -> str:
    """Why a fill was: an entry, a stop, a target, by hand, or a liquidation."""
    names = {CLOSE: BY_HAND, ENTRY: "ENTRY", STOP: "EXIT_SL", TARGET: "EXIT_TP"}
    return names.get(int(fill.slot), "EXIT_EMERGENCY")


def exact(count: int, step: Any) -> float:
    """So many steps, without the dust of a product in binary."""
    return float(count * step)


def action_of(values: Any) -> list[Action]:
    """Read stored actions; raises Misconfigured for what is none."""
    try:
        return ACTIONS.validate_python(values)
    except ValueError:
        raise Misconfigured(f"the actions of a session are {shown(str(values))}; begin another session.") from None
