"""The run that nobody disturbs, which the others are held against."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.test_crash_points import played


@pytest.fixture(scope="session")
def undisturbed(dsn):
    left, _, burnt = asyncio.run(played(dsn, "calm", []))
    assert len(left[0]) >= 20, "the market has to be livelier for these tests to mean anything"
    return left, burnt
