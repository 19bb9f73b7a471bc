"""What whoever has signed in may do: look, command, or command what moves money; each includes the one before."""

from __future__ import annotations

from enum import StrEnum

from coordinator.operator import CommandKind


class Scope(StrEnum):
    """In the order of what they allow."""

    READ = "read"
    CONTROL = "control"
    MONEY = "money"


ALL = tuple(Scope)
MONEY_COMMANDS = {
    *(CommandKind.CLOSE, CommandKind.CLOSE_ALL, CommandKind.REDUCE_50, CommandKind.INVEST, CommandKind.SHUTDOWN),
    *(CommandKind.PHASE_UP, CommandKind.PHASE_DOWN, CommandKind.SET),
}


def needed_for(kind: str) -> Scope:
    """Return the scope that a command asks for; one that nobody knows is refused by name later."""
    return Scope.MONEY if kind in MONEY_COMMANDS else Scope.CONTROL


def allows(held: Scope, needed: Scope) -> bool:
    """Whether the one includes the other."""
    return ALL.index(held) >= ALL.index(needed)
