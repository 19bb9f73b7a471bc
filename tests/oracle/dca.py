"""The DCA strategy once more, in slow plain Decimal, written from docs/execution.md (section 5) alone.

`sign` is +1 for a long deal, -1 for a short one: a short is the mirror of a long.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

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
from tests.oracle.numbers import ONE, RELATIVE, ZERO, Exact, away_limit, away_stop, exact, whole_down, whole_up

BASE = 0
HOUR = 3_600_000
DAY = 24 * HOUR
THIRD_OF_TWO = Decimal(2) / 3


@dataclass
class DcaParameters(Exact):
    timeframe_ms: int = 3_600_000
    warmup_bars: int = 200
    direction: str = "long"
    start: str = "confluence"
    schedule_hours: Decimal = Decimal(168)
    schedule_offset_hours: Decimal = ZERO
    entry_above: Decimal | None = None
    entry_below: Decimal | None = None
    max_deals_per_day: int | None = None
    stop_after_deals: int | None = None
    max_active_safety_orders: int = 30
    take_profit_from: str = "average"
    targets: Sequence[dict[str, Any]] = ()
    break_even: bool = False
    max_deal_days: Decimal | None = None
    deadline_exit: str = "break_even"
    reinvest_pct: Decimal = ZERO
    risk_reduction_pct: Decimal = ZERO
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
    opened: int  # close at which it was decided
    money: Decimal  # cash before it
    stop: int = 0
    left: list[int] = field(default_factory=list)  # safety orders that wait, by number
    taken: int = 0  # lots that have left by take profits
    overdue: bool = False
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
        given = [(exact(one["at"]), exact(one["share"])) for one in parameters.targets]
        self.targets = given or [(parameters.take_profit, ONE)]
        self.slots = parameters.max_safety_orders + 2 + len(self.targets)
        self.profit_slot, self.stop_slot = self.slots - 2, self.slots - 1  # nearer targets have higher slots
        self.next_time: int | None = None  # of the schedule
        self.visiting = False  # a deal has opened since the price came into the window
        self.openings: list[int] = []  # closes at which deals were decided
        self.gained = self.lost = ZERO
        self.sign = 1 if parameters.direction == "long" else -1
        self.confluence = Confluence(parameters)
        self.deal: Deal | None = None
        self.ended: int | None = None  # end of the last deal
        self.confirmations = 0

    # What it hears

    def signal(self, exchange: Exchange, bar: Bar) -> None:
        self.confluence.update(bar)
        due, inside = self._due(exchange), self._inside(exchange, bar.close)
        self.visiting = self.visiting and inside
        open_to = inside and not self._blocked(exchange) and not self._spent(exchange)
        if self._starts(bar, open_to, due):
            self._open(exchange)
        elif self.deal is not None and exchange.position != 0 and not self.deal.overdue:
            self._check_age(exchange, self.deal)

    def _starts(self, bar: Bar, open_to: bool, due: bool) -> bool:
        match self.parameters.start:
            case "immediately":
                return open_to
            case "schedule":
                return open_to and due
            case "price_window":
                return open_to and not self.visiting
        spiked = abs(bar.close / bar.open - 1) > self.parameters.spike
        if not open_to or spiked or self.confluence.score(bar.close) < self.parameters.confluence - RELATIVE:
            self.confirmations = 0
            return False
        self.confirmations += 1
        if self.confirmations < self.parameters.min_confirmations:
            return False
        self.confirmations = 0
        return True

    def _due(self, exchange: Exchange) -> bool:
        """Whether a time of the schedule has come; what nobody could use is over."""
        every, offset = (
            round(x * HOUR) for x in (self.parameters.schedule_hours, self.parameters.schedule_offset_hours)
        )
        due = self.next_time is not None and exchange.closed >= self.next_time
        if due or self.next_time is None:
            self.next_time = offset + ((exchange.closed - offset) // every + 1) * every
        return due

    def _inside(self, exchange: Exchange, close: Decimal) -> bool:
        price, above, below = (
            close * exchange.instrument.tick_size,
            self.parameters.entry_above,
            self.parameters.entry_below,
        )
        return (above is None or price >= above) and (below is None or price <= below)

    def _spent(self, exchange: Exchange) -> bool:
        """Whether as many deals were opened as may be, of this day or of all."""
        today = sum(1 for ts in self.openings if ts // DAY == exchange.closed // DAY)
        daily, ever = self.parameters.max_deals_per_day, self.parameters.stop_after_deals
        return (daily is not None and today >= daily) or (ever is not None and len(self.openings) >= ever)

    def _check_age(self, exchange: Exchange, deal: Deal) -> None:
        most = self.parameters.max_deal_days
        if most is None or exchange.closed - deal.opened < round(most * DAY):
            return
        deal.overdue = True
        self._clear_entries(exchange)
        for slot in range(self._farthest, self.profit_slot):
            exchange.clear_order(slot)
        self._set_profit(exchange, exchange.bar.close)
        self._set_stop(exchange)

    @property
    def _farthest(self) -> int:
        """Slot of the farthest target."""
        return self.stop_slot - len(self.targets)

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
            deal.taken += fill.lots if fill.signal == EXIT_TP else 0
            self._clear_entries(exchange)
        self._set_profit(exchange, Decimal(fill.price))
        self._set_stop(exchange)

    def refused(self, exchange: Exchange, slot: int) -> None:
        if slot == BASE and exchange.position == 0 and self.deal is not None:
            self.deal = None
            self.openings.pop()
            self.visiting = False

    # Opening

    def _blocked(self, exchange: Exchange) -> bool:
        cooldown = self.parameters.deal_cooldown_seconds * 1000
        rested = self.ended is None or exchange.closed >= self.ended + cooldown
        timing = self.deal is None and exchange.position == 0 and rested
        return not exchange.may_enter or not timing

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
        unit = min(unit, self.parameters.risk_budget * exchange.target / share) if share > 0 else unit
        return unit * self._grown(exchange)

    def _grown(self, exchange: Exchange) -> Decimal:
        """Sizes by the results so far: the target has lost what was lost beyond the profits, and gained nothing."""
        grow, shrink = self.parameters.reinvest_pct / 100, self.parameters.risk_reduction_pct / 100
        net = self.gained - self.lost
        wanted = min(net, grow * self.gained - shrink * self.lost)
        held = min(net, ZERO)
        if grow == 0 and shrink == 0:
            return ONE
        return max((exchange.target + wanted - held) / exchange.target, ZERO)

    def _open(self, exchange: Exchange) -> None:
        reference = exchange.bar.close
        unit = self._unit(exchange, reference)
        lots = exchange.instrument.lots_for(unit, reference)
        if lots == 0 or not self._pays(exchange):
            return
        self.deal = Deal(unit, reference, exchange.closed, exchange.cash)
        self.openings.append(exchange.closed)
        self.visiting = True
        exchange.desired_order(BASE, self.sign, MARKET, 0, lots, ENTRY)

    def _pays(self, exchange: Exchange) -> bool:
        """Whether target and stop are worth a round trip."""
        own, instrument = self.parameters, exchange.instrument
        target, leave = self.targets[0][0], LIMIT
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
            deal.left = list(range(1, self.parameters.max_safety_orders + 1))
        self._set_ladder(exchange, deal)

    def _set_ladder(self, exchange: Exchange, deal: Deal) -> None:
        """Let as many of the safety orders rest as may at once."""
        numbers = range(1, self.parameters.max_safety_orders + 1)
        while deal.left and sum(exchange.slots[i].quantity > 0 for i in numbers) < self._at_once:
            order = deal.left.pop(0)
            price = away_limit(self._price(order, deal.reference), self.sign)
            if deal.best is not None and self.sign * (price - deal.stop) <= 0:
                continue
            lots = exchange.instrument.lots_for(deal.unit * self._weight(order), price)
            exchange.desired_order(order, self.sign, LIMIT, price, lots, ENTRY)

    @property
    def _at_once(self) -> int:
        return self.parameters.max_active_safety_orders

    def _set_stop(self, exchange: Exchange) -> None:
        deal = self.deal
        assert deal is not None
        secured = deal.best is not None and self._beyond(Decimal(deal.stop), deal.average)
        signal = EXIT_TP if secured else EXIT_SL
        exchange.desired_order(self.stop_slot, -self.sign, STOP, deal.stop, abs(exchange.position), signal)

    def _set_profit(self, exchange: Exchange, present: Decimal) -> None:
        deal, lots = self.deal, abs(exchange.position)
        assert deal is not None
        even = deal.average * (1 + self.sign * 2 * max(exchange.instrument.taker_fee, ZERO))
        if deal.overdue and self.parameters.deadline_exit == "market":
            gains = self._beyond(present, deal.average)
            exchange.desired_order(self.profit_slot, -self.sign, MARKET, 0, lots, EXIT_TP if gains else EXIT_SL)
        elif deal.overdue:
            exchange.desired_order(self.profit_slot, -self.sign, LIMIT, away_limit(even, -self.sign), lots, EXIT_TP)
        elif not self.parameters.trailing:
            parts = self._parts(exchange, deal)
            for i, (price, lots_) in enumerate(parts):
                before = sum(part for _, part in parts[:i])
                open_ = lots_ - min(max(deal.taken - before, 0), lots_)
                exchange.desired_order(self.profit_slot - i, -self.sign, LIMIT, price, open_, EXIT_TP)
            first = next(part for _, part in parts if part)
            if self.parameters.break_even and deal.taken >= first:
                tighter = max if self.sign > 0 else min
                deal.stop = tighter(deal.stop, away_stop(even, -self.sign))

    def _parts(self, exchange: Exchange, deal: Deal) -> list[tuple[int, int]]:
        """Price and lots of each target; parts and rests too small for the venue go with their neighbours."""
        origin = deal.reference if self.parameters.take_profit_from == "base" else deal.average
        total, ground = deal.lots + deal.taken, exchange.instrument
        parts: list[tuple[int, int]] = []
        given, share = 0, ZERO
        for i, (at, own) in enumerate(self.targets):
            price, share = away_limit(origin * (1 + self.sign * at), -self.sign), share + own
            least = max(ground.min_lots, whole_up(ground.min_notional / (max(price, 1) * ground.tick_value)))
            lots = whole_down(total * share) - given
            if i == len(self.targets) - 1 or (lots >= least and total - given - lots < least):
                lots = total - given
            elif lots < least:
                lots = 0
            parts.append((price, lots))
            given += lots
        return parts

    def _clear_entries(self, exchange: Exchange) -> None:
        if self.deal is not None:
            self.deal.left = []
        for slot in range(self._farthest):
            exchange.clear_order(slot)

    def _end(self, exchange: Exchange) -> None:
        for slot in range(self.slots):
            exchange.clear_order(slot)
        assert self.deal is not None
        result = exchange.cash - self.deal.money
        self.gained, self.lost = self.gained + max(result, ZERO), self.lost + max(-result, ZERO)
        self.deal = None
        self.ended = exchange.opened

    def _beyond(self, price: Decimal, other: Decimal) -> bool:
        """Whether `price` is better for the deal than `other`."""
        return self.sign * (price - other) > 0
