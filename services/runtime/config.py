"""What a running bot is told besides the algorithm: its name, where it trades, where it remembers. And its secrets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.errors import Misconfigured
from bot.instrument import Market
from bot.validation import validated
from coordinator.config import FillPolicy, PortfolioConfig, load_portfolio
from coordinator.config_file import read_values
from coordinator.phase_gates import CapitalPhases
from services.exchanges.registry import BYBIT, factory_of
from services.settings import Settings

if TYPE_CHECKING:
    from bot.ports import Gateway

EMBEDDED, NONE = "embedded", "none"
MOST_ACTIONS = 60
LONGEST_ID = 36  # characters of a client order id
REST_OF_ID = 3 + 9 + 3  # its slot, its generation, and three dashes


class Environment(StrEnum):
    """Which exchange. `venue` is the project's own, or anything else that speaks like Bybit, at `address`."""

    DEMO = "demo"
    TESTNET = "testnet"
    LIVE = "live"
    VENUE = "venue"


class RuntimeKind(StrEnum):
    """How many processes: one, or Ray's."""

    LOCAL = "local"
    RAY = "ray"


class MarketDataSource(StrEnum):
    """Where closed bars and candles come from."""

    EXCHANGE = "exchange"
    SHARED = "shared"


class Foreign(StrEnum):
    """What to do when the account holds orders or positions on the bot's pairs that are not the bot's."""

    REFUSE = "refuse"
    IGNORE = "ignore"


class KeyRisk(StrEnum):
    """What makes an API key dangerous to whoever loses it."""

    WITHDRAW = "withdraw"
    TRANSFER = "transfer"
    UNBOUND = "unbound"  # to no address: it works from anywhere


