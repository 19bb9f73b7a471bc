"""`traderagent second-factor`: for the operator of the console's machine, whose authenticator is lost."""

from __future__ import annotations

from typing import Annotated

import typer

from bot.errors import Misconfigured, cut, shown
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import Settings

app = typer.Typer(help="Second factor of the console's sign-in: turn it off without a code.", no_args_is_help=True)


@app.command("off")
def off(
    user: Annotated[str, typer.Option(help="whose", metavar="NAME")] = "owner",
    database: Annotated[
        str | None, typer.Option(help="embedded, or a postgresql:// address, as the console has it", metavar="ADDRESS")
    ] = None,
) -> None:
    """Turn the second factor off without a code, where authenticator and recovery codes are lost.

    The password signs in alone then; turn it on again under Settings. It counts at once, also for a running console.
    """
    from services.keys.key_store import WORD
    from services.keys.sealed_secrets import SealedSecrets, SecretKind
    from services.logs import passwords, quieten

    if not WORD.fullmatch(user):
        raise Misconfigured(f"user is {shown(user)}; give the name of a user, such as owner.")
    settings = Settings()
    address = database or settings.database
    quieten(secrets=passwords(address))
    was_on = run_loop(_off(address, user))
    SealedSecrets(settings.data_dir, SecretKind.TOTP).remove(user)
    if not was_on:
        raise Misconfigured(f"the second factor of {cut(user)} is off already; the console asks for no code.")
    said = f"the second factor of {user} is off; turn it on again under Settings of the console"
    console().print(said, highlight=False, markup=False, soft_wrap=True)


async def _off(address: str, user: str) -> bool:
    from services.app.backing import database
    from services.app.search import NO_BOT
    from services.storage.access_rows import AccessRows
    from services.storage.read_pool import ReadPool
    from services.storage.schema import migrate

    async with database(Settings().data_dir, NO_BOT, address) as dsn:
        await migrate(dsn)
        pool = ReadPool(dsn)
        try:
            rows = AccessRows(pool)
            was_on = await rows.end_second_factor(user)
            if was_on:
                number = await rows.begin_audit(_now(), "", "command line", "second factor off", "", "", "", {})
                if number is not None:
                    await rows.end_audit(number, "done", refused=False)
            return was_on
        finally:
            await pool.close()


def _now() -> int:
    import time

    return int(time.time() * 1000)
