"""What the algorithm decided: from the kernels' short records to names, numbers and sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bot.candles import iso
from bot.costs import CostRule
from bot.events import Decision
from bot.ports import Refusal
from coordinator.regime import Regime
from coordinator.risk import Mode
from coordinator.router import CASH
from coordinator.vocabulary import NO_PAIR, Cap, DecisionKind, HaltAnswer, Pause, Variant, WalletOrigin
from filters.smc import Reason, Verdict
from filters.zones import ZoneKind

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coordinator.roster import Roster


def _name(enumeration: Any) -> Any:
    return lambda value: enumeration(int(value)).name.lower()


def modes_of(value: float) -> list[str]:
    """Names of the portfolio's modes that hold, from their bits; none: normal."""
    return [mode.name.lower() for mode in Mode if mode.name and int(value) & mode]


def _side(value: float) -> str:
    return {1: "buy", -1: "sell", 0: "range"}[int(value)]


def _yes(value: float) -> bool:
    return bool(value)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _asked(value: float) -> str:
    return {1: "long", -1: "short", 0: "close"}[int(value)]


FAMILY = "family"  # in place of a reader: the roster has the name
# For each kind: field of a DECISION record, name, and how it reads.
FIELDS: dict[DecisionKind, tuple[tuple[str, str, Any], ...]] = {
    DecisionKind.CANDIDATE: (
        ("a", "candidate", _name(Regime)),
        ("b", "bars", int),
        ("c", "confirmed", _name(Regime)),
        ("x", "adx", _number),
        ("y", "atr_pct", _number),
        ("z", "ema_divergence", _number),
    ),
    DecisionKind.REGIME: (
        ("a", "regime", _name(Regime)),
        ("b", "before", _name(Regime)),
        ("x", "adx", _number),
        ("y", "atr_pct", _number),
        ("z", "ema_divergence", _number),
    ),
    DecisionKind.START: (("a", "strategy", FAMILY), ("b", "variant", _name(Variant)), ("x", "size", _number)),
    DecisionKind.VARIANT: (
        ("a", "strategy", FAMILY),
        ("b", "variant", _name(Variant)),
        ("c", "before", _name(Variant)),
    ),
    DecisionKind.TRANSITION: (
        ("a", "from", FAMILY),
        ("b", "to", FAMILY),
        ("x", "price", _number),
        ("y", "position", _number),
        ("z", "stop", _number),
        ("w", "target", _number),
    ),
    DecisionKind.CLOSING: (("x", "price", _number), ("y", "position", _number)),
    DecisionKind.FLAT: (("x", "minutes", _number),),
    DecisionKind.VERDICT: (
        ("a", "action", _name(Verdict)),
        ("b", "reason", _name(Reason)),
        ("c", "side", _side),
        ("x", "confidence", _number),
        ("y", "share", _number),
        ("z", "price", _number),
        ("w", "upper", _number),
        ("v", "strategy", FAMILY),
    ),
    DecisionKind.PAUSE: (
        ("a", "reason", _name(Pause)),
        ("b", "until", lambda value: iso(int(value))),
        ("x", "size", _number),
    ),
    DecisionKind.UNPAUSE: (),
    DecisionKind.MODE: (
        ("a", "before", modes_of),
        ("b", "modes", modes_of),
        ("x", "day_loss", _number),
        ("y", "drawdown", _number),
        ("z", "stress_share", _number),
        ("w", "multiplier", _number),
    ),
    DecisionKind.HALT: (("x", "day_loss", _number), ("y", "drawdown", _number), ("z", "equity", _number)),
    DecisionKind.ANSWER: (("a", "answer", _name(HaltAnswer)),),
    DecisionKind.RESUME: (("x", "equity", _number),),
    DecisionKind.INVESTMENT: (("x", "amount", _number), ("y", "capital", _number), ("z", "equity", _number)),
    DecisionKind.WALLET: (("a", "origin", _name(WalletOrigin)), ("x", "amount", _number), ("y", "wallet", _number)),
    DecisionKind.ALLOCATION: (
        ("a", "cap", _name(Cap)),
        ("b", "strategy", FAMILY),
        ("c", "group", int),
        ("x", "target", _number),
        ("y", "raw", _number),
        ("z", "regime_confidence", _number),
        ("w", "performance", _number),
        ("v", "equity", _number),
    ),
    DecisionKind.TRIM: (("x", "reserved", _number), ("y", "lots", _number)),
    DecisionKind.OVERCOMMITTED: (("a", "begins", _yes), ("x", "reserved", _number), ("y", "limit", _number)),
    DecisionKind.WITHDRAWN: (("a", "entries", int), ("x", "reserve", _number)),
    DecisionKind.BLOCKED: (("a", "begins", _yes), ("c", "strategy", FAMILY)),
    DecisionKind.COSTS: (
        ("a", "rule", _name(CostRule)),
        ("b", "count", int),
        ("c", "strategy", FAMILY),
        ("x", "distance", _number),
        ("y", "least", _number),
        ("z", "costs", _number),
    ),
    DecisionKind.ZONE: (
        ("a", "kind", _name(ZoneKind)),
        ("b", "side", lambda value: "demand" if value > 0 else "supply"),
        ("c", "timeframe", lambda value: "4h" if value else "1h"),
        ("x", "bottom", _number),
        ("y", "top", _number),
        ("z", "quality", _number),
        ("w", "born", lambda value: iso(int(value))),
        ("v", "died", lambda value: iso(int(value)) if value else None),
    ),
    DecisionKind.SIGNAL: (
        ("a", "number", int),
        ("b", "asked", _asked),
        ("c", "late", _yes),
        ("x", "stop", _number),
        ("y", "target", _number),
        ("z", "price", _number),
    ),
    DecisionKind.FULL: (
        ("a", "asked", lambda value: _side(value) if value else "rest"),
        ("c", "strategy", FAMILY),
        ("x", "price", _number),
    ),
    DecisionKind.REFUSED: (
        ("a", "refusal", lambda value: list(Refusal)[int(value)].name.lower()),
        ("b", "side", _side),
        ("x", "price", _number),
        ("y", "quantity", _number),
    ),
}


