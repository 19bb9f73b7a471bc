"""What Telegram shows: HTML from a bot's status and rows. Everything that is not ours is escaped in one place."""

from __future__ import annotations

import html
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from bot.times import DAY, MINUTE
from services.command_outcomes import outcome_in_words
from services.decision_words import Figures, spoken
from services.telegram.mailbox import LONGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coordinator.bot_status import PairOrders
    from services.command_outcomes import Outcome
    from services.words import Words

SHOWN = 15  # rows of a list
EVER = 36_500  # days: all that was earned
Status = dict[str, Any]


def safe(value: object) -> str:
    """Escape a value for HTML, cut at 200 characters."""
    text = str(value)
    return html.escape(text if len(text) <= 200 else f"{text[:199]}…", quote=False)


def safe_lines(text: str) -> str:
    """Escape a text of several lines."""
    return html.escape(text, quote=False)


def money(value: float) -> str:
    """An amount of quote currency."""
    return f"{value:,.2f}"


def signed(value: float) -> str:
    """An amount that is won or lost."""
    return f"{value:+,.2f}"


def price(value: float) -> str:
    """A price or a quantity, as exactly as it is."""
    return f"{value:,.10g}"


def per_cent(value: float) -> str:
    """A share in per cent."""
    return f"{value:.2f} %"


FIGURES = Figures(price, money, per_cent)


