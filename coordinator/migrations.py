"""What has become of stored fields whose name or meaning is no longer what it was.

A field that is new needs nothing here, unless its first value is not zero (DEFAULTS). A field that was renamed, moved,
given up or that means something else, also a ring of another length, needs a Migration. Append only: what is stored
knows how many of them it has been through.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from coordinator.vocabulary import NO_STRATEGY


@dataclass(frozen=True)
class Migration:
    """One change of one field, or of a record with all its fields, named as in `state.grid.cells.held`."""

    old: str
    new: str | None  # where it is kept now, which may be the same place; None: it is not needed any more
    convert: Callable[[Any], Any] | None = None  # stored numbers (rows, …) to those of today's meaning


MIGRATIONS: tuple[Migration, ...] = (
    Migration("pair.instrument.max_lots", None),  # no kernel reads it
    Migration("slots.wanted", "slots.active"),
    Migration("slots.shelved", "slots.suspended"),
    Migration("slots.passed", "slots.admitted"),
    Migration("slots.judged", "slots.filtered"),
    Migration("state.smc.structures.swings.way", "state.smc.structures.swings.direction"),
    Migration("state.smc.structures.labels.way", "state.smc.structures.labels.direction"),
    Migration("state.smc.structures.groups.way", "state.smc.structures.groups.direction"),
    Migration("state.smc.structures.said.way", "state.smc.structures.said.direction"),
    Migration("state.smc.zones.zones.way", "state.smc.zones.zones.direction"),
    Migration("state.trend.way", "state.trend.direction"),
    Migration("state.resting", "state.entries_notional"),
    Migration("report.resting", "report.entries_notional"),
    Migration("reports.resting", "reports.entries_notional"),
    Migration("portfolio.noted", "portfolio.decided"),
    Migration("state.notes", None),
    Migration("state.noted", None),
    Migration("judged", "evaluated_at"),
    # A ring four times as long reads the same where it holds the same four times.
    *(
        Migration(f"state.trend.{ring}.values", f"state.trend.{ring}.values", lambda column: np.tile(column, (1, 4)))
        for ring in ("highs", "lows", "volumes")
    ),
)

# First value of a field that what is stored does not have, where it is neither zero nor set by a machine that is made.
DEFAULTS: dict[str, float] = {
    "state.family": NO_STRATEGY,
    "state.directive.family": NO_STRATEGY,
}

# Fields that are not stored: what is told is stored as it is told, and scratch is written before it is read.
UNSTORED = frozenset(
    {
        "state.decisions",
        "state.decided",
        "state.closed",  # trades that one fill closed
        "state.smc.zones.journal",
        "state.smc.zones.entries",
    }
)
