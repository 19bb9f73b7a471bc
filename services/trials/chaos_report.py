"""The certificate of a chaos run: one page for people, on the terminal and as docs/chaos.md."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from services.trials.chaos import Findings

CHECKED = (
    "at every minute, also while the bot was dead or frozen: as many lots as were held had a stop or were leaving",
    "whenever an order that adds to exposure was taken: positions and entries together were under the limit",
    "every execution of the exchange is booked in the database once, with the same numbers, and none that never was",
    "no client order id was used twice",
    "positions are equal in the exchange, the database and the bot, and so is the money to a cent",
    "what rests at the exchange is what the bot desires, order by order, and so are the positions' stops",
    "after an orderly stop nothing rested that could increase exposure",
)
INTRODUCTION = """A bot in processes of its own trades on the simulated exchange, whose market does not wait. It is
killed by SIGKILL at random moments, also while it starts, frozen by SIGSTOP for 5 to 90 minutes of the market, and
stopped in order now and then. Meanwhile the exchange loses answers, answers 503 or nonsense, limits rates, repeats
events, and tells executions late or never. An operator resumes what is halted or held off. This page is written by
the run:"""
REPEATED = """The same seed plans the same lives, freezes and faults. Which order a kill meets depends on the machine's
timing, so the fills of two runs differ."""


def rows(found: Findings) -> list[tuple[str, str]]:
    """What was done and seen, by name."""
    plan = found.plan
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d}"),
        ("config", f"{found.config}, {', '.join(found.pairs)}"),
        ("seed", f"{plan.seed}, market at {plan.speed:g} times real time"),
        ("lives", _counted({str(end): count for end, count in found.lives.items()})),
        ("kills", f"{found.kills} of {plan.kills} asked for"),
        ("freezes", str(found.freezes)),
        ("ended by themselves", _counted(found.unasked)),
        ("faults answered", _counted(found.faults)),
        ("market minutes", f"{found.minutes.total():,} ({_counted(found.minutes)})"),
        ("fills and orders", f"{found.fills:,} fills, {found.orders:,} orders, {found.duplicates} ids refused"),
        ("bare minutes", str(found.bare)),
        ("longest bare spell", f"{found.bare_seconds * 1000.0:.0f} ms of real time, {found.bare_minutes} minutes"),
        (
            "largest exposure",
            f"{found.peak:.3f} of the equity, limit {'none' if math.isinf(found.limit) else found.limit}",
        ),
        ("warnings of the bots", _counted(found.told)),
        ("duration", f"{found.seconds:.0f} s"),
    ]


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def wrong(found: Findings) -> list[str]:
    """Say what was not as it should be, the first of each kind."""
    first = [*found.agreement.doubled[:5], *found.agreement.lost[:5], *found.bare_examples]
    return [*found.faulty(), *first]


def certificate(found: Findings) -> str:
    """One page, whose last line is the verdict."""
    width = max(len(name) for name, _ in rows(found))
    lines = [f"{name:<{width}}  {value}" for name, value in rows(found)]
    lines += ["", "checked", _listed(CHECKED)]
    lines += ["", "not as it should be", _listed(wrong(found))] if wrong(found) else []
    return "\n".join([*lines, "", found.verdict()])


def markdown(found: Findings, source: str | None) -> str:
    """The same, as a page of the documentation, written by the run itself."""
    plan = found.plan
    command = f"uv run traderagent chaos bot.yaml --kills {plan.kills} --seed {plan.seed} --speed {plan.speed:g}"
    command += f" --exchange {source}" if source else ""
    parts = [
        "# Chaos",
        INTRODUCTION,
        f"```sh\n{command} --report docs/chaos.md\n```",
        REPEATED,
        "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows(found))]),
        "Checked:",
        _listed(CHECKED),
        *(["Not as it should be:", _listed(wrong(found))] if wrong(found) else []),
        f"Result: **{found.verdict()}**",
    ]
    return "\n\n".join(parts) + "\n"


def _listed(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {one}" for one in sentences)
