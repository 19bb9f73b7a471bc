"""`traderagent presets`: the program's and one's own, what they say of themselves, and marks that stay."""

from __future__ import annotations

import json
from datetime import date

import pytest

from bot.sources import ROOT
from coordinator.config import load_config
from services.app import preset_library
from services.app.preset_library import StoredPreset, presets_of
from tests.services.test_batch import command

MINE = """# The best of 1,234 variants by sobol:1234 and information_ratio, chosen on 2024-01-01 to 2024-09-01.
# Better than chance.
# Expires 2026-01-31: search again by then.
version: 1
strategy: grid
pair: BTCUSDT
"""
DAY = date(2026, 1, 31)


@pytest.fixture
def mine(store_dir, monkeypatch):
    """A data directory with a preset of one's own, on the last day on which it stands."""
    (store_dir / "presets").mkdir(parents=True)
    (store_dir / "presets" / "mine.yaml").write_text(MINE)
    monkeypatch.setattr(preset_library, "today", lambda: DAY)
    return store_dir


def listed(monkeypatch, capsys):
    code, out, err = command(monkeypatch, capsys, "presets", "list", "--json")
    assert code == 0, err
    return {row["name"]: row for row in json.loads(out)}


def test_presets_say_where_they_come_from_their_trials_and_until_when(mine, monkeypatch, capsys):
    rows = listed(monkeypatch, capsys)
    assert {path.stem for path in (ROOT / "configs" / "presets").glob("*.yaml")} | {"mine"} == set(rows)
    assert {key: rows["mine"][key] for key in ("whose", "strategy", "pairs", "trials", "expires", "expired")} == {
        "whose": "own",
        "strategy": "grid",
        "pairs": ["BTCUSDT"],
        "trials": 1234,
        "expires": "2026-01-31",
        "expired": False,
    }
    assert rows["mine"]["origin"].startswith("The best of 1,234 variants by sobol:1234")
    theirs = rows["stable_low"]
    assert (theirs["whose"], theirs["trials"], theirs["state"]) == ("program", 12_446, "stands until 2027-05-27")
    code, out, _ = command(monkeypatch, capsys, "presets", "list")
    assert code == 0 and "mid_cap_medium" in out and "1,234" in out


def test_a_preset_is_expired_the_day_after_and_says_so(mine, monkeypatch, capsys):
    code, out, err = command(monkeypatch, capsys, "presets", "show", "mine")
    assert (code, out, err) == (0, MINE, "")
    monkeypatch.setattr(preset_library, "today", lambda: date(2026, 2, 1))
    code, out, err = command(monkeypatch, capsys, "presets", "show", "mine")
    assert (code, out) == (0, MINE)
    assert err == "note: mine expired on 2026-01-31; markets change: search or scan again\n"
    assert listed(monkeypatch, capsys)["mine"]["expired"] is True


def test_export_writes_a_config_and_nothing_over_another(mine, tmp_path, monkeypatch, capsys):
    words = ("presets", "export", "blue_chip_low", tmp_path / "bot.yaml")
    assert command(monkeypatch, capsys, *words)[0] == 0
    theirs = ROOT / "configs" / "presets" / "blue_chip_low.yaml"
    assert (tmp_path / "bot.yaml").read_bytes() == theirs.read_bytes()
    assert load_config(tmp_path / "bot.yaml").risk_level == "low"
    code, _, err = command(monkeypatch, capsys, *words)
    assert code == 2 and "bot.yaml exists; choose another file, or give --replace." in err
    assert command(monkeypatch, capsys, *words, "--replace")[0] == 0
    code, _, err = command(monkeypatch, capsys, "presets", "export", "mine", tmp_path)
    assert code == 2 and "is a folder; name a file in it." in err


def test_a_mark_stays_and_leaves_the_programs_file_alone(mine, monkeypatch, capsys):
    theirs = ROOT / "configs" / "presets" / "stable_low.yaml"
    before = theirs.read_bytes()
    for name in ("mine", "stable_low", "stable_low"):
        assert command(monkeypatch, capsys, "presets", "expire", name)[0] == 0
    assert theirs.read_bytes() == before
    rows = listed(monkeypatch, capsys)
    for name in ("mine", "stable_low"):
        assert (rows[name]["whose"], rows[name]["state"]) == ("own", "expired: marked on 2026-01-31")
    text = (mine / "presets" / "stable_low.yaml").read_text()
    assert text == f"# Expired 2026-01-31: marked by hand.\n{before.decode()}"
    assert rows["stable_low"]["origin"].startswith("Stable pairs under `auto`")
    code, _, err = command(monkeypatch, capsys, "presets", "show", "stable_low")
    assert code == 0 and "note: stable_low expired: marked on 2026-01-31" in err


def test_what_cannot_be_read_is_listed_with_its_reason(mine, monkeypatch, capsys):
    for name, content in (("half", b"strategy: [grid"), ("bytes", b"\xff\xfe\xfa"), ("odd", b"strategy: gird\n")):
        (mine / "presets" / f"{name}.yaml").write_bytes(content)
    rows = listed(monkeypatch, capsys)
    assert all(rows[name]["state"].startswith("cannot be read: ") for name in ("half", "bytes", "odd"))
    assert "strategy 'gird' is unknown" in rows["odd"]["state"]
    code, _, err = command(monkeypatch, capsys, "presets", "show", "odd")
    assert code == 2 and err.startswith("error: preset odd cannot be read: strategy 'gird' is unknown")


@pytest.mark.parametrize("words", [("show",), ("expire",), ("export", "out.yaml")])
def test_an_unknown_name_is_one_sentence(mine, tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    for name, said in (("stable_lo", "did you mean 'stable_low'"), ("../bot", ""), ("x" * 300, "choose one of")):
        code, out, err = command(monkeypatch, capsys, "presets", words[0], name, *words[1:])
        assert (code, out) == (2, "")
        assert err.startswith("error: preset ") and "is unknown; " in err and said in err and len(err) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_day_that_no_calendar_has_and_no_words_at_all_are_told():
    bare = StoredPreset("bare", ROOT, True, "strategy: grid\n", {"strategy": "grid"})
    assert (bare.origin, bare.trials, bare.expires) == ("does not say where it comes from", None, None)
    assert bare.state(DAY) == "does not say until when it stands" and not bare.expired(DAY)
    odd = StoredPreset("odd", ROOT, True, "# Trials: 12. Expires 2026-02-31.\n", {})
    assert (odd.trials, odd.expires) == (12, None)


def test_an_installation_without_presets_lists_ones_own(mine, tmp_path):
    assert [one.name for one in presets_of(mine, tmp_path / "none")] == ["mine"]
