"""The compiled simulator and the plain second implementation give the identical list of fills."""

from __future__ import annotations

import random
from decimal import Decimal

import pytest

from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.instrument import Market
from bot.order import Liquidity, Signal
from coordinator.config import load_config
from tests.conftest import instrument, real, walk
from tests.oracle import exchange as oracle
from tests.oracle.dca import Dca, DcaParameters
from tests.oracle.grid import Grid, GridParameters
from tests.oracle.trend import Trend, TrendParameters
from tests.strategies.grid_options import LARGE, OPTIONS

TWO_WEEKS = 14 * 1440
STRATEGIES = {"grid": (Grid, GridParameters), "dca": (Dca, DcaParameters), "trend": (Trend, TrendParameters)}


def plain(value):
    """A parameter as the oracle takes it."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, tuple):
        return tuple(plain(one) for one in value)
    return str(value) if isinstance(value, str) else value


GATE = ("when", "combine")  # which the oracle does not know


def fills_of_both(candles, traded, name, parameters=None, execution=None, leverage=1, **more):
    config = load_config(
        {
            "strategy": name,
            "pair": traded.symbol,
            "market": traded.market,
            "leverage": leverage,
            **more,
            name: parameters or {},
            "execution": execution or {},
        }
    )
    recording = UniversalSimulator(config).run(PreparedCandles.of(candles, traded))
    ours = [
        oracle.Fill(
            *(int(f["ts"]), int(f["slot"]), int(f["generation"]), int(f["side"]), int(f["price"]), int(f["quantity"])),
            *(Signal(int(f["signal"])).name, Liquidity(int(f["liquidity"])).name.lower(), int(f["position"])),
        )
        for f in recording.fills
    ]
    fields = {
        name: plain(value)
        for name, value in config.parameters.model_dump(exclude={"preset", "timeframe", *GATE}).items()
    }
    build, parameters_of = STRATEGIES[name]
    strategy = build(parameters_of(timeframe_ms=config.parameters.timeframe_ms, **fields))
    rules = {key: plain(value) for key, value in config.execution.model_dump(exclude={"funding", "preset"}).items()}
    settings = oracle.Settings(**rules, capital=plain(config.capital), reinvest=config.reinvest, bar_ms=candles.bar_ms)
    names = ("tick_size", "lot_size", "min_quantity", "min_notional", "maker_fee", "taker_fee", "maintenance_margin")
    theirs_instrument = oracle.Instrument(
        **{one: getattr(traded, one) for one in names},
        leverage=Decimal(leverage),
        linear=traded.market is Market.LINEAR,
    )
    columns = (candles.open, candles.high, candles.low, candles.close, candles.volume)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    bars = [
        (int(ts), *(Decimal(repr(value)) for value in row)) for ts, row in zip(candles.ts.tolist(), rows, strict=True)
    ]
    return ours, oracle.run(bars, theirs_instrument, settings, strategy)


def same(ours, theirs, least):
    for number, (one, other) in enumerate(zip(ours, theirs, strict=False)):
        assert one == other, f"fill {number}"
    assert len(ours) == len(theirs) >= least


RULES = [
    {"fill_rule": "through", "path": "adverse"},
    {"fill_rule": "touch", "path": "adverse"},
    {"fill_rule": "through", "path": "nearest"},
    {"fill_rule": "touch", "path": "nearest"},
]
GRIDS = {
    "default": {},
    "classic": {"preset": "classic"},
    "low preset": {"preset": "low"},
    "geometric, short timeframe": {
        "preset": "classic",
        "spacing": "geometric",
        "timeframe": "15m",
        "range_factor": 4.0,
    },
    "long, fixed width": {"preset": "classic", "direction": "long", "trailing": "fixed", "risk_budget": 0.5},
    "short without inventory": {
        "preset": "classic",
        "direction": "short",
        "initial_inventory": False,
        "shift_cooldown_minutes": 0.0,
    },
    "stays, tight stop": {
        "preset": "classic",
        "trailing": "off",
        "stop_loss": 0.004,
        "cooldown_hours": 0.5,
        "risk_budget": 1.0,
    },
    "small drawdown": {"preset": "classic", "max_drawdown": 0.003, "risk_budget": 1.0, "max_age_days": 0.5},
}
DEALS = {
    "moderate": {},
    "aggressive": {"preset": "aggressive", "timeframe": "15m"},
    "trailing": {
        "trailing": True,
        "timeframe": "5m",
        "confluence": 0.45,
        "trail_activation": 0.006,
        "trail_distance": 0.003,
    },
    "short, growing ladder": {
        "direction": "short",
        "timeframe": "5m",
        "confluence": 0.4,
        "min_confirmations": 2,
        "step": 0.004,
        "step_multiplier": 1.3,
        "volume_multiplier": 1.5,
        "take_profit": 0.006,
        "stop_loss": 0.05,
        "risk_budget": 1.0,
    },
    "stopped often": {"timeframe": "5m", "confluence": 0.3, "max_safety_orders": 2, "step": 0.003, "stop_loss": 0.008},
}


TRENDS = {
    "classic": {},
    "wide": {"preset": "wide", "timeframe": "15m", "breakout_volume": 1.0, "min_stop_costs": 2.0},
    "channel, both ways": {
        "preset": "channel",
        "timeframe": "15m",
        "direction": "both",
        "exit_channel_bars": 8,
        "min_stop_costs": 0.0,
    },
    "channel and trail": {"exit": "channel", "trail_from": 0.5, "break_even_at": "none", "min_stop_costs": 4.0},
    "reversals alone": {"entries": ["rsi"], "sideways": 0.02, "partial_at": "none", "trail_distance": "none"},
    "pull-backs, short": {"entries": "pullback", "direction": "short", "sideways": 0.0, "stop": 2.0, "target": 3.0},
    "a day at most": {"max_days": 0.1, "stop": 4.0, "target": "none", "partial_at": "none", "risk_per_trade": 0.05},
    "a volatility of 10 %": {"sizing": "volatility_target", "volatility_target": 0.1, "volatility_bars": 20},
    "few costs": {"min_target_costs": 4.0, "expected_slippage": 0.0005},
}


def ftx():
    candles = real("ftx/linear/BTCPERP/1m.parquet").rows(slice(0, TWO_WEEKS))
    # This venue counted volume in quote currency.
    return type(candles)(
        *(candles.ts, candles.open, candles.high, candles.low, candles.close),
        (candles.volume / candles.close).round(4),
        candles.bar_ms,
    )


@pytest.mark.parametrize("rules", RULES, ids=lambda r: f"{r['fill_rule']} {r['path']}")
def test_grid_on_two_weeks_of_real_minutes(rules):
    same(
        *fills_of_both(ftx(), instrument("1", "0.0001"), "grid", {"preset": "classic", "warmup_bars": 20}, rules),
        least=100,
    )


@pytest.mark.parametrize("name", list(GRIDS))
def test_grids_of_every_kind_on_real_minutes(name):
    parameters = {"warmup_bars": 20, **GRIDS[name]}
    same(*fills_of_both(ftx(), instrument("1", "0.0001"), "grid", parameters), least=15)


@pytest.mark.parametrize("rules", RULES, ids=lambda r: f"{r['fill_rule']} {r['path']}")
def test_dca_on_two_weeks_of_real_minutes(rules):
    parameters = {"warmup_bars": 30, "timeframe": "15m", "confluence": 0.45, "take_profit": 0.006}
    same(*fills_of_both(ftx(), instrument("1", "0.0001"), "dca", parameters, rules), least=20)


@pytest.mark.parametrize("name", list(DEALS))
def test_deals_of_every_kind_on_real_minutes(name):
    parameters = {"warmup_bars": 30, **DEALS[name]}
    same(*fills_of_both(ftx(), instrument("1", "0.0001"), "dca", parameters), least=6)


def test_grid_on_real_minutes_of_a_cheap_coin():
    candles = real("bybit/linear/DOGEUSDT/1m.parquet").rows(slice(0, TWO_WEEKS))
    same(
        *fills_of_both(candles, instrument("0.00001", "1"), "grid", {"preset": "classic", "warmup_bars": 20}), least=100
    )


QUICK = {"timeframe": "15m", "warmup_bars": 20, "start": "immediately", "step": 0.004, "take_profit": 0.006}
THREE = [{"at": 0.003, "share": 0.5}, {"at": 0.006, "share": 0.3}, {"at": 0.012, "share": 0.2}]
DEAL_OPTIONS = {
    "immediately, spot": {"market": Market.SPOT},
    "schedule": {"start": "schedule", "schedule_hours": 3.0, "schedule_offset_hours": 0.5},
    "price window": {"start": "price_window", "entry_above": 49_500.0, "entry_below": 50_200.0, "take_profit": 0.003},
    "inside a window": {"entry_below": 49_900.0, "direction": "short", "start": "confluence", "confluence": 0.3},
    "deals a day and in all": {"max_deals_per_day": 4, "stop_after_deals": 6, "max_safety_orders": 2},
    "two safety orders at once": {"max_active_safety_orders": 2, "volume_multiplier": 1.5, "step_multiplier": 1.2},
    "one at once, trailing": {
        "max_active_safety_orders": 1,
        "trailing": True,
        "trail_activation": 0.004,
        "trail_distance": 0.002,
    },
    "three targets": {"targets": THREE},
    "three targets, short, from the base, break-even": {
        "targets": THREE,
        "break_even": True,
        "direction": "short",
        "take_profit_from": "base",
        "stop_loss": 0.03,
    },
    "parts under the minimum": {
        "targets": THREE,
        "break_even": True,
        "capital": 500.0,
        "min_quantity": Decimal("0.003"),
        "max_safety_orders": 1,
        "risk_budget": 1.0,
    },
    "from the base": {"take_profit_from": "base"},
    "old deals at break-even": {"max_deal_days": 0.1, "take_profit": 0.03, "max_active_safety_orders": 3},
    "old deals at the market": {"max_deal_days": 0.07, "deadline_exit": "market", "targets": THREE},
    "results reinvested": {"reinvest_pct": 70.0, "risk_reduction_pct": 40.0, "stop_loss": 0.03, "risk_budget": 1.0},
    "losses alone": {"risk_reduction_pct": 100.0, "stop_loss": 0.022, "risk_budget": 0.5},
}


@pytest.mark.parametrize("name", list(DEAL_OPTIONS))
def test_every_option_of_a_deal_on_a_walk(name):
    """Little of the volume, so that orders fill in parts."""
    own = {**QUICK, **DEAL_OPTIONS[name]}
    capital, market = own.pop("capital", 100_000.0), own.pop("market", Market.LINEAR)
    rules = {"max_participation": 0.004}
    traded = instrument(market=market, min_quantity=own.pop("min_quantity", Decimal(0)))
    both = fills_of_both(walk(3000, seed=21, volatility=0.0015), traded, "dca", own, rules, capital=capital)
    same(*both, least=9)


@pytest.mark.parametrize("name", list(TRENDS))
def test_trends_of_every_kind_on_a_walk(name):
    parameters = {"warmup_bars": 60, "timeframe": "15m", **TRENDS[name]}
    same(*fills_of_both(walk(5000, seed=41), instrument(), "trend", parameters, leverage=2), least=6)


STRANGE = {
    "a little of the volume": {"max_participation": 0.0005, "slippage_impact": 0.1},
    "fills at the close": {"fill_policy": "close", "slippage_bps": 0.0},
    "ticks of slippage": {"slippage_bps": 0.0, "slippage_ticks": 7.0},
    "dear funding": {"funding_rate": 0.003},
}


@pytest.mark.parametrize("rules", list(STRANGE))
@pytest.mark.parametrize("name", ["grid", "dca", "trend"])
def test_other_rules_on_a_walk(name, rules):
    parameters = {"warmup_bars": 20, "timeframe": "15m"}
    parameters |= {"risk_per_trade": 0.05, "max_days": 0.2} if name == "trend" else {"risk_budget": 1.0}
    if name == "dca":
        parameters |= {"confluence": 0.3, "take_profit": 0.004, "stop_loss": 0.03, "step": 0.004}
    both = fills_of_both(walk(6000, seed=11), instrument(), name, parameters, STRANGE[rules], capital=200_000.0)
    same(*both, least=20)


@pytest.mark.parametrize("name", ["grid", "dca"])
def test_spot_and_leverage_on_a_walk(name):
    parameters = {"warmup_bars": 20, "timeframe": "15m", "risk_budget": 1.0}
    if name == "dca":
        parameters |= {"confluence": 0.3, "take_profit": 0.004}
    spot = instrument(market=Market.SPOT, maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"))
    same(*fills_of_both(walk(4000, seed=12), spot, name, parameters), least=10)
    same(*fills_of_both(walk(4000, seed=13), instrument(), name, parameters, leverage=20, reinvest=True), least=10)


def test_gaps_and_silent_minutes_on_a_walk():
    candles = walk(6000, seed=14)
    candles.volume[::7] = 0.0
    kept = [i for i in range(6000) if i % 997 > 30]
    same(*fills_of_both(candles.rows(kept), instrument(), "grid", {"warmup_bars": 10, "timeframe": "15m"}), least=20)


@pytest.mark.parametrize("name", list(OPTIONS))
def test_every_option_of_a_grid_on_a_walk(name):
    rules = {"max_participation": 0.05}
    both = fills_of_both(walk(1800, seed=31), instrument(), "grid", OPTIONS[name], rules, **LARGE.get(name, {}))
    same(*both, least=2)


def random_options(dice, candles):
    """Some of the options of a grid, often none."""
    price = float(candles.close[200])
    drawn = {
        "counter": dice.choice(["profit", "level"]),
        "start": dice.choice(["at_signal_bar", "now"]),
        "trigger_price": round(price * dice.uniform(0.997, 1.003), 1),
        "take_profit_share": dice.choice([0.0005, 0.005]),
        "stop_share": dice.choice([0.001, 0.01]),
        "stop_price": round(price * dice.choice([0.98, 1.02]), 1),
        "reinvest": dice.choice(["profits", "all"]),
        "profit_lock": dice.choice([0.3, 1.0]),
        "activation_band": dice.choice([0.002, 0.01]),
        "max_open_orders": dice.choice([1, 3, 10]),
        "trailing": "cell",
        "on_stop": dice.choice(["keep", "keep_with_stop"]),
    }
    chosen = {name: value for name, value in drawn.items() if dice.random() < 0.2}
    if "stop_price" in chosen:
        chosen.pop("stop_share", None)
    elif "stop_share" not in chosen:
        chosen.pop("on_stop", None)
    return chosen


def random_world(number):
    """Gappy candles, an instrument and the config of a grid, all drawn from `number`."""
    dice = random.Random(number)
    candles = walk(2000, seed=1000 + number, volatility=dice.choice([0.0005, 0.001, 0.002, 0.004]))
    candles.volume[[i for i in range(2000) if dice.random() < 0.1]] = 0.0
    holes = [range(start, start + dice.choice([1, 3, 40])) for start in dice.sample(range(300, 1950), 8)]
    kept = [i for i in range(2000) if not any(i in hole for hole in holes)]
    spot = dice.random() < 0.15
    traded = (
        instrument(market=Market.SPOT) if spot else instrument(maker_fee=dice.choice([Decimal("0.0002"), Decimal(0)]))
    )
    parameters = {
        "timeframe": dice.choice(["5m", "15m"]),
        "warmup_bars": 15,
        "levels": dice.choice([2, 3, 100, dice.randint(2, 100), dice.randint(2, 30)]),
        "spacing": dice.choice(["arithmetic", "geometric"]),
        "range_factor": dice.uniform(0.5, 6.0),
        "profit_per_grid": dice.choice([0.0008, 0.002, 0.005, 0.02]),
        "direction": dice.choice(["neutral", "neutral", "long"] if spot else ["neutral", "neutral", "long", "short"]),
        "turning_entries": dice.choice(["suspend", "rest"]),
        "initial_inventory": dice.random() < 0.5,
        "stop_loss": dice.choice([0.002, 0.01, 0.05]),
        "max_drawdown": dice.choice([0.003, 0.03, 0.3]),
        "cooldown_hours": dice.choice([0.0, 0.29, 1.0]),
        "trailing": dice.choice(["off", "fixed", "atr"]),
        "shift_threshold": dice.choice([0.0, 0.001, 0.005]),
        "shift_cooldown_minutes": dice.choice([0.0, 7.5, 60.0]),
        "max_age_days": dice.choice([0.05, 0.2, 30.0]),
        "risk_budget": dice.choice([0.02, 0.3, 1.0]),
    }
    parameters |= random_options(dice, candles)
    if dice.random() < 0.2:
        price = float(candles.close[200])
        parameters |= {"lower": round(price * 0.98, 1), "upper": round(price * 1.02, 1)}
    rules = {
        "fill_rule": dice.choice(["through", "touch"]),
        "path": dice.choice(["adverse", "nearest"]),
        "fill_policy": dice.choice(["next_open", "close"]),
        "slippage_bps": dice.choice([0.0, 2.0, 30.0]),
        "slippage_ticks": dice.choice([0.0, 0.0, 2.5]),
        "slippage_impact": dice.choice([0.0, 0.1]),
        "forced_exit_bps": dice.choice([0.0, 10.0]),
        "max_participation": dice.choice([0.001, 0.003, 0.02, 0.3, 1.0]),
        "funding_rate": dice.choice([0.0001, -0.001, 0.003]),
    }
    leverage = 1 if spot else dice.choice([1, 2, 10, 50, 125])
    more = {
        "leverage": leverage,
        "reinvest": dice.random() < 0.5,
        "capital": dice.choice([10_000.0, 50_000.0, 200_000.0]),
    }
    if "take_profit_share" in parameters:  # one under its costs is refused
        parameters["take_profit_share"] = max(parameters["take_profit_share"], 0.0012 * leverage)
    if "lower" in parameters and "stop_price" in parameters:  # one inside the range is refused
        above = parameters["stop_price"] > price
        parameters["stop_price"] = parameters["upper"] * 1.01 if above else parameters["lower"] * 0.99
    return candles.rows(kept), traded, parameters, rules, more


@pytest.mark.slow
@pytest.mark.parametrize("number", range(60))
def test_a_random_grid_on_gappy_candles(number):
    candles, traded, parameters, rules, more = random_world(number)
    waits = {"trigger_price", "take_profit_share", "start", "infinity", "activation_band", "max_open_orders"} & set(
        parameters
    )
    same(*fills_of_both(candles, traded, "grid", parameters, rules, **more), least=0 if waits else 1)
