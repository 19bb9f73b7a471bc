"""The trend follower once more, in slow plain Decimal, written from docs/execution.md (section 6) alone."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from tests.oracle.exchange import ENTRY, EXIT_SL, EXIT_TP, LIMIT, MARKET, STOP, Bar, Exchange, Fill
from tests.oracle.indicators import DAY, HOUR, Atr, Ema, Rsi
from tests.oracle.numbers import ONE, ZERO, Exact, away_limit, away_stop

IN, OUT, TARGET, PARTIAL, EXIT = range(5)
KINDS = ("breakout", "pullback", "rsi")
LOSING = 3


@dataclass
class TrendParameters(Exact):
    timeframe_ms: int = HOUR
    warmup_bars: int = 200
    direction: str = "both"
    fast_period: int = 20
    slow_period: int = 50
    sideways: Decimal = Decimal("0.005")
    strong: Decimal = Decimal("0.02")
    max_atr: Decimal = Decimal("0.05")
    entries: tuple[str, ...] = KINDS
    pullback: Decimal = Decimal("0.01")
    range_bars: int = 20
    breakout_volume: Decimal = Decimal("1.5")
    trend_confirmation_bars: int = 3
    sizing: str = "risk"
    volatility_target: Decimal = Decimal("0.4")
    volatility_bars: int = 30
    risk_per_trade: Decimal = Decimal("0.01")
    stop: Decimal | None = None
    target: Decimal | None = None
    sideways_stop: Decimal = Decimal("0.7")
    sideways_target: Decimal = Decimal("1.2")
    weak_stop: Decimal = ONE
    weak_target: Decimal = Decimal("1.8")
    strong_stop: Decimal = ONE
    strong_target: Decimal = Decimal("2.5")
    partial_at: Decimal = Decimal("0.7")
    break_even_at: Decimal = ONE
    trail_from: Decimal = Decimal("1.5")
    trail_distance: Decimal = Decimal("0.5")
    exit: str = "atr"
    exit_channel_bars: int = 10
    max_days: Decimal = ZERO
    min_target_costs: Decimal = ZERO
    min_stop_costs: Decimal = ZERO
    expected_slippage: Decimal = Decimal("0.0001")


@dataclass
class Plan:
    """What an entry is to become: its side, its unit (ATR) and how far its exits lie, in units; ticks."""

    side: int
    unit: Decimal
    stop_units: Decimal
    target_units: Decimal | None
    channel: Decimal | None


@dataclass
class Trade:
    """A position: where it was entered and where it leaves, ticks."""

    entry: Decimal
    opened: int
    best: Decimal
    stop: int
    target: int | None
    partial: int | None
    lots: int = 0  # entered
    partial_done: bool = False


class Trend:
    """One trade at a time, entered at the close of a signal bar."""

    slots = 5

    def __init__(self, parameters: TrendParameters) -> None:
        self.parameters = parameters
        self.timeframe_ms, self.warmup_bars = parameters.timeframe_ms, parameters.warmup_bars
        self.fast, self.slow = Ema(parameters.fast_period), Ema(parameters.slow_period)
        self.rsi, self.atr, self.variance = Rsi(14), Atr(14), Ema(parameters.volatility_bars)
        self.bars: deque[Bar] = deque(maxlen=400)
        self.seen = self.above = self.below = self.losses = 0
        self.plan: Plan | None = None
        self.trade: Trade | None = None
        self.result = self.before = ZERO  # of all fills, after fees; and when the plan was made

    # What it hears

    def signal(self, exchange: Exchange, bar: Bar) -> None:
        rsi = self.rsi.value
        self._learn(bar)
        most = self.parameters.max_atr * (Decimal(self.timeframe_ms) / HOUR).sqrt() * bar.close
        if exchange.position != 0:
            if self.trade is not None and self._over(exchange, self.trade, bar):
                self._leave(exchange, self.trade)
        elif exchange.may_enter and not exchange.slots[IN].quantity and 0 < self.atr.value <= most:
            self._look(exchange, bar, rsi)
        self.bars.append(bar)

    def base(self, exchange: Exchange) -> None:
        trade, plan = self.trade, self.plan
        if exchange.position == 0 or trade is None or plan is None or exchange.opened < trade.opened:
            return
        own, side = self.parameters, plan.side
        extreme = exchange.bar.high if side > 0 else exchange.bar.low
        trade.best = max(trade.best, extreme) if side > 0 else min(trade.best, extreme)
        gained = (trade.best - trade.entry) * side
        stops = [trade.stop]
        if own.break_even_at and gained >= own.break_even_at * plan.unit:
            stops.append(away_stop(trade.entry * (1 + side * 2 * exchange.instrument.taker_fee), -side))
        if own.trail_distance and gained >= own.trail_from * plan.unit:
            stops.append(away_stop(trade.best - side * own.trail_distance * plan.unit, -side))
        tightest = max(stops) if side > 0 else min(stops)
        if tightest != trade.stop:
            trade.stop = tightest
            self._exits(exchange, trade, exchange.bar.close)

    def fill(self, exchange: Exchange, fill: Fill) -> None:
        plan = self.plan
        assert plan is not None
        rate = exchange.instrument.taker_fee if fill.liquidity == "taker" else exchange.instrument.maker_fee
        worth = fill.price * fill.lots * exchange.instrument.tick_value
        self.result -= fill.side * worth + worth * rate
        if exchange.position == 0:
            self.losses = self.losses + 1 if self.result < self.before else 0
            self.trade = None
            for number in range(self.slots):
                exchange.clear_order(number)
            return
        if self.trade is None:
            self.trade = self._entered(exchange, plan, fill)
        if fill.slot == IN:
            self.trade.lots += fill.lots
        else:
            exchange.clear_order(IN)
        if fill.slot == PARTIAL and not exchange.slots[PARTIAL].quantity:
            self.trade.partial_done = True
        self._exits(exchange, self.trade, Decimal(fill.price))

    def refused(self, exchange: Exchange, slot: int) -> None:
        """Nothing: what was refused is gone."""

    # Entering

    def _learn(self, bar: Bar) -> None:
        if self.atr.close is not None:
            self.variance.update((bar.close / self.atr.close - 1) ** 2)
        self.fast.update(bar.close)
        self.slow.update(bar.close)
        self.rsi.update(bar.close)
        self.atr.update(bar.high, bar.low, bar.close)
        self.seen += 1
        self.above = self.above + 1 if bar.close > self.slow.value else 0
        self.below = self.below + 1 if bar.close < self.slow.value else 0

    def _look(self, exchange: Exchange, bar: Bar, rsi: Decimal) -> None:
        divergence = abs(self.fast.value - self.slow.value) / self.slow.value
        for side, word in ((1, "long"), (-1, "short")):
            chosen = self.parameters.direction if exchange.instrument.linear else "long"
            if chosen in ("both", word) and self._may_enter(bar, rsi, side, divergence):
                self._enter(exchange, bar.close, self._planned(side, divergence))
                return

    def _may_enter(self, bar: Bar, rsi: Decimal, side: int, divergence: Decimal) -> bool:
        own = self.parameters
        sideways = divergence < own.sideways
        confirmed = (self.above if side > 0 else self.below) >= own.trend_confirmation_bars
        found = {
            "breakout": confirmed and self._breaks_out(bar, side),
            "pullback": not sideways and confirmed and self._pulls_back(bar, side),
            "rsi": sideways and self.seen > 14 and self._turns(rsi, side),
        }
        return any(found[kind] for kind in own.entries)

    def _breaks_out(self, bar: Bar, side: int) -> bool:
        count = self.parameters.range_bars
        before = list(self.bars)[-count:]
        if len(before) < count:
            return False
        mean = sum((one.volume for one in before), ZERO) / count
        limit = self._limit(before, side)
        return (bar.close - limit) * side > 0 and bar.volume >= self.parameters.breakout_volume * mean

    @staticmethod
    def _limit(bars: list[Bar], side: int) -> Decimal:
        """Highest high; of a short, the lowest low."""
        return max(one.high for one in bars) if side > 0 else min(one.low for one in bars)

    def _pulls_back(self, bar: Bar, side: int) -> bool:
        near = self.fast.value * (1 + side * self.parameters.pullback)
        touched = bar.low <= near if side > 0 else bar.high >= near
        rising = (self.fast.value - self.slow.value) * side > 0
        return touched and rising and (bar.close - self.fast.value) * side > 0 and (bar.close - bar.open) * side > 0

    def _turns(self, before: Decimal, side: int) -> bool:
        return before < 30 <= self.rsi.value if side > 0 else before > 70 >= self.rsi.value

    def _planned(self, side: int, divergence: Decimal) -> Plan:
        own = self.parameters
        stop, target = own.weak_stop, own.weak_target
        if divergence < own.sideways:
            stop, target = own.sideways_stop, own.sideways_target
        elif divergence >= own.strong:
            stop, target = own.strong_stop, own.strong_target
        stop = stop if own.stop is None else own.stop
        target = target if own.target is None else own.target
        return Plan(side, self.atr.value, stop, target or None, self._far_side(side))

    def _far_side(self, side: int) -> Decimal | None:
        count = self.parameters.exit_channel_bars
        if self.parameters.exit != "channel" or len(self.bars) < count:
            return None
        return self._limit(list(self.bars)[-count:], -side)

    def _stop_of(self, plan: Plan, entry: Decimal) -> Decimal:
        """The farther of the ATR stop and the channel's far side."""
        stop = entry - plan.side * plan.stop_units * plan.unit
        if plan.channel is None:
            return stop
        return min(stop, plan.channel) if plan.side > 0 else max(stop, plan.channel)

    def _enter(self, exchange: Exchange, close: Decimal, plan: Plan) -> None:
        own, instrument = self.parameters, exchange.instrument
        distance = (close - self._stop_of(plan, close)) * plan.side
        way = None if plan.target_units is None else plan.target_units * plan.unit
        if close - plan.side * distance <= 0 or close + plan.side * (way or ZERO) <= 0:
            return
        to_target = own.min_target_costs * instrument.round_trip(MARKET, LIMIT, own.expected_slippage)
        to_stop = own.min_stop_costs * instrument.round_trip(MARKET, STOP, own.expected_slippage)
        if (way is not None and way / close < to_target) or distance / close < to_stop:
            return
        notional = min(instrument.affordable(exchange.target), self._notional(exchange, close, distance))
        lots = instrument.lots_for(notional, close)
        self.plan, self.before = plan, self.result
        exchange.desired_order(IN, plan.side, MARKET, 0, lots, ENTRY)

    def _notional(self, exchange: Exchange, close: Decimal, distance: Decimal) -> Decimal:
        own = self.parameters
        if own.sizing == "volatility_target" and self.variance.count < own.volatility_bars:
            return ZERO
        if own.sizing == "volatility_target":
            yearly = (self.variance.value * 365 * DAY / self.timeframe_ms).sqrt()
            return exchange.target * own.volatility_target / yearly if yearly else ZERO
        risk = own.risk_per_trade * exchange.target / (2 if self.losses >= LOSING else 1)
        return risk * close / distance

    # Leaving

    def _entered(self, exchange: Exchange, plan: Plan, fill: Fill) -> Trade:
        entry, side = Decimal(fill.price), plan.side
        target = partial = None
        if plan.target_units is not None:
            way = plan.target_units * plan.unit
            target = away_limit(entry + side * way, -side)
            if self.parameters.partial_at:
                partial = away_limit(entry + side * self.parameters.partial_at * way, -side)
        stop = away_stop(self._stop_of(plan, entry), -side)
        return Trade(entry, fill.ts, entry, stop, target, partial)

    def _exits(self, exchange: Exchange, trade: Trade, price: Decimal) -> None:
        assert self.plan is not None
        side, lots, instrument = self.plan.side, abs(exchange.position), exchange.instrument
        half = 0
        if trade.partial is not None and not trade.partial_done:
            half = trade.lots // 2 - (trade.lots - lots)
            small = min(half, lots - half) < instrument.min_quantity / instrument.lot_size
            if small or half * price * instrument.tick_value < instrument.min_notional:
                half = 0
        half = max(min(half, lots), 0)
        beyond = (trade.stop - trade.entry) * side > 0
        exchange.desired_order(OUT, -side, STOP, trade.stop, lots, EXIT_TP if beyond else EXIT_SL)
        exchange.desired_order(TARGET, -side, LIMIT, trade.target or 0, lots - half, EXIT_TP)
        exchange.desired_order(PARTIAL, -side, LIMIT, trade.partial or 0, half, EXIT_TP)
        closing = exchange.slots[EXIT]
        if closing.quantity:
            exchange.desired_order(EXIT, -side, MARKET, 0, lots, closing.signal)

    def _over(self, exchange: Exchange, trade: Trade, bar: Bar) -> bool:
        assert self.plan is not None
        age = self.parameters.max_days * DAY
        if age and exchange.closed - trade.opened >= age:
            return True
        side = self._far_side(self.plan.side)
        return side is not None and (bar.close - side) * self.plan.side < 0

    def _leave(self, exchange: Exchange, trade: Trade) -> None:
        assert self.plan is not None
        side = self.plan.side
        signal = EXIT_TP if (exchange.bar.close - trade.entry) * side > 0 else EXIT_SL
        exchange.desired_order(EXIT, -side, MARKET, 0, abs(exchange.position), signal)
