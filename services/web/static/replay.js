// The manual backtester: a session is begun, and played bar by bar. The page knows the bars that the server has shown,
// and no other: the next one is asked for when it is wanted.
(function () {
"use strict";

const {ask, tell, want, confirmed} = window.traderagent;
const byId = (id) => document.getElementById(id);

// Faults stand beside the field that they name, or under all of them.

function wrong(form, error) {
  form.querySelectorAll(".fault").forEach((one) => (one.textContent = ""));
  if (!error) return;
  const place = error.field && form.querySelector(`[data-key="${error.field}"] .fault`);
  (place || form.querySelector("#general")).textContent = error.sentence || error.message;
}
const number = (text) => (text.trim() === "" ? null : Number(text.trim().replace(",", ".")));

// Beginning a session.

const begin = byId("begin-replay");

async function choices() {
  const {series, timeframes} = await ask("GET", "/api/v1/replays/choices"), {elements} = begin;
  elements.series.replaceChildren(...series.map((one) => new Option(`${one.pair} · ${one.exchange} ${one.market}`, JSON.stringify(one))));
  elements.timeframe.replaceChildren(...timeframes.map((one) => new Option(one, one, one === "15m", one === "15m")));
  begin.querySelector("button").disabled = !series.length;
  if (series.length) await span();
  document.documentElement.dataset.ready = "1";
}

// The last week, within what there is.
async function span() {
  const {elements} = begin, {first, last} = await ask("GET", `/api/v1/replays/span?${new URLSearchParams(JSON.parse(elements.series.value))}`);
  const day = (ms) => new Date(ms).toISOString().slice(0, 10), end = last + 60000;
  Object.assign(elements.start, {min: day(first), max: day(end), value: day(Math.max(end - 7 * 86400000, first))});
  Object.assign(elements.end, {min: day(first), max: day(end + 86399999), value: day(end + 86399999)});
}

async function begun(event) {
  event.preventDefault();
  const {elements} = begin, button = begin.querySelector("button"), blind = elements.blind.checked;
  const period = blind ? {days: number(elements.days.value)} : {start: elements.start.value || null, end: elements.end.value || null};
  const asked = {
    ...JSON.parse(elements.series.value), timeframe: elements.timeframe.value, ...period,
    capital: number(elements.capital.value), leverage: number(elements.leverage.value),
    execution: {max_participation: number(elements.participation.value) / 100},
  };
  button.disabled = true;
  wrong(begin, null);
  byId("begun").textContent = JSON.parse(begin.dataset.said).prepares;
  try {
    location.assign(`/replays/${(await ask("POST", "/api/v1/replays", asked)).replay}`);
  } catch (error) {
    wrong(begin, error);
    byId("begun").textContent = "";
  } finally {
    button.disabled = false;
  }
}

if (begin) {
  const {elements} = begin;
  begin.addEventListener("submit", begun);
  elements.series.addEventListener("change", () => span().catch((error) => wrong(begin, error)));
  elements.blind.addEventListener("change", () => {
    elements.days.disabled = !elements.blind.checked;
    elements.start.disabled = elements.end.disabled = elements.blind.checked;
  });
  document.addEventListener("click", async ({target}) => {
    const button = target.closest("button[data-delete]");
    if (!button || !(await confirmed(button))) return;
    await ask("DELETE", `/api/v1/replays/${button.dataset.delete}`).then(want, (error) => tell(error.message, true));
  });
  choices().catch((error) => wrong(begin, error));
}

// A session.

const root = byId("replay");
if (!root) return;

const COLUMNS = ["t", "open", "high", "low", "close", "volume"];
const SHOWN = 120; // bars in sight at first
const {replay} = root.dataset, say = JSON.parse(root.dataset.said), place = `/api/v1/replays/${replay}`;
const element = byId("chart"), chartWords = JSON.parse(element.dataset.words);
const ticket = byId("ticket"), fields = ticket.elements;
let detail = null, state = null, rows = [], chart = null, seen = null, playing = null, changing = null, busy = Promise.resolve();

const shown = (value, digits = 2) => value.toLocaleString("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits});
const exact = (value) => (value === null ? "—" : String(+value.toPrecision(12)));
const moment = (ms) => new Date(ms).toISOString().slice(0, 16).replace("T", " ");

function took(told) {
  const drawnBefore = state !== null;
  ({state} = detail = told);
  rows = rows.slice(0, state.since).concat(state.bars);
  draw(drawnBefore);
  table();
}

// One request after the other: what is said next is said of what was answered last.
function inTurn(act) {
  busy = busy.then(act).catch((error) => {
    pause();
    wrong(ticket, error);
    if (!error.field) tell(error.message, true);
  });
  return busy;
}
const asked = (action) => ask("POST", `${place}/actions`, {number: state.number, since: rows.length, ...action});
const decisions = ["order", "close", "protect", "cancel"];

function act(action) {
  return inTurn(async () => {
    const fills = state.fills.length;
    took(await asked(action));
    wrong(ticket, null);
    if (state.over || state.fills.length !== fills) pause();
    if (decisions.includes(action.do) && state.share > 0) byBot(); // before the first bar there is nothing that it could have done
  });
}
const next = () => act({do: "step"});
const undo = () => inTurn(async () => state.number && took(await ask("POST", `${place}/undo`, {number: state.number, since: rows.length})));

// Playing: so many bars a second, until something fills.

function pause() {
  clearTimeout(playing);
  playing = null;
  byId("play").textContent = say.play;
}
function play() {
  if (playing !== null) return pause();
  byId("play").textContent = say.pause;
  const go = async () => {
    const start = performance.now();
    await next();
    if (playing !== null) playing = setTimeout(go, Math.max(1000 / +byId("speed").value - (performance.now() - start), 0));
  };
  playing = setTimeout(go, 0);
}

// The chart.

function column(name, k) {
  return Float64Array.from(rows, (row) => (name === "t" ? row[0] / 1000 : row[k]));
}

function pairShown() {
  const read = Object.fromEntries(COLUMNS.map((name, k) => [name, column(name, k)]));
  const digits = decimals(state.tick), fills = state.fills, of = (take) => Float64Array.from(fills, take);
  const reasons = [...new Set(fills.map((one) => one.reason))], seconds = lengthOf(detail.timeframe);
  return {
    name: detail.pair, seconds, tick: [Math.round(state.tick * 10 ** digits), 10 ** digits], lot: [1, 1], read, ribbons: [], zones: null,
    fills: {
      rows: fills.length, t: of((one) => one.at / 1000), side: of((one) => (one.side === "buy" ? 0 : 1)), price: of((one) => one.price),
      quantity: of((one) => one.quantity), position: of((one) => one.position), why: of((one) => reasons.indexOf(one.reason)),
      maker: of((one) => +one.maker), fee: of((one) => one.fee), realized: of((one) => one.realised), words: reasons.map((one) => say[one] || one),
    },
    orders: levels(read, seconds), compared: seen && compared(seen),
  };
}

// What the bot did up to the last bar that was shown, for the chart; after an undo, no more than that.
function compared({fills, spans}) {
  const done = fills.filter((one) => one.at < state.at), stood = spans.filter((one) => one.from < state.at);
  const of = (list, take) => Float64Array.from(list, take), held = (k) => (k ? Math.abs(done[k - 1].position) : 0);
  return {
    fills: {
      rows: done.length, t: of(done, (one) => one.at / 1000), price: of(done, (one) => one.price),
      side: of(done, (one) => +(one.side === "sell")), leaves: of(done, (one, k) => +(Math.abs(one.position) < held(k))),
    },
    orders: {
      rows: stood.length, t: of(stood, (one) => one.from / 1000), until: of(stood, (one) => Math.min(one.to, state.at) / 1000),
      price: of(stood, (one) => one.price), kind: of(stood, (one) => (one.kind === "stop" ? 2 : +(one.side === "sell"))),
    },
  };
}

function decimals(tick) {
  const text = tick.toFixed(12).replace(/0+$/, "");
  return text.length - text.indexOf(".") - 1;
}
function lengthOf(timeframe) {
  return parseInt(timeframe, 10) * {m: 60, h: 3600, d: 86400, w: 604800}[timeframe.slice(-1)];
}

// What rests and what the ticket has, as lines over the newest bars.
function levels(read, seconds) {
  const {standing} = state, last = read.t[read.t.length - 1], found = [];
  const add = (price, kind) => price && found.push([price, kind]);
  for (const one of standing.entries) {
    const buys = one.side === "buy";
    [add(one.price, buys ? 0 : 1), add(one.stop, 2), add(one.target, buys ? 1 : 0)];
  }
  [add(standing.stop, 2), add(standing.target, standing.position > 0 ? 1 : 0)];
  [add(number(fields.price.value), 0), add(number(fields.stop.value), 2), add(number(fields.target.value), 1)];
  const start = read.t[Math.max(read.t.length - 40, 0)];
  return {
    rows: found.length, t: Float64Array.from(found, () => start), until: Float64Array.from(found, () => last + 12 * seconds),
    price: Float64Array.from(found, ([price]) => price), kind: Float64Array.from(found, ([, kind]) => kind),
  };
}

function draw(drawnBefore) {
  if (drawnBefore && chart) return chart.follow(pairShown());
  const words = Object.keys(chartWords).length ? chartWords : null;
  chart = new window.PriceChart(element, {currency: element.dataset.currency, words, pairs: [pairShown()], account: null, targets: null, notes: []});
  const seconds = lengthOf(detail.timeframe);
  chart.show(chart.end - SHOWN * seconds, chart.end + 8 * seconds);
  clicks(chart.box);
}

// Clicks on the candles, as fast as they come; the library takes the second of two for half of a double one.
function clicks(box) {
  let down = null;
  box.addEventListener("pointerdown", ({clientX, clientY}) => (down = [clientX, clientY]));
  box.addEventListener("click", ({clientX, clientY}) => {
    const dragged = !down || Math.hypot(clientX - down[0], clientY - down[1]) > 4;
    const {left, top} = box.getBoundingClientRect(), inside = clientX - left < chart.chart.timeScale().width();
    if (!dragged && inside) set(chart.candles.coordinateToPrice(clientY - top));
  });
}

// A click on the chart is the price of what is chosen; then the next one is.
function set(price) {
  if (price === null || !(price > 0)) return;
  const names = ["entry", "stop", "target"], chosen = ticket.querySelector("[name=sets]:checked").value;
  fields[chosen === "entry" ? "price" : chosen].value = (Math.round(price / state.tick) * state.tick).toFixed(decimals(state.tick));
  ticket.querySelector(`[name=sets][value=${names[(names.indexOf(chosen) + 1) % 3]}]`).checked = true;
  chart.follow(pairShown());
}

// What stands beside the chart.

function table() {
  const {standing} = state, gain = standing.profit;
  byId("about").textContent = `${detail.pair} ${detail.timeframe}`;
  byId("clock").textContent = `${moment(state.at)} UTC`;
  byId("equity").textContent = shown(standing.equity);
  Object.assign(byId("profit"), {textContent: `${gain >= 0 ? "+" : "−"}${shown(Math.abs(gain))}`, className: gain >= 0 ? "gain" : "loss"});
  byId("position").textContent = standing.position ? `${exact(standing.position)} @ ${exact(standing.average)}` : "—";
  byId("protected").textContent = standing.position ? `${say.stop} ${exact(standing.stop)}, ${say.target} ${exact(standing.target)}` : "";
  byId("share").textContent = state.over ? say.over : `${Math.floor(state.share * 100)} %`;
  if (!standing.entries.some((one) => one.entry === changing)) change(null);
  byId("resting").replaceChildren(...standing.entries.map(entry), ...held(standing), ...remarks(standing).map((text) => made("p", text, "note")));
  byId("trades").replaceChildren(...(state.trades.length ? [...state.trades].reverse().map(trade) : [empty(8, say.no_trades)]));
  byId("notes").replaceChildren(...[...state.notes].reverse().map(note));
  for (const one of document.querySelectorAll("#next, #play, [data-jump], [data-order], [data-act]")) one.disabled = state.over || detail.ended;
  byId("undo").disabled = !state.number || detail.ended;
  byId("end").disabled = detail.ended;
  revealed();
}

function made(tag, text, name = "") {
  return Object.assign(document.createElement(tag), {textContent: text, className: name});
}
function empty(cells, text) {
  const row = document.createElement("tr"), cell = made("td", text, "soft");
  cell.colSpan = cells;
  row.append(cell);
  return row;
}
// An order that rests, with what can be done to it; and the same for stop and target of what is held.
function entry(one) {
  const at = one.price === null ? say.at_market : `${say[`entry_${one.kind}`]} ${exact(one.price)}`;
  const text = `${one.entry}. ${one.side === "buy" ? "▲" : "▼"} ${say[one.side]} ${exact(one.quantity)} ${at}, ${say.stop} ${exact(one.stop)}, ${say.target} ${exact(one.target)}`;
  const line = made("p", "", one.entry === changing ? "rest chosen" : "rest");
  line.append(made("span", text), deed(say.change, "change", one.entry), deed(say.withdraw, "withdraw", one.entry));
  return line;
}
function held(standing) {
  return ["stop", "target"].filter((name) => standing[name] !== null).map((name) => {
    const line = made("p", "", "rest");
    line.append(made("span", `${say.of_position} ${say[name]} ${exact(standing[name])}`), deed(say.withdraw, "free", name));
    return line;
  });
}
function deed(text, name, value) {
  const button = Object.assign(made("button", text), {type: "button", disabled: state.over || detail.ended});
  button.dataset[name] = value;
  return button;
}
function remarks(standing) {
  const found = [];
  if (standing.closing) found.push(`${say.closing} ${exact(standing.closing)}`);
  if (standing.refused) found.push(`${say.refused} ${standing.refused}`);
  if (standing.outcome !== "complete") found.push(say.liquidated);
  return found;
}
function trade(one) {
  const row = document.createElement("tr"), cells = [
    [one.trade, ""], [`${one.side === "long" ? "▲" : "▼"} ${say[one.side]}`, one.side === "long" ? "buy" : "sell"], [exact(one.quantity), "n"],
    [exact(one.entry_price), "n"], [exact(one.exit_price), "n"], [one.reason ? say[one.reason] || one.reason : say.open, ""],
    [shown(one.pnl), `n ${one.pnl >= 0 ? "gain" : "loss"}`], [one.r === null ? "—" : shown(one.r), "n"],
  ];
  row.append(...cells.map(([text, name]) => made("td", text, name)));
  return row;
}
function note(one) {
  const line = document.createElement("li");
  line.append(made("time", moment(one.at)), " ");
  if (one.picture) {
    const link = made("a", one.picture);
    Object.assign(link, {href: `/api/v1/journal/pictures/${replay}/${one.picture}`, target: "_blank", rel: "noopener"});
    line.append(link);
  } else line.append(made("span", one.text));
  return line;
}

// The dates of a blind session, once it has ended.
function revealed() {
  const line = byId("revealed");
  line.hidden = !detail.ended;
  if (detail.ended) line.textContent = `${say.ended} ${moment(detail.start)} – ${moment(detail.end)} UTC`;
}

// What the bot would have done.

const remembered = `replay-bot-${replay}`;

// Its marks are back with the page: those of the bot that was asked last, or was told of each order.
function again() {
  const name = localStorage.getItem(remembered), known = [...byId("bot").options].some((one) => one.value === name);
  if (known) byId("bot").value = name;
  if (state.share > 0 && (known || state.fills.length || state.standing.entries.length)) byBot();
}

async function byBot() {
  const name = byId("bot").value, panel = byId("bot-seen");
  if (!name || !rows.length) return;
  byBot.asked = state.number;
  panel.replaceChildren(made("p", say.bot_reads, "soft"));
  try {
    const told = await ask("GET", `${place}/bot?bot=${name}`);
    if (byBot.asked !== state.number) return byBot(); // it has gone on meanwhile
    seen = told;
    localStorage.setItem(remembered, name);
    chart.follow(pairShown());
    const fills = told.fills.slice(-8).reverse().map((one) => `${moment(one.at)} ${say[one.side]} ${exact(one.qty)} @ ${exact(one.price)}`);
    const orders = told.orders.map((one) => `${say[one.kind] || one.kind}: ${say[one.side]} @ ${exact(one.price)}`);
    const head = `${told.bot}: ${exact(told.position)}, ${shown(told.figures.total_return_pct)} %`;
    const list = made("ul", "", "told");
    list.append(...[...orders, ...fills].slice(0, 20).map((text) => made("li", text, "line-of-text")));
    panel.replaceChildren(made("p", head), list.childElementCount ? list : made("p", say.bot_nothing, "soft"));
  } catch (error) {
    panel.replaceChildren(made("p", error.message, "fault"));
  }
}

// You against the bot.

async function statistics() {
  const bot = byId("bot").value, told = await ask("GET", `${place}/statistics?bot=${bot}`), figures = byId("figures");
  byId("against").textContent = told.name;
  const value = (of, name) => (of === null || of[name] === null ? "—" : shown(of[name]));
  figures.tBodies[0].replaceChildren(...Object.keys(told.you).map((name) => {
    const row = document.createElement("tr");
    row.append(made("td", say[`figure_${name}`] || name), made("td", value(told.you, name), "n"), made("td", value(told.bot, name), "n"));
    return row;
  }));
  figures.hidden = false;
}

async function end(button) {
  if (!detail.ended) {
    if (!(await confirmed(button))) return;
    await inTurn(async () => {
      await ask("POST", `${place}/end`);
      took(await ask("GET", `${place}?since=${rows.length}`));
    });
  }
  await statistics().catch((error) => tell(error.message, true));
}

// A picture of the chart, whose name has its time.
function picture() {
  return inTurn(async () => {
    const canvas = chart.chart.takeScreenshot(true), blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    const csrf = document.querySelector("meta[name=csrf]").content;
    const answer = await fetch(`${place}/pictures?number=${state.number}`, {method: "POST", body: blob, headers: {"X-CSRF-Token": csrf, "Content-Type": "image/png"}});
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.message);
    tell(`${say.picture_kept} ${told.name}`);
    took(await ask("GET", `${place}?since=${rows.length}`));
  });
}

// Orders. The ticket has a new one, or the one that is being changed.

function fill(given) {
  for (const [name, value] of Object.entries(given)) fields[name].value = value === null ? "" : value;
  ticket.querySelector("[name=sets][value=entry]").checked = true;
}
function change(number) {
  if (changing === number) return;
  const one = state.standing.entries.find((each) => each.entry === number);
  changing = number;
  byId("changing").hidden = !one;
  byId("changing").firstElementChild.textContent = `${say.changes} ${number}`;
  if (!one) return fill({kind: "limit", price: null, stop: null, target: null, quantity: null});
  const text = (price) => (price === null ? null : price.toFixed(decimals(state.tick)));
  fill({kind: one.kind === "stop" ? "stop" : "limit", price: text(one.price), stop: text(one.stop), target: text(one.target), quantity: exact(one.quantity)});
}
function chosen(number) {
  change(number);
  table();
  chart.follow(pairShown());
}
// The order after the one that is being changed; after the last, none.
function following() {
  const numbers = state.standing.entries.map((one) => one.entry);
  chosen(numbers[numbers.indexOf(changing) + 1] ?? null);
}
// Done, the ticket is empty; refused, it stays as it is.
function emptied(done) {
  return done.then(() => {
    if (ticket.querySelector(".fault:not(:empty)")) return;
    fill({price: null, stop: null, target: null});
    chosen(null);
  });
}
function order(side) {
  const quantity = number(fields.quantity.value), risk = number(fields.risk.value);
  const size = quantity === null ? {risk: risk === null ? null : risk / 100} : {quantity};
  const given = {price: number(fields.price.value), stop: number(fields.stop.value), target: number(fields.target.value)};
  return emptied(act({do: "order", entry: changing, side, kind: fields.kind.value, ...given, ...size}));
}
// An empty field leaves what the position has.
function protect() {
  const {stop, target} = state.standing;
  return emptied(act({do: "protect", stop: number(fields.stop.value) ?? stop, target: number(fields.target.value) ?? target}));
}
function close() {
  const part = byId("part").value / 100;
  return act({do: "close", quantity: part === 1 ? null : Math.abs(state.standing.position) * part});
}
const withdraw = (number) => act({do: "cancel", entry: number});
const free = (name) => act({do: "protect", stop: state.standing.stop, target: state.standing.target, [name]: null});
const acts = {close, protect, cancel: () => withdraw(null)};

document.addEventListener("click", ({target}) => {
  const button = target.closest("button");
  if (!button || !state) return;
  const {jump, order: side, act: name, change: number, withdraw: gone, free: freed} = button.dataset;
  const own = {next, play, undo, picture, "ask-bot": byBot, end: () => end(button), leave: () => chosen(null)};
  if (jump) act({do: "jump", to: jump});
  else if (side) order(side);
  else if (name) acts[name]();
  else if (number) chosen(+number);
  else if (gone) withdraw(+gone);
  else if (freed) free(freed);
  else if (own[button.id]) own[button.id]();
});
byId("note").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = event.target.elements.text;
  if (field.value.trim()) act({do: "note", text: field.value.trim()}).then(() => (field.value = ""));
});
ticket.addEventListener("submit", (event) => event.preventDefault());
ticket.addEventListener("change", () => chart && chart.follow(pairShown()));

