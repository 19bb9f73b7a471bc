"""The words between a pair and its portfolio: reports up, directives down, notes for the record."""

from __future__ import annotations

from enum import IntEnum, IntFlag

import numpy as np

from bot.kernel import Record, kernel

NO_STRATEGY = -1  # in place of a strategy's number: cash
NO_PAIR = -1  # in place of a pair's: the whole portfolio


class Never(IntEnum):
    """Whether a regime forbids a strategy."""

    ALLOWED = 0
    FORBIDDEN = 1
    UNLESS_ENHANCED = 2  # forbidden unless the filter gave the standing range its full size


class Variant(IntEnum):
    """How a strategy is to be played: as configured, or as a regime asks."""

    CONFIGURED = 0
    ARITHMETIC = 1
    GEOMETRIC = 2
    CAUTIOUS = 3
    ACCUMULATE = 4
    LONG = 5
    SHORT = 6


class HaltAnswer(IntEnum):
    """What is to become of the positions of a halted portfolio."""

    WAITING = 0
    HOLD = 1
    CLOSE_ALL = 2
    REDUCE_50 = 3


class Cap(IntEnum):
    """Which limit bound a pair's capital target."""

    NONE = 0
    PAIR = 1
    STRATEGY = 2
    DRAWDOWN = 3
    OVERCOMMITTED = 4
    PHASE = 5


class Pause(IntEnum):
    """Why a pair rests."""

    DAY_LOSS = 0
    LOSING_TRADES = 1
    OPERATOR = 2
    BAD_DATA = 3


class HeldOff(IntFlag):
    """Why a pair may open nothing, whatever its regime says; the operator's `resume` lifts all of them."""

    OPERATOR = 1
    POSITION = 2  # the venue's is not the bot's
    ACTIONS = 4  # more orders in a minute than a sound loop sends
    EXITS = 8  # exits that fail again and again
    SILENCE = 16  # no candles
    INSTRUMENT = 32  # not what it was when the bot began
    OUT_OF_STEP = 64  # something happened to it that cannot happen
    LEVERAGE = 128  # the account's is not the bot's and cannot be set back
    PERMISSION = 256  # the key may not trade


class WalletOrigin(IntEnum):
    """Where money of the account comes from that no pair has earned."""

    OPENING = 0  # it was there when the bot began
    TRANSFER = 1  # the venue's log calls it so
    UNEXPLAINED = 2  # it came or went, and the venue's log has no transfer of it


class DecisionKind(IntEnum):
    """What was decided; the fields of a DECISION mean what stands behind each."""

    CANDIDATE = 0  # a candidate, b in a row, c confirmed; x ADX, y ATR %, z EMA divergence
    REGIME = 1  # a new, b old; x ADX, y ATR %, z EMA divergence
    START = 2  # a family, b variant; x target
    VARIANT = 3  # a family, b variant, c variant before
    TRANSITION = 4  # a from, b to; x price, y position (quote), z stop, w target
    CLOSING = 5  # a from; x price, y position (quote)
    FLAT = 6  # a from; x minutes since the transition began
    VERDICT = 7  # a action, b reason, c side (0: a range); x confidence, y share, z price or lower, w upper, v family
    PAUSE = 8  # a reason, b until (ms); x loss of the day as a share of the target, or losing trades
    UNPAUSE = 9
    MODE = 10  # a modes before, b modes now (bits of Mode); x day's loss, y drawdown, z stress share, w multiplier
    HALT = 11  # x day's loss, y drawdown, z equity
    ANSWER = 12  # a answer
    RESUME = 13  # x equity
    ALLOCATION = 14  # a cap, b family, c group; x target, y raw, z regime confidence, w performance, v equity
    TRIM = 15  # x reserve before, y lots taken
    OVERCOMMITTED = 16  # a 1 begins, 0 ends; x reserved, y target
    WITHDRAWN = 17  # a entries; x reserve freed
    BLOCKED = 18  # a 1 begins, 0 ends; b candidate, c family
    ZONE = 19  # a kind, b side, c timeframe; x bottom, y top, z quality, w born (ms), v died (ms), 0 while it lives
    COSTS = 20  # a rule, b count so far, c family; x distance, y least distance, z costs (fractions of the price)
    INVESTMENT = 21  # x amount, y capital with it, z equity
    WALLET = 22  # a origin (WalletOrigin); x amount, y wallet with it
    SIGNAL = 23  # a number, b direction (0: to close), c 1 too late; x stop, y target, z price when it was heard
    REFUSED = 24  # a why (place in Refusal), b side; x price (0: at the market), y quantity (base)
    FULL = 25  # a side of a market entry that was dropped, 0 where resting ones begin to wait, c family; x price


