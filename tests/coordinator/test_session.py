"""What a pair's core was told can be told again: the same is asked for, in the same order."""

from __future__ import annotations

import asyncio
import json

import numpy as np
import pytest
import typer

from bot.errors import Misconfigured
from bot.ports import Execution, Gone, OpenOrder, OrderState, Refusal, Refused, Unanswered
from bot.record import new_records, to_dict
from bot.rollup import BAR
from coordinator.messages import SetParameters
from coordinator.session import packed, replay, unpacked
from coordinator.vocabulary import DIRECTIVE
from services.command_line.replay import replay as command
from services.runtime.hosts import params_of
from services.simulated_bybit.faults import Faults
from tests.conftest import START
from tests.runtime.house import Bot, config, exchange_for, venue

MINUTES = 150


@pytest.fixture(scope="module")
def kept(dsn, tmp_path_factory):
    """Lines of the sessions of one pair: of a bot on an exchange that answers badly, and of one after its crash."""
    folder = tmp_path_factory.mktemp("sessions")

    async def main():
        chosen = config(("SOLUSDT",))
        exchange = exchange_for(chosen)
        faults = Faults(lose_response=0.1, error=0.05, duplicate=0.2)
        async with venue(exchange, faults=faults) as house:
            for _ in range(2):
                bot = Bot(chosen, house.address, dsn, "session", options={"sessions": folder})
                await bot.start()
                for _ in range(MINUTES):
                    await bot.steps.minute()
                await bot.crash()

    asyncio.run(main())
    return [
        [json.loads(line) for line in file.read_text().splitlines()] for file in sorted(folder.glob("SOLUSDT-*.jsonl"))
    ]


def test_a_session_is_decided_again_as_it_was(kept):
    for lines in kept:
        asked = [line for line in lines if "out" in line]
        assert {"Place", "Save", "Load"} <= {line["out"]["of"] for line in asked}
        steps = [step for step, _ in replay(lines)]
        assert not [step for step in steps if step.expected]
        assert steps[-1].number == len(lines)


def test_what_is_asked_for_otherwise_is_said_and_ends_it(kept):
    lines = json.loads(json.dumps(kept[0]))
    number, changed = next(
        (n, line) for n, line in enumerate(lines, 1) if "out" in line and line["out"]["of"] == "Place"
    )
    changed["out"]["fields"]["order"]["fields"]["price"] += 1
    steps = [step for step, _ in replay(lines)]
    assert (steps[-1].number, bool(steps[-1].expected)) == (number, True)


def test_the_command_ends_with_0_where_all_is_the_same_and_with_1_where_not(kept, tmp_path, capsys):
    file = tmp_path / "SOLUSDT-1.jsonl"
    whole = "".join(json.dumps(line) + "\n" for line in kept[0])
    file.write_text(whole + '{"in": {"of": "Gap", "fi')  # a kill cut the last line off
    command(file, start=1, step=False)
    assert "this program does the very same" in capsys.readouterr().out
    file.write_text(whole.replace('"of": "Save"', '"of": "FetchPosition"', 1))
    with pytest.raises(typer.Exit) as ended:
        command(file, start=1, step=False)
    assert ended.value.exit_code == 1
    assert "was FetchPosition()" in capsys.readouterr().out
    file.write_text("no session\n" + whole)
    with pytest.raises(Misconfigured, match="damaged in line 1"):
        command(file, start=1, step=False)


@pytest.mark.parametrize("lines", [[], [{}], [{"session": 1}], [{"session": 0}], [{"session": 1, "config": 3}]])
def test_what_is_no_session_is_one_sentence(lines):
    with pytest.raises(Misconfigured, match="session"):
        list(replay(lines))


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 3, 0.1 + 0.2, float("inf"), "x", b"y", [1, (2, "z")], {"a": 1}, Refusal.TOO_SMALL),
        Execution("e", "BTCUSDT", "b-1", 1, 5, 7, 0.1, True, START, heard=3.5),
        OpenOrder("b-1", 1, 0, 5, 7, 0, OrderState.RESTING),
    ],
)
def test_values_come_back_as_they_were(value):
    assert unpacked(json.loads(json.dumps(packed(value)))) == value


def test_troubles_come_back_with_what_is_acted_on():
    order = OpenOrder("b-1", 1, 0, 5, 7, 7, OrderState.FILLED)
    for trouble in (Refused(Refusal.TRIGGER_PASSED, "no"), Gone("ended", order), Unanswered("late"), TimeoutError("x")):
        back = unpacked(json.loads(json.dumps(packed(trouble))))
        assert (type(back), str(back)) == (type(trouble), str(trouble))
        assert getattr(back, "reason", None) == getattr(trouble, "reason", None)
        assert getattr(back, "order", None) == getattr(trouble, "order", None)


def test_bars_come_back_bit_by_bit():
    bars = new_records(BAR, 3)
    bars["close"] = np.random.default_rng(1).random(3)
    assert unpacked(packed(bars)).tobytes() == bars.tobytes()


def test_a_record_is_kept_by_field_so_that_another_version_reads_it():
    directive = new_records(DIRECTIVE, 1)
    directive[0].sequence, directive[0].target, directive[0].paused = 7, 0.1 + 0.2, True
    line = json.loads(json.dumps(packed(directive)))
    row = line["rows"][0]
    row["of_another_version"] = row.pop("paused")
    read = unpacked(line)
    assert (read[0].sequence, read[0].target, read[0].paused) == (7, 0.1 + 0.2, False)


def test_parameters_come_back_with_every_variant_of_theirs():
    params = params_of(config(("SOLUSDT",)), ["SOLUSDT"])
    read = unpacked(json.loads(json.dumps(packed(SetParameters(params)))), params.dtype).params
    assert len(params[0].grid) > 1
    assert json.dumps(to_dict(read[0])) == json.dumps(to_dict(params[0]))
