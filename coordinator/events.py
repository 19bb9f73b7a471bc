"""What the algorithm decided, as events with names and numbers, and as sentences."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bot.candles import iso
from coordinator.regime import Regime
from coordinator.risk import Mode
from coordinator.router import CASH
from coordinator.vocabulary import NOBODY, Answer, Cap, Note, Pause, Variant
from filters.smc import Reason, Verdict
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
        ("a", "action", _name(Verdict)),
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
            f"The regime was {_spoken(regime['regime'])} since {regime['at']}: {_features(regime)}, EMA20 "
            f"{regime['ema_divergence'] * 100:+.2f} % from EMA50 then."
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
        words.append(f"It was leaving {moved['from']} for {moved['to']} since {moved['at']}: {_leaving(moved)}.")
        if one["event"] == "closing":
            words.append(f"Its time was over at {one['at']}: the rest left at the market.")
    elif one["event"] == "flat":
        words.append(f"It was {_flat(one, 'since ' + one['at'])}.")
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
    return [f"The filter's last verdict, at {verdict['at']} on a {_judged(verdict)}."]


def _risk_words(last: dict[str, Any], _before: list[dict[str, Any]]) -> list[str]:
    words = []
    mode, halt, resume = last.get("mode"), last.get("halt"), last.get("resume")
    if mode is not None and mode["modes"]:
        words.append(
            f"The portfolio was in {', '.join(mode['modes'])} since {mode['at']}: {_losses(mode)}, "
            f"sizes times {mode['multiplier']:g}."
        )
    elif mode is not None or "allocation" in last:
        words.append("The portfolio was in normal mode.")
    if halt is not None and (resume is None or resume["at"] < halt["at"]):
        words.append(f"Everything was halted since {halt['at']}.")
    return words


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _features(one: dict[str, Any]) -> str:
    return f"ADX {one['adx']:.1f}, ATR {one['atr_pct']:.2f} % of the price"


def _leaving(one: dict[str, Any]) -> str:
    stop, target = f"{one['stop']:.10g}", f"{one['target']:.10g}"
    return f"a position of {one['position']:,.2f} with its stop at {stop} and its target at {target}"


def _flat(one: dict[str, Any], since: str = "") -> str:
    return " ".join(filter(None, ("flat", since))) + f", {one['minutes']:.0f} minutes after the transition began"


def _judged(one: dict[str, Any]) -> str:
    what = "range" if one["side"] == "range" else f"{one['side']} at {one['price']:.10g}"
    size = f"confidence {one['confidence']:.2f}, {one['share'] * 100:.0f} % of the size"
    return f"{what}: {one['action']} ({_spoken(one['reason'])}), {size}"


def _losses(one: dict[str, Any]) -> str:
    return f"day's loss {one['day_loss'] * 100:.1f} %, drawdown {one['drawdown'] * 100:.1f} %"


def _regime(one: dict[str, Any], running: str, called: str) -> str:
    consequence = f"{running} keeps running" if running == called else f"{running} is to give way to {called}"
    if not running:
        consequence = "nothing is opened" if called == CASH else f"{called} is to start"
    before = "" if one["before"] == "unknown" else f"{_spoken(one['before'])} → "
    return f"regime {before}{_spoken(one['regime'])}, {consequence} ({_features(one)})"


def _mode(one: dict[str, Any]) -> str:
    if not one["modes"]:
        return "normal mode again, full sizes"
    return f"{', '.join(one['modes']).upper()}: {_losses(one)}, sizes times {one['multiplier']:g}"


# One event as a sentence about its pair or the account, by kind; a REGIME needs the strategies too, so it is not here.
SENTENCES: dict[Note, Callable[[dict[str, Any]], str]] = {
    Note.CANDIDATE: lambda one: (
        f"{_spoken(one['candidate'])} is a candidate, {one['bars']} bars in a row ({_features(one)})"
    ),
    Note.START: lambda one: f"{one['strategy']} starts ({_spoken(one['variant'])}) with {one['size']:,.0f} to trade",
    Note.VARIANT: lambda one: (
        f"{one['strategy']} is {_spoken(one['variant'])} from its next laying or deal on, "
        f"no longer {_spoken(one['before'])}"
    ),
    Note.TRANSITION: lambda one: f"leaves {one['from']} for {one['to']}: {_leaving(one)}",
    Note.CLOSING: lambda one: f"the time of the transition is over: {one['position']:,.2f} leaves at the market",
    Note.FLAT: _flat,
    Note.VERDICT: lambda one: f"the filter on a {_judged(one)}",
    Note.PAUSE: lambda one: f"paused ({_spoken(one['reason'])}) until {one['until'][5:16].replace('T', ' ')}",
    Note.UNPAUSE: lambda _one: "its pause is over",
    Note.MODE: _mode,
    Note.HALT: lambda one: f"everything is halted: {_losses(one)}, equity {one['equity']:,.2f}",
    Note.ANSWER: lambda one: f"the halted positions: {_spoken(one['answer'])}",
    Note.RESUME: lambda one: f"trades again, with an equity of {one['equity']:,.2f}",
    Note.ALLOCATION: lambda one: f"its capital target is {one['target']:,.2f}",
    Note.TRIM: lambda one: f"its position is trimmed, because {one['reserved']:,.0f} was reserved",
    Note.OVERCOMMITTED: lambda one: (
        f"{one['reserved']:,.0f} is reserved, its limit is {one['limit']:,.0f}: no new entries"
        if one["begins"]
        else "its reserve is within its limit again: new entries"
    ),
    Note.WITHDRAWN: lambda one: (
        f"the {one['entries']} farthest entries are withdrawn, which frees {one['reserve']:,.0f}"
    ),
    Note.BLOCKED: lambda one: (
        f"new entries are blocked: the candidate forbids {one['strategy']}"
        if one["begins"]
        else "new entries are no longer blocked"
    ),
    Note.ZONE: lambda one: f"a {one['side']} zone on {one['timeframe']} from {one['bottom']:.10g} to {one['top']:.10g}",
}


def sentence(note: Any, roster: Roster, running: str = "", called: str = "") -> str:
    """What a NOTE says, as part of a sentence about its pair or the account.

    `running` and `called` are strategies of the pair, of which a change of regime speaks: the one that runs, "" for
    none, and the one that the regime calls for.
    """
    kind, one = Note(int(note["kind"])), dict(fields(note, roster))
    return _regime(one, running, called) if kind is Note.REGIME else SENTENCES[kind](one)
