"""What a person does in a replay: the actions that are stored of a session, and the orders that they ask for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from bot.errors import Misconfigured, shown
from bot.order import OrderKind
from strategies.manual import CLEAR, CLOSE, ENTRIES, ENTRY, STOP, ManualOrder

MOST_STEPS = 5000  # bars of one step


class StepAction(BaseModel):
    """Let so many bars pass."""

    do: Literal["step"] = "step"
    bars: int = Field(ge=1, le=MOST_STEPS)


class EntryAction(BaseModel):
    """Set an entry, in place of one that rests under its number. Prices in ticks, 0 for none; whole lots."""

    do: Literal["order"] = "order"
    entry: int = Field(1, ge=1, le=ENTRIES)
    side: Literal[-1, 1]
    limit: int = Field(0, ge=0)  # neither limit nor trigger: at the market
    trigger: int = Field(0, ge=0)  # of a stop entry
    lots: int = Field(ge=1)
    stop: int = Field(0, ge=0)
    target: int = Field(0, ge=0)


class CancelAction(BaseModel):
    """Cancel an entry by its number; without one, every entry and what still has to be closed."""

    do: Literal["cancel"] = "cancel"
    entry: int | None = Field(None, ge=1, le=ENTRIES)


class ProtectAction(BaseModel):
    """Give the position this stop and this target, in place of those that it has; ticks, 0 for none."""

    do: Literal["protect"] = "protect"
    stop: int = Field(0, ge=0)
    target: int = Field(0, ge=0)


class CloseAction(BaseModel):
    """Exit at the market, with so many lots; 0 is all."""

    do: Literal["close"] = "close"
    lots: int = Field(0, ge=0)


class NoteAction(BaseModel):
    """Write something down; it changes nothing."""

    do: Literal["note"] = "note"
    text: str = Field(min_length=1, max_length=2000)


class PictureAction(BaseModel):
    """Keep a picture of the chart, a file of this name."""

    do: Literal["picture"] = "picture"
    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,100}\.png$")


Action = Annotated[
    StepAction | EntryAction | CancelAction | ProtectAction | CloseAction | NoteAction | PictureAction,
    Field(discriminator="do"),
]
ACTIONS: TypeAdapter[list[Action]] = TypeAdapter(list[Action])


class AskedOrder(BaseModel):
    """An entry as a person asks for it: prices in quote currency, the size as a quantity or as the loss at the stop."""

    model_config = ConfigDict(extra="forbid")

    entry: int | None = Field(None, ge=1, le=ENTRIES)  # that it replaces; None: another one
    side: Literal["buy", "sell"]
    kind: Literal["limit", "stop"] = "limit"
    price: float | None = Field(None, gt=0, lt=1e12)  # None: at the market
    quantity: float | None = Field(None, gt=0, lt=1e15)  # base currency
    risk: float | None = Field(None, gt=0, le=1)  # loss at the stop, fraction of the equity
    stop: float | None = Field(None, gt=0, lt=1e12)
    target: float | None = Field(None, gt=0, lt=1e12)


def action_of(values: Any) -> list[Action]:
    """Read stored actions; raises Misconfigured for what is none."""
    try:
        return ACTIONS.validate_python(values)
    except ValueError:
        raise Misconfigured(f"the actions of a session are {shown(str(values))}; begin another session.") from None


def rows_of(ts: int, action: Action) -> list[ManualOrder]:
    """What an action asks for at the close of the bar that opened at `ts`, a row for each slot."""
    match action:
        case EntryAction():
            kind, price = OrderKind.MARKET, action.limit or action.trigger
            if price:
                kind = OrderKind.LIMIT if action.limit else OrderKind.STOP
            return [
                ManualOrder(
                    ts, ENTRY + action.entry - 1, side=action.side, kind=kind, price=price, lots=action.lots,
                    stop=action.stop, target=action.target,
                )
            ]  # fmt: skip
        case CancelAction(entry=None):
            return [ManualOrder(ts, slot, CLEAR) for slot in (CLOSE, *range(ENTRY, ENTRY + ENTRIES))]
        case CancelAction(entry=int(number)):
            return [ManualOrder(ts, ENTRY + number - 1, CLEAR)]
        case ProtectAction():
            return [ManualOrder(ts, STOP, stop=action.stop, target=action.target)]
        case CloseAction():
            return [ManualOrder(ts, CLOSE, lots=action.lots)]
    return []
