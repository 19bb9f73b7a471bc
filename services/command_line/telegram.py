"""`traderagent telegram`: set up a bot of Telegram's, say who may speak with it, and run it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.errors import Misconfigured
from services.command_line.console import console
from services.command_line.interrupt import run_loop
from services.settings import DATABASE, REDIS, Settings

if TYPE_CHECKING:
    from services.telegram.users import TelegramSettings, TelegramUser

app = typer.Typer(
    help="Watch and command bots from a phone: setup, run, users, remove. Needs `uv sync --extra telegram`.",
    no_args_is_help=True,
)

SETUP_SECONDS = 300.0
Address = Annotated[str, typer.Option(help="another server than Telegram's", metavar="URL", hidden=True)]


@app.command("setup")
def setup(
    token_file: Annotated[
        Path | None, typer.Option(help="file with BotFather's token, instead of asking for it", metavar="FILE")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="take the first who writes to the bot, without asking")] = False,
    seconds: Annotated[float, typer.Option(help="how long to wait for your message", min=1, max=3600)] = SETUP_SECONDS,
    address: Address = "",
) -> None:
    """Take BotFather's token, find your chat, and send a test.

    Write to @BotFather, /newbot, and give its token here; then write anything to your new bot. Run it again to let
    somebody else in.
    """
    _needed()
    from services.telegram.users import TelegramSettings, checked_token, read_settings, settings_file

    data_dir = Settings().data_dir
    kept = read_settings(data_dir) if settings_file(data_dir).exists() else None
    if token_file is not None:
        token = checked_token(token_file.read_text(encoding="utf-8").strip())
    elif kept is not None:
        token = kept.token
    else:
        token = checked_token(typer.prompt("BotFather's token", hide_input=True).strip())
    settings = TelegramSettings(token) if kept is None or kept.token != token else kept
    run_loop(_set_up(data_dir, settings, address or None, seconds, yes=yes))


async def _set_up(
    data_dir: Path, settings: TelegramSettings, address: str | None, seconds: float, *, yes: bool
) -> None:
    from aiogram.exceptions import TelegramAPIError

    from services.telegram.link import spoken_to
    from services.telegram.users import write_settings

    bot = spoken_to(settings.token, address)
    try:
        me = await bot.get_me()
        console().print(f"Write anything to https://t.me/{me.username} from your phone; Ctrl-C gives up.")
        user = await _writer(bot, seconds)
        if user is None:
            raise Misconfigured(f"nobody has written to the bot for {seconds:g} seconds; run this again.")
        if not yes and not typer.confirm(f"{user.name or 'somebody'} (id {user.id}) has written. Is this you?"):
            raise Misconfigured("nobody was let in; run this again.")
        write_settings(data_dir, settings.changed(settings.user(user.id) or user))
        await bot.send_message(user.id, "traderagent: this chat may watch and command your bots. /help")
    except TelegramAPIError as error:
        raise Misconfigured(
            f"Telegram does not take it ({type(error).__name__}); check the token and that this machine reaches "
            "Telegram."
        ) from None
    finally:
        await bot.session.close()
    console().print("A test was sent. Next: traderagent telegram run")


async def _writer(bot: Any, seconds: float) -> TelegramUser | None:
    """Wait for somebody to write in a private chat."""
    from services.telegram.users import TelegramUser

    offset, deadline = None, time.monotonic() + seconds
    while time.monotonic() < deadline:
        wait = max(min(int(deadline - time.monotonic()), 20), 1)
        for update in await bot.get_updates(offset=offset, timeout=wait, request_timeout=wait + 10):
            offset = update.update_id + 1
            heard = update.message
            if heard is not None and heard.from_user is not None and heard.chat.id == heard.from_user.id:
                await bot.get_updates(offset=offset, timeout=0)  # it has been heard
                language = "ru" if (heard.from_user.language_code or "").startswith("ru") else "en"
                return TelegramUser(heard.from_user.id, heard.from_user.full_name[:60], language)
    return None


@app.command("run")
def run(
    database: Annotated[
        str, typer.Option(help="address of your Postgres [default: the data directory's]", envvar=DATABASE)
    ] = "",
    redis: Annotated[
        str, typer.Option(help="address of your Redis, or none [default: the data directory's]", envvar=REDIS)
    ] = "",
    per_minute: Annotated[int, typer.Option(help="messages of news a minute and user, at most", min=1, max=60)] = 20,
    repeat: Annotated[
        float, typer.Option(help="seconds until an alarm is said again that nobody has seen", min=10, max=86_400)
    ] = 300.0,
    address: Address = "",
) -> None:
    """Tell users what the bots of this data directory do, and hear their commands, until Ctrl-C."""
    _needed()
    from services.app.telegram import TelegramPlaces, telegram_service
    from services.logs import configure, passwords
    from services.runtime.config import EMBEDDED
    from services.telegram.mailbox import MailLimits
    from services.telegram.users import read_settings

    data_dir = Settings().data_dir
    token = read_settings(data_dir).token
    configure([token, token.partition(":")[2], *passwords(database, redis)])
    limits = MailLimits(per_minute, repeat_seconds=repeat)

    places = TelegramPlaces(data_dir, address or None, database or EMBEDDED, redis or EMBEDDED)

    async def serve() -> None:
        async with telegram_service(places, limits) as service:
            console().print(f"Telegram: {len(service.users.users())} users; Ctrl-C ends it", highlight=False)
            await service.run()

    run_loop(serve())


@app.command("users")
def users() -> None:
    """List who may speak with the bots."""
    from rich.table import Table

    from services.telegram.users import read_settings

    table = Table("id", "name", "language", "bot", "quiet hours (UTC)", box=None)
    for one in read_settings(Settings().data_dir).users:
        quiet = f"{one.quiet_from} to {one.quiet_until}" if one.quiet_from != one.quiet_until else ""
        table.add_row(str(one.id), one.name, one.language, one.bot or "the only one", quiet)
    console().print(table)


@app.command("remove")
def remove(user: Annotated[int, typer.Argument(help="id, as `telegram users` has it", metavar="ID")]) -> None:
    """Let somebody speak with the bots no more."""
    from dataclasses import replace

    from services.telegram.users import read_settings, write_settings

    data_dir = Settings().data_dir
    settings = read_settings(data_dir)
    if settings.user(user) is None:
        raise Misconfigured(f"user {user} is none of those that may; `traderagent telegram users` lists them.")
    write_settings(data_dir, replace(settings, users=tuple(one for one in settings.users if one.id != user)))
    console().print(f"{user} may no more")


@app.command("quiet")
def quiet(
    user: Annotated[int, typer.Argument(help="id, as `telegram users` has it", metavar="ID")],
    start: Annotated[int, typer.Option("--from", help="hour, UTC", min=0, max=23)] = 0,
    end: Annotated[int, typer.Option("--to", help="hour, UTC; the same as --from: never", min=0, max=23)] = 0,
) -> None:
    """Let news come without a sound between two hours; alarms always have one."""
    from dataclasses import replace

    from services.telegram.users import read_settings, write_settings

    data_dir = Settings().data_dir
    settings = read_settings(data_dir)
    found = settings.user(user)
    if found is None:
        raise Misconfigured(f"user {user} is none of those that may; `traderagent telegram users` lists them.")
    write_settings(data_dir, settings.changed(replace(found, quiet_from=start, quiet_until=end)))
    console().print(
        f"{user}: quiet from {start} to {end} UTC; restart `telegram run`" if start != end else "never quiet"
    )


def _needed() -> None:
    try:
        import aiogram  # noqa: F401
        import fluent.runtime  # noqa: F401
    except ImportError:
        raise Misconfigured(
            "Telegram needs aiogram, which is not installed; install it with `uv sync --extra telegram`."
        ) from None
