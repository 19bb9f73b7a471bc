"""The DCA strategy once more, in slow plain Decimal, written from docs/execution.md (section 5) alone.

`sign` is +1 for a long deal, -1 for a short one: a short is the mirror of a long.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from tests.oracle.exchange import (
    ENTRY,
    EXIT_SL,
    EXIT_TP,
    LIMIT,
    MARKET,
    STOP,
    Bar,
    Exchange,
    Fill,
)
from tests.oracle.indicators import Adx, Bollinger, Ema, Rsi, VolumeRatio
from tests.oracle.numbers import ONE, RELATIVE, ZERO, Exact, away_limit, away_stop

BASE = 0
THIRD_OF_TWO = Decimal(2) / 3


@dataclass
class DcaParameters(Exact):
    timeframe_ms: int = 3_600_000
    warmup_bars: int = 200
    direction: str = "long"
    confluence: Decimal = Decimal("0.6")
    min_confirmations: int = 1
    adx_min: Decimal = Decimal(20)
    price_zone: Decimal = Decimal("0.02")
    rsi_limit: Decimal = Decimal(35)
    band_tolerance: Decimal = Decimal("0.02")
    volume_ratio: Decimal = Decimal("1.2")
    spike: Decimal = Decimal("0.05")
    deal_cooldown_seconds: int = 120
    max_safety_orders: int = 5
    safety_ratio: Decimal = ONE
    step: Decimal = Decimal("0.015")
    step_multiplier: Decimal = ONE
    volume_multiplier: Decimal = Decimal("1.5")
    stop_loss: Decimal = Decimal("0.1")
    take_profit: Decimal = Decimal("0.015")
    trailing: bool = False
    trail_activation: Decimal = Decimal("0.015")
    trail_distance: Decimal = Decimal("0.008")
    risk_budget: Decimal = Decimal("0.02")
    min_target_costs: Decimal = Decimal("1.5")
    min_stop_costs: Decimal = Decimal("1.5")
    expected_slippage: Decimal = Decimal("0.0001")


class Confluence:
    """The indicators of the signal bars and the score they give."""

    def __init__(self, parameters: DcaParameters) -> None:
        self.parameters = parameters
        self.long = parameters.direction == "long"
        self.fast, self.slow = Ema(12), Ema(26)
        self.rsi, self.adx, self.bands, self.volume = Rsi(14), Adx(14), Bollinger(20), VolumeRatio()
        self.lows: deque[Decimal] = deque(maxlen=20)
        self.highs: deque[Decimal] = deque(maxlen=20)

    def update(self, bar: Bar) -> None:
        self.fast.update(bar.close)
        self.slow.update(bar.close)
        self.rsi.update(bar.close)
        self.adx.update(bar.high, bar.low, bar.close)
        self.bands.update(bar.close)
        self.volume.update(bar.ts, bar.volume)
        self.lows.append(bar.low)
        self.highs.append(bar.high)

    def score(self, close: Decimal) -> Decimal:
        """Passed weights / 9, with RISK and TIMING passed: where they are not, the bar is blocked anyway."""
        passed = 3 * self._trend() + 2 * self._price(close) + THIRD_OF_TWO * self._indicators(close)
        return (passed + 2) / 9

    def _trend(self) -> bool:
        down = self.fast.value < self.slow.value if self.long else self.fast.value > self.slow.value
        return down and self.adx.value >= self.parameters.adx_min

    def _price(self, close: Decimal) -> bool:
        zone = self.parameters.price_zone
        return close <= min(self.lows) * (1 + zone) if self.long else close >= max(self.highs) * (1 - zone)

    def _indicators(self, close: Decimal) -> int:
        limit, tolerance = self.parameters.rsi_limit, self.parameters.band_tolerance
        if self.long:
            weak, outside = self.rsi.value < limit, close <= self.bands.lower * (1 + tolerance)
        else:
            weak, outside = self.rsi.value > 100 - limit, close >= self.bands.upper * (1 - tolerance)
        return weak + outside + (self.volume.value >= self.parameters.volume_ratio)


@dataclass
class Deal:
    """A base order, its ladder and its exits."""

    unit: Decimal
    reference: Decimal
    stop: int = 0
    entered: bool = False
    lots: int = 0
    cost: Decimal = ZERO  # Σ price * lots of what is held; an exit takes its share of it
    last_entry: int = 0  # opening time of the bar of the last entry fill
    best: Decimal | None = None  # best price since armed; None: not armed

    @property
    def average(self) -> Decimal:
        return self.cost / self.lots


class Dca:
    """Deals of a base order and safety orders under it, one at a time."""

    def __init__(self, parameters: DcaParameters) -> None:
        self.parameters = parameters
        self.timeframe_ms, self.warmup_bars = parameters.timeframe_ms, parameters.warmup_bars
        self.profit_slot, self.stop_slot = parameters.max_safety_orders + 1, parameters.max_safety_orders + 2
        self.slots = parameters.max_safety_orders + 3
        self.sign = 1 if parameters.direction == "long" else -1
        self.confluence = Confluence(parameters)
        self.deal: Deal | None = None
        self.ended: int | None = None  # end of the last deal
        self.confirmations = 0

    # What it hears

    def signal(self, exchange: Exchange, bar: Bar) -> None:
        self.confluence.update(bar)
        threshold = self.parameters.confluence - RELATIVE
        if self._blocked(exchange, bar) or self.confluence.score(bar.close) < threshold:
            self.confirmations = 0
            return
        self.confirmations += 1
        if self.confirmations >= self.parameters.min_confirmations:
            self.confirmations = 0
            self._open(exchange)

    def base(self, exchange: Exchange) -> None:
        """Trail the stop on the extremes of whole bars after the last entry."""
        deal = self.deal
        if not self.parameters.trailing or deal is None or exchange.position == 0:
            return
        if exchange.opened <= deal.last_entry:
            return
        extreme = exchange.bar.high if self.sign > 0 else exchange.bar.low
        armed_at = deal.average * (1 + self.sign * self.parameters.trail_activation)
        if deal.best is None and self._beyond(armed_at, extreme):
            return
        deal.best = extreme if deal.best is None or self._beyond(extreme, deal.best) else deal.best
        trailed = away_stop(deal.best * (1 - self.sign * self.parameters.trail_distance), -self.sign)
        deal.stop = max(deal.stop, trailed) if self.sign > 0 else min(deal.stop, trailed)
        self._set_stop(exchange)

    def fill(self, exchange: Exchange, fill: Fill) -> None:
        deal = self.deal
        assert deal is not None
        if exchange.position == 0:
            self._end(exchange)
            return
        if fill.side == self.sign:
            self._entered(exchange, deal, fill)
        else:
            deal.cost -= deal.average * fill.lots
            deal.lots -= fill.lots
            self._withdraw_entries(exchange)
        self._set_stop(exchange)
        self._set_profit(exchange)

    def refused(self, exchange: Exchange, slot: int) -> None:
        if slot == BASE and exchange.position == 0:
            self.deal = None

    # Opening

    def _blocked(self, exchange: Exchange, bar: Bar) -> bool:
        cooldown = self.parameters.deal_cooldown_seconds * 1000
        rested = self.ended is None or exchange.closed >= self.ended + cooldown
        timing = self.deal is None and exchange.position == 0 and rested
        spiked = abs(bar.close / bar.open - 1) > self.parameters.spike
        return not exchange.may_enter or not timing or spiked

    def _weight(self, order: int) -> Decimal:
        if order == 0:
            return ONE
        return self.parameters.safety_ratio * self.parameters.volume_multiplier ** (order - 1)

    def _price(self, order: int, reference: Decimal) -> Decimal:
        """Price of the base order (0) or of safety order L."""
        direction = sum((self.parameters.step * self.parameters.step_multiplier**k for k in range(order)), ZERO)
        return reference * (1 - self.sign * direction)

    def _unit(self, exchange: Exchange, reference: Decimal) -> Decimal:
        """The base order's notional: the whole ladder is affordable and loses the risk budget at most."""
        orders = range(self.parameters.max_safety_orders + 1)
        stop = reference * (1 - self.sign * self.parameters.stop_loss)
        share = ZERO
        for order in orders:
            price = self._price(order, reference)
            if price > 0:
                share += self._weight(order) * self.sign * (price - stop) / price
        unit = exchange.instrument.affordable(exchange.target) / sum(map(self._weight, orders))
        return min(unit, self.parameters.risk_budget * exchange.target / share) if share > 0 else unit

    def _open(self, exchange: Exchange) -> None:
        reference = exchange.bar.close
        unit = self._unit(exchange, reference)
        lots = exchange.instrument.lots_for(unit, reference)
        if lots == 0 or not self._pays(exchange):
            return
        self.deal = Deal(unit, reference)
        exchange.desired_order(BASE, self.sign, MARKET, 0, lots, ENTRY)

    def _pays(self, exchange: Exchange) -> bool:
        """Whether target and stop are worth a round trip."""
        own, instrument = self.parameters, exchange.instrument
        target, leave = own.take_profit, LIMIT
        if own.trailing:
            target, leave = (1 + own.trail_activation) * (1 - own.trail_distance) - 1, STOP
        to_target = instrument.round_trip(MARKET, leave, own.expected_slippage)
        to_stop = instrument.round_trip(MARKET, STOP, own.expected_slippage)
        return target >= own.min_target_costs * to_target and own.stop_loss >= own.min_stop_costs * to_stop

    # Standing

    def _entered(self, exchange: Exchange, deal: Deal, fill: Fill) -> None:
        deal.lots += fill.lots
        deal.cost += fill.price * fill.lots
        deal.last_entry = fill.ts
        if not deal.entered:
            deal.entered = True
            deal.reference = Decimal(fill.price)
            stop = deal.reference * (1 - self.sign * self.parameters.stop_loss)
            deal.stop = away_stop(stop, -self.sign)
            self._set_ladder(exchange, deal)

    def _set_ladder(self, exchange: Exchange, deal: Deal) -> None:
        for order in range(1, self.parameters.max_safety_orders + 1):
            price = away_limit(self._price(order, deal.reference), self.sign)
            lots = exchange.instrument.lots_for(deal.unit * self._weight(order), price)
            exchange.desired_order(order, self.sign, LIMIT, price, lots, ENTRY)

    def _set_stop(self, exchange: Exchange) -> None:
        deal = self.deal
        assert deal is not None
        secured = deal.best is not None and self._beyond(Decimal(deal.stop), deal.average)
        signal = EXIT_TP if secured else EXIT_SL
        exchange.desired_order(self.stop_slot, -self.sign, STOP, deal.stop, abs(exchange.position), signal)

    def _set_profit(self, exchange: Exchange) -> None:
        if self.parameters.trailing or self.deal is None:
            return
        price = away_limit(self.deal.average * (1 + self.sign * self.parameters.take_profit), -self.sign)
        exchange.desired_order(self.profit_slot, -self.sign, LIMIT, price, abs(exchange.position), EXIT_TP)

    def _withdraw_entries(self, exchange: Exchange) -> None:
        for slot in range(self.profit_slot):
            exchange.withdraw(slot)

    def _end(self, exchange: Exchange) -> None:
        for slot in range(self.slots):
            exchange.withdraw(slot)
        self.deal = None
        self.ended = exchange.opened

    def _beyond(self, price: Decimal, other: Decimal) -> bool:
        """Whether `price` is better for the deal than `other`."""
        return self.sign * (price - other) > 0
