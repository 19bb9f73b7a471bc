"""Grid: a ladder of cells, each buying at one price and selling at another, over and over.

A cell is known by its index and has a fixed pair of prices; a fill is answered in the same cell by its
counter for exactly the quantity filled. A venue-resident stop stands for the whole inventory. The rules are
section 4 of docs/execution.md.
"""

from bot.strategy import JudgedAs, Strategy, Variation
from strategies.grid.decisions import decide
from strategies.grid.parameters import GridParameters, Spacing, cautious, check, slots
from strategies.grid.state import STATE, roles

__all__ = ["STATE", "STRATEGY", "GridParameters"]

STRATEGY = Strategy(
    name="grid",
    version=1,
    parameters=GridParameters,
    state=STATE,
    slots=slots,
    decide=decide,
    check=check,
    judged_as=JudgedAs.RANGE,
    variations=(
        Variation("arithmetic", lambda parameters: parameters.changed(spacing=Spacing.ARITHMETIC)),
        Variation("geometric", lambda parameters: parameters.changed(spacing=Spacing.GEOMETRIC)),
        Variation("cautious", cautious),
    ),
    own_stop=True,
    roles=roles,
)
