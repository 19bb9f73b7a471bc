"""Carries out a core's instructions, one after the other, until it has no more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coordinator.instructions import Instruction, Steps


async def done(
    steps: Steps[None], carry_out: Callable[[Instruction], Awaitable[Any]], before: Callable[[], None] | None = None
) -> None:
    """Hand every answer, and what goes wrong, back into the core; `before` is called before each of its steps.

    Raises what the core does not deal with.
    """
    step: Callable[[], Instruction] = partial(next, steps)
    while True:
        if before is not None:
            before()
        try:
            instruction = step()
        except StopIteration:
            return
        try:
            answer = await carry_out(instruction)
        except Exception as trouble:  # noqa: BLE001, the core says which it can deal with
            step = partial(steps.throw, trouble)
        else:
            step = partial(steps.send, answer)
