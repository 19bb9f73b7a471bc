"""What goes wrong at the venue on purpose, repeatably: shares of requests and events, delays, addresses."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field

JSON = "application/json"
GARBAGE = (  # content type and body
    (JSON, '{"retCode":0,"retMsg":"OK"}'),
    (JSON, "[]"),
    (JSON, "null"),
    (JSON, '{"retCode":0,"retMsg":"OK","result":{"list":[{"symbol":"'),
    ("text/html", "<html><body>502 Bad Gateway</body></html>"),
    (JSON, '{"retCode":"none","retMsg":"OK","result":{}}'),
    (JSON, '{"retCode":0,"retMsg":"OK","result":{"list":"none","nextPageCursor":7}}'),
    (JSON, '{"retCode":0,"retMsg":"OK","result":{"list":[{"symbol":null,"size":{},"orderStatus":[]}]}}'),
)


@dataclass
class Faults:
    """What goes wrong on purpose: shares of requests or events, and delays."""

    latency_ms: float = 0.0
    lose_response: float = 0.0  # an order is taken, and the answer never arrives
    error: float = 0.0  # 503 before anything is done
    rate_limit: float = 0.0
    duplicate: float = 0.0  # an event is told twice
    late: float = 0.0  # an event is told after the next one
    clock_skew_ms: int = 0
    maintenance: bool = False
    malformed: float = 0.0  # the answer is no answer of Bybit's; what was asked for is done
    malformed_path: str = ""  # only at addresses that contain this
    hold_executions_s: float = 0.0  # the stream tells executions so many seconds late, orders in time
    silent_executions: float = 0.0  # the stream never tells an execution
    slow_path: str = ""  # at addresses that contain this, what was asked for is done at once
    slow_s: float = 0.0  # and answered after so many seconds
    down_path: str = ""  # addresses that contain this answer 503
    demo: bool = False  # what Bybit's demo trading does not answer is not answered
    seed: int = 0
    chance: random.Random = field(init=False, repr=False)
    struck: Counter[str] = field(init=False, repr=False, default_factory=Counter)  # faults that happened, by name

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)  # noqa: S311, faults are to be repeatable

    def strikes(self, name: str) -> bool:
        """Whether the fault of this name, which is a share, happens now."""
        share: float = getattr(self, name)
        struck = share > 0.0 and self.chance.random() < share
        if struck:
            self.struck[name] += 1
        return struck

    def at(self, part: str, path: str) -> bool:
        """Whether a fault of this part of an address concerns `path`."""
        return bool(part) and part in path

    def garbage(self, path: str) -> tuple[str, str] | None:
        """Content type and body of an answer that is none, if this one is to be spoiled."""
        if self.malformed_path not in path or not self.strikes("malformed"):
            return None
        return self.chance.choice(GARBAGE)
