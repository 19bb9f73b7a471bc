"""Ranking: the best first, undefined last, equal ones by key, what fails a filter behind all that pass."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Misconfigured
from search import score
from search.objective import HIGHEST_IS_BEST, objective_of

SCORE = np.dtype([(name, "f8") for name in HIGHEST_IS_BEST])
NAN = float("nan")


def scores(**columns):
    made = np.zeros(len(next(iter(columns.values()))), SCORE)
    for name, values in columns.items():
        made[name] = values
    return made


def order(objective, filters=None, keys=None, **columns):
    made = scores(**columns)
    return objective_of(objective, filters).rank(made, keys or [f"{k:02}" for k in range(len(made))]).tolist()


def test_the_information_ratio_is_the_default_and_undefined_is_worst():
    assert order(None, information_ratio=[0.1, NAN, 2.0, -3.0]) == [2, 0, 3, 1]


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        ("total_return_pct", [1, 2, 0]),
        ("total_return_pct ascending", [0, 2, 1]),
        ("max_drawdown_pct", [0, 2, 1]),
        ("max_drawdown_pct descending", [1, 2, 0]),
        ("total_return_pct - 2 * max_drawdown_pct", [0, 2, 1]),
        ("-(total_return_pct) ascending", [1, 2, 0]),
        ("max(total_return_pct, 6) - max_drawdown_pct / 100", [1, 2, 0]),
        ("min(total_return_pct, 6, 5) ** 2 - abs(-max_drawdown_pct)", [0, 2, 1]),
    ],
)
def test_a_metric_or_formula_ranks(objective, wanted):
    assert order(objective, total_return_pct=[5.0, 9.0, 7.0], max_drawdown_pct=[1.0, 20.0, 3.0]) == wanted


def test_the_second_metric_decides_where_the_first_is_equal_and_then_the_key():
    columns = {"sharpe": [1.0, 1.0, 2.0, 1.0], "max_drawdown_pct": [9.0, 5.0, 50.0, 5.0]}
    assert order(["sharpe", "max_drawdown_pct"], keys=["d", "c", "b", "a"], **columns) == [2, 3, 1, 0]


def test_what_fails_a_filter_is_kept_behind_all_that_pass():
    columns = {"sharpe": [9.0, 1.0, 5.0, NAN], "trades": [29.0, 30.0, NAN, 40.0]}
    assert order("sharpe", ["trades >= 30"], **columns) == [1, 3, 0, 2]
    made = scores(trades=[29.0, 30.0, NAN], max_drawdown_pct=[1.0, 25.5, 1.0])
    assert objective_of(None, ["trades >= 30", "max_drawdown_pct <= 25"]).passes(made).tolist() == [False] * 3
    assert objective_of(None, "trades - 1 < fills + 29").passes(made).tolist() == [True, False, False]


def test_what_divides_by_zero_or_overflows_is_undefined_and_an_infinite_figure_is_not():
    assert order("total_return_pct / fees", total_return_pct=[1.0, 1.0], fees=[0.0, 1.0]) == [1, 0]
    assert order("9 ** 9 ** 9 * sharpe", sharpe=[1.0, 2.0]) == [0, 1]
    assert order("1 / (1 / fees)", fees=[0.0, -1.0]) == [1, 0]
    assert order("sharpe ** 999", sharpe=[10.0, 1.0]) == [1, 0]
    assert order("profit_factor", profit_factor=[3.0, np.inf]) == [1, 0]


BAD = [
    ("sharp", None, "search.objective names 'sharp', no known figure; did you mean 'sharpe'."),
    ("xyzzy", None, "search.objective names 'xyzzy', no known figure; choose one such as information_ratio"),
    (["sharpe", "sortino", "beta"], None, "search.objective names 3 metrics; give one or two."),
    ([], None, "search.objective names 0 metrics; give one or two."),
    (3, None, "search.objective is 3; write a figure such as information_ratio."),
    ("sharpe + ", None, "search.objective is 'sharpe + ', which cannot be read"),
    ("sharpe if 1 else 2", None, "use figures, numbers"),
    ("__import__('os')", None, 'search.objective is "__import__(\'os\')", which has "\'"; write a figure'),
    ("__import__(sharpe)", None, "holds '__import__(sharpe)'; use figures"),
    ("sharpe.real", None, "holds 'sharpe.real'; use figures"),
    ("min(sharpe)", None, "holds 'min(sharpe)'; use figures"),
    ("abs(1, 2)", None, "holds 'abs(1, 2)'; use figures"),
    ("(" * 150 + "1", None, "cannot be read"),
    ("1" * 201, None, "a formula of 201 characters; write one of at most 200."),
    ("1e999", None, "a number beyond 1e300"),
    ("True", None, "holds 'True'; use figures"),
    (None, ["trade >= 3"], "search.filters names 'trade', no known figure; did you mean 'trades'."),
    (None, ["trades"], "search.filters has 'trades'; write a comparison by >=, <=, > or <"),
    (None, ["1 < trades < 3"], "write a comparison"),
    (None, ["trades == 3"], "write a comparison"),
    (None, [{"trades": 3}], "write a comparison such as trades >= 30."),
    (None, ["trades > 1"] * 21, "search.filters holds 21 filters; give at most 20."),
]


@pytest.mark.parametrize(("objective", "filters", "sentence"), BAD)
def test_a_mistake_is_one_sentence(objective, filters, sentence):
    with pytest.raises(Misconfigured) as told:
        objective_of(objective, filters)
    assert sentence in str(told.value)
    assert str(told.value).endswith(".") and "\n" not in str(told.value)


FIGURE = st.sampled_from([NAN, -1.0, 0.0, -0.0, 2.5, np.inf])


@given(st.lists(st.tuples(FIGURE, FIGURE, FIGURE), min_size=1, max_size=30), st.randoms())
def test_the_order_is_total_and_does_not_depend_on_where_scores_stand(rows, random):
    keys = [f"{k:02}" for k in range(len(rows))]
    objective = objective_of(["sharpe", "max_drawdown_pct"], ["trades >= 1"])

    def ranked(at):
        sharpe, drawdown, trades = zip(*(rows[k] for k in at))
        made = scores(sharpe=sharpe, max_drawdown_pct=drawdown, trades=trades)
        return [keys[at[k]] for k in objective.rank(made, [keys[k] for k in at])]

    def place(k):
        sharpe, drawdown, trades = rows[k]
        return (
            not trades >= 1,
            np.isnan(sharpe),
            0.0 if np.isnan(sharpe) else -sharpe,
            np.isnan(drawdown),
            0.0 if np.isnan(drawdown) else drawdown,
            keys[k],
        )

    plain = list(range(len(rows)))
    shuffled = random.sample(plain, len(plain))
    assert ranked(plain) == ranked(shuffled) == [keys[k] for k in sorted(plain, key=place)]


def test_the_figures_are_those_of_a_score():
    assert tuple(HIGHEST_IS_BEST) == score.SCORE.names