def table(rows: Iterable[Iterable[object]]) -> str:
    """Rows in columns of equal width, as a phone shows them."""
    cells = [[safe(one) for one in row] for row in rows]
    if not cells:
        return ""
    widths = [max(len(html.unescape(row[at])) for row in cells) for at in range(len(cells[0]))]
    lines = ("  ".join(_padded(one, width) for one, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return f"<pre>{chr(10).join(lines)}</pre>"


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - len(html.unescape(cell)))


def pieces(text: str) -> list[str]:
    """Cut a long text between lines into messages that may be sent; an opened table is closed and opened again."""
    if len(text) <= LONGEST:
        return [text]
    parts, lines, length, inside = [], list[str](), 0, False
    for line in (part for one in text.split("\n") for part in _short_enough(one)):
        if length + len(line) + 20 > LONGEST and lines:
            parts.append("\n".join(lines) + ("</pre>" if inside else ""))
            lines, length = (["<pre>"] if inside else []), 0
        lines.append(line)
        length += len(line) + 1
        inside = (inside or "<pre>" in line) and "</pre>" not in line
    return [*parts, "\n".join(lines)]


def _short_enough(line: str) -> list[str]:
    """Cut one line that no message can hold."""
    most = LONGEST - 40
    return [line[at_ : at_ + most] for at_ in range(0, len(line), most)] or [line]


def overview(now: Status, words: Words) -> str:
    """How a bot stands, on one screen."""
    modes = ", ".join(words.word(one) for one in now["modes"]) or words("normal")
    lines = [
        f"<b>{safe(now['bot'])}</b> {safe(now['environment'])}",
        words("equity-line", equity=money(now["equity"]), wallet=money(now["wallet"])),
        words("loss-line", day=f"{now['day_loss_pct']:.2f}", drawdown=f"{now['drawdown_pct']:.2f}"),
        words("exposure-line", exposure=money(now["exposure"]), modes=modes),
    ]
    if now["halted"]:
        lines.insert(1, f"⛔ <b>{words('halted')}</b>")
    standing = now.get("phase_standing")
    if standing is not None:
        lines.append(safe(told_phase(standing, words)))
    held = [one for one in now["pairs"] if one["position"]]
    lines.append(words("pairs-line", pairs=len(now["pairs"]), held=len(held)))
    age = now["stream_age_seconds"]
    if age > 5.0:
        lines.append(words("age-line", seconds=f"{age:,.0f}"))
    return "\n".join(lines)


def told_phase(standing: dict[str, Any], words: Words) -> str:
    """In which phase the capital is, and what is missing for the next; that as the bot says it."""
    where = words("phase-line", number=standing["number"], of=standing["of"], share=f"{100.0 * standing['share']:g} %")
    if standing["number"] == standing["of"]:
        return where
    return f"{where}; {words('phase-open') if not standing['missing'] else '; '.join(standing['missing'])}"


def pairs(now: Status, words: Words) -> str:
    """Every pair in a line."""
    rows = [
        (
            one["pair"],
            words.word(one["strategy"]),
            words.word(one["phase"]),
            f"{one['position']:g}",
            signed(one["equity"]),
        )
        for one in now["pairs"]
    ]
    return table(
        [tuple(words(f"column-{name}") for name in ("pair", "strategy", "phase", "position", "profit")), *rows]
    )


def pair(one: dict[str, Any], orders: PairOrders, words: Words) -> str:
    """One pair with its position, protection and orders."""
    lines = [
        f"<b>{safe(one['pair'])}</b> {price(one['price'])}",
        f"{safe(words.word(one['regime']))}, {safe(words.word(one['strategy']))}, {safe(words.word(one['phase']))}",
    ]
    if one["position"]:
        floating = one["position"] * (one["price"] - one["average"])
        lines.append(
            words(
                "position-line",
                side=words("long" if one["position"] > 0 else "short"),
                quantity=price(abs(one["position"])),
                average=price(one["average"]),
                floating=signed(floating),
            )
        )
        lines.append(words("stop-line", stop=price(one["stop"])) if one["stop"] else words("no-stop-line"))
    else:
        lines.append(words("flat-line"))
    lines.append(words("orders-line", open=len(orders["open"]), desired=len(orders["desired"])))
    lines += [words("held-off-line", reason=safe(words.word(reason))) for reason in one["held_off"]]
    return "\n".join(lines)


def open_orders(orders: PairOrders, words: Words) -> str:
    """What rests at the exchange for a pair."""
    if not orders["open"]:
        return f"<b>{safe(orders['pair'])}</b>: {words('no-orders')}"
    found = sorted(orders["open"], key=lambda one: -one["price"])
    rows = [(words(one["side"]), price(one["price"]), price(one["quantity"]), words.word(one["kind"])) for one in found]
    more = f"\n+ {len(rows) - SHOWN}" if len(rows) > SHOWN else ""
    return f"<b>{safe(orders['pair'])}</b>\n{table(rows[:SHOWN])}{more}"


def positions(now: Status, words: Words) -> str:
    """What is held, the largest first."""
    held = sorted(
        (one for one in now["pairs"] if one["position"]), key=lambda one: -abs(one["position"] * one["price"])
    )
    if not held:
        return words("nothing-held")
    rows = [
        (
            one["pair"],
            f"{one['position']:g}",
            price(one["average"]),
            signed(one["position"] * (one["price"] - one["average"])),
            price(one["stop"]) if one["stop"] else words("none"),
        )
        for one in held
    ]
    heads = tuple(words(f"column-{name}") for name in ("pair", "position", "average", "profit", "stop"))
    return table([heads, *rows])


def balance(now: Status, words: Words) -> str:
    """What the account holds."""
    return "\n".join(
        (
            words("equity-line", equity=money(now["equity"]), wallet=money(now["wallet"])),
            words("unrealised-line", amount=signed(now["equity"] - now["wallet"])),
        )
    )


def risk(now: Status, words: Words) -> str:
    """Losses and exposure beside their limits."""
    limits, equity = now["limits"], max(now["equity"], 1e-9)
    rows = [
        (words("day-loss"), f"{now['day_loss_pct']:.2f} %", f"{limits['halt_day_loss_pct']:.2f} %"),
        (words("drawdown"), f"{now['drawdown_pct']:.2f} %", f"{limits['halt_drawdown_pct']:.2f} %"),
        (words("exposure"), f"{100 * now['exposure'] / equity:.0f} %", f"{100 * limits['exposure']:.0f} %"),
        (words("reserve"), "", f"{100 * limits['reserve']:.0f} %"),
    ]
    modes = ", ".join(words.word(one) for one in now["modes"]) or words("normal")
    return f"{table([('', words('now'), words('limit')), *rows])}\n{modes}"


def allocation(now: Status, words: Words) -> str:
    """The capital target of each pair."""
    rows = [(one["pair"], money(one["target"]), money(one["exposure"])) for one in now["pairs"]]
    return table([tuple(words(f"column-{name}") for name in ("pair", "target", "exposure")), *rows])


def regimes(now: Status, words: Words) -> str:
    """The regime of each pair, and the strategy that it runs."""
    return table((one["pair"], words.word(one["regime"]), words.word(one["strategy"])) for one in now["pairs"])


def health(now: Status, words: Words) -> str:
    """Whether the bot hears its exchange, and what the exchange has refused."""
    rows = [(name, words("up" if up else "down")) for name, up in sorted(now["streams"].items())]
    rows += [(name, f"{count:,}") for name, count in sorted(now["errors"].items())]
    recovered = sum(1 for one in now["pairs"] if one["recovered"])
    return "\n".join(
        (
            words("age-line", seconds=f"{now['stream_age_seconds']:,.0f}"),
            words("recovered-line", recovered=recovered, pairs=len(now["pairs"])),
            table(rows),
        )
    )


def decided(row: dict[str, Any], words: Words) -> str:
    """A decision in words."""
    said = spoken(words, row, FIGURES)
    return f"{at(row['at'])} {safe(row['pair'] or '')} {safe(said)}".replace("  ", " ")


def decisions(rows: list[dict[str, Any]], words: Words) -> str:
    """The last decisions, the newest first."""
    return "\n".join(decided(row, words) for row in rows[:SHOWN]) or words("nothing-yet")


def fill(one: dict[str, Any], words: Words) -> str:
    """A fill in a line."""
    if one["cause"] == "funding":
        return words("funding-told", pair=safe(one["pair"]), amount=signed(-one["fee"]))
    side = words("bought" if one["side"] == "buy" else "sold")
    told = f"{safe(one['pair'])}: {side} {price(float(one['quantity']))} @ {price(float(one['price']))}"
    return told if one["cause"] == "order" else f"{told} ({words.word(one['cause'])})"


def trade(one: Any, words: Words) -> str:
    """A closed trade in a line."""
    sign = "🟢" if one.profit >= 0 else "🔴"
    return f"{sign} {safe(one.pair)} {words(one.side)} {signed(one.profit)}, {_span(one.closed - one.opened)}"


def trades(found: list[Any], words: Words) -> str:
    """The last closed trades, the newest first."""
    return "\n".join(f"{at(one.closed)} {trade(one, words)}" for one in found[::-1][:SHOWN]) or words("nothing-yet")


def performance(
    found: list[Any], contributions: list[dict[str, Any]], exits: list[dict[str, Any]], words: Words
) -> str:
    """Closed trades by pair, and what fills have realised by strategy, regime and reason to leave."""
    rows = []
    for name in sorted({one.pair for one in found}):
        own = [one.profit for one in found if one.pair == name]
        won = sum(1 for one in own if one > 0)
        rows.append((name, len(own), f"{100 * won / len(own):.0f} %", signed(sum(own))))
    heads = tuple(words(f"column-{name}") for name in ("pair", "trades", "won", "profit"))
    if not rows:
        return words("nothing-yet")
    parts = [table([heads, *rows])]
    for kind, realised in (("strategy", contributions), ("regime", contributions), ("reason", exits)):
        sums: dict[str, list[float]] = {}
        for one in realised:
            total = sums.setdefault(words.word(one[kind]), [0.0, 0])
            total[0] += one["profit"]
            total[1] += one["fills"]
        heads = tuple(words(f"column-{name}") for name in (kind, "profit", "fills"))
        parts.append(table([heads, *((name, signed(one[0]), f"{one[1]:.0f}") for name, one in sums.items())]))
    return "\n".join(parts)


def earned(rows: list[dict[str, Any]], days: int, until: int, words: Words) -> str:
    """What was realised in the last days, by day for a week, by pair beyond."""
    first = (datetime.fromtimestamp(until / 1000, UTC) - timedelta(days=days - 1)).date().isoformat()
    own = [one for one in rows if one["day"] >= first]
    key: Callable[[dict[str, Any]], str] = (lambda one: one["day"]) if 1 < days <= 7 else (lambda one: one["pair"])
    sums: dict[str, list[float]] = {}
    for one in own:
        total = sums.setdefault(str(key(one)), [0.0, 0.0])
        total[0] += one["profit"]
        total[1] += one["fees"]
    whole, fees = (sum(one[at] for one in sums.values()) for at in (0, 1))
    values = {"profit": signed(whole), "fees": money(fees)}
    head = words("earned-in-all", **values) if days == EVER else words("earned-line", days=days, **values)
    return f"{head}\n{table((name, signed(one[0])) for name, one in sorted(sums.items()))}" if sums else head


def fees(rows: list[dict[str, Any]], words: Words) -> str:
    """Fees and funding that were paid, in all."""
    paid, funding = sum(one["fees"] for one in rows), sum(one["funding"] for one in rows)
    return words("fees-line", fees=money(paid), funding=signed(funding))


def what_if(found: dict[str, Any], words: Words) -> str:
    """What a pair would do on the way to a price, and how it would stand there."""
    held, profit = price(found["position"]), signed(found["profit"])
    head = {"pair": safe(found["pair"]), "price": price(found["price"]), "fills": len(found["fills"])}
    lines = [words("what-if-moved", **head, held=held, profit=profit)]
    if found["stopped"]:
        lines.append(words("what-if-stopped"))
    if found["loss_at_stop"] is not None:
        lines.append(words("what-if-loss", stop=price(found["stop"]), loss=money(found["loss_at_stop"])))
    for name, rows in (("what-if-fills", found["fills"]), ("what-if-wants", found["desired"])):
        if rows:
            lines.append(f"<b>{words(name)}</b>")
            lines += [_order_line(one, words) for one in rows[:SHOWN]]
    return "\n".join([*lines, words("what-if-moved-limits")])


def outcome(found: Outcome, words: Words) -> str:
    """What a command would do to orders, positions and money, of all its pairs together."""
    return outcome_in_words(found, words, money, signed)


def at_stake(now: Status, command: str, words: Words) -> str:
    """What an answer to a halt is about, by positions as the bot shows them."""
    return words(f"halt-{command}", **stake(now, command))


def stake(now: Status, command: str, pair_: str = "") -> dict[str, Any]:
    """Positions as they are, of one pair or of all, for a sentence about a command."""
    held = [one for one in now["pairs"] if one["position"] and pair_ in ("", one["pair"])]
    worth = sum(abs(one["position"]) * one["price"] for one in held)
    floating = sum(one["position"] * (one["price"] - one["average"]) for one in held)
    value = money(worth / 2 if command == "reduce-50" else worth)
    return {"count": len(held), "value": value, "floating": signed(floating), "equity": money(now["equity"])}


def _order_line(one: dict[str, Any], words: Words) -> str:
    at_ = price(one["price"]) if one["price"] else words.word("market")
    return f"{words(one['side'])} {price(one['quantity'])} @ {at_}"


def drift(said: dict[str, Any], words: Words) -> str:
    """What the newest compared day cost beside its simulation, by kind."""
    whole = [one for one in said["sums"] if not one["pair"]]
    total = "—" if said["bps"] is None else f"{said['bps']:+.2f}"
    rows = [(one["kind"], f"{one['cost']:+,.2f}", "—" if one["bps"] is None else f"{one['bps']:+.2f}") for one in whole]
    head = words(
        "drift-head", day=safe(said["day"]), bps=total, cost=signed(said["cost"]), volume=money(said["volume"])
    )
    left = sum(one["fills"] for one in said["uncompared"])
    alone = [row for row in said["rows"] if row["why"]]
    lines = [head, table([("", words("cost"), "bps"), *rows])]
    lines += [f"{safe(row['kind'])} {safe(row['pair'])}: {safe(row['why'])}" for row in alone[:5]]
    return "\n".join([*lines, *([words("drift-left", count=left)] if left else [])])


def what_rests(one: dict[str, Any], orders: PairOrders, to: float, words: Words) -> str:
    """What rests at the exchange and would fill on the way to a price, and what would be held then."""
    low, high = sorted((one["price"], to))
    met = [
        order
        for order in orders["open"]
        if low <= order["price"] <= high and (order["price"] > one["price"]) == (order["side"] == "sell")
    ]
    sign = {"buy": 1, "sell": -1}
    held = one["position"] + sum(sign[order["side"]] * (order["quantity"] - order["filled"]) for order in met)
    stopped = one["stop"] and low <= one["stop"] <= high
    lines = [words("what-if-head", pair=safe(one["pair"]), price=price(to), fills=len(met), held=price(held))]
    if stopped:
        lines.append(words("what-if-stop", stop=price(one["stop"])))
    lines += [f"{words(order['side'])} {price(order['quantity'])} @ {price(order['price'])}" for order in met[:SHOWN]]
    return "\n".join([*lines, words("what-if-limits")])


def config(bot: str, settings: list[dict[str, Any]], words: Words) -> str:
    """Values of a bot's config, those marked that may change while it runs."""
    lines = [f"{'✎ ' if one['live'] else ''}{safe(one['key'])} = {safe(one['value'])}" for one in settings]
    return "\n".join([words("config-head", bot=safe(bot)), *lines])


def at(ms: int) -> str:
    """A moment of UTC, to the minute."""
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%m-%d %H:%M}"


def _span(ms: int) -> str:
    days, rest = divmod(ms, DAY)
    hours, minutes = divmod(math.floor(rest / MINUTE), 60)
    return f"{days} d {hours} h" if days else f"{hours} h {minutes} min"