def decision_of(record: Any, pair: str, roster: Roster) -> Decision:
    """Read a DECISION record of a kernel; `pair` is its symbol, empty for the account."""
    kind = DecisionKind(int(record["kind"]))
    fields = {
        name: roster.name_of(int(record[key])) if read is FAMILY else read(record[key])
        for key, name, read in FIELDS[kind]
    }
    return Decision(pair, int(record["ts"]), kind.name.lower(), fields)


def decisions_of(records: NDArray[Any], pairs: Sequence[str], roster: Roster) -> list[Decision]:
    """Read DECISION records (n,) whose `pair` counts in `pairs`."""
    return [decision_of(one, "" if int(one["pair"]) == NO_PAIR else pairs[int(one["pair"])], roster) for one in records]


def as_row(decision: Decision) -> dict[str, Any]:
    """Write a decision as a line of events.jsonl: at (UTC), event, pair (None for the account), and its own fields."""
    return {
        "at": iso(decision.at),
        "event": decision.kind,
        "pair": decision.pair or None,
        **decision.fields,
    }


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
            words.append(f"Its time was over at {one['at']}: the rest was closed at the market.")
    elif one["event"] == "flat":
        words.append(f"It was {_flat(one, 'since ' + one['at'])}.")
    else:
        words.append(f"{one['strategy'].capitalize()} ({_spoken(one['variant'])}) ran since {one['at']}.")
    if "blocked" in last and last["blocked"]["begins"]:
        words.append(f"New entries were blocked since {last['blocked']['at']}: the candidate forbids what ran.")
    pause, unpause = last.get("pause"), last.get("unpause")
    if pause is not None and (unpause is None or unpause["at"] < pause["at"]):
        words.append(f"The pair was paused at {pause['at']} ({_spoken(pause['reason'])}) until {pause['until']}.")
    refused = last.get("costs")
    if refused is not None:
        words.append(
            f"At {refused['at']} {COST_WORDS[refused['rule']]} {_short(refused)}; the {refused['count']}. such."
        )
    full = last.get("full")
    if full is not None:
        words.append(f"At {full['at']} {SENTENCES[DecisionKind.FULL](full)}.")
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


def _signal(one: dict[str, Any]) -> str:
    if one["asked"] == "close":
        return "leave"
    return f"go {one['asked']} with its stop at {one['stop']:.10g} and its target at {one['target']:.10g}"


def _at(price: float) -> str:
    return f"at {price:.10g}" if price else "at the market"


COST_WORDS = {
    "target": "nothing is opened: the target lies too near,",
    "stop": "nothing is opened: the stop lies too near,",
    "cell": "no grid is laid: a cell earns too little,",
    "transition": "the transition waits: the position risks little by staying,",
}


WALLET_WORDS = {
    "opening": "the account begins with {amount:,.2f}",
    "transfer": "a transfer of {amount:+,.2f}",
    "unexplained": "{amount:+,.2f} in the wallet is no transfer",
}


