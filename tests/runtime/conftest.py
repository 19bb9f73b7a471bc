"""What several suites of the running bot start alike."""

from __future__ import annotations

import pytest

from tests.runtime.processes import Processes


@pytest.fixture
def processes(tmp_path):
    """Processes of bots and exchanges, interpreted: the same decisions, and another version need not be compiled."""
    made = Processes(tmp_path)
    made.environment["NUMBA_DISABLE_JIT"] = "1"
    yield made
    made.end()
