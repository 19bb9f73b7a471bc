"""Test families 2, 3, 8, 9 and 10 over every option of a grid: scale, mirror, degenerate data, config, reproducibility.

Family 1 and parity of engines stand in test_grid_options.
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from backtesting.run import simulate
from bot.candles import Candles
from bot.errors import Misconfigured
from bot.order import Signal
from coordinator.config import load_config
from tests.conftest import bars, instrument, walk
from tests.strategies.grid_options import LARGE, OPTIONS
from tests.strategies.test_families import mirrored, scaled
from tests.strategies.test_grid_options import config_of, play, whole

NAMES = list(OPTIONS)
PRICES = (
    "lower",
    "upper",
    "trigger_price",
    "take_profit",
    "stop_price",
    "trailing_limit_lower",
    "trailing_limit_upper",
)
TOP = 100_000.0  # what a price and its mirror image make together
SWAPPED = {"lower": "upper", "trailing_limit_lower": "trailing_limit_upper"}
SWAPPED |= {other: one for one, other in SWAPPED.items()}
# What has no mirror: ratios, costs as shares of the price, and what only buys.
ONE_SIDED = re.compile("infinity|geometric|exchange, long|do not pay")
WITHOUT_COSTS = {"slippage_bps": 0, "funding_rate": 0}


def with_prices(parameters, change):
    """The same options with their prices, not their shares, changed."""
    return {
        key: change(value) if key in PRICES and isinstance(value, float) else value for key, value in parameters.items()
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("power", [-3, 4])
def test_f30_scale_family_2(name, power):
    k, candles, traded = 2.0**power, walk(1200, seed=31), instrument(min_notional=0)
    changed = {"tick_size": traded.tick_size * Decimal(k), "lot_size": traded.lot_size / Decimal(k)}
    one = play(candles, OPTIONS[name], traded, **LARGE.get(name, {}))
    parameters = with_prices(OPTIONS[name], lambda price: price * k)
    other = play(scaled(candles, k), parameters, traded.model_copy(update=changed), **LARGE.get(name, {}))
    assert whole(one) == whole(other)
    np.testing.assert_allclose(one.equity(), other.equity(), rtol=1e-9)


def mirror_of(parameters):
    """Options of the grid that does in the mirrored market what this one does."""
    turned = {"long": "short", "short": "long"}
    found = {SWAPPED.get(key, key): value for key, value in with_prices(parameters, lambda price: TOP - price).items()}
    return found | ({"direction": turned[found["direction"]]} if found.get("direction") in turned else {})


@pytest.mark.parametrize("name", [name for name in NAMES if not ONE_SIDED.search(name)])
def test_f26_mirror_family_3(name):
    """Until cells close, whose profits are shares of other prices: the same bars, other sides, mirrored ticks."""
    candles = walk(1200, seed=31)
    one = play(candles, OPTIONS[name], execution=WITHOUT_COSTS)
    other = play(mirrored(candles, TOP), mirror_of(OPTIONS[name]), execution=WITHOUT_COSTS)
    ours, theirs = opening(one), opening(other)
    assert len(ours) == len(theirs) >= 1
    for (ts, side, price), (their_ts, their_side, their_price) in zip(ours, theirs, strict=True):
        assert (ts, side) == (their_ts, -their_side)
        assert abs(price + their_price - round(TOP / 0.1)) <= 1


def opening(recording):
    """Time, side and ticks of the fills before the first that is no entry, those of one bar by their price."""
    fills = recording.fills
    last = next((i for i, one in enumerate(fills) if one["signal"] != Signal.ENTRY), len(fills))
    found = [(int(one["ts"]), int(one["side"]), int(one["price"])) for one in fills[:last]]
    return sorted(found, key=lambda one: (one[0], one[1] * one[2]))


@pytest.mark.parametrize("name", NAMES)
def test_family_8_degenerate_data(name):
    """One bar, a market that never moves, one without volume: nothing closes, and nothing is lost but fees."""
    options, more = OPTIONS[name], LARGE.get(name, {})
    assert len(play(bars((50_000.0,) * 4), options, **more).fills) == 0
    still = play(bars(*[(50_000.0,) * 4] * 600), options, **more)
    assert set(still.fills["signal"]) <= {int(Signal.ENTRY)}
    assert still.equity()[-1] == pytest.approx(still.equity()[0], rel=0.01)
    candles = walk(600, seed=31)
    assert len(play(replace(candles, volume=np.zeros(600)), options, **more).fills) == 0


@pytest.mark.parametrize("name", NAMES)
def test_family_8_f44_a_market_with_gaps_that_dies(name):
    """Down 99.9 % with leverage: the run ends or goes on, equity stays a number and never under zero."""
    candles = walk(1200, seed=31)
    fall = np.concatenate([np.ones(600), np.exp(-np.linspace(0.0, 6.9, 600))])
    prices = [np.maximum(np.round(getattr(candles, one) * fall, 1), 0.1) for one in ("open", "high", "low", "close")]
    dying = Candles(candles.ts, *prices, candles.volume, 60_000).rows([i for i in range(1200) if i % 100 > 2])
    leverage = 1 if name == "takes profit by share" else 20  # a profit under what leaving costs is refused
    recording = play(dying, OPTIONS[name], leverage=leverage, **LARGE.get(name, {}))
    assert len(recording.fills) > 0
    assert np.isfinite(recording.equity()).all()
    assert recording.equity().min() >= 0.0


@pytest.mark.parametrize("name", NAMES)
def test_f24_config_contract_family_9(name):
    """What a config means reads back as it is; a key that no grid has is refused by its name."""
    given = config_of(OPTIONS[name], **LARGE.get(name, {}))
    config = load_config(given)
    assert load_config(config.document()).document() == config.document()
    with pytest.raises(Misconfigured, match=r"grid\.levles"):
        load_config({**given, "grid": {**given["grid"], "levles": 5}})


@pytest.mark.parametrize("name", NAMES)
def test_f51_reproducibility_family_10(name):
    """The same run has the same bytes and the same document, whatever was played between."""
    candles, config = walk(1200, seed=31), load_config(config_of(OPTIONS[name], **LARGE.get(name, {})))
    one = simulate(config, candles, fetched=instrument())
    play(walk(300, seed=32), OPTIONS[NAMES[0]])
    two = simulate(config, candles, fetched=instrument())
    assert one.recording.fills.tobytes() == two.recording.fills.tobytes()
    assert one.document == two.document
