"""The errors a person meets: one clear sentence each, naming the field, the value and the remedy."""


class TradingError(Exception):
    """Root of every error this project raises on purpose; its text is one sentence for a person."""


class Misconfigured(TradingError):
    """A parameter, file or option is wrong; nothing was done. The command line exits with code 2."""


class BadCandles(TradingError):
    """Candles that cannot be traded on as they are: the sentence names the row and the reason."""


class BrokenLedger(TradingError):
    """Equity and its parts disagree: the run's figures cannot be believed and are not shown."""
