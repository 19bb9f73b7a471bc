"""The front door: `python -m bot` is the command `traderagent`."""

from services.command_line.entry import main

if __name__ == "__main__":
    main()