class BotSettings(BaseModel):
    """The section `bot` of a config."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern="^[a-z0-9]{1,8}$")] = Field(
        "main", description="part of every order's id: 1 to 8 lower-case letters and digits"
    )
    exchange: str = Field(BYBIT, description="which exchange: bybit")
    environment: Environment = Field(Environment.DEMO, description="demo, testnet, live, or venue with an address")
    address: str | None = Field(None, description="base address of a Bybit-compatible venue")
    foreign: Foreign = Field(Foreign.REFUSE, description="orders or positions that are not the bot's: refuse or ignore")
    user: str = Field("owner", pattern="^[a-z0-9_-]{1,32}$", description="whose key of `traderagent keys` it takes")
    accept_key: tuple[KeyRisk, ...] = Field(
        (), description="live: trade with a key that may do this nevertheless: withdraw, transfer, unbound"
    )
    requests_per_second: float = Field(10.0, gt=0, le=100_000, description="what the account may ask of the venue")
    max_actions_per_minute: int = Field(
        MOST_ACTIONS, ge=1, description="order actions on a pair in a minute, after which it opens nothing more"
    )
    sessions: bool = Field(
        True, description="keep what each pair was told and did, for `traderagent replay`, drift and what-if"
    )
    drift_limit_bps: float | None = Field(
        10.0, ge=0, le=10_000, description="alarm where a day cost more of what was traded than its simulation, bps"
    )
    large_positions: bool = Field(
        False, description="a position may be larger than one market order closes; several stops cover it then"
    )
    database: str = Field(
        default_factory=lambda: Settings().database, description="embedded, or a postgresql:// address"
    )
    redis: str = Field(default_factory=lambda: Settings().redis, description="embedded, none, or a redis:// address")
    market_data: MarketDataSource = Field(
        MarketDataSource.EXCHANGE, description="exchange, or shared: from `traderagent collect` where it has them"
    )
    data_dir: Path = Field(
        default_factory=lambda: Settings().data_dir, description="where the embedded services keep their data"
    )
    runtime: RuntimeKind = Field(RuntimeKind.LOCAL, description="local, or ray for more processes and machines")
    workers: int = Field(2, ge=1, le=1000, description="processes that share the pairs, with runtime: ray")
    ray_address: str | None = Field(
        None, pattern=r"^[\w.-]+:\d{1,5}$", description="host:port of a Ray cluster to join; else Ray runs here"
    )
    capital_phases: CapitalPhases | None = Field(
        None, description="let little of the capital work first, and more when it has shown that it may"
    )
    control_port: int = Field(0, ge=0, le=65535, description="port of the control interface; 0 takes a free one")

    @property
    def first_share(self) -> float:
        """Share of the capital in its first phase; 0 where there are no phases."""
        return 0.0 if self.capital_phases is None else self.capital_phases.shares[0]


@dataclass(frozen=True)
class AccountAccess:
    """Where a bot trades and with which key."""

    key: SecretStr
    secret: SecretStr
    market: Market
    environment: Environment
    address: str | None
    rate: float  # requests a second
    large_positions: bool = False
    exchange: str = BYBIT

    def gateway(self, share: float = 1.0) -> Gateway:
        """Build an adapter to it that may send so much of its requests."""
        return factory_of(self.exchange)(
            key=self.key.get_secret_value(),
            secret=self.secret.get_secret_value(),
            market=self.market,
            environment="live" if self.environment is Environment.VENUE else self.environment.value,
            address=self.address,
            rate=self.rate * share,
            large_positions=self.large_positions,
        )

    def secrets(self) -> list[str]:
        """List what no log may show."""
        return [self.key.get_secret_value(), self.secret.get_secret_value()]


class Secrets(BaseSettings):
    """From the environment alone: TRADERAGENT_KEY and TRADERAGENT_SECRET."""

    model_config = SettingsConfigDict(env_prefix="TRADERAGENT_", extra="ignore")

    key: SecretStr = SecretStr("")
    secret: SecretStr = SecretStr("")

    def present(self) -> Secrets:
        """Return them, or raise Misconfigured with the name of the missing one."""
        for name in ("key", "secret"):
            if not getattr(self, name).get_secret_value():
                raise Misconfigured(f"TRADERAGENT_{name.upper()} is not set; export the venue's API {name}.")
        return self


def load_bot(path: Path) -> tuple[BotSettings, PortfolioConfig]:
    """Read a config: what a backtest takes, and a section `bot`. Raises Misconfigured."""
    values: dict[str, Any] = read_values(path)
    settings: BotSettings = validated(BotSettings, values.pop("bot", None) or {}, "bot")
    factory_of(settings.exchange)
    if (settings.environment is Environment.VENUE) != (settings.address is not None):
        raise Misconfigured("bot.address belongs to bot.environment: venue, and that needs it; give both or neither.")
    if settings.market_data is MarketDataSource.SHARED and settings.environment is Environment.TESTNET:
        raise Misconfigured("bot.market_data is shared, but the testnet has prices of its own; set exchange.")
    if settings.ray_address is not None and EMBEDDED in (settings.database, settings.redis):
        raise Misconfigured(
            "bot.ray_address names a cluster, whose machines cannot reach an embedded database or bus; "
            "set bot.database to a postgresql:// address, and bot.redis to a redis:// address or none."
        )
    on_bybit = settings.exchange == BYBIT and settings.environment is not Environment.VENUE
    if values.get("market") == Market.SPOT.value and on_bybit:
        raise Misconfigured(
            "market is spot, but Bybit takes the fee of a spot purchase in the coin, so that less is held than was "
            "bought; trade market: linear, or spot on the project's own venue."
        )
    config = load_portfolio(values)
    _refuse_what_is_only_simulated(config)
    _refuse_long_names(settings.name, list(config.pairs))
    return settings, config


def _refuse_what_is_only_simulated(config: PortfolioConfig) -> None:
    """Raise Misconfigured for rules that no exchange has."""
    if config.execution.fill_policy is FillPolicy.CLOSE:
        raise Misconfigured(
            "execution.fill_policy is close, but an order decided at a close fills after it: this cannot be traded "
            "live; set next_open."
        )
    for strategy, parameters in config.algorithm.trading():
        if config.market is Market.SPOT and parameters.sells_short:
            raise Misconfigured(
                f"{strategy.name}.direction is {parameters.direction}, but spot cannot be sold short live; set "
                "long_only, or market: linear."
            )


def _refuse_long_names(name: str, pairs: list[str]) -> None:
    """Raise Misconfigured if an order's id could grow longer than the venue allows."""
    longest = max(pairs, key=len)
    room = LONGEST_ID - REST_OF_ID - len(longest)
    if len(name) > room:
        remedy = f"use a bot.name of at most {room} characters" if room > 0 else f"remove {longest} from pairs"
        raise Misconfigured(
            f"orders of {longest} by a bot named {name!r} need ids longer than the {LONGEST_ID} characters "
            f"that the venue allows; {remedy}."
        )
