"""`traderagent parameters`: what a strategy can be told, with bounds, defaults and presets."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from backtesting.config import strategy_named

console = Console()
SIGNS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def parameters(
    strategy: Annotated[str, typer.Argument(help="grid, dca, trend, or your own module:NAME")],
) -> None:
    """List every parameter of a strategy, to set with --set or in the config's section."""
    chosen = strategy_named(strategy)
    table = Table(
        "key", "default", "bounds", "meaning", title=f"{strategy}, version {chosen.version}", title_justify="left"
    )
    for name, field in chosen.parameters.model_fields.items():
        default = "" if field.default is None else str(field.default)
        table.add_row(f"{chosen.name}.{name}", default, _bounds(field), field.description or "")
    console.print(table)
    for name, values in chosen.parameters.presets().items():
        console.print(
            f"preset {name}: " + ", ".join(f"{key} {value}" for key, value in values.items()), highlight=False
        )


def _bounds(field: Any) -> str:
    limits = ((sign, getattr(one, key, None)) for one in field.metadata for key, sign in SIGNS.items())
    return ", ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
