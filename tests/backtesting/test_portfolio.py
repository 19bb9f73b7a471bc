"""The whole algorithm on recorded time: families 1, 2, 3, 7 and 10, portfolios, and the story of a crash."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from backtesting.exchange import Outcome
from backtesting.portfolio_run import simulate_portfolio
from backtesting.portfolio_simulator import PortfolioSimulator, PreparedPortfolio
from backtesting.reports.run_directory import write_run
from backtesting.simulator import PreparedCandles, UniversalSimulator
from bot.candles import Candles
from bot.errors import Misconfigured
from bot.inputs import SHORT_BLOCK
from bot.instrument import Instrument, Market
from bot.order import Signal
from coordinator.config import PortfolioConfig, load_config
from coordinator.vocabulary import NO_STRATEGY, DecisionKind, HaltAnswer
from services.market_data.synth import generate
from tests.conftest import MINUTE, START, Family, real, walk

DAY, HOUR = 86_400_000, 3_600_000
FIELDS = ("ts", "slot", "generation", "side", "signal", "price", "quantity")


@cache
def market(days=40, seed=7):
    return generate(["BTCUSDT", "ETHUSDT", "SOLUSDT"], days, seed)


def coin(tick="0.1", symbol="T"):
    return Instrument(symbol=symbol, market=Market.LINEAR, tick_size=tick, lot_size="0.001", min_notional="1")


def played(candles, *, every_bar=False, instruments=None, desired_orders=False, progress=None, **config):
    pairs = sorted(candles)
    auto = {"preset": "classic", **config.pop("auto", {})}
    chosen = load_config({"strategy": "auto", "pairs": pairs, "auto": auto, **config})
    assert isinstance(chosen, PortfolioConfig)
    prepared_pairs = PreparedPortfolio.of(dict(candles), instruments or {pair: coin(symbol=pair) for pair in pairs})
    return PortfolioSimulator(chosen, every_bar=every_bar, keep_desired_orders=desired_orders).run(
        prepared_pairs, progress
    )


def fills(recording, pair=0):
    return recording.recordings[pair].fills[list(FIELDS)].tolist()


def decided(recording):
    return recording.decisions.tolist()


def test_it_trades_every_strategy_and_switches():
    """F-24: a filter or a router that silently forbids everything would pass all other tests."""
    recording = played(market())
    starts = {int(one["a"]) for one in recording.decisions[recording.decisions["kind"] == DecisionKind.START]}
    assert {Family.GRID, Family.DCA, Family.TREND} <= starts
    assert sum(len(one.fills) for one in recording.recordings) > 300
    assert np.count_nonzero(recording.decisions["kind"] == DecisionKind.TRANSITION) > 3


def one_pair():
    return {"BTCUSDT": market()["BTCUSDT"].rows(slice(0, 20 * 1440))}, {}


def three_with_holes():
    """Pairs that start and end at different times; one misses six hours, another single minutes."""
    days = {pair: one.rows(slice(0, 20 * 1440)) for pair, one in market().items()}
    here = np.ones(20 * 1440, bool)
    here[13 * 1440 + 7 : 13 * 1440 + 367] = False
    days["ETHUSDT"] = days["ETHUSDT"].rows(here).rows(slice(3 * 1440 + 11, None))
    days["SOLUSDT"] = days["SOLUSDT"].rows(np.arange(20 * 1440) % 997 != 0).rows(slice(0, 17 * 1440 - 5))
    return days, {"leverage": 5.0, "grid": {"risk_budget": 0.2}}


@pytest.mark.parametrize("make", [one_pair, three_with_holes])
def test_skipping_quiet_bars_changes_nothing(make):
    candles, options = make()
    quick, thorough = played(candles, **options), played(candles, every_bar=True, **options)
    for pair in range(len(candles)):
        assert fills(quick, pair) == fills(thorough, pair)
        assert repr(quick.recordings[pair].state["smc"]) == repr(thorough.recordings[pair].state["smc"])
    assert sum(len(fills(quick, pair)) for pair in range(len(candles))) > 50
    kinds = [
        DecisionKind.REGIME,
        DecisionKind.START,
        DecisionKind.TRANSITION,
        DecisionKind.VERDICT,
        DecisionKind.ALLOCATION,
        DecisionKind.ZONE,
        DecisionKind.PAUSE,
        DecisionKind.MODE,
    ]
    for kind in kinds:
        chosen = [one.decisions[one.decisions["kind"] == kind].tolist() for one in (quick, thorough)]
        assert repr(chosen[0]) == repr(chosen[1]), kind
    assert quick.equity.tolist() == thorough.equity.tolist()
    assert quick.ts.tolist() == thorough.ts.tolist()
    assert quick.ts.tolist() == sorted({int(ts) for one in candles.values() for ts in one.ts})


def test_family_1_a_longer_history_changes_nothing_before_its_end():
    """F-86: What the portfolio decides at the last instant of a run is decided there in a longer one too."""
    whole = played(market())
    for cut in (12 * 1440 + 7, 25 * 1440 + 240):
        part = played({pair: one.rows(slice(0, cut)) for pair, one in market().items()})
        end = START_OF_SYNTH + cut * MINUTE
        for pair in range(3):
            theirs = [one for one in fills(whole, pair) if one[0] < end]
            assert fills(part, pair) == theirs
        before = whole.decisions[whole.decisions["ts"] <= end]
        assert repr(part.decisions.tolist()) == repr(before.tolist())


START_OF_SYNTH = int(market(1)["BTCUSDT"].ts[0])


def test_family_2_all_prices_times_k_give_the_same():
    base = {"BTCUSDT": market()["BTCUSDT"]}
    k = 8.0
    own = base["BTCUSDT"]
    scaled = replace(
        own, **{name: getattr(own, name) * k for name in ("open", "high", "low", "close")}, volume=own.volume / k
    )
    small = Instrument(symbol="B", market=Market.LINEAR, tick_size="0.8", lot_size="0.000125", min_notional="1")
    first = played(base, instruments={"BTCUSDT": coin()})
    other = played({"BTCUSDT": scaled}, instruments={"BTCUSDT": small})
    assert len(fills(first)) > 100
    assert fills(first) == fills(other)
    assert first.equity[-1] == pytest.approx(other.equity[-1], rel=1e-12)


def test_family_3_a_mirrored_market_is_followed_by_the_mirror_image():
    """Where the algorithm is symmetric: a neutral grid, the filter off, prices mirrored around their middle."""
    n = 14 * 1440
    path = 100_000.0 + 400.0 * np.sin(np.arange(n) / 180.0) + 150.0 * np.sin(np.arange(n) / 17.0)
    path = np.rint(path / 50) * 50

    def bars(close):
        open_ = np.concatenate(([close[0]], close[:-1]))
        return Candles(
            START + MINUTE * np.arange(n),
            open_,
            np.maximum(open_, close),
            np.minimum(open_, close),
            close,
            np.full(n, 1e6),
            MINUTE,
        )

    given = {
        "auto": {"router": "grid"},
        "smc": {"enabled": False},
        "execution": {"slippage_bps": 0, "funding_rate": 0},
        "grid": {"trailing": "off", "profit_per_grid": 0.0018},
    }
    own = {"T": coin("50")}
    one = played({"T": bars(path)}, instruments=own, **given)
    other = played({"T": bars(200_000.0 - path)}, instruments=own, **given)
    assert len(fills(one)) > 20
    assert [(f[0], -f[3]) for f in fills(one)] == [(f[0], f[3]) for f in fills(other)]


def exposed(recording):
    """Largest exposure as a share of equity."""
    exposure = np.zeros(len(recording.ts))
    for one in recording.recordings:
        _, position = one.holdings()
        prepared = one.prepared
        exposure += (
            np.abs(position) * prepared.close * float(prepared.instrument.tick_size * prepared.instrument.lot_size)
        )
    return float((exposure / recording.equity).max())


def test_family_7_exposure_stays_under_its_cap_and_no_exit_is_stopped():
    """F-42: limits stop entries alone."""
    given = {"leverage": 5, "grid": {"risk_budget": 1.0}, "dca": {"risk_budget": 1.0}, "trend": {"risk_per_trade": 1.0}}
    free = {"stress_exposure": 10.0, "group_exposure": 10.0}
    bound = {"exposure": 0.3, "stress_exposure": 0.3, "group_exposure": 10.0}
    recording = played(market(), **given, risk=bound, smc={"enabled": False})
    unbound = played(market(), **given, risk={**free, "exposure": 10.0}, smc={"enabled": False})
    assert exposed(unbound) > 0.6
    # Prices move after an order was let through; the order alone never exceeds the cap (test_pair_machine).
    assert exposed(recording) < 0.3 * 1.3
    for one in recording.recordings:
        exits = one.fills[one.fills["signal"] > Signal.GRID_COUNTER]
        assert len(exits)


def test_family_10_the_same_input_gives_the_same_bytes(tmp_path):
    config = {"strategy": "auto", "pairs": ["BTCUSDT", "ETHUSDT"]}
    candles = {pair: market()[pair].rows(slice(0, 20 * 1440)) for pair in ("BTCUSDT", "ETHUSDT")}
    heard = []
    write_run(simulate_portfolio(config, candles), tmp_path / "a")
    write_run(simulate_portfolio(config, candles, progress=heard.append), tmp_path / "b")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {"result.json", "events.jsonl", "config.yaml", "fills.csv", "trades.csv", "report.html"} <= set(names)
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    assert heard[-1] == 1.0
    assert heard == sorted(heard)
    assert len(heard) > 50
    write_run(simulate_portfolio(tmp_path / "a" / "config.yaml", candles), tmp_path / "c")
    first, again = (json.loads((tmp_path / n / "result.json").read_text()) for n in ("a", "c"))
    assert first["metrics"] == again["metrics"]
    assert first["run_id"] == again["run_id"]


def test_a_portfolio_of_one_is_a_run_of_one():
    candles = market()["BTCUSDT"].rows(slice(0, 20 * 1440))
    alone = simulate_portfolio({"strategy": "auto", "pair": "BTCUSDT"}, {"BTCUSDT": candles})
    listed = simulate_portfolio({"strategy": "auto", "pairs": ["BTCUSDT"]}, {"BTCUSDT": candles})
    assert alone.document == listed.document


def test_pinned_and_unbound_it_orders_what_the_strategy_alone_would():
    """The pair's step adds nothing of its own: with every limit away, DCA in the portfolio is DCA alone."""
    candles = market()["BTCUSDT"]
    dca = {"risk_budget": 1.0, "confluence": 0.3}
    recording = played(
        {"BTCUSDT": candles},
        auto={"router": "dca", "warmup_bars": 199},
        smc={"enabled": False},
        dca=dca,
        allocation={
            "reserve": 0.0,
            "probation": 1.0,
            "probation_hours": 0,
            "rebalance_hours": 10_000,
            "rebalance_change": 1.0,
        },
        risk={
            "exposure": 100,
            "pair_day_loss": 1.0,
            "losing_trades": 1000,
            "halt_day_loss": 1.0,
            "halt_drawdown": 1.0,
            "reduce_day_loss": 1.0,
            "drawdown_enter": 1.0,
            "drawdown_leave": 1.0,
        },
        capital=10_000.0,
    )
    target = recording.decisions[recording.decisions["kind"] == DecisionKind.ALLOCATION]["x"]
    target = target[target > 0][0]
    config = load_config(
        {"strategy": "dca", "pair": "BTCUSDT", "capital": float(target), "dca": dca, "leverage": 1, "reinvest": False}
    )
    single = UniversalSimulator(config).run(PreparedCandles.of(candles, coin(symbol="BTCUSDT")))
    mine = [(f[0], f[3], f[5]) for f in fills(recording)]
    alone = [(f[0], f[3], f[5]) for f in single.fills[list(FIELDS)].tolist()]
    # Alone it sizes by what is left of its capital, so the two are one until the first loss.
    until = int(np.flatnonzero(single.fills["signal"] == Signal.EXIT_SL)[0])
    assert until > 10
    assert mine[:until] == alone[:until]


