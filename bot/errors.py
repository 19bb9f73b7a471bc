"""The errors a person meets: one clear sentence each, naming the field, the value and the remedy."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable
from typing import Any

LONGEST_SHOWN = 200  # characters of a value that an error's sentence shows


class TradingError(Exception):
    """Root of every error this project raises on purpose; its text is one sentence for a person."""


class Misconfigured(TradingError):
    """A parameter, file or option is wrong; nothing was done. The command line exits with code 2."""


class BadCursor(Misconfigured):
    """What was given for the place after a page is none; a list is read from its beginning, or not at all."""


class BadCandles(TradingError):
    """Candles that cannot be traded on as they are: the sentence names the row and the reason."""


class BrokenLedger(TradingError):
    """Equity and its parts disagree: the run's figures cannot be believed and are not shown."""


class OutOfStep(TradingError):
    """Something happened to a pair that its phase does not allow; the sentence tells the story."""


def shown(value: Any) -> str:
    """Return a value as an error's sentence shows it: at most 200 characters of it, on one line."""
    if isinstance(value, int) and abs(value) >= 10**LONGEST_SHOWN:
        return f"a number of {value.bit_length()} bits"  # writing it out takes long, and Python refuses to
    text = _cut.repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"


_cut = reprlib.Repr()  # never writes out the whole of what is large or contains itself
_cut.maxlevel, _cut.maxstring, _cut.maxother = 3, LONGEST_SHOWN, LONGEST_SHOWN
_cut.maxlist = _cut.maxtuple = _cut.maxdict = _cut.maxset = 8


def cut(text: str, longest: int = LONGEST_SHOWN) -> str:
    """Return words of somebody else's for a sentence of ours: on one line, and not longer than that."""
    line = " ".join(text.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """What may have been meant by `wrong`, or all that is known, as the end of an error's sentence."""
    known = list(known)
    close = difflib.get_close_matches(wrong[:LONGEST_SHOWN], known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}" if close else "choose one of " + ", ".join(sorted(known))
