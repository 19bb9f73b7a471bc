"""Answers about replays, in the process that has the simulator: what a session begins with, and where it stands.

An answer holds bars up to the last one that was shown and nothing that was computed from a later one.
"""

from __future__ import annotations

import json
import random
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backtesting.instruments import instrument_for
from backtesting.replay import CONTEXT, ReplayedSession, ReplaySetup
from backtesting.replay_actions import AskedOrder, CancelAction, NoteAction, PictureAction, action_of
from bot.candles import iso, parse_time
from bot.errors import Misconfigured, cut, shown
from bot.instrument import Market
from bot.rollup import TIMEFRAMES
from bot.times import DAY, HOUR, WEEK
from bot.validation import validated
from coordinator.config import PortfolioConfig, load_config
from coordinator.config_file import BUILT_IN
from services.app.backtest import histories_of
from services.app.preset_library import preset_named, presets_of
from services.market_data.instruments import load_instruments
from services.market_data.store import CandleStore, SeriesName

if TYPE_CHECKING:
    from collections.abc import Callable

    from backtesting.funding import FundingHistory
    from backtesting.metrics import Metrics
    from bot.candles import Candles

BLIND_MONDAY = 978_307_200_000  # 2001-01-01, a Monday: where blind sessions begin, as shown
BOTS = ("grid", "dca", "trend", "auto")
OPENS = {"asia": 0, "london": 8 * HOUR, "new_york": 13 * HOUR, "day": 0}  # of a UTC day
FIGURES = (
    *("total_return_pct", "benchmark_return_pct", "max_drawdown_pct", "trades", "win_rate_pct", "profit_factor"),
    *("average_r", "expectancy", "fees", "funding", "slippage"),
)
LAST_FILLS, LAST_SPANS = 300, 1500  # of a bot that are told, the newest


def replay_choices(data_dir: Path, _said: dict[str, Any]) -> dict[str, Any]:
    """What a session may be about: pairs that have candles, timeframes, and bots to compare with."""
    held = sorted({(one.symbol, one.venue, one.market) for one in CandleStore(data_dir).series()})
    series = [{"pair": pair, "exchange": venue, "market": market} for pair, venue, market in held]
    return {"series": series, "timeframes": list(TIMEFRAMES), "bots": _bots(data_dir)}


def replay_span(data_dir: Path, said: dict[str, Any]) -> dict[str, int]:
    """From when to when there are candles of a pair, ms."""
    store = CandleStore(data_dir)
    held = store.coverage(store.finest(said["exchange"], said["market"], said["pair"]))
    return {"first": held.first, "last": held.last}


def _bots(data_dir: Path) -> list[str]:
    return [*BOTS, *(one.name for one in presets_of(data_dir) if not one.fault and one.name not in BOTS)]


