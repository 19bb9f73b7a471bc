"""A session of a pair's core as lines of JSON: what it was told, what it asked for, how the world answered. And again.

The core has no I/O and no clock, so the same lines in make the same instructions out: an incident can be played again,
step by step, on the very code or on a changed one.
"""

from __future__ import annotations

import base64
import inspect
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bot import order, ports
from bot.errors import Misconfigured
from bot.instrument import Instrument
from bot.record import new_records, to_dict
from bot.rollup import BAR
from bot.times import MINUTE
from coordinator import instructions, messages, vocabulary
from coordinator.config import load_portfolio
from coordinator.machine import PairMachine
from coordinator.pair_core import VENUE_ERRORS, PairCore
from coordinator.vocabulary import DIRECTIVE

if TYPE_CHECKING:
    from coordinator.config import PortfolioConfig
    from coordinator.instructions import Instruction

VERSION = 2
Line = dict[str, Any]
Write = Callable[[Line], None]


class Record(Protocol):
    """Takes the lines of a session, until it is full."""

    @property
    def full(self) -> bool:
        """Whether another session should begin."""
        ...

    def __call__(self, line: Line, /) -> None:
        """Take a line."""
        ...


_NAMED = {
    name: one for module in (ports, messages, instructions, order, vocabulary) for name, one in vars(module).items()
}
_CLASSES = {name: one for name, one in _NAMED.items() if inspect.isclass(one) and is_dataclass(one)}
_ENUMS = {name: one for name, one in _NAMED.items() if inspect.isclass(one) and issubclass(one, Enum)}
_TROUBLES = {one.__name__: one for one in (ports.Unreachable, ports.Unanswered, ports.NotPermitted, TimeoutError)}


def packed(value: Any) -> Any:  # noqa: PLR0911, one for each form
    """Write a message, an instruction or an answer in what JSON knows."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, Enum):
        return {"enum": type(value).__name__, "name": value.name}
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, bytes):
        return {"bytes": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return {"list": [packed(one) for one in value], "tuple": isinstance(value, tuple)}
    if isinstance(value, dict):
        return {"dict": [[packed(key), packed(one)] for key, one in value.items()]}
    if isinstance(value, np.ndarray):
        return _packed_records(value)
    if isinstance(value, Instrument):
        return {"instrument": value.model_dump(mode="json")}
    if isinstance(value, BaseException):
        return _packed_trouble(value)
    return {"of": type(value).__name__, "fields": {one.name: packed(getattr(value, one.name)) for one in fields(value)}}


def _packed_records(value: Any) -> Line:
    """Write bars as they are, which never change their form, and records by the names of their fields."""
    if value.dtype == BAR:
        return {"bars": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()}
    return {"records": "directive" if value.dtype == DIRECTIVE else "params", "rows": [to_dict(one) for one in value]}


def _packed_trouble(trouble: BaseException) -> Line:
    if isinstance(trouble, ports.Refused):
        return {"trouble": "Refused", "sentence": str(trouble), "reason": trouble.reason.name}
    if isinstance(trouble, ports.Gone):
        return {"trouble": "Gone", "sentence": str(trouble), "order": packed(trouble.order)}
    name = next((name for name, one in _TROUBLES.items() if isinstance(trouble, one)), "Unreachable")
    return {"trouble": name, "sentence": str(trouble)}


def unpacked(value: Any, params: Any = None) -> Any:  # noqa: PLR0911, one line for each form
    """Read what `packed` wrote; `params`: dtype of a machine's parameters. Raises KeyError, ValueError or TypeError."""
    if not isinstance(value, dict):
        return value
    if "enum" in value:
        return _ENUMS[value["enum"]][value["name"]]
    if "float" in value:
        return float(value["float"])
    if "list" in value:
        found = [unpacked(one, params) for one in value["list"]]
        return tuple(found) if value["tuple"] else found
    if "dict" in value:
        return {unpacked(key, params): unpacked(one, params) for key, one in value["dict"]}
    if "bars" in value or "records" in value:
        return _unpacked_records(value, params)
    if "bytes" in value:
        return base64.b64decode(value["bytes"])
    if "instrument" in value:
        return Instrument.model_validate(value["instrument"])
    if "trouble" in value:
        return _unpacked_trouble(value)
    kind = _CLASSES[value["of"]]
    return kind(**{name: unpacked(one, params) for name, one in value["fields"].items()})


def _unpacked_records(value: Line, params: Any) -> Any:
    if "bars" in value:
        data = np.frombuffer(base64.b64decode(value["bars"]), BAR)
        bars = new_records(BAR, len(data))
        bars[...] = data
        return bars
    array = new_records(params if value["records"] == "params" else DIRECTIVE, len(value["rows"]))
    for record, row in zip(array, value["rows"], strict=True):
        _fill(record, row)
    return array


def _fill(record: Any, row: Line) -> None:
    """Set the fields that this version knows; one that it has and the session lacks stays 0."""
    for name in set(row).intersection(record.dtype.names):
        if record.dtype[name].base.names:
            _fill_all(record[name], row[name])
        else:
            record[name] = row[name]


def _fill_all(records: Any, rows: Any) -> None:
    """Set the fields of one record or, of a list, of those that both have."""
    if isinstance(rows, dict):
        _fill(records, rows)
    else:
        for record, row in zip(records, rows, strict=False):
            _fill_all(record, row)


