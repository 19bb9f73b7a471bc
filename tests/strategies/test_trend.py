"""The trend follower: its `classic` preset is kept to the last fill, and every option does what it says."""

from __future__ import annotations

import json

import pytest

from tests.conftest import real
from tests.golden.make_trend_fills import CASES, FILE, REAL_BARS, case, fills_of, fingerprint

RECORDED = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", list(CASES))
def test_classic_trades_as_it_was_recorded(name):
    for number, (now, before) in enumerate(zip(case(name), RECORDED[name], strict=True)):
        assert now == before, f"fill {number}"


@pytest.mark.slow
@pytest.mark.parametrize("file", list(RECORDED["real"]))
def test_classic_trades_as_it_was_recorded_on_real_candles(file):
    assert fingerprint(fills_of(real(file).rows(slice(0, REAL_BARS)), {})) == RECORDED["real"][file]