def _short(one: dict[str, Any]) -> str:
    """Say how short a distance was of what its costs ask for."""
    return f"{one['distance']:.3%} where costs of {one['costs']:.3%} ask for {one['least']:.3%}"


# One event as a sentence about its pair or the account, by kind; a REGIME needs the strategies too, so it is not here.
SENTENCES: dict[DecisionKind, Callable[[dict[str, Any]], str]] = {
    DecisionKind.CANDIDATE: lambda one: (
        f"{_spoken(one['candidate'])} is a candidate, {one['bars']} bars in a row ({_features(one)})"
    ),
    DecisionKind.START: lambda one: (
        f"{one['strategy']} starts ({_spoken(one['variant'])}) with {one['size']:,.0f} to trade"
    ),
    DecisionKind.VARIANT: lambda one: (
        f"{one['strategy']} is {_spoken(one['variant'])} from its next laying or deal on, "
        f"no longer {_spoken(one['before'])}"
    ),
    DecisionKind.TRANSITION: lambda one: f"leaves {one['from']} for {one['to']}: {_leaving(one)}",
    DecisionKind.CLOSING: lambda one: (
        f"the time of the transition is over: {one['position']:,.2f} is closed at the market"
    ),
    DecisionKind.FLAT: _flat,
    DecisionKind.VERDICT: lambda one: f"the filter on a {_judged(one)}",
    DecisionKind.PAUSE: lambda one: f"paused ({_spoken(one['reason'])}) until {one['until'][5:16].replace('T', ' ')}",
    DecisionKind.UNPAUSE: lambda _one: "its pause is over",
    DecisionKind.MODE: _mode,
    DecisionKind.HALT: lambda one: f"everything is halted: {_losses(one)}, equity {one['equity']:,.2f}",
    DecisionKind.ANSWER: lambda one: f"the halted positions: {_spoken(one['answer'])}",
    DecisionKind.RESUME: lambda one: f"trades again, with an equity of {one['equity']:,.2f}",
    DecisionKind.INVESTMENT: lambda one: (
        f"{abs(one['amount']):,.2f} {'added to' if one['amount'] > 0 else 'taken out of'} the capital, which is now "
        f"{one['capital']:,.2f}; the equity is {one['equity']:,.2f}"
    ),
    DecisionKind.WALLET: lambda one: (
        f"{WALLET_WORDS[one['origin']].format(**one)}; the wallet holds {one['wallet']:,.2f}"
    ),
    DecisionKind.ALLOCATION: lambda one: f"its capital target is {one['target']:,.2f}",
    DecisionKind.TRIM: lambda one: f"its position is trimmed, because {one['reserved']:,.0f} was reserved",
    DecisionKind.OVERCOMMITTED: lambda one: (
        f"{one['reserved']:,.0f} is reserved, its limit is {one['limit']:,.0f}: no new entries"
        if one["begins"]
        else "its reserve is within its limit again: new entries"
    ),
    DecisionKind.WITHDRAWN: lambda one: (
        f"the {one['entries']} farthest entries are cancelled, which frees {one['reserve']:,.0f}"
    ),
    DecisionKind.BLOCKED: lambda one: (
        f"new entries are blocked: the candidate forbids {one['strategy']}"
        if one["begins"]
        else "new entries are no longer blocked"
    ),
    DecisionKind.COSTS: lambda one: f"{COST_WORDS[one['rule']]} {_short(one)}",
    DecisionKind.ZONE: lambda one: (
        f"a {one['side']} zone on {one['timeframe']} from {one['bottom']:.10g} to {one['top']:.10g}"
    ),
    DecisionKind.SIGNAL: lambda one: (
        f"signal {one['number']} asks to {_signal(one)}{', but came too late' if one['late'] else ''}"
    ),
    DecisionKind.FULL: lambda one: (
        "as many pairs are open as may be: "
        + ("its entries wait" if one["asked"] == "rest" else f"it did not {one['asked']}")
    ),
    DecisionKind.REFUSED: lambda one: (
        f"the exchange refused to {one['side']} {one['quantity']:.10g} {_at(one['price'])} ({_spoken(one['refusal'])})"
    ),
}


def sentence(decision: Decision, running: str = "", called: str = "") -> str:
    """What a decision says, as part of a sentence about its pair or the account.

    `running` and `called` are strategies of the pair, of which a change of regime speaks: the one that runs, "" for
    none, and the one that the regime calls for.
    """
    kind, fields = DecisionKind[decision.kind.upper()], decision.fields
    return _regime(fields, running, called) if kind is DecisionKind.REGIME else SENTENCES[kind](fields)