def _unpacked_trouble(value: Line) -> Exception:
    if value["trouble"] == "Refused":
        return ports.Refused(ports.Refusal[value["reason"]], value["sentence"].removeprefix("the venue refused: "))
    if value["trouble"] == "Gone":
        return ports.Gone(value["sentence"], unpacked(value["order"]))
    return _TROUBLES[value["trouble"]](value["sentence"])


def head(core: PairCore, config: PortfolioConfig, *, most_actions: int, adopt: bool) -> Line:
    """First line of a session: everything that its core is made of."""
    return {
        "session": VERSION,
        "config": config.document(),
        "leverage": config.leverage,
        "instrument": packed(core.machine.instrument),
        "bot": core.bot,
        "start": core.start,
        "now": core.now,
        "most_actions": most_actions,
        "adopt": adopt,
        "sequence": core.sequence,
    }


def core_of(line: Line) -> PairCore:
    """Make the core that a session began with, from its first line."""
    config, instrument = load_portfolio(line["config"]), unpacked(line["instrument"])
    machine = PairMachine(config.algorithm, instrument, float(line["leverage"]), MINUTE)
    core = PairCore(
        *(line["bot"], machine, lambda _report: None, lambda: None),
        start=line["start"],
        now=line["now"],
        most_actions=line["most_actions"],
        adopt=line["adopt"],
    )
    core.sequence = line["sequence"]
    return core


class StepKind(StrEnum):
    """What a step of a session is, by the mark that it is shown with."""

    MESSAGE = "→"  # to the core, which has taken it up to its first instruction
    INSTRUCTION = "←"  # of the core, not yet answered; None: there is none where one should be
    ANSWER = " "  # to the instruction before


@dataclass(frozen=True)
class Step:
    """One step of a session: the line it comes from, what happened, and in words what should have, where it differs."""

    number: int
    now: float  # seconds of the bot's clock
    kind: StepKind
    told: Any  # the message, instruction or answer; an Exception where the answer was trouble
    expected: str = ""
    last: bool = False  # the core has done with the message

    @property
    def said(self) -> str:
        """Say what happened."""
        return f"{self.kind} {'  ' if self.kind is StepKind.ANSWER else ''}{_words(self.told)}"


def replay(lines: Iterable[Line]) -> Iterator[tuple[Step, PairCore]]:
    """Play a session; yields each step with the core after it, and ends after the first instruction that differs.

    Raises Misconfigured for lines that are no session of this version.
    """
    try:
        yield from _replay(iter(lines))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Misconfigured(
            f"the session cannot be read ({type(error).__name__}: {error}); take one of this version."
        ) from None


def _replay(lines: Iterator[Line]) -> Iterator[tuple[Step, PairCore]]:
    first = next(lines, {})
    if first.get("session") != VERSION:
        raise Misconfigured("this is no session of a pair of this version; take a file of the bot's folder sessions.")
    core = core_of(first)
    params = core.machine.params.dtype
    steps: Any = None
    asked: Instruction | None = None
    for number, line in enumerate(lines, 2):
        wanted = unpacked(line["out"], params) if "out" in line else None
        if asked is not None or wanted is not None:
            differs = not _same(asked, wanted, line.get("out"))
            expected = _words(wanted) if differs else ""
            yield Step(number, core.now, StepKind.INSTRUCTION, asked, expected), core
            if differs:
                return
        core.now = line["now"]
        if wanted is None:
            message = unpacked(line["in"], params)
            core.queued_positions = line["waiting"]
            steps = core.checkpoint() if message is None else core.handle(message)
            asked = _next(partial(next, steps))
            yield Step(number, core.now, StepKind.MESSAGE, message, last=asked is None), core
        else:
            answer = unpacked(line["answer"], params)
            asked = _next(partial(steps.throw if isinstance(answer, Exception) else steps.send, answer))
            yield Step(number, core.now, StepKind.ANSWER, answer, last=asked is None), core


def _next(step: Callable[[], Instruction]) -> Instruction | None:
    """Take the next instruction; None when there is no more, or when the core breaks, as it then did."""
    try:
        return step()
    except (StopIteration, TimeoutError, *VENUE_ERRORS):
        return None


def _same(asked: Any, wanted: Any, recorded: Any) -> bool:
    """Whether an instruction is the one that was recorded, as far as the version that recorded it knew its fields."""
    now, then = (_known_then(packed(one), recorded) for one in (asked, wanted))
    return json.dumps(now) == json.dumps(then)


def _known_then(value: Any, recorded: Any) -> Any:
    """Leave out the fields that what was recorded does not have: its version did not know them."""
    if isinstance(value, list) and isinstance(recorded, list) and len(value) == len(recorded):
        return [_known_then(one, then) for one, then in zip(value, recorded, strict=True)]
    if not (isinstance(value, dict) and isinstance(recorded, dict)):
        return value
    if "of" in value and "fields" in recorded:
        own, then = value["fields"], recorded["fields"]
        return {**value, "fields": {name: _known_then(own[name], then[name]) for name in own if name in then}}
    return {key: _known_then(one, recorded.get(key)) for key, one in value.items()}


def _words(value: Any) -> str:
    """Say a message, an instruction or an answer on one line."""
    if isinstance(value, np.ndarray):
        return f"{len(value)} rows"
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, list):
        return f"{len(value)} of {type(value[0]).__name__}" if value else "none"
    if isinstance(value, instructions.Loaded):
        return f"a memory of {len(value.saved.data)} bytes, {len(value.orders)} orders, {len(value.booked)} executions"
    if isinstance(value, messages.Directive):
        return f"Directive {value.sequence}"
    return "rest" if value is None else str(value)
