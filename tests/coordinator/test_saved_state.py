"""What is stored finds its place again by name, in any later version: fields, slots by role, pairs by symbol."""

from __future__ import annotations

import asyncio
import json
import zipfile
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Misconfigured
from bot.order import OrderKind
from bot.ports import Saved
from bot.record import new_records
from coordinator.machine import NAME, PortfolioMachine, roles_of
from coordinator.master_loop import MasterLoop
from coordinator.migrations import Migration
from coordinator.pair_state import OWN
from coordinator.roster import Roster
from coordinator.saved_state import LAYOUT, Packer, Piece, fill, read
from coordinator.vocabulary import NO_PAIR, NO_STRATEGY
from services.messaging.silent_bus import SilentBus
from services.runtime.memories import machine_of
from services.storage.store import PostgresStore
from tests.conftest import ROOT, Family
from tests.runtime.house import config

STATES = sorted((ROOT / "tests" / "golden").glob("states_*.zip"))
SCENES = ("flat", "grid", "dca", "trend", "draining", "halted")
PAIR = "SOLUSDT"


# Fields

KINDS = {"b1": st.booleans(), "i4": st.integers(-9, 9), "i8": st.integers(-9, 9), "f8": st.integers(-9, 9)}
WIDER = {"b1": ["b1", "i4"], "i4": ["i4", "i8", "f8"], "i8": ["i8", "f8"], "f8": ["f8"]}
FATES = ("kept", "added", "renamed", "forgotten")
lengths = st.integers(0, 4)


@st.composite
def fields(draw):
    """A field before and after: fate, kinds, lengths (0: a number and no array), and how it is nested."""
    before = draw(st.sampled_from(sorted(KINDS)))
    length = draw(lengths)
    after = draw(lengths.filter(lambda one: (one == 0) == (length == 0)))
    return (
        draw(st.sampled_from(FATES)),
        before,
        draw(st.sampled_from(WIDER[before])),
        length,
        after,
        draw(st.booleans()),
    )


def dtype_of(described):
    """A record of numbers, some of them in a record of its own, of which there are two."""
    plain = [(name, kind, (length,) if length else ()) for name, kind, length, nested in described if not nested]
    inner = [(name, kind, (length,) if length else ()) for name, kind, length, nested in described if nested]
    return np.dtype([("first", "i8"), *plain, ("inner", [("one", "i8"), *inner], (2,))], align=True)


def column(array, name, nested):
    return (array["inner"] if nested else array)[name]


def as_before(found, own):
    """What `own` has to be once `found` was loaded into it, and whether that loses anything."""
    shared = tuple(slice(0, min(pair)) for pair in zip(found.shape, own.shape, strict=True))
    expected = own.copy()
    expected[shared] = found[shared]
    return expected, np.count_nonzero(found) > np.count_nonzero(found[shared])


def path_of(name, nested):
    return f"piece.inner.{name}" if nested else f"piece.{name}"


def sides(described):
    """Fields of what is stored and of what runs, with the migrations between."""
    old, new, migrations = [], [], []
    for index, (fate, before, after, length, longer, nested) in enumerate(described):
        name, now = f"f{index}", f"n{index}" if fate == "renamed" else f"f{index}"
        if fate != "added":
            old.append((name, before, length, nested))
        if fate != "forgotten":
            new.append((now, after, longer, nested))
        if fate in ("renamed", "forgotten"):
            migrations.append(Migration(path_of(name, nested), path_of(now, nested) if fate == "renamed" else None))
    return old, new, tuple(migrations)


@given(st.lists(fields(), max_size=6), st.data())
def test_fields_come_back_by_name_whatever_was_added_removed_renamed_or_resized(described, data):
    old, new, migrations = sides(described)
    stored, own = np.zeros(1, dtype_of(old)), np.zeros(1, dtype_of(data.draw(st.permutations(new))))
    for name, kind, _, nested in old:
        view = column(stored, name, nested)
        view.flat = data.draw(st.lists(KINDS[kind], min_size=view.size, max_size=view.size))
    for name, _, _, nested in new:
        column(own, name, nested)[...] = 1  # the new machine's own
    expected, lost = own.copy(), False
    for index, (fate, *_, nested) in enumerate(described):
        if fate in ("kept", "renamed"):
            view = column(expected, f"n{index}" if fate == "renamed" else f"f{index}", nested)
            view[...], loses = as_before(column(stored, f"f{index}", nested), view)
            lost = lost or loses
    pieces, was = [Piece("piece", own)], [Piece("piece", stored)]
    found = read("X", Packer(was, migrations=0).pack(was), migrations)
    if lost:
        with pytest.raises(Misconfigured, match=r"state of X has piece\..*of which this version keeps"):
            fill("X", pieces, found)
        return
    fill("X", pieces, found)
    for name, _, _, nested in new:
        np.testing.assert_array_equal(column(own, name, nested), column(expected, name, nested))


