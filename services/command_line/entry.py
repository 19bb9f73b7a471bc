"""Where the command `traderagent` begins: Ctrl-C is listened for before anything that takes time is loaded."""

from __future__ import annotations

from services.command_line.interrupt import watch


def main() -> None:
    """Run the command line."""
    watch()
    from services.command_line.main import main as run

    run()
