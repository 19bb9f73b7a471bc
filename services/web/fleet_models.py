"""What the API takes and gives of the fleet: bots as they are supervised, and what a new one is made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from services.web.models import Given, Ms, Name
from services.web.research_models import Content

EnvironmentName = Annotated[
    Literal["venue", "demo", "testnet", "live"],
    Field(description="venue: a simulated exchange at `address`; live: real money", examples=["demo"]),
]


class FleetBotShown(BaseModel):
    """A bot of the fleet."""

    name: Name
    environment: EnvironmentName
    strategy: str = Field(examples=["grid"])
    pairs: list[str] = Field(examples=[["BTCUSDT"]])
    config: str = Field(description="path of its file", examples=["/home/me/bot.yaml"])
    state: Literal["starting", "warming_up", "running", "stopping", "stopped", "failed"]
    since: Ms
    wanted: Literal["running", "stopped"] = Field(description="what it is to do, whatever happens to it")
    failures: int = Field(description="one after the other")
    next_start: int | None = Field(description="ms, UTC: when it is started again after a failure; none: by you alone")
    reason: str = Field(description="why it has ended, in a sentence", examples=[""])


class FleetShown(BaseModel):
    """The bots of the fleet, by name."""

    runs: bool = Field(description="whether a supervisor runs; without one this is how they stood last")
    items: list[FleetBotShown]


class TradingKey(BaseModel):
    """A key that may be used, by whose it is and where it trades; the key itself is shown nowhere."""

    user: str = Field(examples=["owner"])
    environment: str = Field(examples=["demo"])


class BotChoices(BaseModel):
    """What a bot can be made of."""

    strategies: list[str]
    presets: list[str]
    saved: list[tuple[str, str]] = Field(description="content and name of saved strategies")
    keys: list[TradingKey]


class BotGiven(Given):
    """A bot to create: of a strategy with its defaults, of a preset, or of a saved strategy."""

    name: Name
    strategy: Literal["grid", "dca", "trend", "auto"] | None = Field(None, examples=["grid"])
    preset: str | None = Field(None, pattern="^[a-z0-9][a-z0-9_-]{0,59}$", examples=[None])
    saved: Content | None = Field(None, examples=[None])
    pairs: list[Annotated[str, Field(max_length=40)]] = Field(min_length=1, max_length=100, examples=[["BTCUSDT"]])
    capital: float | None = Field(
        None, gt=0, le=1e12, allow_inf_nan=False, description="the most that it uses, USDT", examples=[1000.0]
    )
    environment: EnvironmentName
    address: str | None = Field(
        None, pattern=r"^https?://[A-Za-z0-9.:\[\]/_-]{1,200}$", description="of a simulated exchange", examples=[None]
    )
    user: str = Field("owner", pattern="^[a-z0-9_-]{1,32}$", description="whose key of `traderagent keys` it takes")
    untested: bool = Field(False, description="live: accept, from now on, a strategy without a finished backtest")
    start: bool = Field(False, description="and start it")


class RunAsked(Given):
    """What a bot is to do."""

    command: Literal["start", "stop", "restart"] = Field(examples=["start"])