def loaded(old, new, migrations=()):
    """A record of `new` into which one of `old` (field: value) was loaded."""
    stored, own = np.array([tuple(old.values())], [(name, type(one)) for name, one in old.items()]), np.zeros(1, new)
    saved = Packer([Piece("piece", stored)], migrations=0).pack([Piece("piece", stored)])
    fill("X", [Piece("piece", own)], read("X", saved, migrations))
    return own


def test_a_field_that_vanished_is_refused_unless_it_was_zero_or_is_migrated():
    assert loaded({"a": 3, "gone": 0}, [("a", "i8")])["a"] == 3
    with pytest.raises(Misconfigured, match=r"state of X has piece\.gone = 7, which this version does not know"):
        loaded({"a": 3, "gone": 7}, [("a", "i8")])
    assert loaded({"a": 3, "gone": 7}, [("a", "i8")], (Migration("piece.gone", None),))["a"] == 3


def test_a_field_of_another_kind_is_refused_unless_it_is_converted():
    with pytest.raises(Misconfigured, match=r"state of X has piece\.a = float64 \(\), which is int64 \(\) now"):
        loaded({"a": 2.5}, [("a", "i8")])
    with pytest.raises(Misconfigured, match="whose numbers do not fit into int8"):
        loaded({"a": 300}, [("a", "i1")])
    converted = Migration("piece.a", "piece.a", lambda column: np.rint(column * 100).astype(np.int64))
    assert loaded({"a": 2.5}, [("a", "i8")], (converted,))["a"] == 250
    assert loaded({"a": 300}, [("a", "f8")])["a"] == 300.0


def test_a_migration_is_made_once():
    """A name that was given up may be used again for something else."""
    renamed = (Migration("piece.a", "piece.b"),)
    piece = [Piece("piece", np.array([(1, 2)], [("a", "i8"), ("b", "i8")]))]
    own = np.zeros(1, piece[0].array.dtype)
    fill("X", [Piece("piece", own)], read("X", Packer(piece, migrations=1).pack(piece), renamed))
    assert own[0].item() == (1, 2)
    with pytest.raises(Misconfigured, match="written by a newer version"):
        read("X", Packer(piece, migrations=1).pack(piece), ())


# Slots


@pytest.mark.parametrize("family", [*Family, NO_STRATEGY])
@pytest.mark.parametrize("count", range(4 + OWN, 60))
def test_every_slot_of_a_table_has_one_role(family, count):
    roles = roles_of(Roster(), family, count)
    assert len(roles) == len(set(roles)) == count


@cache
def scene_of(file, scene):
    """What was stored, and what must be found."""
    with zipfile.ZipFile(file) as archive:
        facts = json.loads(archive.read(f"{scene}/facts.json"))
        (layout,) = (one for one in archive.namelist() if one.startswith(f"{scene}/") and not one.endswith(".json"))
        return Saved(layout.partition("/")[2], archive.read(layout)), facts


def machine_with(levels):
    return machine_of(config(grid={"levels": levels}), PAIR)


def orders_of(machine):
    """Desired orders, by the names that the orders have."""
    keys = ("number", "generation", "side", "kind", "price", "quantity", "part")
    return sorted([int(slot[key]) for key in keys] for slot in machine.slots if slot.active or slot.suspended)


def assert_found(machine, facts):
    state = machine.states[0]
    assert (int(state.family), int(state.phase)) == (facts["family"], facts["phase"])
    assert (machine.position, float(machine.pairs[0].ledger.cost)) == (facts["position"], facts["cost"])
    assert machine.time == facts["time"]
    assert state.grid.cells["held"].tolist() == facts["held"]
    assert [bool(state.dca.in_deal), bool(state.dca.ladder_laid)] == facts["ladder"]
    assert orders_of(machine) == sorted(facts["orders"])


def assert_in_place(machine):
    """Every order stands where its strategy looks for it."""
    roles = roles_of(machine.roster, int(machine.states[0].family), len(machine.slots))
    for index, slot in enumerate(machine.slots):
        role, _, cell = roles[index].partition("/")
        if (slot.active or slot.suspended) and role in ("entry", "counter") and cell:
            assert int(slot.part) == int(cell)
        if slot.active and roles[index] in ("stop", "pair/stop"):
            assert slot.reduce_only
            assert slot.kind == OrderKind.STOP
            assert slot.quantity == abs(machine.position)


@pytest.mark.parametrize("file", STATES, ids=lambda file: file.stem)
@pytest.mark.parametrize("levels", [15, 16, 10])
@pytest.mark.parametrize("scene", SCENES)
def test_a_state_of_a_version_before_is_loaded_with_any_number_of_levels(file, scene, levels):
    """F-88."""
    saved, facts = scene_of(file, scene)
    machine = machine_with(levels)
    asked, before = len(machine.slots), len(machine_with(15).slots)
    machine.restore(saved)
    assert_found(machine, facts)
    assert_in_place(machine)
    assert len(machine.slots) == (asked if scene == "flat" else max(asked, before))
    numbers = machine.slots["number"]
    assert len(set(numbers.tolist())) == len(numbers)
    assert int(machine.next_number[0]) > numbers.max()
    for other in (20, 10):  # and on through versions and levels to come
        following = machine_with(other)
        following.restore(machine.saved())
        assert_found(following, facts)
        assert_in_place(following)
        assert following.next_number[0] >= machine.next_number[0]
        machine = following


