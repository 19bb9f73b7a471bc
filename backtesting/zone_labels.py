"""Labelled zones, and how well the zones of a run agree with them: recall and precision.

A label is a rectangle that a person, or whoever knows the truth, has drawn: a pair, demand or supply, a price range,
and the span of time in which it counts. A found zone agrees with a label of its pair and side when it was born in that
span and the common part of their price ranges is large enough against both together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from backtesting.validation import CheckOutcome, QualityStatus
from bot.candles import parse_time
from bot.errors import Misconfigured, cut, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtesting.validation import ZoneCriteria

LABEL_COLUMNS = ("pair", "kind", "side", "bottom", "top", "from", "to")
ZONE_COLUMNS = ("pair", "kind", "side", "bottom", "top", "born")
KINDS = ("any", "order_block", "fair_value_gap", "liquidity")
SIDES = ("demand", "supply")


@dataclass(frozen=True)
class ZoneAgreement:
    """How many labels were found, and how many found zones are labelled."""

    labels: int
    labels_found: int
    zones: int
    zones_labelled: int

    @property
    def recall(self) -> float | None:
        """Share of the labels that were found."""
        return self.labels_found / self.labels if self.labels else None

    @property
    def precision(self) -> float | None:
        """Share of the found zones that are labelled."""
        return self.zones_labelled / self.zones if self.zones else None


def labels_of(rows: pl.DataFrame, place: str) -> pl.DataFrame:
    """Read a table of text as labels: LABEL_COLUMNS, times in ms; raises Misconfigured for the first odd row."""
    missing = [name for name in LABEL_COLUMNS if name not in rows.columns and name != "kind"]
    if missing:
        raise Misconfigured(f"{place} has no column {missing[0]}; give {', '.join(LABEL_COLUMNS)}.")
    found = [_label(row, f"{place}, row {number}") for number, row in enumerate(rows.iter_rows(named=True), 1)]
    types = {"pair": pl.String, "kind": pl.String, "side": pl.String, "bottom": pl.Float64, "top": pl.Float64}
    return pl.DataFrame(found, schema={**types, "from": pl.Int64, "to": pl.Int64}, orient="row")


def _label(row: dict[str, object], place: str) -> tuple[str, str, str, float, float, int, int]:
    kind, side = str(row.get("kind") or "any").strip().lower(), str(row["side"]).strip().lower()
    for name, value, choices in (("kind", kind, KINDS), ("side", side, SIDES)):
        if value not in choices:
            raise Misconfigured(f"{place}: {name} is {shown(value)}; choose one of {', '.join(choices)}.")
    bottom, top = (_price(row[name], f"{place}: {name}") for name in ("bottom", "top"))
    start, end = (parse_time(str(row[name])) for name in ("from", "to"))
    if not bottom < top:
        raise Misconfigured(f"{place}: bottom is {bottom:g} and top {top:g}; bottom must lie below top.")
    if not start <= end:
        raise Misconfigured(f"{place}: from is {cut(str(row['from']))}, behind to; swap the two.")
    return str(row["pair"]).strip().upper(), kind, side, bottom, top, start, end


def _price(value: object, place: str) -> float:
    try:
        price = float(str(value))
    except ValueError:
        price = np.nan
    if not (np.isfinite(price) and price > 0):
        raise Misconfigured(f"{place} is {shown(value)}; give a positive price.")
    return price


def agreement(zones: pl.DataFrame, labels: pl.DataFrame, overlap: float) -> ZoneAgreement:
    """Compare the zones that were born where and of what kind labels are, with these."""
    judged = _judged(zones, labels)
    if not labels.height or not judged.height:
        return ZoneAgreement(labels.height, 0, judged.height, 0)
    same = _matches(judged, labels, overlap)
    return ZoneAgreement(labels.height, int(same.any(0).sum()), judged.height, int(same.any(1).sum()))


def _judged(zones: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """Zones of labelled pairs, born between the first and the last label of the pair, and of labelled kinds."""
    spans = labels.group_by("pair").agg(pl.col("from").min(), pl.col("to").max(), pl.col("kind").unique().alias("of"))
    inside = (pl.col("born") >= pl.col("from")) & (pl.col("born") <= pl.col("to"))
    asked = pl.col("of").list.contains(pl.col("kind")) | pl.col("of").list.contains("any")
    return zones.join(spans, on="pair").filter(inside & asked).select(ZONE_COLUMNS)


def _matches(zones: pl.DataFrame, labels: pl.DataFrame, overlap: float) -> NDArray[np.bool_]:
    """Whether zone i agrees with label k, (zones, labels)."""

    def pairs(name: str, other: str | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
        return zones[name].to_numpy()[:, None], labels[other or name].to_numpy()[None, :]

    (bottom, below), (top, above) = pairs("bottom"), pairs("top")
    common = np.minimum(top, above) - np.maximum(bottom, below)
    together = np.maximum(top, above) - np.minimum(bottom, below)
    kinds, labelled = pairs("kind")
    born, since = pairs("born", "from")
    _, until = pairs("born", "to")
    alike = (kinds == labelled) | (labelled == "any")
    for name in ("pair", "side"):
        one, other = pairs(name)
        alike = alike & (one == other)
    found: NDArray[np.bool_] = alike & (born >= since) & (born <= until) & (common >= overlap * together)
    return found


def zones_outcome(zones: pl.DataFrame | None, labels: pl.DataFrame, criteria: ZoneCriteria) -> list[CheckOutcome]:
    """Hold recall and precision against the criteria."""
    if zones is None:
        said = "zones were not checked: the run looked for none; play it with smc.enabled"
        return [CheckOutcome("zone_recall", QualityStatus.SKIPPED, (said,))]
    found = agreement(zones, labels, criteria.overlap)
    outcomes = []
    for name, value, least, words in (
        ("zone_recall", found.recall, criteria.recall, f"{found.labels_found} of {found.labels} labelled zones found"),
        (
            "zone_precision",
            found.precision,
            criteria.precision,
            f"{found.zones_labelled} of {found.zones} are labelled",
        ),
    ):
        good = value is not None and value >= least
        figure = "undefined" if value is None else f"{value:.2f}"
        issues = [] if good else [f"{name} is {figure}, not {least:g}: {words}"]
        status = QualityStatus.PASS if good else QualityStatus.FAIL
        outcomes.append(CheckOutcome(name, status, tuple(issues), value))
    return outcomes
