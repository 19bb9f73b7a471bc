"""Changes one value in the text of a config, and leaves the rest of it as it is written, comments too."""

from __future__ import annotations

from typing import Any

from bot.errors import Misconfigured, cut
from coordinator.config_file import parsed, set_value

WIDEST = 1 << 20  # no value is broken into lines


def with_value(text: str, key: str, value: Any) -> str:
    """Return the text of a config with the value of `section.name` in it.

    Raises Misconfigured for a text that is written in a way that this cannot follow; nothing of it is guessed.
    """
    import yaml  # noqa: PLC0415, as in config_file

    wanted = parsed(text)
    set_value(wanted, key, value)
    section, name = key.split(".")
    changed = _changed(text, yaml.compose(text, yaml.SafeLoader), section, name, _written(value))
    try:
        right = changed is not None and parsed(changed) == wanted
    except ValueError:
        right = False
    if changed is None or not right:
        raise Misconfigured(f"{cut(key)} cannot be changed from here as the config file is written; change it there.")
    return changed


def _changed(text: str, root: Any, section: str, name: str, value: str) -> str | None:
    """The text with the value put in the place of the present one, or beside its neighbours, or at the end."""
    inside = _of(root, section)
    if inside is None:
        return None if root.flow_style else f"{text.rstrip()}\n{section}:\n  {name}: {value}\n"
    if not hasattr(inside, "flow_style") or isinstance(inside.value, str):
        return None
    present = _of(inside, name)
    if present is not None:
        return text[: present.start_mark.index] + value + text[present.end_mark.index :]
    if inside.flow_style:
        at = inside.start_mark.index + 1
        return f"{text[:at]}{name}: {value}{', ' if inside.value else ''}{text[at:]}"
    first = inside.value[0][0].start_mark
    return f"{text[: first.index]}{name}: {value}\n{' ' * first.column}{text[first.index :]}"


def _of(mapping: Any, name: str) -> Any:
    """The node of a key's value; None where there is none."""
    return next((value for key, value in mapping.value if key.value == name), None)


def _written(value: Any) -> str:
    """A value as YAML has it in a line."""
    import yaml  # noqa: PLC0415

    return str(yaml.safe_dump([value], default_flow_style=True, allow_unicode=True, width=WIDEST)).strip()[1:-1]
