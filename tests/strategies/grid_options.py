"""Configs of grids that use each option, on a walk of prices around 50,000."""

from __future__ import annotations

BASE = {"timeframe": "15m", "warmup_bars": 15, "risk_budget": 1.0, "levels": 9, "range_factor": 5.0}
EXCHANGE = {"preset": "exchange", "lower": 48_500.0, "upper": 51_500.0, "levels": 16}
OPTIONS = {
    "exchange, neutral": EXCHANGE,
    "exchange, long": {**EXCHANGE, "direction": "long", "spacing": "geometric"},
    "exchange, short": {**EXCHANGE, "direction": "short"},
    "starts now": {**BASE, "start": "now", "trailing": "off", "max_drawdown": 0.002, "cooldown_hours": 0.3},
    "trigger above": {**BASE, "trigger_price": 50_211.5, "start": "now"},
    "trigger below, at a signal bar": {**BASE, "trigger_price": 49_777.7},
    "takes profit by price": {**EXCHANGE, "direction": "long", "upper": 50_300.0, "take_profit": 50_400.0},
    "takes profit by share": {**BASE, "take_profit": "0.06%"},
    "stops by price": {**EXCHANGE, "lower": 49_600.0, "stop_price": 49_500.0},
    "stops by price above": {**EXCHANGE, "upper": 50_300.0, "stop_price": 50_400.0},
    "stops by share": {**BASE, "stop_price": "0.2%"},
    "keeps": {**EXCHANGE, "direction": "long", "lower": 49_600.0, "stop_price": 49_500.0, "on_stop": "keep"},
    "keeps with a stop": {
        **EXCHANGE,
        "direction": "long",
        "lower": 49_600.0,
        "stop_price": 49_500.0,
        "on_stop": "keep_with_stop",
        "stop_loss": 0.003,
    },
    "keeps by share": {**BASE, "direction": "short", "stop_price": "0.2%", "on_stop": "keep_with_stop"},
    "follows by cells": {**BASE, "trailing": "cell", "range_factor": 2.0},
    "follows by cells, long": {**BASE, "trailing": "cell", "range_factor": 2.0, "direction": "long"},
    "follows by cells, geometric, short": {
        **BASE,
        "trailing": "cell",
        "range_factor": 2.0,
        "direction": "short",
        "spacing": "geometric",
        "counter": "level",
    },
    "follows by cells within limits": {
        **EXCHANGE,
        "lower": 49_800.0,
        "upper": 50_200.0,
        "levels": 8,
        "trailing": "cell",
        "trailing_limit_lower": 49_600.0,
        "trailing_limit_upper": 50_300.0,
    },
    "follows by cells until they do not pay": {
        **EXCHANGE,
        "lower": 49_819.4,
        "upper": 50_000.0,
        "levels": 7,
        "trailing": "cell",
    },
    "is laid again, without cells that do not pay": {
        **EXCHANGE,
        "lower": 49_819.4,
        "upper": 50_000.0,
        "levels": 7,
        "trailing": "fixed",
        "shift_threshold": 0.001,
    },
    "infinity": {**BASE, "infinity": True, "profit_per_grid": 0.0012},
    "infinity over a bound, few cells": {**EXCHANGE, "infinity": True, "levels": 4, "profit_per_grid": 0.001},
    "reinvests profits": {**BASE, "reinvest": "profits", "profit_per_grid": 0.002, "direction": "long"},
    "reinvests all, locks half": {**BASE, "reinvest": "all", "profit_lock": 0.5, "profit_per_grid": 0.002},
    "locks all": {**BASE, "profit_lock": 1.0, "profit_per_grid": 0.002},
    "rests near the price": {**EXCHANGE, "activation_band": "0.5%"},
    "rests four orders": {**EXCHANGE, "max_open_orders": 4},
    "rests three orders near the price": {
        **BASE,
        "max_open_orders": 3,
        "activation_band": 0.004,
        "trailing": "cell",
        "direction": "long",
    },
}


# Cells of a constant worth are small parts of it.
LARGE = {name: {"capital": 5_000_000.0} for name in OPTIONS if name.startswith("infinity")}
