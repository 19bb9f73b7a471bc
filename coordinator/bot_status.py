"""How a bot stands, as one typed model: terminal, `ctl`, metrics and whoever asks over HTTP read it, and nothing else.

Its form in JSON is this form. Money is in quote currency, quantities in base currency, times in UTC.
"""

from __future__ import annotations

from typing import TypedDict


class ReactionCounts(TypedDict):
    """How soon fills were answered: counts by the bounds of `reaction.SECONDS`, and seconds in all."""

    counts: list[int]
    seconds: float


class PortfolioPair(TypedDict):
    """What the portfolio knows of a pair."""

    pair: str
    price: float
    regime: str
    strategy: str
    group: str  # its risk group: as the config names it, else by the first of the pairs that move alike
    phase: str
    held_off: list[str]  # why it opens nothing; empty: it may
    target: float  # capital
    position: float  # signed
    equity: float  # what it has added to the account
    exposure: float
    entries: int  # orders that should rest, as the next
    exits: int
    refused_for_costs: int  # what was not opened or left because it would not have paid for its costs


class LoopPair(TypedDict):
    """What a pair's own loop knows."""

    open_orders: int
    held_off: list[str]
    recovered: bool  # it has caught up with the venue since it started
    reconciled_seconds: float  # since its state and the venue were compared last
    corrections: int  # times that the venue was not as believed
    fills: int
    reactions: ReactionCounts
    average: float  # entry price of the position; 0 when flat
    stop: float  # price of the stop that protects the position; 0 where there is none
    counts: dict[str, int]  # what its strategies have counted, such as conflicting_signals


class PairStatus(PortfolioPair):
    """Both together."""

    open_orders: int
    recovered: bool
    reconciled_seconds: float
    corrections: int
    fills: int
    reactions: ReactionCounts
    average: float
    stop: float
    counts: dict[str, int]


class OrderStatus(TypedDict):
    """An order, desired or open."""

    client_order_id: str
    side: str  # buy or sell
    kind: str  # limit, stop or market
    price: float  # 0 at the market
    quantity: float  # filled part included
    filled: float
    reduce_only: bool
    stop: float  # that the position gets with its first fill; 0 for none


class PairOrders(TypedDict):
    """What should be open at the venue for a pair, and what is, as far as the bot knows."""

    pair: str
    tick_size: float
    desired: list[OrderStatus]
    open: list[OrderStatus]
    stop: float  # that the position itself carries; 0 for none


class GatewayStatus(TypedDict):
    """How one process hears and speaks to the venue."""

    streams: dict[str, bool]  # by name: whether it is up
    stream_age_seconds: float
    errors: dict[str, int]  # answers of the venue by code
    changes: dict[str, int]  # by action and outcome


class AccountLimits(TypedDict):
    """What the account may lose and hold before its risk rules act."""

    halt_day_loss_pct: float
    halt_drawdown_pct: float
    exposure: float  # largest, as a share of equity
    reserve: float  # share of equity that is kept free
    group_exposure: float  # largest of one risk group, as a share of what is not reserved


class CapitalPhaseStatus(TypedDict):
    """What the portfolio knows of the phase of its capital."""

    share: float  # of the capital that is at work
    since: int  # ms
    trades: int  # closed in it
    drawdown: float  # deepest in it, as a share of the capital at work


class CapitalPhaseStanding(CapitalPhaseStatus):
    """That, and what the config asks for before the next phase."""

    number: int  # from 1
    of: int
    missing: list[str]  # for the next phase; empty: the operator may say `phase-up`


class AccountStatus(TypedDict):
    """What the portfolio knows of the account."""

    at: str | None  # the close that was evaluated last
    equity: float
    wallet: float
    exposure: float
    day_loss_pct: float
    drawdown_pct: float
    modes: list[str]  # of the risk aggregator; empty: normal
    halted: bool
    answer: str | None  # to a halt
    decide_by: str | None  # the market's time at which a halt that waits for its answer holds
    limits: AccountLimits
    transfers_at: int  # ms
    capital_phase: CapitalPhaseStatus | None  # None: all of the capital is at work


class PortfolioStatus(AccountStatus):
    """The account, and the pairs as the portfolio knows them."""

    pairs: list[PortfolioPair]


class BotStatus(AccountStatus, GatewayStatus):
    """The whole."""

    bot: str
    pairs: list[PairStatus]


class LiveStatus(BotStatus):
    """That of a bot with a config file of its own."""

    environment: str  # venue, demo, testnet or live
    phase_standing: CapitalPhaseStanding | None