@pytest.mark.parametrize("file", STATES, ids=lambda file: file.stem)
def test_a_role_that_is_new_takes_a_number_that_no_order_ever_had(file):
    saved, _ = scene_of(file, "flat")
    machine, used = machine_with(10), set()
    machine.restore(saved)
    for levels in (15, 10, 16, 10, 16):
        before = dict(zip(machine.remembered()[2].keys, machine.slots["number"].tolist(), strict=True))
        used |= set(before.values())
        following = machine_with(levels)
        following.restore(machine.saved())
        after = dict(zip(following.remembered()[2].keys, following.slots["number"].tolist(), strict=True))
        assert all(after[role] == number for role, number in before.items() if role in after)
        assert not {after[role] for role in after.keys() - before.keys()} & used
        machine = following


def test_what_is_stored_comes_back_bit_by_bit():
    file = STATES[0]
    machine = machine_with(15)
    machine.restore(scene_of(file, "grid")[0])
    other = machine_with(15)
    other.restore(machine.saved())
    assert other.saved() == machine.saved()
    assert machine.saved().layout == LAYOUT


# Pairs


def portfolio(pairs):
    return PortfolioMachine(config(pairs).algorithm, list(pairs), 1000.0)


@pytest.mark.parametrize("file", STATES, ids=lambda file: file.stem)
def test_a_portfolio_of_a_version_before_is_loaded(file):
    saved, facts = scene_of(file, NAME)
    machine = portfolio(facts["symbols"])
    assert machine.restore(saved) == facts["symbols"]
    assert float(machine.portfolio_state.portfolio.deposits) == facts["deposits"]
    assert machine.portfolio_state.allocations["target"].tolist() == facts["targets"]
    assert machine.portfolio_state.routes["family"].tolist() == facts["families"]


def test_pairs_are_found_by_their_symbols_when_others_come_and_go():
    before = portfolio(["AUSDT", "BUSDT", "CUSDT", "DUSDT"])
    before.portfolio_state.routes["family"] = [0, 1, 2, 0]
    before.portfolio_state.groups[:] = [0, 1, 0, 1]
    before.portfolio_state.portfolio.least = 2
    after = portfolio(["NUSDT", "DUSDT", "CUSDT", "BUSDT"])
    assert after.restore(before.saved()) == ["AUSDT", "BUSDT", "CUSDT", "DUSDT"]
    assert after.portfolio_state.routes["family"].tolist() == [NO_STRATEGY, 0, 2, 1]
    assert after.portfolio_state.groups.tolist() == [0, 1, 2, 1], "a group is named by the lowest of its pairs"
    assert after.portfolio_state.portfolio.least == 2
    alone = portfolio(["AUSDT"])
    alone.restore(before.saved())
    assert (alone.portfolio_state.groups.tolist(), int(alone.portfolio_state.portfolio.least)) == ([0], NO_PAIR)


def test_the_money_that_a_pair_has_made_stays_when_it_goes_and_counts_once_when_it_is_back(dsn, name):
    async def main():
        store = await PostgresStore.open(dsn, name)
        machine = machine_with(15)
        ledger = machine.pairs[0].ledger
        ledger.realised, ledger.fees, ledger.funding = 50.0, 2.0, 1.0
        await store.save(PAIR, machine.saved(), 1, [], [], [])
        found = []
        for pairs in (["BTCUSDT", PAIR], ["BTCUSDT"], ["ETHUSDT", "BTCUSDT"], [PAIR, "BTCUSDT"], [PAIR, "BTCUSDT"]):
            loop = MasterLoop(portfolio(pairs), pairs, store, SilentBus(), lambda *_: None)
            await loop.start(1)
            if not found:
                loop.core.machine.portfolio_state.portfolio.deposits = 1000.0
                await store.save(NAME, loop.core.machine.saved(), 1, [], [], [])
            found.append(float(loop.core.machine.portfolio_state.portfolio.deposits))
        await store.close()
        return found

    assert asyncio.run(main()) == [1000.0, 1049.0, 1049.0, 1000.0, 1000.0]


def test_a_portfolio_that_does_not_name_its_pairs_is_loaded_with_as_many():
    saved, facts = scene_of(STATES[0], NAME)
    with pytest.raises(Misconfigured, match="of 2 pairs and does not name them"):
        portfolio([*facts["symbols"], "ETHUSDT"]).restore(saved)


def test_records_without_a_machine_are_stored_too():
    rows = new_records(np.dtype([("a", "i8")]), 2)
    pieces = [Piece("piece", rows, ("x", "y"))]
    assert read("X", Packer(pieces).pack(pieces)).keys == {"piece": ("x", "y")}
