"""What the algorithm decided, as events with names and numbers, and as sentences."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from bot.candles import iso
from coordinator.regime import Regime
from coordinator.risk import Mode
from coordinator.vocabulary import NOBODY, Answer, Cap, Note, Pause, Variant
from filters.smc import Action, Reason
from filters.zones import ZoneKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from coordinator.roster import Roster


def _name(enumeration: Any) -> Any:
    return lambda value: enumeration(int(value)).name.lower()


def _modes(value: float) -> list[str]:
    return [mode.name.lower() for mode in Mode if mode.name and int(value) & mode]


def _side(value: float) -> str:
    return {1: "buy", -1: "sell", 0: "range"}[int(value)]


def _yes(value: float) -> bool:
    return bool(value)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


FAMILY = "family"  # in place of a reader: the roster has the name
# For each kind of note: field of the note, name, and how it reads.
FIELDS: dict[Note, tuple[tuple[str, str, Any], ...]] = {
    Note.CANDIDATE: (
        ("a", "candidate", _name(Regime)),
        ("b", "bars", int),
        ("c", "confirmed", _name(Regime)),
        ("x", "adx", _number),
        ("y", "atr_pct", _number),
        ("z", "ema_divergence", _number),
    ),
    Note.REGIME: (
        ("a", "regime", _name(Regime)),
        ("b", "before", _name(Regime)),
        ("x", "adx", _number),
        ("y", "atr_pct", _number),
        ("z", "ema_divergence", _number),
    ),
    Note.START: (("a", "strategy", FAMILY), ("b", "variant", _name(Variant)), ("x", "size", _number)),
    Note.VARIANT: (("a", "strategy", FAMILY), ("b", "variant", _name(Variant)), ("c", "before", _name(Variant))),
    Note.TRANSITION: (
        ("a", "from", FAMILY),
        ("b", "to", FAMILY),
        ("x", "price", _number),
        ("y", "position", _number),
        ("z", "stop", _number),
        ("w", "target", _number),
    ),
    Note.CLOSING: (("x", "price", _number), ("y", "position", _number)),
    Note.FLAT: (("x", "minutes", _number),),
    Note.VERDICT: (
        ("a", "action", _name(Action)),
        ("b", "reason", _name(Reason)),
        ("c", "side", _side),
        ("x", "confidence", _number),
        ("y", "share", _number),
        ("z", "price", _number),
        ("w", "upper", _number),
        ("v", "strategy", FAMILY),
    ),
    Note.PAUSE: (("a", "reason", _name(Pause)), ("b", "until", lambda value: iso(int(value))), ("x", "size", _number)),
    Note.UNPAUSE: (),
    Note.MODE: (
        ("a", "before", _modes),
        ("b", "modes", _modes),
        ("x", "day_loss", _number),
        ("y", "drawdown", _number),
        ("z", "stress_share", _number),
        ("w", "multiplier", _number),
    ),
    Note.HALT: (("x", "day_loss", _number), ("y", "drawdown", _number), ("z", "equity", _number)),
    Note.ANSWER: (("a", "answer", _name(Answer)),),
    Note.RESUME: (("x", "equity", _number),),
    Note.ALLOCATION: (
        ("a", "cap", _name(Cap)),
        ("b", "strategy", FAMILY),
        ("c", "group", int),
        ("x", "target", _number),
        ("y", "raw", _number),
        ("z", "regime_confidence", _number),
        ("w", "performance", _number),
        ("v", "equity", _number),
    ),
    Note.TRIM: (("x", "reserved", _number), ("y", "lots", _number)),
    Note.OVERCOMMITTED: (("a", "begins", _yes), ("x", "reserved", _number), ("y", "limit", _number)),
    Note.WITHDRAWN: (("a", "entries", int), ("x", "reserve", _number)),
    Note.BLOCKED: (("a", "begins", _yes), ("c", "strategy", FAMILY)),
    Note.ZONE: (
        ("a", "kind", _name(ZoneKind)),
        ("b", "side", lambda value: "demand" if value > 0 else "supply"),
        ("c", "timeframe", lambda value: "4h" if value else "1h"),
        ("x", "bottom", _number),
        ("y", "top", _number),
        ("z", "quality", _number),
        ("w", "born", lambda value: iso(int(value))),
        ("v", "died", lambda value: iso(int(value)) if value else None),
    ),
}


def fields(note: Any, roster: Roster) -> Iterable[tuple[str, Any]]:
    """Name and value of every field of a NOTE, as people read them."""
    for field, name, read in FIELDS[Note(int(note["kind"]))]:
        yield name, roster.name_of(int(note[field])) if read is FAMILY else read(note[field])


def events(notes: NDArray[Any], pairs: tuple[str, ...], roster: Roster) -> Iterable[dict[str, Any]]:
    """Every note as a plain dict: at (UTC), event, pair (None for the portfolio), and its own fields."""
    for entry in notes:
        kind = Note(int(entry["kind"]))
        pair = int(entry["pair"])
        head = {
            "at": iso(int(entry["ts"])),
            "event": kind.name.lower(),
            "pair": None if pair == NOBODY else pairs[pair],
        }
        yield {**head, **dict(fields(entry, roster))}


def explain(told: list[dict[str, Any]], pair: str, at: str) -> list[str]:
    """Sentences on why the bot held what it held on `pair` at `at` (UTC, as in the events), from events up to then."""
    before = [one for one in told if one["at"] <= at and one["pair"] in (pair, None)]
    last: dict[str, dict[str, Any]] = {}
    for one in before:
        last[one["event"]] = one
    return [
        sentence
        for part in (_regime_words, _strategy_words, _capital_words, _filter_words, _risk_words)
        for sentence in part(last, before)
    ]


def _regime_words(last: dict[str, Any], _before: list[dict[str, Any]]) -> list[str]:
    regime, candidate = last.get("regime"), last.get("candidate")
    if regime is None:
        return ["No regime was known yet: too few regime bars had closed, so nothing was opened."]
    words = [
        (
            f"The regime was {_spoken(regime['regime'])} since {regime['at']}: ADX {regime['adx']:.1f}, ATR "
            f"{regime['atr_pct']:.2f} % of the price, EMA20 {regime['ema_divergence'] * 100:+.2f} % from EMA50 then."
        )
    ]
    if candidate is not None and candidate["at"] > regime["at"] and candidate["bars"] > 0:
        words.append(
            f"At {candidate['at']} {_spoken(candidate['candidate'])} was a candidate, "
            f"{candidate['bars']} bars in a row."
        )
    return words


def _strategy_words(last: dict[str, Any], before: list[dict[str, Any]]) -> list[str]:
    chosen = [one for one in before if one["event"] in ("start", "transition", "closing", "flat", "variant")]
    if not chosen:
        return ["No strategy had been started."]
    words, one = [], chosen[-1]
    if one["event"] in ("transition", "closing"):
        moved = last["transition"]
        words.append(
            f"It was leaving {moved['from']} for {moved['to']} since {moved['at']}: "
            f"a position of {moved['position']:,.2f} with its stop at {moved['stop']:g} and its "
            f"target at {moved['target']:g}."
        )
        if one["event"] == "closing":
            words.append(f"Its time was over at {one['at']}: the rest left at the market.")
    elif one["event"] == "flat":
        words.append(f"It was flat since {one['at']}, {one['minutes']:.0f} minutes after the transition began.")
    else:
        words.append(f"{one['strategy'].capitalize()} ({_spoken(one['variant'])}) ran since {one['at']}.")
    if "blocked" in last and last["blocked"]["begins"]:
        words.append(f"New entries were blocked since {last['blocked']['at']}: the candidate forbids what ran.")
    pause, unpause = last.get("pause"), last.get("unpause")
    if pause is not None and (unpause is None or unpause["at"] < pause["at"]):
        words.append(f"The pair was paused at {pause['at']} ({_spoken(pause['reason'])}) until {pause['until']}.")
    return words


def _capital_words(last: dict[str, Any], _before: list[dict[str, Any]]) -> list[str]:
    given = last.get("allocation")
    if given is None:
        return ["It had been given no capital."]
    bound = "" if given["cap"] == "none" else f", bound by the cap {_spoken(given['cap'])}"
    return [
        (
            f"Its capital target was {given['target']:,.2f} of an equity of {given['equity']:,.2f} "
            f"since {given['at']}: "
            f"regime confidence {given['regime_confidence']:g}, performance {given['performance']:g}{bound}."
        )
    ]


def _filter_words(last: dict[str, Any], _before: list[dict[str, Any]]) -> list[str]:
    verdict = last.get("verdict")
    if verdict is None:
        return []
    what = "range" if verdict["side"] == "range" else f"{verdict['side']} at {verdict['price']:g}"
    return [
        (
            f"The filter's last verdict, at {verdict['at']} on a {what}: {verdict['action']} "
            f"({_spoken(verdict['reason'])}), confidence {verdict['confidence']:.2f}, "
            f"{verdict['share'] * 100:.0f} % of the size."
        )
    ]


def _risk_words(last: dict[str, Any], _before: list[dict[str, Any]]) -> list[str]:
    words = []
    mode, halt, resume = last.get("mode"), last.get("halt"), last.get("resume")
    if mode is not None and mode["modes"]:
        words.append(
            f"The portfolio was in {', '.join(mode['modes'])} since {mode['at']}: "
            f"day's loss {mode['day_loss'] * 100:.1f} %, drawdown {mode['drawdown'] * 100:.1f} %, "
            f"sizes times {mode['multiplier']:g}."
        )
    elif mode is not None or "allocation" in last:
        words.append("The portfolio was in normal mode.")
    if halt is not None and (resume is None or resume["at"] < halt["at"]):
        words.append(f"Everything was halted since {halt['at']}.")
    return words


def _spoken(name: str) -> str:
    return name.replace("_", " ")
