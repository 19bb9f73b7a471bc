"""What each of Bybit's codes means for the bot: what to do about it, why an order was refused, what a person reads.

https://bybit-exchange.github.io/docs/v5/error. A code that is not here refuses the request, for a reason unknown.
"""

from __future__ import annotations

import re
from enum import Enum

from bot.ports import Refusal, Refused


class RefusedByCode(Refused):
    """A refusal with the code and text that Bybit gave for it, which no one outside this adapter reads."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(refusal(code, message), f"{message} (code {code})")
        self.code, self.message = code, message


class Remedy(Enum):
    """What a code asks of the bot."""

    AGAIN = "again"  # it may have been done or not: a change is looked up before it is sent again
    SLOWER = "slower"  # nothing was done
    CLOCK = "clock"  # nothing was done
    SHUT = "shut"  # nothing was done, and nothing gets through from this address for a while
    DONE = "done"  # it is as it should be already
    TAKEN = "taken"  # the order with this client order id exists
    GONE = "gone"
    REFUSED = "refused"
    PERSON = "person"  # somebody has to act


# Answers by HTTP status alone, where no code of the venue is readable.
HTTP_UNAUTHORIZED, HTTP_FORBIDDEN, HTTP_TOO_MANY = 401, 403, 429
STATUSES = (HTTP_UNAUTHORIZED, HTTP_FORBIDDEN, HTTP_TOO_MANY)

NOT_IN_DEMO = 10032  # https://bybit-exchange.github.io/docs/v5/demo: not every address answers there
INVALID = 10001  # anything about the parameters; the text says what
AMENDS_NO_STOP = (110059, 110060)

SENTENCES = {
    HTTP_UNAUTHORIZED: "the venue does not accept the API key (HTTP 401): check the key, its secret and environment",
    10003: "the API key is not known here: check that it is a key of this environment (live, demo or testnet)",
    10004: "the signature does not fit: the secret belongs to another key, or was copied with a letter missing",
    10005: "the API key may not do this: give it the permission to trade (Orders and Positions)",
    10007: "the venue could not identify the user: make a new API key",
    10008: "the account is banned: ask the venue's support",
    10009: "this machine's address is in a region that the venue does not serve: run the bot elsewhere",
    10010: "this machine's address is not on the API key's list: add it, or remove the list",
    10024: "the venue's compliance rules do not allow this account to trade: see its messages on the website",
    10027: "trading is banned for this account: ask the venue's support",
    10028: "the account is no unified trading account: upgrade it at the venue",
    10029: "the symbol is not on the API key's list: add it, or remove the list",
    33004: "the API key has expired: make a new one",
    -2015: "the API key is wrong, has expired, or may not be used from this address: make a new one",
    110066: "the venue does not allow trading at the moment: see its announcements",
    110123: "the venue's terms are to be accepted first: open the website and accept them",
    110124: "trading is locked for a cooling-off period: wait until it has ended, or ask the venue's support",
    110125: "the venue's terms are to be accepted first: open the website and accept them",
    110132: "the venue does not offer this product in the account's region: trade another one",
}

REMEDIES = {
    **dict.fromkeys(SENTENCES, Remedy.PERSON),
    **dict.fromkeys((10000, 10014, 10016, 10019, 3400214, 131200, 131201, 40004, 110079), Remedy.AGAIN),
    **dict.fromkeys((HTTP_TOO_MANY, 10403, 10429), Remedy.AGAIN),
    **dict.fromkeys((10006, 10018), Remedy.SLOWER),
    **dict.fromkeys((10002, -1), Remedy.CLOCK),
    HTTP_FORBIDDEN: Remedy.SHUT,
    **dict.fromkeys((110072, 170141), Remedy.TAKEN),
    **dict.fromkeys((110001, 110008, 110010, 110019, 170139, 170142, 170143, 170213), Remedy.GONE),
    **dict.fromkeys((34036, 34040, 110025, 110026, 110027, 110043), Remedy.DONE),
}

TOO_FAST = {10006, 10018, 10403, 10429, HTTP_TOO_MANY}  # the next requests wait, whatever became of this one

REFUSALS = {
    **dict.fromkeys((110017, 110034, 130125), Refusal.NOTHING_TO_REDUCE),
    **dict.fromkeys((110092, 110093, 130074), Refusal.TRIGGER_PASSED),
    170218: Refusal.POST_ONLY_WOULD_CROSS,
    **dict.fromkeys((110094, 170136, 170140), Refusal.TOO_SMALL),
    **dict.fromkeys((110089, 110090, 170124, 170135), Refusal.TOO_LARGE),
    **dict.fromkeys((110004, 110006, 110007, 110012, 110044, 110045, 110051, 110052, 110053), Refusal.NO_MONEY),
    170131: Refusal.NO_MONEY,
    **dict.fromkeys(AMENDS_NO_STOP, Refusal.NOT_AMENDABLE),
}

# Texts of code 10001, as they were seen; what is in none of them is no reason to act.
TEXTS = (
    (re.compile(r"zero position"), Refusal.NOTHING_TO_REDUCE),
    (re.compile(r"expect (rising|falling)"), Refusal.TRIGGER_PASSED),
    (re.compile(r"should (be )?(lower|greater|higher) (than )?base_price"), Refusal.TRIGGER_PASSED),
    (re.compile(r"exceeds (the )?maximum|too large|> ?max_qty"), Refusal.TOO_LARGE),
    (re.compile(r"(below|less than|lower than|under) (the )?minimum|too small|< ?min_qty"), Refusal.TOO_SMALL),
    (re.compile(r"post.?only"), Refusal.POST_ONLY_WOULD_CROSS),
)
BETWEEN = re.compile(r"stoploss:([\d.]+).* liq_price:([\d.]+) and base_price:([\d.]+)")
UNCHANGED = re.compile(r"not modified|remains unchanged")


def remedy(code: int, message: str) -> Remedy:
    """What to do about a code; `not modified` is success whatever its number."""
    if code == INVALID and UNCHANGED.search(message):
        return Remedy.DONE
    return REMEDIES.get(code, Remedy.REFUSED)


def refusal(code: int, message: str) -> Refusal:
    """Why an order was refused: by code, or by the texts of the one code that has no meaning of its own."""
    if code != INVALID:
        return REFUSALS.get(code, Refusal.OTHER)
    text = message.lower()
    between = BETWEEN.search(text)
    if between is not None:  # the stop lies beyond the liquidation price, or the market beyond the stop
        stop, liquidation, base = (float(one.rstrip(".")) for one in between.groups())
        passed = stop >= base if liquidation < base else stop <= base
        return Refusal.TRIGGER_PASSED if passed else Refusal.OTHER
    return next((reason for pattern, reason in TEXTS if pattern.search(text)), Refusal.OTHER)


def stands_beyond_its_stop(code: int, message: str) -> bool:
    """Whether an amendment was refused because the new price lies beyond the stop that the order carried before."""
    return code == INVALID and "base_price" in message


def concerns_attached_stop(code: int, message: str) -> bool:
    """Whether a refused amendment failed by the stop that the order carries."""
    return code in AMENDS_NO_STOP or stands_beyond_its_stop(code, message)
