"""Parameters: a pydantic model for people, a structured record for kernels, one derived from the other.

Fractions may be written as 0.005 or "0.5%"; durations say their unit in their name. Every field carries a
unit, bounds, a default and one line of help.
"""

from __future__ import annotations

from enum import Enum
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Self, Union, get_args, get_origin

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bot.rollup import TIMEFRAMES


def fraction_of(value: Any) -> Any:
    """Read "0.5%" as 0.005; anything else is returned as it is."""
    if isinstance(value, str) and value.strip().endswith("%"):
        return float(value.strip()[:-1]) / 100.0
    return value


Fraction = Annotated[float, BeforeValidator(fraction_of), Field(allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]
Timeframe = Literal["1m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w"]


class Section(BaseModel):
    """A group of parameters: a model for people, from which the kernels' record is derived."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _as_words(cls, values: Any) -> Any:
        """Take YAML's true and false for the words that were written, where a field has them: off, on, no, yes."""
        if not isinstance(values, dict):
            return values
        return {name: _word(cls.model_fields.get(name), value) for name, value in values.items()}

    @classmethod
    @cache
    def dtype(cls) -> np.dtype[Any]:
        """Layout of the kernels' view: one field per parameter that has a number to it."""
        kinds = {name: _kind(field.annotation) for name, field in cls.model_fields.items()}
        return np.dtype([(name, kind) for name, kind in kinds.items() if kind])

    def record(self) -> Any:
        """Build the kernels' view: enums as their values, timeframes in ms, a missing number as NaN."""
        dtype = self.dtype()
        numbers = tuple(number_of(getattr(self, name)) for name in dtype.names or ())
        return np.array([numbers], dtype).view(np.recarray)[0]

    def document(self) -> dict[str, Any]:
        """Plain values for a file: reading them back gives these, whatever preset they come from."""
        fields = type(self).model_fields
        plain = self.model_dump(mode="json", exclude={"preset"})
        return {name: value for name, value in plain.items() if value is not None or fields[name].default is not None}

    def changed(self, **values: Any) -> Self:
        """Return a copy with `values` replaced, validated again."""
        return type(self).model_validate({**self.model_dump(), **values})


class Parameters(Section):
    """What every strategy has: the timeframe of its signal bars and how many they must be before it enters."""

    preset: str | None = Field(None, description="name of a preset whose values stand for fields not given")
    timeframe: Timeframe = Field("1h", description="length of a signal bar")
    warmup_bars: int = Field(200, ge=0, le=100_000, description="signal bars seen before the first entry, bars")

    @classmethod
    def presets(cls) -> dict[str, dict[str, Any]]:
        """Named sets of values, overridden by whatever is given explicitly."""
        return {}

    def remarks(self, price: float) -> list[str]:
        """Say, in sentences, what is allowed and seldom meant; `price` is the first one, quote currency."""
        del price
        return []

    def check_candles(self, bar_ms: int) -> None:
        """Refuse what base bars of this length (ms) are too long for; raises Misconfigured."""
        del bar_ms

    @model_validator(mode="before")
    @classmethod
    def _apply_preset(cls, values: Any) -> Any:
        if not isinstance(values, dict) or values.get("preset") is None:
            return values
        known = cls.presets()
        name = str(values["preset"]).lower()
        if name not in known:
            choices = ", ".join(known) or "none"
            raise ValueError(f"preset {values['preset']!r} is unknown; choose one of: {choices}")
        return {**known[name], **values, "preset": name}

    @property
    def reinvests(self) -> bool:
        """Whether a single strategy sizes by the present equity unless the config says otherwise."""
        return False

    @property
    def sells_short(self) -> bool:
        """Whether it may hold less than nothing, which on spot can only be simulated."""
        return False

    @property
    def timeframe_ms(self) -> int:
        """Length of a signal bar in milliseconds."""
        return TIMEFRAMES[self.timeframe]


def _word(field: Any, value: Any) -> Any:
    """Return the word of a field's choices that YAML has read as `value`, or the value."""
    if not isinstance(value, bool) or field is None:
        return value
    annotation = field.annotation
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        choices = [one.value for one in annotation]
    else:
        choices = list(get_args(annotation))
    return next((word for word in (("on", "yes") if value else ("off", "no")) if word in choices), value)


def number_of(value: Any) -> Any:
    """What kernels see of a parameter's value."""
    if value is None:
        return np.nan
    if isinstance(value, Enum):
        return value.value if isinstance(value.value, int) else list(type(value)).index(value)
    if isinstance(value, tuple):  # a choice of several: a bit for each, by its place in the enumeration
        return sum(1 << number_of(one) for one in set(value))
    return TIMEFRAMES[value] if isinstance(value, str) else value


def _kind(annotation: Any) -> str | None:
    """NumPy type of a parameter's annotation; None for plain text."""
    if get_origin(annotation) in (Union, UnionType):
        kinds = {_kind(part) for part in get_args(annotation) if part is not type(None)}
        return None if kinds == {None} else "f8"
    if get_origin(annotation) is Literal:
        return "i8"
    if get_origin(annotation) is Annotated:
        return _kind(get_args(annotation)[0])
    if get_origin(annotation) is tuple:
        return _kind(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return "i8"
    return {bool: "b1", int: "i8", float: "f8"}.get(annotation)
