"""Numbers and times as pages show them: thousands separated, signs where they mean something, a dash for nothing."""

from __future__ import annotations

import math

from bot.candles import iso

NOTHING = "\N{EM DASH}"
MINUS = "\N{MINUS SIGN}"
COUNTED = ("trades", "fills", "liquidated")


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def money(value: float | None) -> str:
    """An amount, such as 12,345.67."""
    return f"{value:,.2f}".replace("-", MINUS) if _known(value) else NOTHING


def whole(value: float | None) -> str:
    """An amount without its cents."""
    return f"{value:,.0f}".replace("-", MINUS) if _known(value) else NOTHING


def signed(value: float | None) -> str:
    """A gain or a loss, such as +12.30."""
    return f"{value:+,.2f}".replace("-", MINUS) if _known(value) else NOTHING


def per_cent(value: float | None) -> str:
    """A share in per cent."""
    return f"{value:.2f}\N{NO-BREAK SPACE}%".replace("-", MINUS) if _known(value) else NOTHING


def exact(value: float | None) -> str:
    """A price or a quantity with the digits that it has."""
    if value is None or not math.isfinite(value):
        return NOTHING
    text = f"{round(value, 10):,.10f}".rstrip("0").rstrip(".")
    return text.replace("-", MINUS) or "0"


def rough(price: float) -> float:
    """A price with seven digits: an average has no last one."""
    return float(f"{price:.7g}")


def plain(value: object) -> str:
    """A value of a config: a number as it is, a list by commas."""
    if isinstance(value, bool) or value is None:
        return NOTHING if value is None else str(value).lower()
    if isinstance(value, int | float):
        return f"{value:.10g}"
    return ", ".join(plain(one) for one in value) if isinstance(value, list) else str(value)


def figure(value: float | None, name: str) -> str:
    """A figure of a search by its name: in per cent, or as a number."""
    if name.endswith("_pct"):
        return per_cent(value)
    return whole(value) if name in COUNTED else money(value)


def of_window(value: object, name: str) -> str:
    """A value of a walk-forward's window by its column: a figure as such, anything else as it is."""
    if not isinstance(value, float) or "." in name:
        return plain(value)
    return figure(value, name.removesuffix("_in_sample").removesuffix("_out_of_sample"))


def when(ms: int | None) -> str:
    """A moment, such as 2024-03-05 12:00:00."""
    return NOTHING if ms is None else iso(ms)[:19].replace("T", " ")


def told_at(text: str | None) -> str:
    """Write a moment of a status for people."""
    return NOTHING if text is None else text[:19].replace("T", " ")


def gain(value: float | None) -> str:
    """Class of a number by its sign."""
    return "" if not value or not math.isfinite(value) else "gain" if value > 0 else "loss"


def bps(value: float | None) -> str:
    """Basis points, such as +1.25 bps."""
    if value is not None and abs(value) < 0.005:
        value = 0.0
    return f"{value:+.2f}\N{NO-BREAK SPACE}bps".replace("-", MINUS) if _known(value) else NOTHING


def cost(value: float | None) -> str:
    """Class of a cost by its sign: what costs is a loss."""
    return "" if value is None or abs(value) < 5e-7 else gain(-value)
