"""Spaces: what a file may say, and that variants are exactly those that a config of each would be."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bot.errors import Misconfigured
from coordinator.config import load_single
from search.objective import HIGHEST_IS_BEST
from search.reading import read_space

OTHERS = {"pair": "BTCUSDT", "market": "linear", "capital": 10_000}


def space(strategy="grid", search=None, **section):
    return read_space({**OTHERS, "strategy": strategy, strategy: section, "search": search or {}})


def axis(**section):
    return space(**section).axes[0].values


# What a range stands for


@pytest.mark.parametrize(
    ("name", "given", "wanted"),
    [
        ("levels", {"from": 5, "to": 40, "step": 5}, (5, 10, 15, 20, 25, 30, 35, 40)),
        ("levels", {"from": 5, "to": 12, "step": 5}, (5, 10)),
        ("levels", {"from": 5, "to": 5, "step": 5}, (5,)),
        ("levels", {"from": 2, "to": 32, "log": True, "steps": 5}, (2, 4, 8, 16, 32)),
        ("levels", {"from": 2, "to": 4, "log": True}, (2, 3, 4)),
        ("levels", [5, 7], (5, 7)),
        ("stop_loss", {"from": 0.1, "to": 0.3, "step": 0.1}, (0.1, 0.2, 0.3)),
        ("stop_loss", {"from": "5%", "to": "20%", "step": "5%"}, (0.05, 0.1, 0.15, 0.2)),
        ("stop_loss", {"from": 0.1, "to": 0.3, "steps": 3}, (0.1, 0.2, 0.3)),
        ("stop_loss", {"from": "0.1%", "to": "10%", "log": True, "steps": 3}, (0.001, 0.01, 0.1)),
        ("stop_loss", {"from": 0.002, "to": 0.02, "log": True, "steps": 3}, (0.002, 0.00632456, 0.02)),
        ("stop_loss", ["5%", 0.1], (0.05, 0.1)),
        ("min_cell_profit", {"from": 1, "to": 2, "log": True, "steps": 3}, (1.0, 1.41421, 2.0)),
        ("trailing", [False, "fixed"], (False, "fixed")),
        ("timeframe", ["1h", "4h"], ("1h", "4h")),
        ("max_open_orders", [None, 5], (None, 5)),
        ("take_profit", ["5%", "10%"], ("5%", "10%")),
    ],
)
def test_a_range_stands_for_the_numbers_one_would_write(name, given, wanted):
    values = axis(**{name: given})
    assert values == wanted
    assert [type(one) for one in values] == [type(one) for one in wanted]


def test_axes_stand_in_the_order_in_which_they_are_written_and_the_last_changes_fastest():
    made = space(timeframe=["1h", "4h"], levels={"from": 5, "to": 15, "step": 5})
    assert [one.key for one in made.axes] == ["grid.timeframe", "grid.levels"]
    assert made.size == 6
    assert [made.values(k) for k in (0, 1, 5)] == [
        {"grid.timeframe": "1h", "grid.levels": 5},
        {"grid.timeframe": "1h", "grid.levels": 10},
        {"grid.timeframe": "4h", "grid.levels": 15},
    ]
    assert made.config(5).parameters.levels == 15
    assert (made.axes[0].words, made.axes[1].words) == (True, False)
    with pytest.raises(IndexError):
        made.values(6)


def test_axes_may_lie_on_parameters_of_conditions_and_inputs_are_shared_where_they_agree():
    when = [{"indicator": "RSI", "timeperiod": {"from": 5, "to": 30, "step": 5}}, {"indicator": "EMA"}]
    made = space("rules", when=when, stop=["2%", "3%"], timeframe=["1h", "4h"], sizing=["all_in", "compound"])
    assert [one.key for one in made.axes][:2] == ["rules.when[0].timeperiod", "rules.stop"]
    assert made.config(made.size - 1).parameters.when[0] == {"indicator": "RSI", "timeperiod": 30}
    keys = [made.inputs_key(k) for k in range(made.size)]
    periods = [made.values(k)["rules.when[0].timeperiod"] for k in range(made.size)]
    assert len(set(keys)) == len(set(zip(keys, periods))) == 6
    groups = {made.group(k) for k in range(made.size)}
    assert len(groups) == 12 and {one[0] for one in groups} == {"1h", "4h"}


def test_what_reinvests_is_another_group():
    made = space("rules", when=[{"indicator": "RSI"}], sizing=["all_in", "fixed_quote"], quote=100)
    assert [made.group(k)[1] for k in range(2)] == [True, False]
    assert [made.config(k).reinvest for k in range(2)] == [True, False]


def test_lists_of_lists_search_a_parameter_that_is_a_list():
    made = space("trend", entries=[["breakout"], ["breakout", "rsi"]])
    assert made.size == 2 and made.config(1).parameters.entries == ("breakout", "rsi")
    assert space("trend", entries=["breakout"], stop=[1, 2]).size == 2


def test_each_asks_once_for_all_that_agree():
    made, asked = space(levels=[5, 10], stop_loss=["5%", "10%", "20%"]), []

    def slots(parameters):
        asked.append(parameters.levels)
        return parameters.levels * 2

    assert made.each(slots, np.arange(6)) == [10, 10, 10, 20, 20, 20]
    assert sorted(asked) == [5, 5, 10]  # the first to find what it reads


def test_the_key_is_the_same_however_the_space_is_written():
    made = space(levels=[5, 10], stop_loss=["10%", "0.7%"], trailing="off", profit_per_grid=0.004, range_factor=3)
    keys = [made.key(number) for number in range(4)]
    assert len(set(keys)) == 4 and all(len(one) == 16 and int(one, 16) for one in keys)
    other = space(preset="low", trailing=["fixed", False], profit_per_grid="0.4%", stop_loss=[0.007], levels=10)
    assert other.key(1) == keys[3] != other.key(0)
    each = space(preset=["low", "medium"], trailing=["off"], profit_per_grid=0.004, stop_loss=0.007, levels=10)
    ranged = {"from": "0.7%", "to": "0.8%", "step": "0.1%"}
    last = space(stop_loss=ranged, trailing="off", profit_per_grid=0.004, levels=10, range_factor=3)
    assert each.key(0) == each.key(1) == last.key(0) == keys[3]


def test_a_space_is_read_from_a_file(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "strategy: grid\npair: BTCUSDT\nfrom: 2024-01-01\nto: 2024-02-01\ngrid:\n  levels: {from: 5, to: 15, step: 5}\n"
        "search: {objective: sharpe, filters: [trades >= 3], limits: {variants: 3}, top: 2}\n"
    )
    made = read_space(file)
    assert (made.size, made.search.top) == (3, 2)
    assert made.objective.metrics[0].text == "sharpe"


# What is refused

LEVELS = {"from": 5, "to": 40, "step": 5}
WHEN = [{"indicator": "RSI", "timeperiod": [5, 10]}]
BAD = [
    ({"grid": {"levels": []}}, "grid.levels is an empty list, which leaves nothing to search"),
    ({"grid": {"levels": {"from": 5, "step": 1}}}, "grid.levels: the range has no to; write one such as"),
    ({"grid": {"levels": {"from": 9, "to": 5, "step": 1}}}, "grid.levels: from (9) lies above to (5); swap them."),
    ({"grid": {"levels": {"from": 5, "to": 9, "step": 0}}}, "grid.levels: step is 0; give one above 0."),
    ({"grid": {"levels": {"from": 5, "to": 9, "step": -1}}}, "grid.levels: step is -1; give one above 0."),
    ({"grid": {"levels": {"from": 5, "to": 9, "stp": 1}}}, "grid.levels: a range knows no 'stp'; did you mean 'step'."),
    ({"grid": {"levels": {"from": 5, "to": 9}}}, "grid.levels: the range needs either step or steps"),
    ({"grid": {"levels": {"from": 5, "to": 9, "steps": 1}}}, "grid.levels: steps is 1; give a whole number from 2 on."),
    ({"grid": {"levels": {"from": "a", "to": 9, "step": 1}}}, "grid.levels: from is 'a'; give a number"),
    ({"grid": {"levels": {"from": float("nan"), "to": 9, "step": 1}}}, "grid.levels: from is nan; give a number"),
    ({"grid": {"levels": {"from": 10**5000, "to": 9, "step": 1}}}, "grid.levels: from is a number of"),
    ({"grid": {"levels": {"from": 1e-299, "to": 1e299, "step": 1e-299}}}, "grid.levels has more than 1,000 values"),
    ({"grid": {"stop_loss": {"from": 0, "to": 0.5, "log": True}}}, "grid.stop_loss: from is 0, which has no logarithm"),
    ({"grid": {"stop_loss": {"from": 0.1, "to": 0.5, "log": 1}}}, "grid.stop_loss: log is 1; say true or false."),
    ({"grid": {"stop_loss": {"from": 0.1, "to": 0.5, "log": True, "step": 1}}}, "write steps: 10."),
    (
        {"grid": {"stop_loss": {"from": 0, "to": 1, "step": 0.0001}}},
        "grid.stop_loss has more than 1,000 values; search",
    ),
    ({"grid": {"levels": list(range(1001))}}, "grid.levels has more than 1,000 values; search fewer"),
    ({"grid": {"levels": [5, 5]}}, "grid.levels has 5 twice; name each value once."),
    ({"grid": {"stop_loss": ["5%", 0.05]}}, "grid.stop_loss has 0.05 twice; name each value once."),
    ({"grid": {"levels": [5, 500]}}, "grid.levels is 500: input should be less than or equal to 100; change it."),
    ({"grid": {"levels": {"from": 1, "to": 5, "step": 2}}}, "grid.levels is 1: input should be greater than"),
    ({"grid": {"levels": [5, "many"]}}, "grid.levels is 'many': input should be a valid integer"),
    ({"grid": {"levels": [5], "lower": [1, -1]}}, "grid.lower is -1: input should be greater than 0"),
    ({"grid": {"preset": ["low", "lowest"]}}, "grid: preset 'lowest' is unknown; choose one of"),
    ({"grid": {"levls": [5, 6]}}, "grid.levls is no known key; did you mean 'levels'."),
    ({"grid": {"levels": [5, 6], "spcing": "geometric"}}, "grid.spcing is no known key; did you mean 'spacing'."),
    ({"grid": {"levels": 5}}, "the space has no axis: each parameter of grid has one value"),
    ({"grid": None}, "the space has no axis"),
    ({"grid": [1]}, "grid must be a section of keys and values"),
    ({"grid": {"levels": LEVELS}, "leverage": [1, 2]}, "leverage is [1, 2], but only the strategy's parameters"),
    ({"grid": {"levels": LEVELS}, "market": ["spot"]}, "market is ['spot'], but only the strategy's parameters"),
    ({"grid": {"levels": LEVELS}, "execution": {"slippage_bps": {"from": 1, "to": 2}}}, "execution.slippage_bps is"),
    ({"grid": {"levels": LEVELS}, "pair": ""}, "pair is '': string should have at least 2"),
    ({"grid": {"levels": LEVELS}, "capital": -1}, "capital is -1: input should be greater than 0; change it."),
    ({"grid": {"levels": LEVELS}, "market": "spot", "leverage": 2}, "leverage is 2 but spot has none"),
    (
        {"strategy": "auto", "auto": {}},
        "the space has no axis: give one of the strategies' parameters and those of auto",
    ),
    ({"strategy": "grd"}, "strategy 'grd' is unknown; did you mean 'grid'"),
    (
        {"grid": {"lower": {"from": 60, "to": 80, "step": 10}, "upper": [50, 55]}},
        "no combination of the space is valid; the first of 6: grid: lower (60) must lie below upper (50)",
    ),
    ({"strategy": "rules", "rules": {"when": [{"indicator": "RSI", "timeperiod": [1, 5]}]}}, "timeperiod is 1; give a"),
    ({"strategy": "rules", "rules": {"when": [{"indicator": "RSJ", "timeperiod": [2, 5]}]}}, "did you mean 'RSI'"),
    ({"strategy": "rules", "rules": {"when": [{"indicator": "RSI", "period": [2, 5]}]}}, "RSI knows no 'period'"),
    (
        {"search": {"method": "cmaes:9", "objective": ["sharpe", "beta"]}, "grid": {"levels": LEVELS}},
        "which follows one metric",
    ),
    ({"search": {"method": "tpe:0"}}, "search.method is 'tpe:0'; give tpe 1 to 2000."),
    ({"search": {"topp": 5}}, "search.topp is no known key; did you mean 'top'."),
    ({"search": {"limits": {"variant": 5}}}, "search.limits.variant is no known key; did you mean 'variants'."),
    ({"search": [1]}, "search must be a section of keys and values"),
    ({"grid": {"levels": LEVELS}, "search": {"objective": "sharp"}}, "did you mean 'sharpe'."),
    (
        {"grid": {"levels": LEVELS}, "search": {"limits": {"variants": 7}}},
        "the space has 8 variants, of which grid plays up to 8, over search.limits.variants of 7; search fewer values",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), BAD)
def test_a_mistake_is_one_sentence(values, sentence):
    with pytest.raises(Misconfigured) as told:
        read_space({**OTHERS, "strategy": "grid", **values})
    assert sentence in str(told.value)
    assert str(told.value).endswith(".") and "\n" not in str(told.value) and len(str(told.value)) < 700


def test_a_space_whose_variants_cannot_be_numbered_is_refused():
    wide = {name: {"from": 0.001, "to": 0.9, "steps": 1000} for name in ("stop_loss", "max_drawdown", "risk_budget")}
    wide |= {
        name: {"from": 1.5, "to": 90, "steps": 1000} for name in ("range_factor", "cooldown_hours", "max_age_days")
    }
    wide["shift_cooldown_minutes"] = {"from": 1, "to": 900, "steps": 1000}
    with pytest.raises(Misconfigured, match="more than can be numbered"):
        space(search={"method": "random:10"}, **wide)


def test_too_many_variants_and_too_much_memory_are_refused_at_once():
    wide = {name: {"from": 0.001, "to": 0.9, "steps": 1000} for name in ("stop_loss", "max_drawdown", "risk_budget")}
    with pytest.raises(
        Misconfigured, match=r"the space has 1000000000 variants, of which grid plays up to 10+, over search\.limits"
    ):
        space(**wide)
    made = space(search={"limits": {"variants": 10**9, "memory_mb": 100}}, **wide)
    assert made.size == 10**9
    numbers, records = made.records(range(999_999_990, 10**9))
    assert numbers[-1] == 10**9 - 1 and records["risk_budget"][-1] == 0.9
    with pytest.raises(Misconfigured, match=r"whose rows take 8000 MB, over search\.limits\.memory_mb of 100"):
        made.memory(8)
    assert space(levels=[5, 6]).memory(100) == 200


# Exactly the variants of a config of each

POOLS = {
    "grid": {
        "preset": ["low", "exchange", None],
        "levels": [5, 10, 40],
        "profit_per_grid": ["0.7%", 0.01],
        "lower": [None, 40_000, 60_000],
        "upper": [50_000, None],
        "direction": ["neutral", "long", "short"],
        "infinity": [True, False],
        "trailing": [False, "cell", "atr"],
        "trailing_limit_upper": [None, 70_000, 45_000],
        "take_profit": ["10%", 70_000, None],
        "take_profit_share": [None, 0.2],
        "stop_price": [30_000, None, "5%"],
        "on_stop": ["close", "keep"],
        "warmup_bars": [0, 300],
        "timeframe": ["1h", "4h"],
        "max_open_orders": [None, 5],
        "when": [[], [{"indicator": "RSI"}]],
    },
    "dca": {
        "preset": ["aggressive", "moderate"],
        "max_safety_orders": [0, 3, 8],
        "step": ["1%", 0.03],
        "step_multiplier": [1.0, 1.5],
        "stop_loss": ["5%", "20%"],
        "start": ["immediately", "schedule", "price_window", "signal"],
        "entry_above": [None, 60_000],
        "entry_below": [None, 50_000, 70_000],
        "schedule_hours": [1, 24],
        "timeframe": ["1h", "12h"],
        "targets": [[], [{"at": "1%", "share": 1.0}], [{"at": 0.01, "share": "60%"}, {"at": 0.02, "share": "40%"}]],
        "take_profit": [0.01, "2%"],
        "break_even": [False, True],
        "trailing": [False, True],
        "max_deals_per_day": [None, 5],
        "reinvest_pct": [0, 50],
    },
    "trend": {
        "preset": ["wide", "classic"],
        "fast_period": [10, 20],
        "entries": [["breakout"], ["rsi", "pullback"]],
        "target": ["none", None, 2],
        "partial_at": ["none", 0.5],
        "stop": [None, 2.5],
        "sizing": ["risk", "volatility_target"],
        "timeframe": ["1h", "1d"],
    },
    "rules": {
        "direction": ["long_only", "short_only"],
        "sizing": ["all_in", "fixed_quote", "compound"],
        "quote": [None, 100],
        "target": [None, "50%", 2],
        "combine": ["all", "any", {"at_least": 2}],
        "enter_by": ["market", "twap"],
        "twap_slices": [5, 20],
        "twap_minutes": [10, 60],
        "stop": [None, "2%"],
    },
}
CONDITIONS = [
    [{"indicator": "MACD", "fastperiod": [5, 12, 30], "slowperiod": [10, 26]}],
    [{"indicator": "RSI", "timeperiod": [5, 10], "long_below": 60, "short_above": [40, 70]}, {"indicator": "EMA"}],
    [{"indicator": "RSI", "long_above": [20, 80], "long_below": [30, 60]}],
]
TARGETS = [{"at": [0.01, "3%"], "share": [0.6, 0.4]}, {"at": {"from": 0.02, "to": 0.03, "step": 0.01}, "share": 0.4}]


@st.composite
def sections(draw):
    strategy = draw(st.sampled_from(sorted(POOLS)))
    pool = POOLS[strategy]
    chosen = draw(st.lists(st.sampled_from(sorted(pool)), min_size=2, max_size=5, unique=True))
    section = {}
    for name in chosen:
        values = draw(st.lists(st.sampled_from(pool[name]), min_size=1, max_size=3, unique_by=repr))
        section[name] = values if len(values) > 1 or draw(st.booleans()) else values[0]
    if strategy == "rules" or (strategy in ("dca", "grid") and "when" not in section and draw(st.integers(0, 5)) == 0):
        section["when"] = draw(st.sampled_from(CONDITIONS))
    if strategy == "dca" and draw(st.integers(0, 3)) == 0:
        section["targets"] = TARGETS
    return strategy, section


def by_hand(made, strategy, section):
    """Configs of all variants, by number, as brute force finds them."""
    found = {}
    for number in range(made.size):
        written = made._variants.section(made._variants.digits(number))
        try:
            config = load_single({**OTHERS, "strategy": strategy, strategy: written})
        except Misconfigured:
            continue
        found[number] = config
    return found


@settings(max_examples=150, deadline=None)
@given(sections())
def test_variants_are_exactly_the_configs_that_brute_force_accepts(given_section):
    strategy, section = given_section
    try:
        made = space(strategy, **section)
    except Misconfigured as error:
        told = str(error)
        assume("no axis" not in told)
        made = None
    if made is None:
        assert "no combination" in told
        return
    wanted = by_hand(made, strategy, section)
    parts = [made.records(range(start, min(start + 7, made.size))) for start in range(0, made.size, 7)]
    numbers, records = (np.concatenate(one) for one in zip(*parts))
    assert numbers.tolist() == list(wanted)
    assert records.dtype == made.dtype
    for number, record in zip(numbers.tolist(), records):
        config = wanted[number]
        assert record.tobytes() == config.parameters.record().tobytes()
        assert made.parameters(number) == config.parameters == made.config(number).parameters
        assert made.group(number)[:2] == (config.parameters.timeframe, config.reinvest)
    plain = {made.key(k): wanted[k].parameters.model_dump(exclude={"preset"}) for k in wanted}
    for k in wanted:
        assert plain[made.key(k)] == wanted[k].parameters.model_dump(exclude={"preset"})


OWN = """
import numpy as np
from pydantic import Field, field_validator, model_validator
from bot.kernel import kernel
from bot.parameters import Parameters
from bot.strategy import Strategy

