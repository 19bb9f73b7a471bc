"""docs/failures.md lists for each failure the tests that name it, no other, and says how many failures have none."""

from __future__ import annotations

import ast
import re
from collections import defaultdict

from bot.sources import ROOT

TESTS = ROOT / "tests"
PAGE = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
NAMED = re.compile(r"(?<![A-Za-z0-9])[fF][-_]?(\d\d)(?!\d)")  # f_69 and f69 in names, F-69 in docstrings
ROW = re.compile(r"^\| F-(\d\d) \| (.+?) \| (.*?) ?\|$", re.MULTILINE)


def listed():
    """Tests by row, as the page has them."""
    return {f"F-{number}": re.findall(r"`([^`]+)`", tests) for number, _, tests in ROW.findall(PAGE)}


def naming():
    """Tests by row, as their names and docstrings have it; a file stands for its own docstring."""
    found = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        file = path.relative_to(TESTS).as_posix()
        said = {file: ast.get_docstring(tree) or ""}
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                said[f"{file}::{node.name}"] = f"{node.name} {ast.get_docstring(node) or ''}"
        for test, words in said.items():
            for number in set(NAMED.findall(words)):
                found[f"F-{number}"].append(test)
    return found


def test_each_row_lists_the_tests_that_name_it_and_no_other():
    page, tests = listed(), naming()
    assert sorted(set(tests) - set(page)) == [], "tests name rows that the page does not have"
    wrong = []
    for row, found in page.items():
        wrong += [f"{row}: list {test}" for test in sorted({*tests[row]} - {*found})]
        wrong += [f"{row}: strike {test}" for test in sorted({*found} - {*tests[row]})]
    assert not wrong, "\n".join(wrong)


def test_the_page_says_how_many_rows_have_no_test():
    page = listed()
    assert list(page) == [f"F-{number:02}" for number in range(1, len(page) + 1)]
    assert len(page) == PAGE.count("\n| F-"), "a row is not written as `| F-nn | rule | tests |`"
    without = [row for row, tests in page.items() if not tests]
    assert f"{len(without)} of {len(page)} rows have no test: {', '.join(without)}." in " ".join(PAGE.split())
