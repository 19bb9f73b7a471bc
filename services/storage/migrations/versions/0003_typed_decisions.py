"""Client order ids by their name; decisions by kind and named fields instead of the kernels' columns a to v.

The names of this version's fields stand here and not in the program, which may name them otherwise one day.
"""

import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from bot.errors import Misconfigured

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

BATCH = 5000
INSERT = """
INSERT INTO decisions (bot, pair, kind, fields, at) VALUES (:bot, :pair, :kind, CAST(:fields AS jsonb), :at)
"""


def upgrade() -> None:
    """Rename and rewrite."""
    op.alter_column("orders", "link", new_column_name="client_order_id")
    op.alter_column("fills", "link", new_column_name="client_order_id")
    op.create_table(
        "decisions",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("bot", sa.Text, nullable=False),
        sa.Column("pair", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("fields", JSONB, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("decisions_by_time", "decisions", ["bot", "at"])
    connection = op.get_bind()
    last = 0
    while (
        rows := connection.execute(
            sa.text("SELECT * FROM notes WHERE id > :last ORDER BY id LIMIT :batch"), {"last": last, "batch": BATCH}
        )
        .mappings()
        .all()
    ):
        connection.execute(sa.text(INSERT), [_decision(row) for row in rows])
        last = rows[-1]["id"]
    op.drop_index("notes_by_time", "notes")
    op.drop_table("notes")


def downgrade() -> None:
    """Refuse: names do not say which numbers they were."""
    raise Misconfigured("decisions cannot be written as columns again; restore the backup of before the upgrade.")


def _decision(row: Any) -> dict[str, Any]:
    fields = {name: read(row[column]) for column, name, read in FIELDS.get(row["kind"], ())}
    return {"fields": json.dumps(fields), "pair": row["name"], **{key: row[key] for key in ("bot", "kind", "at")}}


def _one_of(*names: str) -> Callable[[Any], Any]:
    return lambda value: names[int(value)] if 0 <= int(value) < len(names) else str(int(value))


def _number(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _moment(value: Any) -> str:
    return datetime.fromtimestamp(int(value) / 1000.0, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _modes(value: Any) -> list[str]:
    return [name for bit, name in enumerate(("reduced", "stress", "drawdown", "halt")) if int(value) >> bit & 1]


_FAMILY = {-1: "cash", 0: "grid", 1: "dca", 2: "trend"}
_REGIME = _one_of(
    *("unknown", "tight_range", "wide_range", "quiet_transition", "volatile_transition", "bull_trend", "bear_trend")
)
_VARIANT = _one_of("configured", "arithmetic", "geometric", "cautious", "accumulate", "long")
_SIDE = {1: "buy", -1: "sell", 0: "range"}


def _family(value: Any) -> str:
    return _FAMILY.get(int(value), f"strategy {int(value)}")


FIELDS: dict[str, tuple[tuple[str, str, Callable[[Any], Any]], ...]] = {
    "candidate": (
        *(("a", "candidate", _REGIME), ("b", "bars", int), ("c", "confirmed", _REGIME)),
        *(("x", "adx", _number), ("y", "atr_pct", _number), ("z", "ema_divergence", _number)),
    ),
    "regime": (
        *(("a", "regime", _REGIME), ("b", "before", _REGIME)),
        *(("x", "adx", _number), ("y", "atr_pct", _number), ("z", "ema_divergence", _number)),
    ),
    "start": (("a", "strategy", _family), ("b", "variant", _VARIANT), ("x", "size", _number)),
    "variant": (("a", "strategy", _family), ("b", "variant", _VARIANT), ("c", "before", _VARIANT)),
    "transition": (
        *(("a", "from", _family), ("b", "to", _family), ("x", "price", _number)),
        *(("y", "position", _number), ("z", "stop", _number), ("w", "target", _number)),
    ),
    "closing": (("x", "price", _number), ("y", "position", _number)),
    "flat": (("x", "minutes", _number),),
    "verdict": (
        ("a", "action", _one_of("enhanced", "neutral", "refused")),
        ("b", "reason", _one_of("no_zone", "own_zone", "opposing_zone", "opposing_liquidity", "liquidity_share")),
        ("c", "side", lambda value: _SIDE.get(int(value), "range")),
        *(("x", "confidence", _number), ("y", "share", _number), ("z", "price", _number), ("w", "upper", _number)),
        ("v", "strategy", _family),
    ),
    "pause": (
        ("a", "reason", _one_of("day_loss", "losing_trades", "operator", "bad_data")),
        *(("b", "until", _moment), ("x", "size", _number)),
    ),
    "mode": (
        *(("a", "before", _modes), ("b", "modes", _modes), ("x", "day_loss", _number), ("y", "drawdown", _number)),
        *(("z", "stress_share", _number), ("w", "multiplier", _number)),
    ),
    "halt": (("x", "day_loss", _number), ("y", "drawdown", _number), ("z", "equity", _number)),
    "answer": (("a", "answer", _one_of("waiting", "hold", "close_all", "reduce_50")),),
    "resume": (("x", "equity", _number),),
    "allocation": (
        *(("a", "cap", _one_of("none", "pair", "strategy", "drawdown", "overcommitted")), ("b", "strategy", _family)),
        *(("c", "group", int), ("x", "target", _number), ("y", "raw", _number), ("z", "regime_confidence", _number)),
        *(("w", "performance", _number), ("v", "equity", _number)),
    ),
    "trim": (("x", "reserved", _number), ("y", "lots", _number)),
    "overcommitted": (("a", "begins", bool), ("x", "reserved", _number), ("y", "limit", _number)),
    "withdrawn": (("a", "entries", int), ("x", "reserve", _number)),
    "blocked": (("a", "begins", bool), ("c", "strategy", _family)),
    "zone": (
        ("a", "kind", _one_of("order_block", "fair_value_gap", "liquidity")),
        ("b", "side", lambda value: "demand" if value > 0 else "supply"),
        ("c", "timeframe", lambda value: "4h" if value else "1h"),
        *(("x", "bottom", _number), ("y", "top", _number), ("z", "quality", _number), ("w", "born", _moment)),
        ("v", "died", lambda value: _moment(value) if value else None),
    ),
}