def test_equal_pairs_give_equal_results_and_their_order_does_not_matter():
    recording = played({name: market()["BTCUSDT"] for name in ("A", "B", "C")}, smc={"enabled": False})
    assert len(fills(recording)) > 20
    assert fills(recording, 0) == fills(recording, 1) == fills(recording, 2)
    config = [load_config({"strategy": "auto", "pairs": order}) for order in (["B", "A"], ["A", "B"])]
    assert config[0] == config[1]


def test_pairs_may_start_and_end_at_different_times_and_miss_bars():
    whole = market()
    rng = np.random.default_rng(5)
    holes = np.sort(rng.choice(40 * 1440, 32 * 1440, replace=False))
    mixed = {
        "BTCUSDT": whole["BTCUSDT"],
        "ETHUSDT": whole["ETHUSDT"].rows(slice(9 * 1440 + 33, 30 * 1440)),
        "SOLUSDT": whole["SOLUSDT"].rows(holes),
    }
    recording = played(mixed)
    assert [one.bars for one in recording.recordings] == [len(mixed[pair]) for pair in sorted(mixed)]
    assert (np.diff(recording.ts) > 0).all()
    assert len(recording.ts) == 40 * 1440
    late = recording.recordings[1].fills
    assert len(late) == 0 or late["ts"].min() >= int(mixed["ETHUSDT"].ts[0]) + 200 * HOUR
    # With a fifth of the minutes missing no hour is complete: nothing is routed on such data.
    assert recording.incomplete > 300
    assert len(recording.recordings[2].fills) == 0