// Keys come here before the chart has them; while somebody types they are letters.
const keys = {
  " ": () => (playing === null ? next() : pause()), ArrowRight: next, ArrowLeft: undo, p: play, s: picture, b: byBot, v: () => seen && chart.toggle("compared"),
  u: () => order("buy"), d: () => order("sell"), c: close, m: protect, x: acts.cancel, o: following, Delete: () => changing && withdraw(changing),
  t: () => (fields.kind.value = fields.kind.value === "stop" ? "limit" : "stop"), Escape: () => chosen(null),
};
const ordering = [keys.u, keys.d, keys.c, keys.m, keys.x, keys.o, keys.Delete];
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=radio]), select, textarea, dialog[open]");
  if (typing && event.key === "Escape" && !typing.matches("dialog")) return typing.blur();
  if (!state || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const speed = /^[1-9]$/.test(event.key), done = keys[event.key] || keys[event.key.toLowerCase()];
  if (!speed && (!done || (ordering.includes(done) && (state.over || detail.ended)))) return;
  event.preventDefault();
  event.stopPropagation();
  if (speed) byId("speed").value = event.key;
  else if (!event.repeat || done === next) done();
}, true);
document.addEventListener("theme", () => chart && chart.recolour());

inTurn(async () => {
  const [told, {bots}] = await Promise.all([ask("GET", place), ask("GET", "/api/v1/replays/choices")]);
  byId("bot").replaceChildren(...bots.map((one) => new Option(one, one, one === "trend", one === "trend")));
  took(told);
  again();
  document.documentElement.dataset.ready = "1";
});
})();
