"""What no page of Bybit's says of stops: each rule with its default, so that tests can play it the other way too."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Unverified:
    """Rules of the simulated exchange that nothing published confirms. docs/bybit.md says why each default is so."""

    # A fill that turns the position: its order's stop becomes the new position's; else the new one has none.
    turning_stops_hold: bool = True
    # An order that fills at or beyond its own stop: the stop is made and fires at once; else it is not made.
    gapped_stop_fires: bool = True
    # A stop that fires into too little volume: the rest is armed again at the same price; else it is gone.
    rest_rearms: bool = False
    # An order without a stop that adds to a position with one: the stop stays; else it is taken away.
    plain_fill_keeps_stop: bool = True
    # A position's stop that is larger than the largest market order: it fires whole; else it closes that much.
    large_stop_fires_whole: bool = True
    # The stops of a part of a position: they leave with it; else they stay, and would cut the next one.
    partial_stops_leave: bool = True
