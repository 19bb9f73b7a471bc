"""Interpreted and compiled, a bot decides the same, to the last bit of what it remembers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import kernel as kernel_module
from bot.interpreting import Meanwhile
from bot.kernel import interpreted, interpreted_first, kernel, specialise, template
from bot.order import OrderKind
from bot.record import new_records
from bot.rollup import BAR
from coordinator import compiled
from coordinator import pair as pair_step
from coordinator.config import load_portfolio
from coordinator.machine import PairMachine
from coordinator.reconcile import desired_orders
from coordinator.vocabulary import DIRECTIVE
from tests.conftest import MINUTE, START, instrument, walk


def machine(strategy):
    section = {"warmup_bars": 3, "timeframe": "5m"}
    config = load_portfolio({"strategy": strategy, "pairs": ["BTCUSDT"], "grid": section} | {"leverage": 3.0})
    return PairMachine(config.algorithm, instrument(), 3.0, MINUTE)


def plain_dispatch(roster):
    return interpreted(compiled.dispatch_event, decide=pair_step.decide, dispatch=roster.dispatch())


def lived(one, seed, words):
    """Play bars, directives and fills to a machine; returns every byte that it remembers, after each."""
    candles, rng, states = walk(600, seed=seed, volatility=0.002), np.random.default_rng(seed), []
    for at, word in enumerate(words):
        given_ = new_records(DIRECTIVE, 1)
        given_[0].family, given_[0].share, given_[0].multiplier = word % 3, 1.0, 1.0
        given_[0].others, given_[0].target, given_[0].exposure_limit = 10_000.0, 5_000.0, 1e9
        given_[0].halted, given_[0].sequence = word == 7, at + 1
        one.take_directive(given_)
        bars = new_records(BAR, 30)
        for name in ("open", "high", "low", "close", "volume"):
            bars[name] = getattr(candles, name)[30 * at : 30 * at + 30]
        bars["ts"] = START + MINUTE * np.arange(30 * at, 30 * at + 30)
        one.take_bars(bars)
        sent = desired_orders(
            one.slots, one.position, linear=True, bot="b", symbol="BTCUSDT", filled={}, largest=1 << 40
        )
        for order in sent[: int(rng.integers(0, 3))]:
            price = order.price if order.kind == OrderKind.LIMIT and order.price else one.ticks
            one.take_fill(order, one.time, price, order.lots, 0.01, maker=True)
        arrays = (one.pairs, one.states, one.slots, one.reports, one.rollups)
        states.append(b"".join(array.tobytes() for array in arrays))
    return states


@pytest.mark.parametrize("strategy", ["auto", "grid"])
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 99), words=st.lists(st.integers(0, 8), min_size=4, max_size=10))
def test_interpreted_is_compiled(strategy, seed, words, monkeypatch):
    as_machine_code = lived(machine(strategy), seed, words)
    with monkeypatch.context() as patched, np.errstate(all="ignore"):
        patched.setattr("coordinator.machine.compiled_dispatch", plain_dispatch)
        assert lived(machine(strategy), seed, words) == as_machine_code


@kernel
def twice(x):
    return 2 * x


@template
def entry(x):
    return twice(x) + 1


@pytest.mark.skipif(kernel_module.numba.config.DISABLE_JIT, reason="NUMBA_DISABLE_JIT is set: nothing is compiled")
def test_an_entry_point_changes_over_when_its_machine_code_is_there(tmp_path, monkeypatch):
    monkeypatch.setenv("TRADERAGENT_CACHE_DIR", str(tmp_path))
    token = interpreted_first.set(True)
    try:
        one = specialise(entry, "first")
        assert isinstance(one, Meanwhile)
        assert one(20) == 41
        assert not one.changed_over
        interpreted_first.set(False)
        assert specialise(entry, "first")(20) == 41  # compiled here, as another process would, and kept
        assert one(20) == 41
        assert one.changed_over
        interpreted_first.set(True)
        assert not isinstance(specialise(entry, "first"), Meanwhile)
    finally:
        interpreted_first.reset(token)
