"""A model from values of any kind, or one sentence that names the field, the value and the remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from bot.errors import Misconfigured, cut, shown, suggestion

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo


LIMITS = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}


def bounds_of(field: FieldInfo) -> str:
    """Write the bounds of a field, such as `> 0, <= 1`; empty for none."""
    limits = ((sign, getattr(one, key, None)) for one in field.metadata for key, sign in LIMITS.items())
    return ", ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)


def validated(model: type[BaseModel], values: Any, section: str) -> Any:
    """Build `model`, or raise Misconfigured with a sentence for its first fault."""
    if not isinstance(values, dict):
        raise Misconfigured(f"{section or 'config'} must be a section of keys and values, not {shown(values)}.")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        location = cut(".".join([section] * bool(section) + [str(part) for part in first["loc"]])) or "config"
        if first["type"] == "extra_forbidden":
            place = _model_at(model, first["loc"][:-1])
            known = [f.alias or n for n, f in place.model_fields.items() if n not in ("loaded", "parameters")]
            raise Misconfigured(f"{location} is no known key; {suggestion(str(first['loc'][-1]), known)}.") from None
        if first["type"] == "missing":
            raise Misconfigured(f"{location} is missing; give it a value.") from None
        cause = first.get("ctx", {}).get("error")
        if isinstance(cause, Misconfigured):
            raise cause from None
        if first["type"] == "value_error":
            raise Misconfigured(f"{location}: {cut(str(cause), 400)}.") from None
        raise Misconfigured(
            f"{location} is {shown(first['input'])}: {cut(first['msg'].lower(), 400)}; change it."
        ) from None


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    for part in location:
        field = model.model_fields.get(str(part))
        inner = None if field is None else field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            model = inner
    return model