class Mine(Parameters):
    enter: float = Field(0.1, ge=0, le=1)
    leave: float = Field(0.2, ge=0, le=1)
    double: bool = False

    @model_validator(mode="before")
    @classmethod
    def _doubled(cls, values):
        if values.get("enter") == 0.3 and values.get("leave") == 0.4:
            values = {**values, "leave": 0.9}
        if values.get("enter") == 0.5 and values.get("leave") == 0.2:
            raise ValueError("these do not go together")
        return {**values, "leave": 2 * values.get("leave", 0.2)} if values.get("double") else values

    @model_validator(mode="after")
    def _ordered(self):
        if self.enter >= self.leave:
            raise ValueError(f"enter ({self.enter:g}) must lie under leave ({self.leave:g})")
        return self

@kernel
def decide(pair, params, state, slots, event):
    pass

STRATEGY = Strategy("mine", 1, Mine, np.dtype([("x", "f8")]), lambda _: 1, decide)
"""


def test_a_strategy_of_ones_own_is_validated_one_by_one(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    values = {"strategy": f"{tmp_path}/mine.py:STRATEGY", "pair": "BTCUSDT"}
    section = {"enter": [0.1, 0.3], "leave": [0.2, 0.4], "double": [False, True]}
    made = read_space({**values, "mine": section})
    numbers, records = made.records(range(made.size))
    assert numbers.tolist() == [0, 1, 2, 3, 5, 6]
    assert records["leave"].tolist() == [0.2, 0.4, 0.4, 0.8, 0.4, 0.9]
    assert [made.parameters(int(k)).leave for k in numbers] == records["leave"].tolist()
    assert made.key(1) == made.key(1) != made.key(2)
    together = read_space({**values, "mine": {"enter": [0.1, 0.3, 0.5], "leave": [0.2, 0.4]}})
    numbers, records = together.records(range(6))
    assert numbers.tolist() == [0, 1, 3] and records["leave"].tolist() == [0.2, 0.4, 0.9]
    with pytest.raises(Misconfigured, match=r"mine.enter is 2: input should be less than or equal to 1"):
        read_space({**values, "mine": {"enter": [0.1, 2]}})


def test_the_documented_space_is_read(tmp_path):
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text()
    file = tmp_path / "space.yaml"
    file.write_text(text.split("```yaml\n")[1].split("```")[0])
    made = read_space(file)
    assert made.size == 2 * 8 * 10 * 5
    numbers, _ = made.records(range(made.size))
    assert len(numbers) == made.size
    assert all(f"`{name}`" in text for name in HIGHEST_IS_BEST)
    less = text.split("except for ")[1].split(";")[0]
    assert set(re.findall(r"`(\w+)`", less)) == {name for name, highest in HIGHEST_IS_BEST.items() if not highest}
