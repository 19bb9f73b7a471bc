"""Settings that a machine has rather than a run: from environment variables TRADERAGENT_*."""

from __future__ import annotations

from pathlib import Path

import platformdirs
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Where things lie on this machine."""

    model_config = SettingsConfigDict(env_prefix="TRADERAGENT_", extra="ignore")

    data_dir: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("traderagent")),
        description="folder of candles, instruments and runs",
    )
