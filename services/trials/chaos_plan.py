"""What a chaos run does to a bot, drawn from a seed before it begins: how lives end, and what goes wrong meanwhile.

The plan repeats with its seed. At which order a kill strikes depends on the machine's timing.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LONGEST_LIFE = 1.6  # seconds of real time, after it runs
LONGEST_START = 1.0  # seconds after which a life is killed that was to die while it starts
LONGEST_DEATH = 0.6  # seconds before the next life begins
LEAST_FREEZE, MOST_FREEZE = 5.0, 90.0  # minutes of the market

# What goes wrong in every life, and what each life has more of; shares as Faults takes them.
ALWAYS: dict[str, float] = {"lose_response": 0.03, "error": 0.01, "rate_limit": 0.005, "duplicate": 0.1, "late": 0.05}
MORE: tuple[dict[str, Any], ...] = (
    {},
    {"lose_response": 0.3},
    {"error": 0.1},
    {"rate_limit": 0.05},
    {"duplicate": 0.5, "late": 0.3},
    {"malformed": 0.03},
    {"malformed": 0.3, "malformed_path": "order/"},
    {"silent_executions": 0.5},
    {"hold": 60.0},  # seconds of the market that the stream tells executions late
)


class LifeEnd(StrEnum):
    """How a life ends."""

    KILLED = "killed"
    KILLED_STARTING = "killed while starting"
    STOPPED = "stopped in order"


@dataclass(frozen=True)
class Life:
    """One start of the bot and what becomes of it; times in seconds of real time, the freeze in market minutes."""

    end: LifeEnd
    after: float
    freeze: float = 0.0
    dead: float = 0.0  # seconds until the next life
    faults: dict[str, Any] = field(default_factory=dict)


def lives(kills: int, seed: int) -> list[Life]:
    """Draw lives until so many are to be killed."""
    chance = random.Random(f"chaos {seed}")  # noqa: S311, the plan is to be repeatable
    drawn: list[Life] = []
    while sum(one.end is not LifeEnd.STOPPED for one in drawn) < kills:
        end = chance.choices(list(LifeEnd), (0.7, 0.25, 0.05))[0]
        longest = LONGEST_START if end is LifeEnd.KILLED_STARTING else LONGEST_LIFE
        after, dead = chance.uniform(0.0, longest), chance.uniform(0.0, LONGEST_DEATH)
        frozen = chance.random() < 0.2
        freeze = chance.uniform(LEAST_FREEZE, MOST_FREEZE) if frozen else 0.0
        faults = {**ALWAYS, **chance.choice(MORE), "seed": chance.randrange(1 << 30)}
        drawn.append(Life(end, after, 0.0 if end is LifeEnd.KILLED_STARTING else freeze, dead, faults))
    return drawn
