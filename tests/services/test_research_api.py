"""Research through the API and its pages: jobs, sessions, rows ranked, strategies, and the process that searches."""

from __future__ import annotations

import asyncio
import json

import pytest

from bot.errors import Misconfigured
from bot.ports import Unreachable
from search.objective import HIGHEST_IS_BEST
from services.app import staged
from services.app.research_answers import PRESET_NAME, answer, refuse_files
from services.app.research_process import PlayedReports, ResearchProcess
from services.market_data.store import CandleStore
from services.storage.jobs import AT_WORK, JobStatus, JobStore
from services.web import research
from services.words import LANGUAGES
from tests.conftest import walk
from tests.services.console_house import console
from tests.services.research_house import row, write_search

GRID = {"strategy": "grid", "pair": "BTCUSDT", "exchange": "bybit", "grid": {"levels": [5, 7]}}


def run(work):
    return asyncio.run(work)


def number(name):
    """A session of this test alone."""
    return f"{name.encode().hex():0>16}"[-16:]


def asked(question, tmp_path, **said):
    return answer(json.dumps({"question": question, "said": said}), tmp_path)


async def finished_job(dsn, owner, result):
    store = await JobStore.open(dsn)
    job = await store.begin((await store.submit(owner, "staged", GRID | {"capital": hash(owner) % 10**6})).job, "w")
    await store.tell(job, 3, 8, result["session"])
    await store.tell_best(job, {"variant": 2, "parameters": {"grid.levels": 7}, "alpha_pct": 2.5, "of": "in sample"})
    await store.finish(job, JobStatus.SUCCEEDED, result)
    await store.close()
    return job.job