def test_pairs_with_bars_of_different_lengths_are_refused():
    five = market(2)["ETHUSDT"]
    coarse = replace(five.rows(slice(None, None, 5)), bar_ms=5 * MINUTE)
    with pytest.raises(Misconfigured, match="different lengths"):
        played({"A": five, "B": coarse})


def test_pairs_whose_days_begin_at_different_hours_are_refused():
    days = market(5)["ETHUSDT"].rows(slice(None, None, 1440))
    days = replace(days, bar_ms=DAY)
    with pytest.raises(Misconfigured, match=r"begin at different times \(A 00:00, B 16:00 UTC\)"):
        played({"A": days, "B": replace(days, ts=days.ts + 16 * HOUR)})


def crash():
    """Range, volatile transition, bear trend, a day of -12 %, then calm: one-minute bars around 100."""
    rng = np.random.default_rng(11)
    hours = []
    hours += [(0.0, 0.0006)] * (24 * 12)  # range, to warm up and to be confirmed
    hours += [(-0.0022, 0.0030)] * 14  # it gets wild
    hours += [(-0.0035, 0.0012)] * 40  # and falls
    hours += [(-0.0110, 0.0016)] * 12  # the day
    hours += [(0.0, 0.0006)] * 72  # calm again
    level, path, anchor = 0.0, [], 0.0
    for drift, sigma in hours:
        steps = drift / 60 + rng.normal(0, sigma, 60)
        if drift == 0.0:
            steps -= 0.03 * (level - anchor) / 60
        else:
            anchor = level
        path.append(level + np.cumsum(steps))
        level = path[-1][-1]
    close = np.rint(10_000.0 * np.exp(np.concatenate(path))) / 10
    open_ = np.concatenate(([close[0]], close[:-1]))
    n = len(close)
    wick = np.rint(np.abs(rng.normal(0, 0.2, (2, n))) * 10) / 10
    return Candles(
        START + MINUTE * np.arange(n),
        open_,
        np.maximum(open_, close) + wick[0],
        np.minimum(open_, close) - wick[1],
        close,
        np.full(n, 1e6),
        MINUTE,
    )


