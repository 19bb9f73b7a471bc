"""The second factor of the console: turned on by its first code, taken once, replaced by recovery codes, reset here."""

from __future__ import annotations

import asyncio
import base64
import secrets
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, unquote, urlsplit

import pyotp
import pytest

from services.keys.sealed_secrets import SealedSecrets, SecretKind
from services.web.failures import Failure
from services.web.second_factor import LETTERS, RECOVERY_CODES, STEP, bare, matching
from tests.browser import browser, needs_chromium
from tests.services.console_house import NOW, console
from tests.services.test_bot_commands import run as command

PATH = "/api/v1/auth/second-factor"
PASSWORD = "correct horse battery"
SECRET = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"


class Owner:
    """A browser that has signed in by a link, and an authenticator."""

    def __init__(self, house, moment):
        self.house, self.moment, self.secret, self.codes = house, moment, "", []

    async def by_link(self):
        link = await self.house.built.access.link()
        _, signed, headers = await self.house.ask("POST", "/api/v1/auth/link", json={"link": link})
        self.headers = {"Cookie": headers["Set-Cookie"].split(";")[0], "X-CSRF-Token": signed["csrf"]}
        return self

    def code(self, steps=0):
        return pyotp.TOTP(self.secret).at(self.moment[0] // 1000 + steps * STEP)

    async def ask(self, method, path=PATH, **body):
        more = {"json": body} if body else {}
        return (await self.house.ask(method, path, headers=self.headers, **more))[:2]

    async def turn_on(self):
        _, begun = await self.ask("POST")
        self.secret = begun["secret"]
        status, told = await self.ask("PUT", code=self.code())
        assert status == 200, told
        self.codes = told["codes"]
        self.moment[0] += STEP * 1000
        return begun

    async def sign_in(self, code=None, password=PASSWORD):
        said = {"password": password} | ({} if code is None else {"code": code})
        status, told, _ = await self.house.ask("POST", "/api/v1/auth/sign-in", json=said)
        return status, told.get("code")


@asynccontextmanager
async def owned(dsn, tmp_path, **more):
    """A console with a password and nothing else of the tests before, and its owner."""
    moment = [NOW]
    async with console(dsn, tmp_path, now=lambda: moment[0], **more) as house:
        pool = house.built.access.rows.pool
        for table in ("console_users", "console_second_factors", "console_recovery_codes"):
            await pool.fetch(f"DELETE FROM {table}")
        owner = await Owner(house, moment).by_link()
        try:
            await owner.ask("PUT", "/api/v1/auth/password", old=None, new=PASSWORD)
            yield owner
        finally:
            for table in ("console_users", "console_second_factors", "console_recovery_codes"):
                await pool.fetch(f"DELETE FROM {table}")


def with_owner(dsn, tmp_path, play, **more):
    async def main():
        async with owned(dsn, tmp_path, **more) as owner:
            return await play(owner)

    return asyncio.run(main())


def test_it_is_on_after_its_first_code_and_a_sign_in_asks_for_one_then(dsn, tmp_path):
    async def play(owner):
        assert await owner.sign_in() == (200, None)
        assert (await owner.ask("PUT", code="123456"))[1]["code"] == "not_begun"
        other = await Owner(owner.house, owner.moment).by_link()
        _, begun = await owner.ask("POST")
        owner.secret = begun["secret"]
        wrong = f"{(int(owner.code()) + 1) % 10**6:06d}"
        assert (await owner.ask("PUT", code=wrong))[1]["code"] == "wrong_code"
        assert await owner.ask("GET") == (200, {"on": False, "recovery_codes": 0})
        assert await owner.sign_in() == (200, None), "nothing is on before its first code"
        begun = await owner.turn_on()
        assert (await other.ask("GET"))[0] == 401, "it signed in without a code"
        assert await owner.ask("GET") == (200, {"on": True, "recovery_codes": RECOVERY_CODES})
        told = [await owner.sign_in(), await owner.sign_in(code=owner.code()), await owner.sign_in(password="wrong")]
        assert told == [(401, "code_needed"), (200, None), (401, "wrong_password")]
        assert (await owner.ask("POST"))[1]["code"] == "on"
        return begun

    begun = with_owner(dsn, tmp_path, play)
    address = urlsplit(begun["uri"])
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert parse_qs(address.query)["secret"] == [begun["secret"]]
    assert unquote(begun["picture"]).startswith("data:image/svg+xml;charset=utf-8,<svg xmlns=")
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert begun["secret"].encode() not in written


def test_a_code_is_taken_once_and_none_before_it(dsn, tmp_path):
    async def play(owner):
        await owner.turn_on()
        first = owner.code()
        assert await owner.sign_in(f" {first[:3]} {first[3:]} ") == (200, None)
        assert await owner.sign_in(first) == (401, "wrong_code")
        owner.moment[0] += 2 * STEP * 1000
        assert await owner.sign_in(owner.code()) == (200, None)
        assert await owner.sign_in(owner.code(-1)) == (401, "wrong_code"), "older than one that was taken"
        assert await owner.sign_in(owner.code(1)) == (200, None), "of a clock that is ahead"
        owner.moment[0] += 10 * STEP * 1000
        assert await owner.sign_in(owner.code(-2)) == (401, "wrong_code"), "too old"
        assert await owner.sign_in(owner.code(2)) == (401, "wrong_code"), "too new"
        code = owner.code()
        return await asyncio.gather(*(owner.sign_in(code) for _ in range(8)))

    told = with_owner(dsn, tmp_path, play)
    assert sorted(told, key=str) == [(200, None), *[(401, "wrong_code")] * 7]


def test_a_recovery_code_works_once_and_turns_it_off_too(dsn, tmp_path):
    async def play(owner):
        await owner.turn_on()
        assert len({*owner.codes}) == RECOVERY_CODES
        assert all({*bare(one)} <= {*LETTERS} for one in owner.codes)
        kept = await owner.house.built.access.rows.recovery_codes("owner")
        assert all(one.startswith("$argon2id$") for one in kept)
        assert await owner.sign_in(owner.codes[0].upper()) == (200, None)
        assert await owner.sign_in(owner.codes[0]) == (401, "wrong_code")
        assert await owner.sign_in("kkkkk-kkkkk") == (401, "wrong_code")
        told = await asyncio.gather(*(owner.sign_in(owner.codes[1]) for _ in range(4)))
        assert sorted(told, key=str) == [(200, None), *[(401, "wrong_code")] * 3]
        assert (await owner.ask("GET"))[1]["recovery_codes"] == RECOVERY_CODES - 2
        assert (await owner.ask("POST", f"{PATH}/off", code="000000"))[1]["code"] == "wrong_code"
        assert (await owner.ask("POST", f"{PATH}/off", code=owner.codes[2]))[0] == 204
        assert (await owner.ask("POST", f"{PATH}/off", code=owner.codes[3]))[1]["code"] == "off"
        return await owner.sign_in(), await owner.house.built.access.rows.recovery_codes("owner")

    assert with_owner(dsn, tmp_path, play) == ((200, None), [])
    assert not SealedSecrets(tmp_path, SecretKind.TOTP).has("owner")


def test_codes_are_guessed_five_times_a_minute_from_wherever(dsn, tmp_path):
    async def play(owner):
        await owner.turn_on()
        factor, told = owner.house.built.access.factor, []
        del owner.house.built.access.limits.hit  # the real one, on which the house does not insist
        for _ in range(7):
            try:
                await factor.check("owner", "000000")
            except Failure as failure:
                told.append(failure.problem.code)
        assert await owner.sign_in(owner.code()) == (429, "too_many"), "the right one neither"
        return told

    assert with_owner(dsn, tmp_path, play) == [*["wrong_code"] * 5, "too_many", "too_many"]


def test_where_it_cannot_be_checked_nobody_is_let_in_and_the_operator_is_told_how_to_go_on(dsn, tmp_path, monkeypatch):
    async def play(owner):
        await owner.turn_on()
        right = owner.code()
        monkeypatch.setenv("TRADERAGENT_MASTER_KEY", base64.b64encode(secrets.token_bytes(32)).decode())
        said = [await owner.sign_in(right)]
        monkeypatch.delenv("TRADERAGENT_MASTER_KEY")
        kept = SealedSecrets(tmp_path, SecretKind.TOTP).read("owner")
        SealedSecrets(tmp_path, SecretKind.TOTP).remove("owner")
        said.append(await owner.sign_in(right))
        said.append(await owner.sign_in(owner.codes[0]))  # which no master key seals
        SealedSecrets(tmp_path, SecretKind.TOTP).keep("owner", kept)
        return [*said, await owner.sign_in(right)]

    gone = (503, "no_second_factor")
    assert with_owner(dsn, tmp_path, play) == [gone, gone, (200, None), (200, None)]


def test_the_operator_of_the_machine_turns_it_off_without_a_code(dsn, tmp_path):
    async def play(owner):
        await owner.turn_on()
        words = ("second-factor", "off", "--database", dsn)
        done = await asyncio.to_thread(command, *words, folder=tmp_path)
        again = await asyncio.to_thread(command, *words, folder=tmp_path, code=2)
        rows = await owner.house.built.access.rows.audit("", 0, 1)
        return done.stdout, again.stderr, await owner.sign_in(), rows[0]["action"], rows[0]["address"]

    said, again, signed, action, address = with_owner(dsn, tmp_path, play)
    assert "the second factor of owner is off" in said
    assert "is off already" in again
    assert signed == (200, None)
    assert (action, address) in {("second factor off", "command line"), ("sign in by password", "127.0.0.1")}
    assert not SealedSecrets(tmp_path, SecretKind.TOTP).has("owner")


def test_it_needs_a_password_and_a_browser(dsn, tmp_path):
    async def play(owner):
        token = await owner.house.token()
        asked = (("POST", PATH), ("PUT", PATH), ("POST", f"{PATH}/off"))
        told = [await owner.house.ask(*what, token, json={"code": "1"}) for what in asked]
        said = [one[1]["code"] for one in told]
        await owner.house.built.access.rows.pool.fetch("DELETE FROM console_users")
        return [*said, (await owner.ask("POST"))[1]["code"]]

    assert with_owner(dsn, tmp_path, play) == ["token", "token", "token", "no_password"]


def test_an_enrolment_that_takes_too_long_begins_again(dsn, tmp_path):
    async def play(owner):
        _, begun = await owner.ask("POST")
        owner.secret = begun["secret"]
        owner.moment[0] += 601_000
        return (await owner.ask("PUT", code=owner.code()))[1]["code"]

    assert with_owner(dsn, tmp_path, play) == "not_begun"


TYPED = """(() => {{
    const form = document.getElementById('{form}');
    form.elements.{field}.value = '{value}';
    form.querySelector('button').click();
}})()"""


@pytest.mark.slow
@needs_chromium
@pytest.mark.parametrize("language", ["en", "ru"])
def test_a_browser_turns_it_on_signs_in_with_a_code_and_turns_it_off(dsn, tmp_path, language):
    async def play(owner):
        house = owner.house
        async with browser() as page:
            await page.size(390, 900)
            await page.visit(f"{house.address}/sign-in")
            await page.run(f"document.cookie = 'language={language}; path=/'")
            await page.visit(f"{house.address}/health")
            await page.visit(f"{house.address}/sign-in#link={await house.built.access.link()}")
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await page.visit(f"{house.address}/settings")
            await page.push("#factor-begin")
            await page.until("document.getElementById('factor-picture').naturalWidth > 100")
            owner.secret = (await page.run("document.getElementById('factor-secret').textContent")).replace(" ", "")
            await page.run(TYPED.format(form="factor-on", field="code", value="1"))
            await page.until("document.querySelector('#factor-on .fault').textContent !== ''")
            await page.run(TYPED.format(form="factor-on", field="code", value=owner.code()))
            await page.until("!document.getElementById('factor-kept').hidden")
            codes = (await page.run("document.getElementById('factor-codes').textContent")).split()
            assert len(codes) == RECOVERY_CODES
            await page.push("#factor-done")
            await page.until("document.getElementById('factor-off') !== null")
            await page.push("#sign-out")
            await page.until("location.pathname === '/sign-in' && document.getElementById('sign-in') !== null")
            assert await page.run("document.getElementById('code').hidden")
            await page.run(TYPED.format(form="sign-in", field="password", value=PASSWORD))
            await page.until("!document.getElementById('code').hidden")
            await page.run(TYPED.format(form="sign-in", field="code", value=codes[0]))
            await page.until("location.pathname === '/' && document.body.classList.contains('alive')")
            await page.visit(f"{house.address}/settings")
            owner.moment[0] += STEP * 1000
            await page.run(TYPED.format(form="factor-off", field="code", value=owner.code()))
            await page.until("document.getElementById('factor-begin') !== null")
            expected = ("401", "422", "favicon.ico")  # what is refused on the way, and what /health has none of
            return [one for one in page.faults(house.address) if not any(word in one for word in expected)]

    assert with_owner(dsn, tmp_path, play) == []


@pytest.mark.parametrize("code", ["", "1", "abc", "\u0661" * 6, "0" * 40, "\x00", "é" * 6])
def test_what_is_no_code_matches_no_step(code):
    assert matching(SECRET, bare(code), NOW) is None


def test_codes_are_those_of_rfc_6238():
    secret = base64.b32encode(b"12345678901234567890").decode()
    for second, code in ((59, "287082"), (1111111109, "081804"), (2000000000, "279037")):
        assert matching(secret, code, second * 1000) == second // STEP
