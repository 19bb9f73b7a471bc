"""A replay: a person trades recorded candles bar by bar. Setup, actions and candles in, what stands out.

The actions are all that is remembered of a session, so it is resumed, and undone, by taking them up again. What stands
at a bar is played on the candles up to its close alone, by the simulator and as the strategy `manual`: the trades are
those that a backtest of the same orders has, and nothing that comes later has any part in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from backtesting.replay_actions import (
    MOST_STEPS,
    CloseAction,
    EntryAction,
    NoteAction,
    PictureAction,
    ProtectAction,
    StepAction,
    rows_of,
)
from backtesting.result import BacktestResult
from backtesting.simulator import PRICES, PreparedCandles, UniversalSimulator
from bot.errors import Misconfigured
from bot.instrument import Instrument, Market, in_ticks
from bot.order import Liquidity, OrderKind, Side
from bot.rollup import TIMEFRAMES
from coordinator.config import SimulationRules, load_single
from strategies.manual import CLEAR, CLOSE, ENTRIES, ENTRY, STOP, TARGET, table_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backtesting.funding import FundingHistory
    from backtesting.replay_actions import Action, AskedOrder
    from backtesting.simulator import Recording
    from bot.candles import Candles
    from coordinator.config import BacktestConfig
    from strategies.manual import ManualOrder

STRATEGY = "strategies.manual:MANUAL"
CONTEXT = 300  # bars before the period that are shown with the first one
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
        found: dict[tuple[int, int], ManualOrder] = {}
        for one in self.actions:
            if isinstance(one, StepAction):
                place = min(place + one.bars, len(bars))
                continue
            ts = int(bars["ts"][place - 1])
            found |= {row[:2]: row for row in rows_of(ts, one)}
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
        way = 1 if asked.side == "buy" else -1
        self._go_on()
        if way < 0 and self.setup.market is Market.SPOT:
            raise Misconfigured("side is sell, but spot cannot be sold short; close what is held, or replay linear.")
        closes = self._closes
        if self.lots * way < 0 and not closes:
            raise Misconfigured(
                f"side is {asked.side}, against the position; close all of it first, at this bar or before."
            )
        number, entry = self._number(asked.entry), asked.price or self.price
        self._check_kind(asked, way)
        stop, target = (self._level(name, getattr(asked, name), entry, way) for name in ("stop", "target"))
        price = 0 if asked.price is None else self._ticks(asked.price)
        return EntryAction(
            entry=number,
            side=1 if way > 0 else -1,
            **{"trigger" if asked.kind == "stop" else "limit": price},
            lots=self._size(asked, number, entry, way, closes=closes),
            stop=stop,
            target=target,
        )

    @property
    def _closes(self) -> bool:
        """Whether all of the position is to be closed, as was asked at this bar."""
        now = [one for one in self.orders if one.slot == CLOSE and one.bar + self.setup.length == self.now]
        return any(one.change != CLEAR and (one.lots == 0 or one.lots >= abs(self.lots)) for one in now)

    def _number(self, asked: int | None) -> int:
        """The number of an entry: of one that rests, to be replaced, or the first that is free."""
        held = [number for number in range(1, ENTRIES + 1) if self._slot(number).active]
        if asked is not None and asked not in held:
            raise Misconfigured(f"entry is {asked}, which does not rest any more; leave it out for another order.")
        free = [number for number in range(1, ENTRIES + 1) if number not in held]
        if asked is None and not free:
            raise Misconfigured(f"entry is one too many, {ENTRIES} orders rest; change one of them, or cancel one.")
        return asked or free[0]

    def _slot(self, number: int) -> Any:
        return self.recording.slots[ENTRY + number - 1]

    def _check_kind(self, asked: AskedOrder, way: int) -> None:
        """Raise Misconfigured for a stop entry without a price, or that would be triggered at once."""
        if asked.kind != "stop":
            return
        if asked.price is None:
            raise Misconfigured("price is missing; a stop entry needs the one at which it is triggered.")
        if (asked.price - self.price) * way <= 0:
            there = "above" if way > 0 else "below"
            raise Misconfigured(
                f"price is {asked.price:g}; a stop entry that {'buys' if way > 0 else 'sells'} belongs {there} "
                f"{self.price:g}."
            )

    def _size(self, asked: AskedOrder, number: int, entry: float, way: int, *, closes: bool) -> int:
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
        others = [self._slot(one) for one in range(1, ENTRIES + 1) if one != number]
        resting = sum(int(one.quantity) for one in others if one.active and int(one.side) == way)
        whole = (0 if closes else abs(self.lots)) + resting + lots
        if whole > most:
            raise Misconfigured(
                f"quantity is {quantity:.8g}, more than one order can close again ({most * float(held.lot_size):g}); "
                "give less."
            )
        self._afford(quantity, whole, entry)
        return lots

    def _afford(self, quantity: float, lots: int, entry: float) -> None:
        """Raise Misconfigured where the exchange would refuse a position of so many lots at a price."""
        held = self.setup.instrument.record(self.setup.leverage)
        worth, fee = lots * float(held.lot_size) * entry, float(self.setup.instrument.taker_fee)
        carried = self.equity / (1.0 / self.setup.leverage + fee)
        if worth > carried:
            raise Misconfigured(
                f"quantity is {quantity:.8g}, which with what rests makes a position worth {worth:,.0f}, and the "
                f"equity carries {carried:,.0f}; give less, or move the stop away."
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
        held, way = self.recording.state, 1 if self.lots > 0 else -1
        asked = {"stop": stop, "target": target}
        kept = {name: price is not None and self._ticks(price) == int(held[name]) for name, price in asked.items()}
        return ProtectAction(
            **{
                name: int(held[name]) if kept[name] else self._level(name, price, self.price, way)
                for name, price in asked.items()
            }
        )

    def closed(self, quantity: float | None = None) -> CloseAction:
        """Exit at the market, with a quantity or with all; raises Misconfigured without so much of a position."""
        self._hold()
        if quantity is None:
            return CloseAction()
        of = self.setup.instrument
        lots, held = int(quantity / float(of.lot_size) + 1e-9), exact(abs(self.lots), of.lot_size)
        if not 1 <= lots <= abs(self.lots):
            raise Misconfigured(
                f"quantity is {quantity:.8g}; give {float(of.lot_size):g} to {held:g}, which is held, or nothing for "
                "all."
            )
        return CloseAction(lots=0 if lots == abs(self.lots) else lots)

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

    def entries(self) -> list[dict[str, Any]]:
        """The entries that rest, or go at the next opening, by number."""
        state, of = self.recording.state, self.setup.instrument
        found = []
        for number in range(1, ENTRIES + 1):
            slot = self._slot(number)
            if not slot.active:
                continue
            kind, waits = OrderKind(int(slot.kind)), number - 1
            found.append(
                {
                    "entry": number,
                    "side": Side(int(slot.side)).name.lower(),
                    "kind": kind.name.lower(),
                    "price": None if kind is OrderKind.MARKET else exact(int(slot.price), of.tick_size),
                    "quantity": exact(int(slot.quantity), of.lot_size),
                    "stop": exact(int(state.entry_stop[waits]), of.tick_size) or None,
                    "target": exact(int(state.entry_target[waits]), of.tick_size) or None,
                }
            )
        return found

    def standing(self) -> dict[str, Any]:
        """How the account stands at the last close."""
        of, ledger, state = self.setup.instrument, self.recording.pair.ledger, self.recording.state
        lots, leaves = self.lots, self.recording.slots[CLOSE]
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
            "closing": exact(int(leaves.quantity), of.lot_size) if leaves.active else None,
            "entries": self.entries(),
            "refused": self.recording.refused,
            "outcome": self.recording.outcome.name.lower(),
        }


REASONS = {CLOSE: BY_HAND, STOP: "EXIT_SL", TARGET: "EXIT_TP"} | dict.fromkeys(range(ENTRY, ENTRY + ENTRIES), "ENTRY")


def _reason(fill: Any) -> str:
    """Why a fill was: an entry, a stop, a target, by hand, or a liquidation."""
    return REASONS.get(int(fill.slot), "EXIT_EMERGENCY")


def exact(count: int, step: Any) -> float:
    """So many steps, without the dust of a product in binary."""
    return float(count * step)