DECISION = np.dtype(
    [
        ("ts", "i8"),
        ("pair", "i8"),  # index, or NO_PAIR for the portfolio
        ("kind", "i8"),
        ("a", "i8"),
        ("b", "i8"),
        ("c", "i8"),
        ("x", "f8"),
        ("y", "f8"),
        ("z", "f8"),
        ("w", "f8"),
        ("v", "f8"),
    ]
)

REPORT = np.dtype(
    [
        ("alive", "b1"),  # its candles have begun and not ended
        ("time", "i8"),  # ms
        ("equity", "f8"),  # what the pair adds to the account: realised + unrealised - fees + funding
        ("exposure", "f8"),  # notional of the position at the mark, and of resting entries
        ("entries_notional", "f8"),  # notional of resting entries alone
        ("reserved", "f8"),  # initial margin of position and entries, with fees
        ("entries_reserved", "f8"),  # of resting entries alone
        ("regime_bars", "i8"),  # complete regime bars seen
        ("regime_end", "i8"),  # ms: close of the last of them
        ("close", "f8"),
        ("adx", "f8"),
        ("atr", "f8"),
        ("fast", "f8"),  # EMA20
        ("slow", "f8"),  # EMA50
        ("hour", "i8"),  # hours since the epoch of the last complete hour, its close beside it
        ("hour_close", "f8"),
        ("family", "i8"),  # running strategy, NO_STRATEGY for none
        ("enhanced", "b1"),  # the filter gave the standing grid its full size
        ("holds", "b1"),  # it has a position
        ("asks", "b1"),  # it has entries that rest, or that would where the directive did not say `full`
        ("trades", "i8"),  # closed trades that count for performance
        ("wins", "i8"),
        ("gains", "f8"),
        ("losses", "f8"),  # positive
        ("position", "i8"),  # lots, signed; from here on only where loops run
        ("settled", "f8"),  # what the pair has added to the wallet: realised - fees + funding
        ("cost", "f8"),  # what the position has cost, signed
        ("price", "f8"),  # last price, quote currency
        ("phase", "i8"),
        ("entries", "i8"),  # orders that should rest
        ("exits", "i8"),
        ("refused_for_costs", "i8"),
    ],
    align=True,
)

DIRECTIVE = np.dtype(
    [
        ("sequence", "i8"),
        ("family", "i8"),
        ("variant", "i8"),
        ("target", "f8"),  # capital, quote currency
        ("multiplier", "f8"),  # of sizes
        ("exposure_limit", "f8"),  # notional up to which entries may rest
        ("share", "f8"),  # of the account, where shares are fixed
        ("others", "f8"),  # equity of the account outside this pair at the last close, where shares are fixed
        ("invested", "f8"),  # capital added since the bot began, less what was taken out, quote currency
        ("blocked", "b1"),  # no new entries
        ("full", "b1"),  # as many pairs are open as may be: a flat one asks and waits
        ("forced", "b1"),  # the regime forbids the strategy that runs, so that a transition waits for nothing
        ("paused", "b1"),  # no entries at all: the operator, or bad data
        ("halted", "b1"),
        ("answer", "i8"),
        ("trim_id", "i8"),  # a new number: trim the position once, to `trim_to`
        ("trim_to", "f8"),  # reserve, quote currency
        ("withdraw_id", "i8"),  # a new number: cancel the farthest entries once, until `withdraw` is free
        ("withdraw", "f8"),  # reserve, quote currency
    ],
    align=True,
)


@kernel
def begin_decision(decisions: Record, count: int, ts: int, pair: int, kind: int) -> Record:
    """Begin a decision in `decisions` at `count`, its numbers zero; the last place is used again when all are full."""
    entry = decisions[min(count, len(decisions) - 1)]
    entry.ts, entry.pair, entry.kind = ts, pair, kind
    entry.a = entry.b = entry.c = 0
    entry.x = entry.y = entry.z = entry.w = entry.v = 0.0
    return entry