def test_the_story_of_a_crash():
    recording = played(
        {"T": crash()},
        leverage=8,
        smc={"enabled": False},
        auto={"bear_strategy": "dca"},
        dca={
            "confluence": 0.0,
            "spike": 1.0,
            "max_safety_orders": 0,
            "stop_loss": 0.4,
            "risk_budget": 1.0,
            "take_profit": 0.2,
        },
        allocation={"reserve": 0.0, "probation": 1.0, "probation_hours": 0},
        risk={"exposure": 10.0, "pair_day_loss": 1.0, "losing_trades": 1000},
    )
    told = recording.decisions
    regimes = [int(one["a"]) for one in told[told["kind"] == DecisionKind.REGIME]]
    from coordinator.regime import Regime

    assert regimes[0] in (Regime.TIGHT_RANGE, Regime.WIDE_RANGE, Regime.QUIET_TRANSITION)
    assert Regime.VOLATILE_TRANSITION in regimes or Regime.BEAR_TREND in regimes
    assert Regime.BEAR_TREND in regimes
    order = [
        int(one["kind"]) for one in told if one["kind"] in (DecisionKind.HALT, DecisionKind.ANSWER, DecisionKind.RESUME)
    ]
    assert order == [DecisionKind.HALT, DecisionKind.ANSWER, DecisionKind.RESUME]
    halt, answer, resume = (
        told[told["kind"] == kind][0] for kind in (DecisionKind.HALT, DecisionKind.ANSWER, DecisionKind.RESUME)
    )
    assert halt["x"] > 0.10 or halt["y"] > 0.30
    assert answer["a"] == HaltAnswer.HOLD
    assert answer["ts"] - halt["ts"] == 30 * MINUTE, "no answer in 30 minutes counts as hold"
    assert resume["ts"] - halt["ts"] == 24 * HOUR
    done = recording.recordings[0].fills
    entered = done[done["signal"] == Signal.ENTRY]
    assert len(entered[(entered["ts"] >= halt["ts"]) & (entered["ts"] < resume["ts"])]) == 0
    assert len(entered[entered["ts"] < halt["ts"]]) > 0
    modes = told[told["kind"] == DecisionKind.MODE]
    assert any(int(one["b"]) & 8 for one in modes), "halted"
    after = modes[modes["ts"] >= resume["ts"]][0]
    assert int(after["b"]) & 1, "reduced for the rest of the day"
    assert not int(after["b"]) & 8
    starts = told[told["kind"] == DecisionKind.START]
    assert (starts["ts"] >= resume["ts"]).any(), "it starts again from idle"


