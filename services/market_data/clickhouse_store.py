"""The candle store in ClickHouse, for what outgrows one machine: rows as received, and of each bar the last one.

    candles_raw        a row for each receipt; equal ones are one, so that rows may be sent again
    candles            of each bar the row received last, filled by the view candles_latest

The tables keep the rule of `canonical` by themselves, whoever writes and in whatever order. What is acknowledged is
on the server's disk. Credentials are never told.
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

import polars as pl

from backtesting.candle_checks import check
from backtesting.candles import to_frame
from bot.candles import COLUMNS, Candles, bar_name
from bot.errors import Misconfigured, cut
from services.market_data.canonical import Receipt, Source
from services.market_data.store import SeriesName, StoredCandles, StoreUnreachable, bar_length_of, refuse_other_grid

SCHEMES: Final = {"clickhouse": False, "clickhouses": True}  # and whether the line is encrypted
PORTS: Final = {False: 8123, True: 8443}
DATABASE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,60}")
PATIENCE: Final = 5  # seconds, for an answer: a collector waits no longer
PATIENCE_FOR_CANDLES: Final = 120  # seconds, where nobody waits for the next minute
KEY: Final = "venue LowCardinality(String), market LowCardinality(String), symbol LowCardinality(String), "
KEY_BAR: Final = KEY + "bar LowCardinality(String), ts Int64, "
VALUES: Final = ", ".join(f"{name} Float64" for name in COLUMNS[1:])
ROW: Final = f"{KEY_BAR}{VALUES}, received_ms Int64, source LowCardinality(String)"
NAMES: Final = ("venue", "market", "symbol", "bar", *COLUMNS, "received_ms", "source")
SETTINGS: Final = (
    "PARTITION BY toYear(fromUnixTimestamp64Milli(ts)) ORDER BY ({}) SETTINGS fsync_after_insert = 1, "
    "fsync_part_directory = 1"
)
# What no candle can be stays raw.
SOUND: Final = (
    "low > 0 AND low <= least(open, close) AND greatest(open, close) <= high AND volume >= 0 "
    "AND isFinite(open + high + low + close + volume) AND (bar != '1m' OR ts % 60000 = 0)"
)
SCHEMA: Final = (
    f"CREATE TABLE IF NOT EXISTS candles_raw ({ROW}) ENGINE = ReplacingMergeTree "
    + SETTINGS.format("venue, market, symbol, bar, ts, received_ms, source, open, high, low, close, volume"),
    f"CREATE TABLE IF NOT EXISTS candles ({ROW}) ENGINE = ReplacingMergeTree(received_ms) "
    + SETTINGS.format("venue, market, symbol, bar, ts"),
    (
        "CREATE MATERIALIZED VIEW IF NOT EXISTS candles_latest TO candles AS "
        f"SELECT {', '.join(NAMES)} FROM candles_raw WHERE {SOUND}"
    ),
)
OF_SERIES: Final = (
    "venue = {venue:String} AND market = {market:String} AND symbol = {symbol:String} AND bar = {bar:String}"
)


def is_clickhouse(address: str) -> bool:
    """Whether an address is one of ClickHouse."""
    return address.split("://", 1)[0] in SCHEMES and "://" in address


class ClickHouseStore(StoredCandles):
    """Candles in a database of a ClickHouse server. `clock` gives the time of receipt of what `write` is given, ms."""

    def __init__(self, address: str, clock: Callable[[], int], patience: int = PATIENCE) -> None:
        parts = _parts(address)
        encrypted = SCHEMES[parts.scheme]
        self.clock, self.database = clock, parts.path.strip("/") or "default"
        self.place = f"{parts.hostname}:{parts.port or PORTS[encrypted]}"
        self._client = self._connected(parts, encrypted, patience)
        if self.database != "default":
            self._command(f"CREATE DATABASE IF NOT EXISTS {self.database}")
        self._client.database = self.database
        for statement in SCHEMA:
            self._command(statement)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _connected(self, parts: SplitResult, encrypted: bool, patience: int) -> Any:
        try:
            import clickhouse_connect  # noqa: PLC0415, an extra
        except ModuleNotFoundError:
            raise Misconfigured(
                "ClickHouse needs the package clickhouse-connect; add it by `pip install 'traderagent[clickhouse]'`."
            ) from None
        logging.getLogger("clickhouse_connect").propagate = False  # what it has to say is in its errors
        logging.getLogger("clickhouse_connect").addHandler(logging.NullHandler())
        with self._told():
            return clickhouse_connect.get_client(
                host=parts.hostname,
                port=parts.port or PORTS[encrypted],
                username=unquote(parts.username or "default"),
                password=unquote(parts.password or ""),
                secure=encrypted,
                connect_timeout=patience,
                send_receive_timeout=patience,
                autogenerate_session_id=False,  # questions may be asked beside each other
                compress=False,
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of whatever the server or the line refuses that the store does not answer."""
        from clickhouse_connect.driver.exceptions import Error  # noqa: PLC0415, an extra

        try:
            yield
        except (Error, OSError) as error:
            reason = cut(str(error).replace("\n", " "))
            raise StoreUnreachable(
                f"ClickHouse at {self.place} does not answer ({type(error).__name__} {reason}); check that it runs, "
                "and the user, password and database of its address."
            ) from None

    def _command(self, statement: str) -> None:
        with self._told():
            self._client.command(statement)

    def _ask(self, question: str, series: SeriesName | None = None, **asked: int) -> pl.DataFrame:
        """What the server answers to a question; its settings are those of the series and `asked`."""
        named: dict[str, Any] = dict(asked)
        if series is not None:
            named |= {"venue": series.venue, "market": series.market, "symbol": series.symbol, "bar": series.bar}
        with self._told():
            found = self._client.raw_query(question, parameters=named, fmt="ArrowStream")
        return pl.read_ipc_stream(io.BytesIO(found))

    def _insert(self, series: SeriesName, rows: pl.DataFrame) -> None:
        names = {"venue": series.venue, "market": series.market, "symbol": series.symbol, "bar": series.bar}
        whole = rows.with_columns(*(pl.lit(value).alias(name) for name, value in names.items())).select(NAMES)
        sent = io.BytesIO()
        whole.write_parquet(sent, compression="zstd")
        with self._told():
            self._client.raw_insert("candles_raw", list(NAMES), sent.getvalue(), fmt="Parquet")

    def write(self, venue: str, market: str, symbol: str, candles: Candles) -> tuple[SeriesName, int]:
        """Add checked candles as received now, or just after what is stored of them where its clock was ahead."""
        check(candles)
        series = SeriesName(venue, market, symbol, bar_name(candles.bar_ms))
        if not len(candles):
            return series, 0
        refuse_other_grid(series, candles, self._opening(series))
        span = {"first": int(candles.ts[0]), "last": int(candles.ts[-1])}
        within = "ts BETWEEN {first:Int64} AND {last:Int64}"
        held = self._ask(f"SELECT ts, received_ms FROM candles FINAL WHERE {OF_SERIES} AND {within}", series, **span)
        received = max(self.clock(), int(held["received_ms"].max() or 0) + 1)  # type: ignore[arg-type]
        columns = (pl.lit(received, pl.Int64).alias("received_ms"), pl.lit(str(Source.STORE)).alias("source"))
        self._insert(series, to_frame(candles).with_columns(*columns))
        known = pl.Series(candles.ts).is_in(held["ts"].to_list())
        return series, len(candles) - int(known.sum())

    def keep(self, series: SeriesName, minutes: Sequence[Receipt], received: Sequence[Receipt]) -> None:  # noqa: ARG002
        """Add the rows as they were received: the tables make the same canonical minutes of them."""
        if received:
            names = (*COLUMNS, "received_ms", "source")
            rows = [(one.ts, *one.values, one.received_ms, str(one.source)) for one in received]
            kinds = [pl.Int64, *[pl.Float64] * 5, pl.Int64, pl.String]
            self._insert(series, pl.DataFrame(rows, schema=dict(zip(names, kinds, strict=True)), orient="row"))

    def read(self, series: SeriesName, start_ms: int | None = None, end_ms: int | None = None) -> Candles:
        """Bars that open in [start_ms, end_ms); raises Misconfigured when the series is unknown."""
        asked = {"start": start_ms, "end": end_ms}
        span = {name: value for name, value in asked.items() if value is not None}
        bounds = {"start": " AND ts >= {start:Int64}", "end": " AND ts < {end:Int64}"}
        within = "".join(bounds[name] for name in span)
        question = f"SELECT {', '.join(COLUMNS)} FROM candles FINAL WHERE {OF_SERIES}{within} ORDER BY ts"
        found = self._ask(question, series, **span)
        if not found.height and not self.holds(series):
            raise self.unknown(series)
        columns = {name: found[name].to_numpy() for name in COLUMNS}
        return Candles(**columns, bar_ms=bar_length_of(series.bar))

    def holds(self, series: SeriesName) -> bool:
        """Whether a series has any bars."""
        return self._opening(series) is not None

    def end(self, series: SeriesName) -> int:
        """Time until which a series has bars, ms; raises Misconfigured when it is unknown."""
        newest = self._ask(f"SELECT ts FROM candles WHERE {OF_SERIES} ORDER BY ts DESC LIMIT 1", series)
        if not newest.height:
            raise self.unknown(series)
        return int(newest["ts"][0]) + bar_length_of(series.bar)

    def series(self) -> list[SeriesName]:
        """Everything that is stored, sorted."""
        found = self._ask(
            "SELECT DISTINCT venue::String AS venue, market::String AS market, symbol::String AS symbol, "
            "bar::String AS bar FROM candles"
        )
        return sorted(SeriesName(*row) for row in found.rows())

    def received(self, series: SeriesName) -> pl.DataFrame:
        """Every row as it was received, of one minute after the other; of a minute the last receipt last."""
        names = (*COLUMNS, "received_ms")
        return self._ask(
            f"SELECT {', '.join(names)}, source::String AS source FROM candles_raw FINAL WHERE {OF_SERIES} "
            "ORDER BY ts, received_ms",
            series,
        )

    def _opening(self, series: SeriesName) -> int | None:
        """Opening of a stored bar, ms; None where there is none."""
        first = self._ask(f"SELECT ts FROM candles WHERE {OF_SERIES} LIMIT 1", series)
        return int(first["ts"][0]) if first.height else None


def _parts(address: str) -> SplitResult:
    """Read an address; raises Misconfigured, without a word of what may be a password."""
    try:
        parts = urlsplit(address)
        sound = parts.scheme in SCHEMES and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    database = parts.path.strip("/") if sound else ""
    if not sound or (database and not DATABASE.fullmatch(database)):
        raise Misconfigured(
            "store is no address of ClickHouse; write clickhouse://user:password@host:8123/database, with "
            "clickhouses:// for an encrypted line, and a database named by letters, digits and underscores."
        )
    return parts
