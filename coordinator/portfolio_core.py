"""The core of the portfolio: reports of all pairs in, one evaluation at each close, directives out. No I/O, no clock.

It evaluates when every pair has reported the same close, so that no pair's news counts before another's; a pair that
stays silent is waited for until the next close, then the rest goes on without it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, assert_never

import structlog

from bot.events import Alarm, EquityMarked
from bot.ports import Account, Transfer
from bot.record import new_records
from bot.times import DAY
from coordinator.capital_phase import at_work, enter_phase, note_phase
from coordinator.decisions import modes_of
from coordinator.instructions import Load, Loaded, Save, Steps
from coordinator.machine import NAME, PortfolioMachine, remembered_money
from coordinator.memory import Memory
from coordinator.messages import (
    AccountSnapshot,
    Command,
    Directive,
    ExposureLimit,
    HeldOffReport,
    LoopRenewed,
    PairReport,
    Recover,
    SaveState,
    SetParameters,
)
from coordinator.operator import CommandRejected, apply_command
from coordinator.portfolio import differs
from coordinator.risk import day_loss, deposited, drawdown, moved
from coordinator.vocabulary import DECISION, DIRECTIVE, NO_PAIR, DecisionKind, HeldOff, WalletOrigin

log = structlog.get_logger()

CENT = 0.01  # quote currency: what the venue's rounding of fees may add up to between two looks at the wallet

Message = PairReport | Command | AccountSnapshot | HeldOffReport | LoopRenewed | SetParameters | SaveState


# What a person can do about a pair that may open nothing.
REMEDIES = {
    HeldOff.OPERATOR: "resume it when you like",
    HeldOff.POSITION: "compare the position at the venue with what the bot shows; adopt or close it, then resume",
    HeldOff.ACTIONS: "look at what it sends, and resume it",
    HeldOff.EXITS: "look at the position at the venue, then resume",
    HeldOff.SILENCE: "nothing, where the venue is down; else look at the network",
    HeldOff.INSTRUMENT: "let the position be closed; it goes on by itself where it can",
    HeldOff.OUT_OF_STEP: "keep the log and tell the makers; look at the position at the venue, then resume",
    HeldOff.LEVERAGE: "set the leverage of the config at the venue, or change the config",
    HeldOff.PERMISSION: "give the key the right to trade, and this machine's address",
}


class PortfolioCore:
    """The whole portfolio's judgement."""

    def __init__(
        self,
        machine: PortfolioMachine,
        symbols: list[str],
        tell: Callable[[str, Directive | ExposureLimit | Recover], None],
        announce: Callable[[Alarm | EquityMarked], None],
    ) -> None:
        """`tell` hands a message to a pair; `announce` tells whoever watches."""
        self.machine, self.symbols = machine, symbols
        self.memory = Memory()
        self.held: dict[str, Any] = {}  # the directive each pair was given last
        self.heard = dict.fromkeys(symbols, 0)  # number of the last report
        self.at = 0  # ms: the close being gathered
        self.arrived: set[str] = set()
        self.unanswered: set[str] = set()
        self.rooms: dict[str, ExposureLimit] = {}
        self.unexplained = 0.0  # quote currency in the wallet that no pair has earned
        self._tell, self._announce = tell, announce

    def start(self, now: int, transferred: int = 0, share: float = 0.0) -> Steps[None]:
        """Load what was stored, or begin at `now` (ms): only later closes are judged.

        `transferred` (ms): transfers up to then are in the wallet already. `share`: of the capital in its first phase;
        0 for no phases.

        The pairs hear their directives again, since they may not have heard them before.
        """
        loaded: Loaded | None = yield Load(NAME)
        if loaded is not None:
            yield from self._follow_pairs(self.machine.restore(loaded.saved))
            self._begin_phases(share, now)
            for symbol in self.symbols:
                self._begin_to_listen(symbol)
            return
        self._begin_phases(share, now)
        self.machine.evaluated_at[0] = now
        portfolio = self.machine.portfolio_state.portfolio
        portfolio.transfers_at = max(now, transferred)
        self._record(now, WalletOrigin.OPENING, float(portfolio.deposits))
        yield from self._remember()

    def _begin_phases(self, share: float, now: int) -> None:
        """Begin the first phase of the capital where there was none, or end them where there are none any more."""
        portfolio: Any = self.machine.portfolio_state.portfolio
        if (share > 0.0) != bool(portfolio.phase.share > 0.0):
            enter_phase(portfolio, self.machine.portfolio_state.reports, share, now)

    def _follow_pairs(self, known: list[str]) -> Steps[None]:
        """Let the money that pairs have made stay in the sum when they come or go, since then no report tells of it."""
        deposits = 0.0
        for symbol in set(known) ^ set(self.symbols):
            past: Loaded | None = yield Load(symbol)
            if past is not None:
                deposits += remembered_money(symbol, past.saved)[1] * (1.0 if symbol in known else -1.0)
        if set(known) != set(self.symbols):
            portfolio = self.machine.portfolio_state.portfolio
            portfolio.deposits += deposits
            portfolio.opened += deposits * float(at_work(portfolio))  # it is earned, not invested
            yield from self._remember()

    def handle(self, message: Message) -> Steps[None]:
        """Take a message in; what it changes is stored, then the pairs are told."""
        match message:
            case PairReport():
                yield from self._on_report(message)
            case Command():
                yield from self._on_command(message)
            case AccountSnapshot():
                self._on_account(message)
            case HeldOffReport():
                if self._hold_off(message):
                    yield from self._evaluate(self.now)
            case SaveState():
                yield from self._remember()
            case LoopRenewed():
                self.held.pop(message.symbol, None)
                self.rooms.pop(message.symbol, None)
                self._begin_to_listen(message.symbol)
            case SetParameters():
                self.machine.params[...] = message.params
                self.machine.portfolio_state.portfolio.urged = True
            case _:
                assert_never(message)

    def _begin_to_listen(self, symbol: str) -> None:
        """Forget what a loop that is new says again where it still holds."""
        for reason in (HeldOff.SILENCE, HeldOff.PERMISSION):
            self._hold_off(HeldOffReport(symbol, reason, f"{symbol}: its loop begins anew", over=True))

    def _on_report(self, report: PairReport) -> Steps[None]:
        if report.sequence <= self.heard[report.symbol]:
            return
        self.heard[report.symbol] = report.sequence
        self.machine.portfolio_state.reports[self.symbols.index(report.symbol)] = report.record
        if report.answers:
            self.unanswered.discard(report.symbol)
            if not self.unanswered:
                self._share_room()
            return
        if report.at <= int(self.machine.evaluated_at[0]) and report.symbol in self.held:
            return  # it has caught up with what is judged already
        if report.at > self.at:
            if self.arrived and self.at:
                log.warning("pairs_silent", pairs=sorted(set(self.symbols) - self.arrived), at=self.at)
                yield from self._evaluate(self.at)
            self.at, self.arrived = report.at, set()
        if report.at == self.at:
            self.arrived.add(report.symbol)
        if len(self.arrived) == len(self.symbols):
            self.arrived = set()
            yield from self._evaluate(self.at)

    def _on_command(self, command: Command) -> Steps[None]:
        """Follow the operator, at once."""
        said = command.said
        try:
            index = self._index_of(said.pair)
            done = apply_command(self.machine.portfolio_state, self.machine.params[0], said, index, self.now)
            log.warning(
                "operator",
                command=said.kind.value,
                pair=said.pair,
                who=said.who,
                source=said.source,
                done=done,
            )
            yield from self._evaluate(self.now)
        except CommandRejected as error:
            command.answer.set_exception(error)
        else:
            command.answer.set_result(done)

    @property
    def now(self) -> int:
        """The close that counts now, ms."""
        return max(self.at, int(self.machine.evaluated_at[0]))

    def _hold_off(self, message: HeldOffReport) -> bool:
        """Close a pair to entries, or open it again; whether that is news."""
        portfolio_state, index = self.machine.portfolio_state, self.symbols.index(message.symbol)
        before = int(portfolio_state.routes[index].held_off)
        after = before & ~message.reason if message.over else before | message.reason
        if after == before:
            return False
        portfolio_state.routes[index].held_off = after
        portfolio_state.portfolio.urged = True
        (log.warning if message.over else log.error)(
            "pair_released" if message.over else "pair_held_off",
            pair=message.symbol,
            reason=message.reason.name,
            sentence=message.sentence,
        )
        severity = "warning" if message.over else "critical"
        self._announce(
            Alarm(
                *(message.symbol, self.now, str(message.reason.name).lower(), severity, message.sentence),
                *(REMEDIES[message.reason], message.over),
            )
        )
        return True

    def _index_of(self, pair: str | None) -> int | None:
        if pair is not None and pair not in self.symbols:
            raise CommandRejected(f"pair {pair} is not traded by this bot; choose of {', '.join(self.symbols)}.")
        return None if pair is None else self.symbols.index(pair)

    def _on_account(self, account_snapshot: AccountSnapshot) -> None:
        """Hold wallet and positions against what the bot believes.

        A pair whose position differs looks for itself. Only what the venue's log calls a transfer moves the anchors;
        other money that nobody has earned, believed when it is seen twice, is a gain or a loss of the day.
        """
        portfolio_state, account = self.machine.portfolio_state, account_snapshot.account
        differing = [
            symbol
            for symbol, report in zip(self.symbols, portfolio_state.reports, strict=True)
            if report.alive and account.positions.get(symbol, 0) != int(report.position)
        ]
        for symbol in differing:
            self._tell(symbol, Recover())
        self._take_transfers(account_snapshot.transfers or ())
        if account_snapshot.transfers is not None:
            self._know_transfers()
        extra = self._unearned(account)
        seen_twice = abs(extra - self.unexplained) < CENT
        self.unexplained = extra
        if abs(extra) >= max(CENT, 1e-5 * abs(account.wallet)) and seen_twice and not differing:
            log.error("unexplained_money", amount=extra, wallet=account.wallet, remedy="look at the account's log")
            sentence = f"{extra:+.2f} in the wallet is no transfer"
            self._announce(Alarm("", self.now, "unexplained_money", "warning", sentence, "look at the account's log"))
            portfolio_state.portfolio.deposits += extra
            self._record(self.now, WalletOrigin.UNEXPLAINED, extra)
            self.unexplained = 0.0

    def _unearned(self, account: Account) -> float:
        """What the wallet holds that no pair has earned, quote currency.

        While a position stands, how much of it counts as earned depends on the order in which its fills were booked,
        which need not be the venue's: what their averages differ by has come from nowhere else.
        """
        reports = dict(zip(self.symbols, self.machine.portfolio_state.reports, strict=True))
        settled = sum(float(one.settled) for one in reports.values())
        extra = account.wallet - float(self.machine.portfolio_state.portfolio.deposits) - settled
        booked = sum(cost - float(reports[symbol].cost) for symbol, cost in account.costs.items() if symbol in reports)
        return min(extra, extra - booked, key=abs)

    def _take_transfers(self, transfers: tuple[Transfer, ...]) -> None:
        """Let deposits and withdrawals that are new move the anchors, not the profit."""
        portfolio = self.machine.portfolio_state.portfolio
        for one in sorted(transfers, key=lambda each: each.ts):
            if one.ts > int(portfolio.transfers_at):
                log.warning("deposit" if one.amount > 0 else "withdrawal", amount=one.amount)
                portfolio.deposits += one.amount
                self._record(one.ts, WalletOrigin.TRANSFER, one.amount)
                before = float(portfolio.risk.equity)
                deposited(portfolio.risk, one.amount)
                factor = (before + one.amount) / before if before > 0.0 else 1.0
                portfolio.phase.high = moved(float(portfolio.phase.high), factor, one.amount)
        portfolio.transfers_at = max([int(portfolio.transfers_at), *(one.ts for one in transfers)])

    def _know_transfers(self) -> None:
        """Ask only for the last day's from now on: the venue's log was read up to now, and lists some late."""
        portfolio = self.machine.portfolio_state.portfolio
        portfolio.transfers_at = max(int(portfolio.transfers_at), self.now - DAY)

    def _evaluate(self, now: int) -> Steps[None]:
        """Judge, remember, direct. A close that was judged before a restart is not judged again."""
        if now > int(self.machine.evaluated_at[0]) or self.machine.portfolio_state.portfolio.urged:
            self.machine.evaluate(now)
            note_phase(self.machine.portfolio_state.portfolio)
            yield from self._remember()
            self._announce(self.account())
        self._direct(now)
        if not self.unanswered:
            self._share_room()

    def _record(self, at: int, origin: WalletOrigin, amount: float) -> None:
        """Record money that no pair has earned and that `deposits` has already; stored with the next evaluation."""
        portfolio, decisions = self.machine.portfolio_state.portfolio, self.machine.portfolio_state.decisions
        entry = new_records(DECISION, 1)
        entry["ts"], entry["pair"], entry["kind"] = at, NO_PAIR, DecisionKind.WALLET
        entry["a"], entry["x"], entry["y"] = origin, amount, self.account().wallet
        decisions[min(int(portfolio.decided), len(decisions) - 1)] = entry[0]
        portfolio.decided += 1

    def account(self) -> EquityMarked:
        """What the account is worth by the pairs' last reports."""
        portfolio, reports = self.machine.portfolio_state.portfolio, self.machine.portfolio_state.reports
        deposits, modes = float(portfolio.deposits), int(portfolio.modes)
        return EquityMarked(
            *("", self.now),
            equity=deposits + sum(float(one.equity) for one in reports),
            wallet=deposits + sum(float(one.settled) for one in reports),
            exposure=sum(float(one.exposure) for one in reports),
            day_loss_pct=100.0 * float(day_loss(portfolio.risk)),
            drawdown_pct=100.0 * float(drawdown(portfolio.risk)),
            modes=modes_of(modes),
        )

    def _remember(self) -> Steps[None]:
        """Store what was decided; a store that does not answer is not waited for, since an operator's word cannot."""
        self.memory.keep([], self.machine.take_decisions())
        yield Save()

    def _direct(self, now: int) -> None:
        """Tell every pair what is new to it."""
        portfolio_state = self.machine.portfolio_state
        self.unanswered = set()
        for index, symbol in enumerate(self.symbols):
            directive = portfolio_state.directives[index]
            if symbol in self.held and not differs(self.held[symbol], directive):
                continue
            record = new_records(DIRECTIVE, 1)
            record[0] = directive
            self.held[symbol] = record[0]
            self.unanswered.add(symbol)
            self._tell(symbol, Directive(int(portfolio_state.portfolio.sequence), now, record))

    def _share_room(self) -> None:
        self.machine.share_room()
        for index, symbol in enumerate(self.symbols):
            directive = self.machine.portfolio_state.directives[index]
            room = ExposureLimit(
                int(self.machine.evaluated_at[0]), float(directive.exposure_limit), float(directive.others)
            )
            known = self.rooms.get(symbol)
            if known is None or (known.limit, known.others) != (room.limit, room.others):
                self.rooms[symbol] = room
                self._tell(symbol, room)
