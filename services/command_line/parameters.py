"""`traderagent parameters`: what a strategy can be told, with bounds, defaults and presets."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from coordinator.config_file import AUTO, BUILT_IN, reference
from services.command_line.console import console


def parameters(
    strategy: Annotated[str, typer.Argument(help="grid, dca, trend, rules, auto, or your own FILE.py:NAME")],
) -> None:
    """List every parameter of a strategy.

    Set them with --set or in the config's section.
    """
    if strategy == AUTO:
        from coordinator.parameters import AlgorithmParameters

        for name, section in AlgorithmParameters.model_fields.items():
            if name not in BUILT_IN and isinstance(section.annotation, type):
                _show(name, section.annotation, f"{name}, a section of auto")
        return
    strategy = reference(strategy)
    from coordinator.config import strategy_named

    chosen = strategy_named(strategy)
    _show(chosen.name, chosen.parameters, f"{strategy}, version {chosen.version}")
    for name, values in chosen.parameters.presets().items():
        console().print(
            f"preset {name}: " + ", ".join(f"{key} {_text(value)}" for key, value in values.items()), highlight=False
        )


def _show(section: str, model: type[Any], title: str) -> None:
    from rich.table import Table

    from bot.validation import bounds_of

    table = Table("key", "default", "bounds", "meaning", title=title, title_justify="left")
    for name, field in model.model_fields.items():
        default = "" if field.default in (None, {}, ()) else _text(field.default)
        table.add_row(f"{section}.{name}", default, bounds_of(field), field.description or "")
    console().print(table)


def _text(value: Any) -> str:
    """Write a value as a config has it."""
    return ", ".join(str(one) for one in value) if isinstance(value, list | tuple) else str(value)
