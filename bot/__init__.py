"""The ground floor, and the map of the house.

One idea carries the whole: a set of compiled pure functions decides; drivers only differ in where events come
from and where orders go. A strategy keeps a table of desired orders. After every event the table says which
orders should rest at the venue now, and whoever drives it makes the venue match the table.

Read in this order:

    bot/candles.py      candles as arrays, times and bar lengths as text
    bot/rollup.py       a bar, and longer bars from closed and complete ones
    bot/order.py        the vocabulary of orders: slot, side, kind, signal; a fill
    bot/instrument.py   ticks and lots, where prices and quantities become whole
    bot/ledger.py       position and money, and the identity that must hold
    bot/indicators.py   streaming indicators
    bot/inputs.py       columns over closed bars that a strategy reads, and their anchors
    bot/strategy.py     the pair as a strategy sees it, the events it hears, rounding, loading
    strategies/dca.py   one strategy whole
    coordinator/phase.py, pair.py   the life of a pair: strategy, filter and directive in one step
    coordinator/portfolio.py        reports up, directives down: regime, router, allocation, risk
    filters/smc.py                  verdicts on entries
    backtesting/exchange.py, loop.py, portfolio_loop.py   the simulated exchange around the same decisions
    bot/ports.py                    what the loops need of the world
    coordinator/config.py, events.py   what a bot is told, and what it tells
    coordinator/reconcile.py        desired orders against open ones
    coordinator/pair_core.py, portfolio_core.py           events in, instructions (instructions.py) out, answers back in
    coordinator/strategy_loop.py, master_loop.py          the asyncio loops around what decides

and bot/parameters.py (models for people, records for kernels), bot/record.py (records to dicts and back),
bot/kernel.py (compiled, cached, never stale; by bot/sources.py, compiling.py and kernel_cache.py), bot/errors.py when
you meet them. bot/authoring.py gathers what a strategy of your own needs, bot/strategy_file.py holds it. Nothing here
imports anything of ours above it, does I/O (but for loading sources and keeping machine code) or knows what time it is.
"""
