"""What a person reads on the terminal: prices and quantities, never ticks and lots."""

from __future__ import annotations

from bot.ports import Execution
from bot.record import new_records
from coordinator.roster import Roster
from coordinator.vocabulary import NOTE, Note
from services.runtime.backing import SilentBus
from services.runtime.parity import Fill
from services.runtime.parity import told as parity_told
from services.runtime.view import News
from tests.conftest import START, instrument


def news():
    return News(SilentBus(), {"BTCUSDT": instrument(tick="0.1", lot="0.001")}, Roster())


def test_a_fill_is_told_by_price_and_quantity():
    told = news()
    told.publish("fill", {"execution": Execution("e", "BTCUSDT", "l", -1, 411_234, 16, 0.1, True, START)})
    assert told.lines[-1].endswith("BTCUSDT  sold 0.016 at 41123.4")


def test_a_trimmed_position_is_told_by_its_quantity():
    told, note = news(), new_records(NOTE, 1)[0]
    note["ts"], note["kind"], note["x"], note["y"] = START, int(Note.TRIM), 900.0, 16.0
    told.publish("note", {"pair": "BTCUSDT", "note": note})
    assert told.lines[-1].endswith("BTCUSDT  trim reserved 900, quantity 0.016")


def test_a_difference_of_parity_is_told_by_price_and_quantity():
    said = parity_told(Fill("BTCUSDT", START, 3, 1, -1, 411_234, 16), {"BTCUSDT": instrument(tick="0.1", lot="0.001")})
    assert (said["price"], said["quantity"]) == ("41123.4", "0.016")
    assert not {"ticks", "lots"} & set(said)
