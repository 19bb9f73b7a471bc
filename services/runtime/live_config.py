"""The config of a running bot: shown without secrets, and changed in its file by one value at a time.

What needs a restart is never changed here. The file is written whole, once it has been read as a config that the bot
can follow.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any, TypedDict

from bot.errors import Misconfigured, cut, shown, suggestion
from bot.validation import bounds_of
from coordinator.config_edit import with_value
from coordinator.config_file import parsed
from coordinator.parameters import SHARED_SECTIONS
from services.runtime.config import load_bot
from services.runtime.preflight import changes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pydantic import BaseModel
    from pydantic.fields import FieldInfo

    from coordinator.config import PortfolioConfig
    from services.runtime.config import BotSettings

SECRET = ("database", "redis", "ray_address", "address")  # of the section bot: they may hold passwords
ONLY_SIMULATED = ("execution", "instruments")
OF_THE_OPERATOR = ("risk.halt_policy", "risk.halt_resume_hours")  # who is a person, for a live bot
LONGEST_VALUE = 200


class ShownSetting(TypedDict):
    """One value of a config."""

    key: str  # section.name, or a name alone
    value: Any
    live: bool  # it may change while the bot runs
    bounds: str  # such as `> 0, <= 1`
    meaning: str


def settings_shown(settings: BotSettings, config: PortfolioConfig) -> list[ShownSetting]:
    """Every value of a running bot's config, section by section."""
    own = settings.model_dump(mode="json", exclude={*SECRET})
    sections = {name: value for name, value in config.document().items() if name not in ONLY_SIMULATED}
    fields, found = _fields(settings, config), []
    for section, value in {**sections, "bot": own}.items():
        inside = value if isinstance(value, dict) else {}
        keys = {f"{section}.{name}": one for name, one in inside.items()} or {section: value}
        for key, one in keys.items():
            field = fields.get(key)
            bounds, meaning = ("", "") if field is None else (bounds_of(field), field.description or "")
            live = key != section and _is_live(key, one)
            found.append(ShownSetting(key=key, value=one, live=live, bounds=bounds, meaning=meaning))
    return found


def _fields(settings: BotSettings, config: PortfolioConfig) -> dict[str, FieldInfo]:
    """What each key of a config is declared as."""
    sections: dict[str, BaseModel] = {name: getattr(config.algorithm, name) for name in SHARED_SECTIONS}
    sections |= {strategy.name: parameters for strategy, parameters in config.algorithm.trading()}
    found = dict(type(config).model_fields)
    for section, model in {**sections, "bot": settings}.items():
        found |= {f"{section}.{name}": field for name, field in type(model).model_fields.items()}
    return found


def _is_live(key: str, value: Any) -> bool:
    """Whether a value of a section is one that a running bot may be given another for."""
    if key.startswith("bot.") or key in OF_THE_OPERATOR or key.endswith("timeframe"):
        return False
    return isinstance(value, bool | int | float | str)


def changed_file(
    path: Path, key: str, given: str, running: tuple[BotSettings, PortfolioConfig],
    as_live: Callable[[PortfolioConfig], PortfolioConfig],
) -> tuple[PortfolioConfig, str]:  # fmt: skip
    """Write one value into the config file of a running bot; returns the config to follow, and what it was before.

    Raises Misconfigured, with the file as it was, for what needs a restart, is no value of the key, is its value
    already, or where the file has other changes that nobody has said to adopt.
    """
    settings, config = running
    value, before = _value_of(key, given, settings_shown(settings, config))
    path = path.resolve()
    kept = load_bot(path)
    if kept[0] != settings or as_live(kept[1]).document() != config.document():
        raise Misconfigured("the config file has other changes, which nobody has adopted; say reload first.")
    trial = path.with_name(f".{path.name}.changed")
    try:
        trial.touch(mode=0o600)
        shutil.copymode(path, trial)
        trial.write_text(with_value(path.read_text(encoding="utf-8"), key, value), encoding="utf-8")
        after = as_live(load_bot(trial)[1])
        if key not in changes(config, after):
            raise Misconfigured(f"{key} is {shown(before)} already; nothing was changed.")
        trial.replace(path)
    except OSError as error:
        raise Misconfigured(
            f"the config file cannot be written here ({error.strerror}); change it where it comes from, and say reload."
        ) from None
    finally:
        trial.unlink(missing_ok=True)
    return after, shown(before)


def _value_of(key: str, given: str, known: list[ShownSetting]) -> tuple[Any, Any]:
    """Read what a key is to be, and tell what it is; raises Misconfigured for what may not change while it runs."""
    found = next((one for one in known if one["key"] == key), None)
    if found is None:
        raise Misconfigured(f"setting {shown(key)} is unknown; {suggestion(key, [one['key'] for one in known])}.")
    if not found["live"]:
        raise Misconfigured(f"{key} cannot change while the bot runs; change it in its file and start the bot again.")
    try:
        value = parsed(given[:LONGEST_VALUE])
    except ValueError:
        value = None
    if not isinstance(value, bool | int | float | str):
        raise Misconfigured(f"value {cut(given)!r} is none for {key}; give a number, a word, true or false.")
    return value, found["value"]
