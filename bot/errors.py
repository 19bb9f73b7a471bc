"""The errors a person meets: one clear sentence each, naming the field, the value and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class TradingError(Exception):
    """Root of every error this project raises on purpose; its text is one sentence for a person."""


class Misconfigured(TradingError):
    """A parameter, file or option is wrong; nothing was done. The command line exits with code 2."""


class BadCandles(TradingError):
    """Candles that cannot be traded on as they are: the sentence names the row and the reason."""


class BrokenLedger(TradingError):
    """Equity and its parts disagree: the run's figures cannot be believed and are not shown."""


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """What may have been meant by `wrong`, or all that is known, as the end of an error's sentence."""
    known = list(known)
    close = difflib.get_close_matches(wrong, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?".rstrip("?") if close else "choose one of " + ", ".join(sorted(known))
