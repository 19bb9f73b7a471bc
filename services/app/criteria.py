"""What runs are held against: criteria from a file or a batch, and the labelled zones that they name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtesting.run_tables import tables_of
from backtesting.tables import read_table
from backtesting.validation import ValidationCriteria
from backtesting.validation_checks import examined
from backtesting.zone_labels import labels_of, zones_outcome
from bot.errors import cut
from bot.validation import validated
from coordinator.config_file import read_values

if TYPE_CHECKING:
    import polars as pl

    from backtesting.portfolio_result import PortfolioResult
    from backtesting.result import BacktestResult
    from backtesting.validation import QualityReport, RunTables


@dataclass(frozen=True)
class JudgedBy:
    """What runs are held against: criteria, and the labelled zones that they name."""

    criteria: ValidationCriteria
    labels: pl.DataFrame | None = None

    @cached_property
    def digest(self) -> str:
        """Hash of criteria and labels."""
        labels = None if self.labels is None else self.labels.write_csv()
        whole = json.dumps([self.criteria.model_dump(mode="json"), labels], sort_keys=True)
        return hashlib.sha256(whole.encode()).hexdigest()[:16]

    def figures(self, result: BacktestResult | PortfolioResult) -> dict[str, Any]:
        """What came of the checks of a run that has just been played, as plain values, and by which criteria."""
        report = self.examined(tables_of(result))
        return {"criteria": self.digest, "qa_status": report.status.value, "issues_found": report.issues}

    def examined(self, tables: RunTables) -> QualityReport:
        """Check a run by everything but what a person says of it."""
        report, asked = examined(tables, self.criteria), self.criteria.zones
        if asked is None or self.labels is None:
            return report
        return report.with_outcomes(*zones_outcome(tables.zones, self.labels, asked))


def read_criteria(path: Path | None) -> JudgedBy:
    """Read criteria and the labels that they name; the default ones without a file. Raises Misconfigured."""
    return JudgedBy(ValidationCriteria()) if path is None else criteria_of(read_values(path), path.parent, "criteria")


def judged_by_of(validation: dict[str, Any] | None) -> JudgedBy | None:
    """What the runs of a batch are held against; None where it asks for no validation. Raises Misconfigured."""
    return None if validation is None else criteria_of(validation, Path(), "validation")


def criteria_of(values: Any, folder: Path, place: str) -> JudgedBy:
    """Read criteria from plain values; files are named from `folder`. Raises Misconfigured."""
    criteria: ValidationCriteria = validated(ValidationCriteria, values, place)
    if criteria.zones is None:
        return JudgedBy(criteria)
    path = folder / criteria.zones.labels
    return JudgedBy(criteria, labels_of(read_table(path).frame, f"labels {cut(str(path))}"))
