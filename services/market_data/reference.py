"""Which symbols can be had where: `<data dir>/reference.json`, refreshed by who collects, searched by who chooses.

Markets have fixed ids. Whatever is asked, symbols come in one order: by name, then by market id.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from services.market_data.markets import BY_ID, VenueMarket
from services.whole_file import made_folder, write_whole


@dataclass(frozen=True, order=True)
class ReferenceSymbol:
    """One symbol of one market."""

    symbol: str
    market_id: int
    base: str
    quote: str
    tradable: bool

    @property
    def market(self) -> VenueMarket:
        """The market that it belongs to."""
        return BY_ID[self.market_id]


class ReferenceData:
    """The symbols of a data directory."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / "reference.json"

    def symbols(self) -> list[ReferenceSymbol]:
        """Every symbol, in order, also those that are no longer traded."""
        if not self.path.exists():
            return []
        return sorted(ReferenceSymbol(**one) for one in json.loads(self.path.read_text(encoding="utf-8")))

    def replace(self, market_id: int, listed: list[ReferenceSymbol]) -> None:
        """Take what a market lists now; a symbol that it lists no more stays, as one that cannot be traded."""
        known = {(one.symbol, one.market_id): one for one in self.symbols()}
        for key, one in known.items():
            if one.market_id == market_id:
                known[key] = ReferenceSymbol(one.symbol, market_id, one.base, one.quote, tradable=False)
        known |= {(one.symbol, one.market_id): one for one in listed}
        made_folder(self.path.parent)
        write_whole(self.path, json.dumps([asdict(one) for one in sorted(known.values())], indent=0))

    def search(self, text: str = "", market_ids: tuple[int, ...] = tuple(BY_ID)) -> list[ReferenceSymbol]:
        """Tradable symbols that contain `text`, whatever its case and punctuation."""
        wanted = "".join(one for one in text.upper() if one.isalnum())
        return [one for one in self.symbols() if one.tradable and one.market_id in market_ids and wanted in one.symbol]