def test_a_halt_that_nobody_answers_leaves_the_position_a_stop_and_sells_nothing_at_market():
    recording = played(
        {"T": crash()},
        leverage=8,
        smc={"enabled": False},
        dca={
            "confluence": 0.0,
            "spike": 1.0,
            "max_safety_orders": 0,
            "stop_loss": 0.4,
            "risk_budget": 1.0,
            "take_profit": 0.2,
        },
        allocation={"reserve": 0.0, "probation": 1.0, "probation_hours": 0},
        risk={"exposure": 10.0, "pair_day_loss": 1.0, "losing_trades": 1000},
    )
    told, done = recording.decisions, recording.recordings[0].fills
    halt, resume = (told[told["kind"] == kind][0]["ts"] for kind in (DecisionKind.HALT, DecisionKind.RESUME))
    during = done[(done["ts"] > halt) & (done["ts"] < resume)]
    assert set(during["signal"].tolist()) <= {int(Signal.EXIT_SL), int(Signal.EXIT_TP), int(Signal.EXIT_TRANSITION)}


@pytest.mark.parametrize("policy", ["close_all", "reduce_50"])
def test_an_operator_who_answers_at_once(policy):
    recording = played(
        {"T": crash()},
        leverage=8,
        smc={"enabled": False},
        dca={
            "confluence": 0.0,
            "spike": 1.0,
            "max_safety_orders": 0,
            "stop_loss": 0.4,
            "risk_budget": 1.0,
            "take_profit": 0.2,
        },
        allocation={"reserve": 0.0, "probation": 1.0, "probation_hours": 0},
        risk={"exposure": 10.0, "pair_day_loss": 1.0, "losing_trades": 1000, "halt_policy": policy},
    )
    told, done = recording.decisions, recording.recordings[0].fills
    halt = told[told["kind"] == DecisionKind.HALT][0]["ts"]
    held = done[done["ts"] < halt]["position"][-1]
    left = done[done["ts"] >= halt][0]
    assert held > 0
    assert left["quantity"] == (held if policy == "close_all" else held // 2)
    assert left["signal"] == Signal.EXIT_TRANSITION


def fallen(candles, at, opening, low):
    """The candles with a bar that opens and reaches so far down, as fractions of the price before it."""
    before, changed = candles.close[at - 1], {}
    for name, fraction in (("open", opening), ("low", low), ("high", opening), ("close", opening)):
        changed[name] = getattr(candles, name).copy()
        changed[name][at] = round(before * fraction, 1)
    return replace(candles, **changed)


@pytest.mark.slow
@pytest.mark.parametrize(("opening", "low"), [(1.0, 0.8), (0.2, 0.2)])
def test_a_liquidated_account_has_nothing_left_and_no_debt(opening, low):
    """F-44: also where the price opens beyond it; the ledgers, the trades and the equity say the same."""
    quarters = 15 * MINUTE * np.arange(420) + START // SHORT_BLOCK * SHORT_BLOCK + SHORT_BLOCK - 2 * DAY
    made = {name: walk(420, seed=seed, volatility=0.0002) for name, seed in (("A", 1), ("B", 2), ("C", 3))}
    candles = {
        name: replace(one, ts=quarters, bar_ms=15 * MINUTE, volume=np.full(420, 1e6)) for name, one in made.items()
    }
    candles["A"] = fallen(candles["A"], 360, opening, low)
    candles["C"] = candles["C"].rows(slice(390, None))
    when = [{"indicator": "RSI", "timeperiod": 3, "long_below": 60, "short_above": 99.9}]
    result = simulate_portfolio(
        {"strategy": "rules", "pairs": ["A", "B", "C"], "leverage": 20, "rules": {"when": when, "timeframe": "15m"}},
        candles,
    )
    recording = result.recording
    assert recording.outcome is Outcome.LIQUIDATED
    assert result.equity[-1] == 0.0 and result.metrics.max_drawdown_pct == pytest.approx(100.0)
    worth = sum(float(one.equity()[-1]) for one in recording.recordings if one.bars)
    assert worth == pytest.approx(-result.config.capital, abs=1e-6)
    assert result.metrics.total_return_pct == pytest.approx(-100.0)
    assert all(one.pair.ledger.position == 0 for one in recording.recordings)
    assert sum(int((one.fills["slot"] == -2).sum()) for one in recording.recordings) >= 1
    assert result.pair_figures["C"].profit == 0.0, "it was listed after the run ended"


def test_transitions_close_what_does_not_leave_by_itself():
    """F-36: a position always has an owner, and leaves in time."""
    recording = played(market())
    told = recording.decisions
    for pair in range(3):
        own = told[told["pair"] == pair]
        for one in own[own["kind"] == DecisionKind.TRANSITION]:
            flat = own[(own["kind"] == DecisionKind.FLAT) & (own["ts"] >= one["ts"])]
            assert len(flat), "every transition ends"
            assert flat["ts"][0] - one["ts"] <= 2 * HOUR + 5 * MINUTE


def test_entries_stop_while_draining():
    recording = played(market())
    told = recording.decisions
    for pair, one in enumerate(recording.recordings):
        own = told[told["pair"] == pair]
        for drain in own[own["kind"] == DecisionKind.TRANSITION]:
            flat = own[(own["kind"] == DecisionKind.FLAT) & (own["ts"] >= drain["ts"])]["ts"][0]
            during = one.fills[(one.fills["ts"] >= drain["ts"]) & (one.fills["ts"] < flat - MINUTE)]
            assert not (during["signal"] == Signal.ENTRY).any()
            assert int(drain["a"]) != NO_STRATEGY


def test_on_real_minutes_it_runs_and_its_books_balance():
    pairs = {pair: real(f"bybit/linear/{pair}/1m.parquet") for pair in ("ADAUSDT", "DOGEUSDT")}
    result = simulate_portfolio({"strategy": "auto", "pairs": list(pairs), "auto": {"preset": "classic"}}, pairs)
    assert result.metrics.fills > 50
    assert sum(one.profit for one in result.pair_figures.values()) == pytest.approx(
        result.metrics.total_profit, abs=1e-6
    )
    assert sum(result.figures.modes.values()) >= 1.0
    assert 0.99 < sum(result.figures.strategies.values()) < 1.01


@pytest.mark.parametrize("name", ["BTCUSDT", "btcusdt", "BTC/USDT", "BTC-USDT", "btc_usdt", "BTC/USDT:USDT"])
def test_a_pair_is_written_as_people_write_it(name):
    assert load_config({"strategy": "grid", "pair": name}).pair == "BTCUSDT"
    both = load_config({"strategy": "auto", "pairs": [name, "SOLUSDT"], "candles": {name: "a.csv", "SOLUSDT": "b.csv"}})
    assert both.pairs == ("BTCUSDT", "SOLUSDT")
    assert sorted(both.candles) == ["BTCUSDT", "SOLUSDT"]


def test_a_symbol_of_the_venue_stays_as_it_is():
    assert load_config({"strategy": "grid", "pair": "BTC-26SEP25"}).pair == "BTC-26SEP25"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"pairs": ["A", "A"]}, "A is named twice"),
        ({"pairs": []}, "pairs"),
        ({"auto": {"enter_range": 30}}, "enter_range"),
        ({"auto": {"enter_rnage": 30}}, "did you mean 'enter_range'"),
        ({"allocation": {"weights": {"X": 1}}}, "allocation.weights names X"),
        ({"risk": {"halt_day_loss": 0.01}}, "reduce_day_loss"),
        ({"market": "spot", "auto": {"bear_strategy": "trend_short"}}, "bear_strategy"),
    ],
)
def test_a_wrong_config_is_one_sentence(config, said):
    with pytest.raises(Misconfigured, match=said):
        load_config({"strategy": "auto", "pairs": ["A"], **config})


def test_a_single_strategy_that_is_filtered_is_played_by_the_engine():
    config = load_config({"strategy": "grid", "pair": "A", "smc": {"enabled": True}})
    assert isinstance(config, PortfolioConfig)
    assert config.algorithm.smc.enabled