def replay_begin(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Make the setup of a session; raises Misconfigured. Of a blind one the period is drawn by chance."""
    store, timeframe = CandleStore(data_dir), said["timeframe"]
    if timeframe not in TIMEFRAMES:
        raise Misconfigured(f"timeframe is {shown(timeframe)}; choose one of {', '.join(TIMEFRAMES)}.")
    series, length = store.finest(said["exchange"], said["market"], said["pair"]), TIMEFRAMES[timeframe]
    held = store.coverage(series)
    earliest, latest = _up(held.first, length), held.last // length * length
    blind = 0
    if said["days"] is not None:
        start, end = _drawn(said["days"], earliest, latest, length)
        blind = _shift(start)
    else:
        start, end = (_moment(said[name], name) for name in ("start", "end"))
        start, end = _up(max(start, earliest + length), length), min(end, latest) // length * length
    if end - start < length:
        raise Misconfigured(
            f"start and end hold no bar of {timeframe} with one before it; {series.symbol} has {iso(held.first)} to "
            f"{iso(held.last)}."
        )
    if said["market"] == Market.SPOT and said["leverage"] != 1:
        raise Misconfigured(f"leverage is {said['leverage']:g} but spot has none; set 1.")
    before = store.read(series, start - CONTEXT * length, start)
    stated = load_instruments(data_dir, series.venue, Market(said["market"])).get(series.symbol)
    instrument, _ = instrument_for(series.symbol, Market(said["market"]), before, None, stated)
    setup = validated(
        ReplaySetup,
        {
            "exchange": series.venue, "market": series.market, "pair": series.symbol, "timeframe": timeframe,
            "start": start, "end": end, "capital": said["capital"], "leverage": said["leverage"],
            "execution": said["execution"], "instrument": instrument.model_dump(mode="json"), "blind": blind,
        },
        "",
    )  # fmt: skip
    _known(data_dir, setup).standing()  # refuses a period without candles, and a config that cannot be played
    return setup.model_dump(mode="json")


def _moment(text: str, name: str) -> int:
    try:
        return parse_time(text)
    except Misconfigured as error:
        raise Misconfigured(f"{name}: {error}") from None


def _up(moment: int, length: int) -> int:
    return -(-moment // length) * length


def _shift(start: int) -> int:
    """Whole weeks by which a period is moved so that it is shown in the first week of 2001."""
    monday = (start - BLIND_MONDAY) // WEEK * WEEK
    return -monday


def _drawn(days: int, earliest: int, latest: int, length: int) -> tuple[int, int]:
    """A period of so many days by chance, with bars before it; raises Misconfigured where there are too few."""
    first, last = earliest + min(CONTEXT, 50) * length, latest - days * DAY
    if last < first:
        raise Misconfigured(f"days is {days}, more than the candles hold with some before; ask for fewer.")
    start = random.SystemRandom().randint(first // length, last // length) * length
    return start, start + days * DAY // length * length


@lru_cache(maxsize=4)
def _candles(data_dir: Path, setup: str) -> tuple[Candles, FundingHistory | None]:
    """Candles and funding of a setup, which lies here as JSON; they are read once."""
    one = ReplaySetup.model_validate_json(setup)
    store = CandleStore(data_dir)
    series = store.finest(one.exchange, str(one.market), one.pair)
    config = load_config(
        {"strategy": "trend", "pair": one.pair, "exchange": one.exchange, "market": one.market}
        | {"execution": one.execution.model_dump(mode="json")}
    )
    return store.read(series, one.since, one.end), histories_of(config, data_dir).get(one.pair)


def _known(data_dir: Path, setup: ReplaySetup, actions: Any = ()) -> ReplayedSession:
    return _played(data_dir, setup.model_dump_json(), json.dumps(list(actions)))


@lru_cache(maxsize=4)
def _played(data_dir: Path, setup: str, actions: str) -> ReplayedSession:
    """A session after its actions, both as JSON; where it stood last is played once, not again for the next action."""
    candles, history = _candles(data_dir, setup)
    return ReplayedSession(ReplaySetup.model_validate_json(setup), action_of(json.loads(actions)), candles, history)


def _asked(data_dir: Path, said: dict[str, Any]) -> ReplayedSession:
    return _known(data_dir, ReplaySetup.model_validate(said["setup"]), said["actions"])


def replay_state(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Where a session stands, with its bars from number `since` on."""
    return _state(_asked(data_dir, said), said["since"])


def _state(one: ReplayedSession, since: int) -> dict[str, Any]:
    setup = one.setup
    since = min(since, one.seen)
    share = (one.now - setup.start) / (setup.end - setup.start)
    trades = [{key: value for key, value in row.items() if not key.endswith("_ts")} for row in one.trades()]
    notes = [{name: row[name] for name in ("at", "text", "picture")} for row in one.notes()]
    return {
        "number": len(one.actions), "at": setup.shown(one.now), "share": min(max(share, 0.0), 1.0), "over": one.over,
        "since": since, "bars": one.bars(since), "standing": one.standing(), "fills": one.fills(), "trades": trades,
        "notes": notes, "tick": float(setup.instrument.tick_size), "lot": float(setup.instrument.lot_size),
    }  # fmt: skip


def replay_act(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """Take an action up; what is to be stored of it, and where the session stands then. Raises Misconfigured."""
    one = _asked(data_dir, said)
    action = TAKEN_UP[said["action"]["do"]](one, said["action"]).model_dump()
    after = _known(data_dir, one.setup, [*said["actions"], action])
    return {"action": action, "state": _state(after, said["since"])}


TAKEN_UP: dict[str, Callable[[ReplayedSession, dict[str, Any]], Any]] = {
    "step": lambda one, asked: one.stepped(asked["bars"]),
    "jump": lambda one, asked: one.stepped(one.bars_until(next_opening(one.now, asked["to"]))),
    "order": lambda one, asked: one.taken(AskedOrder(**{name: asked[name] for name in AskedOrder.model_fields})),
    "protect": lambda one, asked: one.protected(asked["stop"], asked["target"]),
    "close": lambda one, asked: one.closed(asked["quantity"]),
    "cancel": lambda _one, asked: CancelAction(entry=asked["entry"]),
    "note": lambda _one, asked: NoteAction(text=asked["text"]),
    "picture": lambda one, asked: PictureAction(name=_picture_name(one, asked["number"])),
}


def _picture_name(one: ReplayedSession, number: int) -> str:
    """Name of a picture: the pair, the timeframe and the time as shown."""
    at = iso(one.setup.shown(one.now))[:16].replace(":", "").replace("-", "")
    return f"{one.setup.pair}-{one.setup.timeframe}-{at}-{number}.png"


def next_opening(now: int, session: str) -> int:
    """The next moment at which a session of the market, or a day, opens; UTC, the same in summer."""
    start = now // DAY * DAY + OPENS[session]
    return start if start > now else start + DAY


def _bot_config(data_dir: Path, one: ReplayedSession, bot: str) -> Any:
    """A strategy with its defaults, or a preset, over what the session has shown; raises Misconfigured."""
    setup = one.setup
    if bot not in _bots(data_dir):
        raise Misconfigured(f"bot is {shown(bot)}; choose one of {cut(', '.join(_bots(data_dir)))}.")
    own = BUILT_IN.get(bot) is not None or bot == "auto"
    values = {"strategy": bot} if own else dict(preset_named(data_dir, bot).values)
    left_out = ("pair", "pairs", "candles", "instrument", "instruments", "bot", "investments", "bar")
    values = {key: value for key, value in values.items() if key not in left_out}
    stated = setup.instrument.model_dump(mode="json")
    together = values.get("strategy") == "auto"
    values |= {"pairs": [setup.pair], "instruments": {setup.pair: stated}} if together else {
        "pair": setup.pair, "instrument": stated}  # fmt: skip
    values |= {
        "exchange": setup.exchange, "market": str(setup.market), "capital": setup.capital,
        "leverage": setup.leverage, "execution": setup.execution.model_dump(mode="json"),
        "from": iso(setup.start), "to": iso(one.now),
    }  # fmt: skip
    return load_config(values)


def _bot_result(data_dir: Path, one: ReplayedSession, bot: str) -> Any:
    """The run of a bot over the period up to the last bar that was shown."""
    from backtesting.portfolio_run import simulate_portfolio  # noqa: PLC0415, only where a bot is asked for
    from backtesting.run import simulate, warmup_start  # noqa: PLC0415

    if one.now <= one.setup.start:
        raise Misconfigured("bot: no bar of the period has passed; let one pass first.")
    config, setup = _bot_config(data_dir, one, bot), one.setup
    store = CandleStore(data_dir)
    series: SeriesName = store.finest(setup.exchange, str(setup.market), setup.pair)
    candles = store.read(series, warmup_start(config), one.now)
    if isinstance(config, PortfolioConfig):
        funding = {} if one.history is None else {setup.pair: one.history}
        return simulate_portfolio(config, {setup.pair: candles}, funding=funding)
    return simulate(config, candles, funding=one.history)


def replay_bot(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What a bot would have done up to here: its last fills, the spans of its orders, and what it came to."""
    one, bot = _asked(data_dir, said), said["bot"]
    result = _bot_result(data_dir, one, bot)
    own = result.of_pair(one.setup.pair) if hasattr(result, "of_pair") else result
    fills, levels, played = own.fills.tail(LAST_FILLS), own.levels, own.recording.prepared.candles
    rests = levels.filter(levels["ts_to"] >= int(played.ts[-1]) + played.bar_ms)
    return {
        "bot": bot,
        "fills": [
            {"at": one.setup.shown(row["ts"]), **{name: row[name] for name in ("side", "price", "qty", "position")}}
            for row in fills.iter_rows(named=True)
        ],
        "orders": [{name: row[name] for name in ("side", "kind", "price")} for row in rests.iter_rows(named=True)],
        "spans": [
            {"from": one.setup.shown(row["ts_from"]), "to": one.setup.shown(row["ts_to"])}
            | {name: row[name] for name in ("side", "kind", "price")}
            for row in levels.tail(LAST_SPANS).iter_rows(named=True)
        ],
        "position": float(own.recording.pair.ledger.position * one.setup.instrument.lot_size),
        "figures": _figures(result.metrics),
    }


def replay_statistics(data_dir: Path, said: dict[str, Any]) -> dict[str, Any]:
    """What the person came to, and a bot beside it where one is named."""
    one = _asked(data_dir, said)
    if one.now <= one.setup.start:
        raise Misconfigured("no bar of the period has passed; let one pass first.")
    bot = _figures(_bot_result(data_dir, one, said["bot"]).metrics) if said["bot"] else None
    return {"you": _figures(one.result.metrics), "bot": bot, "name": said["bot"]}


def _figures(metrics: Metrics) -> dict[str, float | None]:
    found = {}
    for name in FIGURES:
        value = getattr(metrics, name)
        found[name] = None if value is None or not np.isfinite(value) else float(value)
    return found


def replay_records(data_dir: Path, said: dict[str, Any]) -> list[dict[str, Any]]:
    """The closed trades of a session as the journal keeps them, with the notes that were taken meanwhile."""
    one, found = _asked(data_dir, said), []
    notes, before = one.notes(), one.setup.start
    for row in one.trades():
        if row["exit_ts"] is None:
            continue
        then = [note for note in notes if before <= note["ts"] <= row["exit_ts"] + one.setup.length]
        more = {
            name: [note[key] for note in then if note[key]]
            for name, key in (("notes", "text"), ("pictures", "picture"))
        }
        found.append({**row, "symbol": one.setup.pair, "timeframe": one.setup.timeframe, **more})
        before = row["exit_ts"] + one.setup.length + 1
    return found


QUESTIONS: dict[str, Callable[[Path, dict[str, Any]], Any]] = {
    one.__name__: one
    for one in (
        *(replay_choices, replay_span, replay_begin, replay_state, replay_act, replay_bot, replay_statistics),
        replay_records,
    )
}
