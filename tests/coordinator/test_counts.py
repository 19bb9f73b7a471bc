"""What strategies count is told of a running pair, as of a result, and comes back after a restart."""

from __future__ import annotations

from backtesting.result import counts_of
from coordinator.reaction import SECONDS
from services.runtime.metrics import StatusMetrics
from services.web.pairs import counted
from services.web.words import PageWords
from tests.coordinator.driven import Driven
from tests.services.console_house import bot_status, pair_status

RULES = {"when": [{"indicator": "RSI"}]}


def test_what_a_running_pair_counts_is_told_and_kept(monkeypatch):
    """That of results (`counts_of`) reads the same field of the state, which the same kernel counts up."""
    pair = Driven(monkeypatch, "rules", RULES)
    assert pair.machine.counts == {"conflicting_signals": 0}
    pair.state.rules.conflicting_signals = 5
    assert pair.machine.counts == counts_of(pair.machine.roster.strategies[0], pair.state) == {"conflicting_signals": 5}
    assert Driven(monkeypatch, "rules", RULES, saved=pair).machine.counts == {"conflicting_signals": 5}
    assert Driven(monkeypatch, "dca", {}).machine.counts == {}


def test_counts_are_metrics_and_sentences_of_the_page():
    one = pair_status(refused_for_costs=3, counts={"conflicting_signals": 7, "own_count": 2, "nothing": 0})
    one["reactions"] = {"counts": [0] * (len(SECONDS) + 1), "seconds": 0.0}
    status = bot_status("b", pairs=[]) | {"pairs": [one]}
    families = {family.name: family for family in StatusMetrics(lambda: status).collect()}
    told = {sample.labels["name"]: sample.value for sample in families["traderagent_counted"].samples}
    assert told == {"conflicting_signals": 7.0, "own_count": 2.0, "nothing": 0.0}
    assert counted(one, PageWords("en")) == [
        "Refused for their costs: 3",
        "Signals that said LONG and SHORT at once: 7",
        "own count: 2",
    ]
    assert len(counted(one, PageWords("ru"))) == 3