def test_a_job_is_submitted_found_again_cancelled_and_begun_anew(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("control")
            body = {"kind": "staged", "request": GRID | {"capital": 1000 + int(name[1:])}}
            status, first, _ = await house.ask("POST", "/api/v1/jobs", token, json=body)
            assert (status, first["status"], first["owner"], first["pair"]) == (200, "queued", "owner", "BTCUSDT")
            again = (await house.ask("POST", "/api/v1/jobs", token, json=body))[1]
            assert again["job"] == first["job"]
            everything = await house.ask("GET", "/api/v1/jobs?cursor=2175762671", token)  # more than 32 bits
            assert [one["job"] for one in everything[1]["items"]][:1] == [first["job"]]
            place = f"/api/v1/jobs/{first['job']}"
            assert (await house.ask("POST", f"{place}/retry", token))[0] == 409
            assert (await house.ask("POST", f"{place}/cancel", token))[1]["status"] == "cancelled"
            assert (await house.ask("POST", f"{place}/retry", token))[1]["status"] == "queued"
            listed = (await house.ask("GET", "/api/v1/jobs?own=1&active=1&limit=1", token))[1]
            assert [one["job"] for one in listed["items"]] == [first["job"]]
            await house.ask("POST", f"{place}/cancel", token)
            body = {"kind": "sweep", "request": body["request"] | {"pair": ["BTCUSDT"]}}  # an axis
            status, of_pairs, _ = await house.ask("POST", "/api/v1/jobs", token, json=body)
            found = (await house.ask("GET", f"/api/v1/jobs/{of_pairs['job']}", token))[1]
            listed = (await house.ask("GET", "/api/v1/jobs?own=1&active=1&limit=1", token))[1]["items"][0]
            assert (status, of_pairs["pair"], found["pair"], listed["pair"]) == (200, *["BTCUSDT"] * 3)
            await house.ask("POST", f"/api/v1/jobs/{of_pairs['job']}/cancel", token)
            status, said, _ = await house.ask("GET", "/api/v1/jobs/999999", token)
            assert (status, said["message"]) == (404, "job 999999 is not known here.")
            audit = (await house.ask("GET", "/api/v1/audit", token))[1]["items"]
            assert {f"cancel job {first['job']}", "job of kind staged"} <= {one["action"] for one in audit}

    run(main())


def test_what_is_wrong_with_a_request_names_its_field_in_the_words_of_the_command_line(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token = await house.token("control")
            body = {"kind": "staged", "request": {"strategy": "grid"}}
            for path in ("/api/v1/jobs", "/api/v1/backtests/estimate"):
                status, said, _ = await house.ask("POST", path, token, json=body)
                assert (status, said["field"]) == (422, "grid.levels")
                assert said["message"].startswith("grid.levels is 500")

    run(main())


def test_a_page_says_that_no_worker_runs_until_one_holds_its_lock(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token, pool = await house.token("read"), house.built.sources.research.pool
            for path in ("/jobs", "/backtest"):
                assert "No worker runs" in (await house.ask("GET", path, token))[1].decode()
            async with pool.connection() as connection:
                await connection.execute("SELECT pg_advisory_lock_shared($1)", AT_WORK)
                assert (await house.ask("GET", "/api/v1/jobs", token))[1]["workers"] == 1
                await asyncio.sleep(1.1)  # that a part is shared
                assert "No worker runs" not in (await house.ask("GET", "/jobs", token))[1].decode()
                await connection.execute("SELECT pg_advisory_unlock_shared($1)", AT_WORK)

    run(main())


def test_a_session_shows_its_verdict_and_every_figure_in_sample_beside_held_out(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token, session = await house.token("read"), number(name)
            await write_search(house.built.sources.research.pool, session)
            one = (await house.ask("GET", f"/api/v1/sessions/{session}", token))[1]
            assert (one["verdict"][0], one["pair"], one["trials"]) == ("It has passed on held-out days.", "BTCUSDT", 0)
            rows = (await house.ask("GET", f"/api/v1/sessions/{session}/rows?by=total_return_pct", token))[1]
            assert [each["variant"] for each in rows["items"]] == [2, 3, 1, 4]  # what fails a filter is last
            for language in LANGUAGES:
                headers = {"Accept-Language": language}
                page = (await house.ask("GET", f"/sessions/{session}", token, headers=headers))[1].decode()
                assert "It has passed on held-out days." in page
                words = ("in sample", "held out") if language == "en" else ("на выборке", "отложено")
                assert page.count(f"<small>{words[0]}") == page.count(f"<small>{words[1]}") == len(research.SHOWN)
                assert "-3.25" in page.replace("\N{MINUS SIGN}", "-")
            assert session[:8] in (await house.ask("GET", "/sessions", token))[1].decode()
            csv = (await house.ask("GET", f"/sessions/{session}/rows.csv", token))[1].decode().splitlines()
            assert len(csv) == 5
            assert "total_return_pct_in_sample" in csv[0] and "total_return_pct_held_out" in csv[0]
            status, text, headers = await house.ask("GET", f"/sessions/{session}/best.yaml", token)
            assert (status, text) == (200, b"# best\ngrid: {}\n")
            assert "attachment" in headers["Content-Disposition"]
            assert (await house.ask("GET", f"/sessions/{session}/best.yaml"))[0] == 303
            assert (await house.ask("GET", "/api/v1/sessions/ffffffffffffffff", token))[0] == 404

    run(main())


def test_the_result_of_a_job_is_ranked_by_one_or_two_figures_and_a_job_without_rows_says_so(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token, session = await house.token("control"), number(name)
            kept = await write_search(house.built.sources.research.pool, session)
            job = await finished_job(dsn, name, {**kept, "ranking": ["total_return_pct"], "sentences": ["A sentence."]})
            top = f"/api/v1/backtests/top?job={job}"
            found = [
                one["variant"] for one in (await house.ask("GET", f"{top}&by=max_drawdown_pct", token))[1]["items"]
            ]
            assert found == [3, 1, 2, 4]
            assert len((await house.ask("GET", f"{top}&limit=2", token))[1]["items"]) == 2
            assert (await house.ask("GET", f"{top}&by=luck", token))[0] == 422
            page = (await house.ask("GET", f"/results/{job}?by=total_return_pct&then=alpha_pct", token))[1].decode()
            assert "A sentence." in page
            shown = (await house.ask("GET", "/jobs", token))[1].decode()
            assert "Alpha 2.50\N{NO-BREAK SPACE}% <span" in shown
            assert "in sample" in shown
            assert "rows" not in (await house.ask("GET", f"/api/v1/jobs/{job}", token))[1]["result"]
            waiting = {"kind": "sweep", "request": GRID | {"capital": 77_000 + job}}
            queued = (await house.ask("POST", "/api/v1/jobs", token, json=waiting))[1]["job"]
            status, said, _ = await house.ask("GET", f"/api/v1/backtests/top?job={queued}", token)
            assert (status, said["code"]) == (409, "no_rows")
            await house.ask("POST", f"/api/v1/jobs/{queued}/cancel", token)
            saved = {"session": session, "variant": 2, "name": "mine"}
            assert (await house.ask("POST", "/api/v1/backtests/presets", token, json=saved))[1]["name"] == "mine"

    run(main())


def test_a_walk_forward_shows_its_windows_in_sample_and_out_of_sample(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token, session = await house.token("read"), number(name)
            window = {"train_from": "2024-01-01", "grid.levels": 7, "beta_in_sample": 0.25, "beta_out_of_sample": -0.5}
            result = {"verdict": ["It has not passed."], "windows": [window]}
            await write_search(house.built.sources.research.pool, session, result=result)
            job = await finished_job(dsn, name, {**result, "session": session})
            for path in (f"/sessions/{session}", f"/results/{job}"):
                page = (await house.ask("GET", path, token))[1].decode()
                assert "2024-01-01" in page and "\N{MINUS SIGN}0.50" in page
                assert "beta<br><small>in sample" in page and "beta<br><small>out of sample" in page
            rows = (await house.ask("GET", f"/api/v1/backtests/top?job={job}", token))[1]
            assert (rows["items"], rows["windows"]) == ([], [window])

    run(main())


def test_strategies_are_saved_cloned_and_deleted_with_what_they_are(dsn, name, tmp_path):
    async def main():
        async with console(dsn, tmp_path, name) as house:
            token, session = await house.token("control"), number(name)
            await write_search(house.built.sources.research.pool, session)
            body = {"session": session, "variant": 2}
            saved = (await house.ask("POST", "/api/v1/strategies", token, json=body))[1]
            items = (await house.ask("GET", "/api/v1/strategies", token))[1]["items"]
            one = next(each for each in items if each["name"] == saved["name"])
            assert (one["status"], one["document"]) == ("draft", {"grid": {"levels": 7}})
            place = f"/api/v1/strategies/{one['content']}"
            cloned = (await house.ask("POST", f"{place}/clone", token, json={"changes": {"grid.levels": 9}}))[1]
            assert cloned["new"]
            page = (await house.ask("GET", "/strategies", token))[1].decode()
            assert cloned["name"] in page
            assert (await house.ask("DELETE", place, token))[0] == 204
            assert (await house.ask("DELETE", place, token))[0] == 404

    run(main())


def test_figures_of_results_are_ordered_as_searches_order_them():
    assert set(staged.RANKINGS) == set(research.RANKINGS)
    assert {one for one in research.RANKINGS if not HIGHEST_IS_BEST[one]} == set(research.LOWEST_IS_BEST)
    undefined = row(1, 5.0)
    undefined["in_sample"]["alpha_pct"] = None
    assert [one["variant"] for one in research.ranked([undefined, row(2, 1.0)], ["alpha_pct"])] == [2, 1]


@pytest.mark.parametrize(
    ("sentence", "field"),
    [
        ("grid.levels is 500: too much; change it.", "grid.levels"),
        ("grid.levels: the range has no to; write one.", "grid.levels"),
        ("pair is 'X', of which the store holds no candles.", "pair"),
        ("rules.when[0].timeperiod is 1: no.", "rules.when[0].timeperiod"),
        ("The period is too short.", None),
    ],
)
def test_a_refusal_belongs_to_the_field_that_it_begins_with(sentence, field):
    assert research.refusal(Misconfigured(sentence)).problem.field == field


# The process that has the search's code.


def write_candles(data_dir):
    CandleStore(data_dir).write("bybit", "linear", "BTCUSDT", walk(3 * 1440))


def test_a_request_is_read_as_the_command_line_reads_it(tmp_path):
    write_candles(tmp_path)
    space = GRID | {"grid": {"levels": {"from": 5, "to": 40, "step": 5}, "warmup_bars": 30}}
    told = asked("request", tmp_path, kind="staged", request=space)["answer"]
    assert (told["variants"], told["axes"]) == (8, [{"key": "grid.levels", "values": 8}])
    assert asked("request", tmp_path, kind="run", request=GRID | {"grid": {}})["answer"]["variants"] == 1
    refused = asked("request", tmp_path, kind="sweep", request=space | {"grid": {"levels": [5, 500]}})["refused"]
    assert refused.startswith("grid.levels is 500")
    absent = asked("request", tmp_path, kind="sweep", request=space | {"pair": "XRPUSDT"})["refused"]
    assert absent.startswith("pair is XRPUSDT, of which the store holds no candles")
    absent = asked("request", tmp_path, kind="sweep", request=space | {"pair": ["BTCUSDT", "XRPUSDT"]})["refused"]
    assert absent.startswith("pair is XRPUSDT, of which the store holds no candles")
    assert asked("pairs", tmp_path)["answer"] == [{"pair": "BTCUSDT", "exchange": "bybit", "market": "linear"}]
    assert asked("parameters", tmp_path)["answer"]["grid"][0]["name"] == "grid.timeframe"


@pytest.mark.parametrize(
    "asks",
    [
        {"strategy": "/tmp/evil.py:STRATEGY"},
        {"candles": "/etc/passwd"},
        {"strategies": [{"preset": "../../secrets.yaml"}]},
        {"validation": "/etc/criteria"},
        {"a": [[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]},
    ],
)
def test_a_request_names_no_file_of_the_machine(tmp_path, asks):
    with pytest.raises(Misconfigured, match=r"file|nested"):
        refuse_files(asks)
    assert "refused" in asked("request", tmp_path, kind="batch", request=asks)


ODD = (
    None, True, 0, -1, 1e308, 2**70, "", "\0", "x" * 500, "\ud800", "1%", [], {}, [[]], {"from": 1}, ["a", 1],
    {"from": 1, "to": 5, "step": 0}, {"from": 1, "to": 1e9, "step": 1}, [{"indicator": "nope"}], {"a": {"b": [1]}},
)  # fmt: skip


@pytest.mark.parametrize("kind", ["run", "sweep", "staged", "batch"])
def test_no_odd_request_is_a_fault_of_the_process(tmp_path, kind):
    for value in ODD:
        for key in ("strategy", "pair", "from", "capital", "search", "grid", "execution", "x", "strategies"):
            told = asked("request", tmp_path, kind=kind, request=GRID | {key: value})
            assert "fault" not in told, (key, value, told)
        for key in ("levels", "timeframe", "when", "stop_loss", "nope"):
            told = asked("request", tmp_path, kind=kind, request=GRID | {"grid": {"levels": [5, 7], key: value}})
            assert "fault" not in told, (key, value, told)


def test_a_variant_becomes_a_preset_a_strategy_and_a_config(tmp_path):
    of = {
        "document": GRID | {"search": {"method": "grid"}}, "session": "a" * 16, "kind": "sweep", "variant": 1,
        "trials": 2, "sentences": ["It has passed."],
    }  # fmt: skip
    assert "levels: 7" in asked("variant", tmp_path, **of)["answer"]
    saved = asked("preset", tmp_path, **of, name="mine", replace=False)["answer"]
    assert (tmp_path / "presets" / "mine.yaml").read_text() == saved["text"]
    assert f"sessions {'a' * 16}." in saved["text"]
    assert (
        "which a preset of yours has already" in asked("preset", tmp_path, **of, name="mine", replace=False)["refused"]
    )
    assert "answer" in asked("preset", tmp_path, **of, name="mine", replace=True)
    assert "name is '../x'" in asked("preset", tmp_path, **of, name="../x", replace=True)["refused"]
    assert not PRESET_NAME.fullmatch("a\n")
    assert "has 0 to 1" in asked("variant", tmp_path, **of | {"variant": 2})["refused"]
    strategy = asked("strategy", tmp_path, **of)["answer"]
    assert strategy["strategy"] == "grid"
    other = asked("strategy", tmp_path, saved=strategy["document"], changes={"grid.levels": 9})["answer"]
    assert other["content"] != strategy["content"]
    assert (
        asked("report_key", tmp_path, **of)["answer"]["report"]
        == asked("report_key", tmp_path, **of)["answer"]["report"]
    )


def test_the_process_answers_and_one_that_dies_or_takes_too_long_is_a_sentence(tmp_path):
    async def main():
        process = ResearchProcess(tmp_path, 60.0)
        try:
            assert "grid" in (await process.ask("defaults"))["methods"]
            with pytest.raises(Misconfigured, match="the program is at fault"):
                await process.ask("no such question")
            assert await process.ask("pairs") == []
            process._process.kill()
            await process._process.wait()
            assert await process.ask("pairs") == []  # it begins anew
            process.seconds = 0.0
            with pytest.raises(Misconfigured, match="takes longer than 0 seconds"):
                await process.ask("pairs")
            process.seconds = 60.0
            process.program = "no_such_module"
            with pytest.raises(Unreachable, match="has ended"):
                await process.ask("pairs")
        finally:
            await process.close()

    run(main())


def test_a_report_is_played_once_and_its_fault_is_said(tmp_path):
    class Plays:
        count = 0

        async def ask(self, question, said):
            self.count += 1
            await asyncio.sleep(0)
            if said["config"] == "bad":
                raise Misconfigured("the period holds no candles.")
            (tmp_path / f"{said['report']}.html").write_text("<p>report</p>")

        async def close(self):
            pass

    async def main():
        plays = Plays()
        reports, good, bad = PlayedReports(tmp_path, plays), "a" * 32, "b" * 32
        assert [reports.begin(good, "x")["state"] for _ in range(2)] == ["playing", "playing"]
        reports.begin(bad, "bad")
        while reports._playing:  # noqa: ASYNC110, a task sets no event
            await asyncio.sleep(0.01)
        assert reports.begin(good, "x")["state"] == "ready"
        assert await reports.read(good) == b"<p>report</p>"
        assert reports.state(bad)["fault"] == "the period holds no candles."
        assert plays.count == 2
        with pytest.raises(Misconfigured, match="no such report"):
            reports.state("../../etc/passwd")
        await reports.close()

    run(main())
