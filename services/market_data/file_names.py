"""What the name of a file and its folders tell of it: kind, venue, market, symbol and the length of its bars.

Known are the names of freqtrade, Jesse, TradingView, CryptoDataDownload, the archives of Binance, Bybit, OKX, KuCoin
and gate.io, and those of this store. Nothing is assumed: what a name does not tell is None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path

from bot.candles import BAR_LENGTHS
from bot.market import Market

# Venues by the names that files and folders give them, with the market where that name says it.
VENUES: dict[str, tuple[str, Market | None]] = {
    **{
        name: (name, None)
        for name in (
            *("binance", "binanceus", "bitfinex", "bitget", "bitmex", "bitstamp", "bybit", "bingx", "coinbase"),
            *("cryptocom", "deribit", "dydx", "ftx", "gate", "gemini", "htx", "hyperliquid", "kraken", "kucoin"),
            *("mexc", "okx", "phemex", "poloniex", "upbit"),
        )
    },
    "binanceusdm": ("binance", Market.LINEAR),
    "binancefutures": ("binance", Market.LINEAR),
    "coinbasepro": ("coinbase", None),
    "gdax": ("coinbase", None),
    "gateio": ("gate", None),
    "huobi": ("htx", None),
    "krakenfutures": ("kraken", Market.LINEAR),
    "kucoinfutures": ("kucoin", Market.LINEAR),
    "okex": ("okx", None),
}
LINEAR = {"linear", "futures", "future", "perp", "perpetual", "perpetuals", "swap", "usdm", "usdtm"}
INVERSE = {"inverse", "coinm"}
# Archives of Binance: data/futures/um/monthly/klines/BTCUSDT/1m/.
BINANCE = re.compile(r"(spot|futures/um|futures/cm)/(daily|monthly)/([A-Za-z]+)/")
COINS = ("BTC", "ETH", "BNB")
QUOTE = "|".join(("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "USDE", "USD", "EUR", "GBP", *COINS))
BASE = r"[A-Z0-9]*[A-Z][A-Z0-9]*?"
EDGE, END = r"(?<![A-Z0-9])", r"(?![A-Z0-9])"
SETTLED = re.compile(rf"(?={EDGE}({BASE})[-_/]({QUOTE})[-_:]([A-Z0-9]{{2,10}}){END})")
APART = re.compile(rf"(?={EDGE}({BASE})[-_/]({QUOTE}){END})")
TOGETHER = re.compile(rf"{EDGE}([A-Z0-9]{{1,15}}?)({QUOTE})(PERP)?{END}")
PERP = re.compile(rf"{EDGE}([A-Z0-9]{{2,15}})PERP{END}")
EXPIRY = re.compile(r"[-_](\d{2})(\d{2})(\d{2})(?!\d)|[-_](\d{1,2})([A-Z]{3})(\d{2})(?![A-Z0-9])")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
BAR = re.compile(r"(?<![A-Za-z0-9])(\d{1,2})([smhdw])(?![A-Za-z0-9])")
BAR_WORDS = {"minute": 60, "hour": 3600, "hourly": 3600, "1hour": 3600, "1min": 60, "daily": 86_400}
TRADING_VIEW = re.compile(r", (\d+|\d*[SDW])(?: \(\d+\))?(?:_[0-9a-f]+)?\.csv", re.IGNORECASE)
BYBIT_TRADES = re.compile(r"([A-Z0-9]+?)\d{4}-\d{2}-\d{2}\.csv")
# freqtrade tells everything but spot candles by a suffix.
FREQTRADE_SPOT = re.compile(r"[A-Z0-9]+_[A-Z0-9]+-\d+[mhdw]\.(feather|parquet|json|json\.gz)")
PARENTS = 7  # folders above a file that may tell of it
FOLDERS = {"trades", "aggtrades"}  # kinds that a folder's name alone may tell


class FileKind(StrEnum):
    """What a file holds, as its name tells."""

    CANDLES = "candles"
    FUNDING = "funding rates"
    TRADES = "single trades"
    MARK = "candles of a mark price, which nobody traded at"
    INDEX = "candles of an index, which nobody traded at"
    PREMIUM = "candles of a premium index, which nobody traded at"
    INVERSE = "candles of inverse contracts, which are settled in the coin and not traded here"
    OTHER = "order books and other figures of an exchange"


KIND_WORDS = {
    FileKind.MARK: {"mark", "markprice", "markpriceklines"},
    FileKind.INDEX: {"index", "indexprice", "indexpriceklines", "spotindex"},
    FileKind.PREMIUM: {"premium", "premiumindex", "premiumindexklines"},
    FileKind.TRADES: {"trade", "trades", "aggtrades"},
    FileKind.OTHER: {"bookdepth", "bookticker", "metrics", "orderbook", "ob500", "liquidationsnapshot", "openinterest"},
}


@dataclass(frozen=True)
class Named:
    """What is known of a file by its name; `bar_ms` is the length of a bar."""

    kind: FileKind
    venue: str | None = None
    market: Market | None = None
    symbol: str | None = None
    bar_ms: int | None = None


@dataclass(frozen=True)
class Pair:
    """A symbol in the form of the store, such as BTCUSDT or BTCUSDT_250926, and the market where it tells it."""

    symbol: str
    market: Market | None = None
    inverse: bool = False


def name_of(path: Path) -> Named:
    """Read the name of a file, then those of its folders, the nearest first."""
    folders = list(path.resolve().parent.parts[:0:-1][:PARENTS])
    own = set(re.split(r"[^a-z0-9]+", path.name.lower()))
    around = [{folder.lower(), re.sub(r"[^a-z]", "", folder.lower()), *folder.lower().split()} for folder in folders]
    traded, archive = BYBIT_TRADES.match(path.name), BINANCE.search(path.resolve().as_posix())
    names = (traded[1] if traded else path.name, *folders)
    pair = next((pair for text in names if (pair := pair_of(text)) is not None), Pair(""))
    venue, market = _venue(path, own, around)
    if archive or traded:
        venue = venue or ("binance" if archive else "bybit")
    market = pair.market or market or _market([own, *around])
    if market is None and venue and around[0] & VENUES.keys() and FREQTRADE_SPOT.fullmatch(path.name):
        market = Market.SPOT
    kind = FileKind.TRADES if traded else _kind(own, archive[3].lower() if archive else "", around)
    if kind is FileKind.CANDLES and (pair.inverse or own & INVERSE or (archive and archive[1] == "futures/cm")):
        kind = FileKind.INVERSE
    return Named(kind, venue, market, pair.symbol or None, _bar(path, folders))


def pair_of(text: str) -> Pair | None:
    """Find a symbol in a name: BTC-USD, BTC/USDT:USDT, btcusdt, BTC-USDT-SWAP, BTCUSDT_250926; None without one."""
    text = text.upper()
    for settled in SETTLED.finditer(text):
        if settled[3] in (settled[1], settled[2]):
            return Pair(settled[1] + settled[2], Market.LINEAR, inverse=settled[3] == settled[1])
    found = [one for one in (*APART.finditer(text), *TOGETHER.finditer(text)) if _is_base(one[1])]
    if not found:
        contract = PERP.search(text)
        return Pair(contract[0], Market.LINEAR) if contract else None
    best = min(found, key=lambda one: one[2] in COINS)  # BTC in BTC_USDT is no quote
    base, quote, rest = best[1], best[2], text[best.end(2) :]
    expiry, contract = _expiry(rest), re.match(r"PERP|[-_](SWAP|PERP)|\.P(?![A-Z0-9])", rest)
    market = Market.LINEAR if contract or expiry else None
    inverse = quote == "USD" and bool(expiry or (contract and contract[1]))
    return Pair(f"{base}{quote}{f'_{expiry:%y%m%d}' if expiry else ''}", market, inverse)


def _is_base(name: str) -> bool:
    """Whether a word in front of a quote can be a coin: no venue, bar length or number."""
    return name.lower() not in VENUES and not BAR.fullmatch(name.lower()) and bool(re.search("[A-Z]", name))


def _expiry(rest: str) -> date | None:
    """Day on which a dated future ends, written 250926 or 26SEP25 right after the symbol."""
    found = EXPIRY.match(rest)
    if found is None:
        return None
    year, month, day = found[1], found[2], found[3]
    if year is None:
        if found[5] not in MONTHS:
            return None
        year, month, day = found[6], str(MONTHS.index(found[5]) + 1), found[4]
    try:
        return date(2000 + int(year), int(month), int(day))
    except ValueError:
        return None


def _venue(path: Path, own: set[str], around: list[set[str]]) -> tuple[str | None, Market | None]:
    for words in (own, *around):
        known = sorted(words & VENUES.keys())
        if known:
            return VENUES[known[0]]
    if "candlesticks" in own and re.search(r"-(SWAP|USDT|USD)", path.name):
        return "okx", None
    return None, None


def _market(places: list[set[str]]) -> Market | None:
    for words in places:
        if words & LINEAR or words & INVERSE:
            return Market.LINEAR
        if "spot" in words:
            return Market.SPOT
    return None


def _kind(own: set[str], archive: str, around: list[set[str]]) -> FileKind:
    """Kind by the words of the name, by the folder of an archive, and where the folder is that of a kind."""
    near = set().union(*around[:4])
    if "funding" in archive or any("funding" in word for word in own) or near & {"funding", "fundingrate"}:
        return FileKind.FUNDING
    words = own | {archive} | (FOLDERS & near)
    return next((kind for kind, known in KIND_WORDS.items() if words & known), FileKind.CANDLES)


def _bar(path: Path, folders: list[str]) -> int | None:
    """Length of a bar in ms."""
    chart = TRADING_VIEW.search(path.name)
    if chart:
        count, unit = re.fullmatch(r"(\d*)([A-Z]?)", chart[1].upper()).groups()  # type: ignore[union-attr]
        return int(count or 1) * SECONDS[unit.lower() or "m"] * 1000
    for found in (*BAR.finditer(path.name), *BAR.finditer(folders[0] if folders else "")):
        length = int(found[1]) * SECONDS[found[2]] * 1000
        if length in BAR_LENGTHS:
            return length
    words = set(re.split(r"[^a-z0-9]+", path.name.lower()))
    return next((seconds * 1000 for word, seconds in BAR_WORDS.items() if word in words), None)
