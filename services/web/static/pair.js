// The chart of a pair as its bot trades it: candles, fills, desired orders, the stop and the regime, kept up to now.
(function () {
"use strict";

const MINUTES = 2000; // candles at first
const OLDER = 4000, MOST = 20000; // candles that one page of older ones has, and all together
const COLUMNS = ["t", "open", "high", "low", "close", "volume"];
const REGIMES = {
  unknown: "#9aa5b1", tight_range: "#93c5fd", wide_range: "#3b82f6", quiet_transition: "#fde68a",
  volatile_transition: "#f59e0b", bull_trend: "#4ade80", bear_trend: "#f87171",
};
const element = document.getElementById("chart");
const {bot, pair, currency} = element.dataset, said = JSON.parse(element.dataset.words);
const words = Object.keys(said).length ? said : null; // null: the chart's own
const named = (name) => said[name.replace(/_/g, " ")] || name.replace(/_/g, " ");
let chart = null, read = null, busy = false, asked = 0, fills = [], regimes = [], zones = [];

const history = new window.StoredHistory(
  (query) => columns(query, "stored-candles"), () => chart && chart.follow(drawn()),
);

async function candles() {
  const last = read ? read.t.length : 0;
  const missing = last ? Math.min(Math.max(Math.ceil((market() - read.t[last - 1]) / 60) + 2, 2), MINUTES) : MINUTES;
  const came = await columns(`bars=${missing}`);
  return read && came.t.length ? joined(read, came) : came;
}

async function columns(query, which = "candles") {
  const answer = await fetch(`/api/v1/market-data/${which}?bot=${bot}&pair=${pair}&${query}`);
  if (!answer.ok) throw new Error((await answer.json()).message);
  const rows = +answer.headers.get("X-Rows"), body = await answer.arrayBuffer(), came = {};
  COLUMNS.forEach((name, k) => (came[name] = new Float64Array(body, k * rows * 8, rows)));
  came.t = came.t.map((ms) => ms / 1000);
  return came;
}

// Candles before the first minutes that are here, once the reader comes near it: those that the store does not have.
async function older() {
  const sight = chart.exactSight(), near = (sight.to - sight.from) * 0.2;
  if (busy || older.none || read.t.length >= MOST || !(sight.from - near < read.t[0])) return;
  if (history.reaches(read.t[0])) return;
  busy = true;
  try {
    const asked = Math.min(OLDER, MOST - read.t.length), until = read.t[0] * 1000;
    const came = await columns(`bars=${asked}&until=${until}`);
    older.none = came.t.length === 0 || came.t[came.t.length - 1] >= read.t[0];
    if (older.none) return;
    read = joined(came, read);
    chart.follow(drawn());
  } catch {
    older.none = true;
  } finally {
    busy = false;
  }
}

function joined(old, fresh) {
  const keep = old.t.findIndex((t) => t >= fresh.t[0]), until = keep < 0 ? old.t.length : keep;
  if (until && fresh.t[0] - old.t[until - 1] > 60 * MINUTES) return fresh;
  return Object.fromEntries(COLUMNS.map((name) => {
    const both = new Float64Array(until + fresh[name].length);
    both.set(old[name].subarray(0, until));
    both.set(fresh[name], until);
    return [name, both];
  }));
}

// The market's time, seconds, and the price now, as the page has them.
function now() {
  const part = document.getElementById("now");
  return part ? part.dataset : {};
}
function market() {
  const at = Date.parse(now().at || "");
  return Number.isNaN(at) ? (read ? read.t[read.t.length - 1] + 60 : 0) : at / 1000;
}

async function rows(path) {
  const answer = await fetch(`/api/v1/bots/${bot}/${path}`);
  return answer.ok ? (await answer.json()).items : [];
}

// The candle that forms, from the bot's last price.
function withForming(bars) {
  const price = +now().price, time = Math.floor(market() / 60) * 60, last = bars.t.length - 1;
  if (!price || last < 0 || time <= bars.t[last] || time > bars.t[last] + 180) return bars;
  const open = bars.close[last];
  const forming = {t: time, open, high: Math.max(open, price), low: Math.min(open, price), close: price, volume: NaN};
  return Object.fromEntries(COLUMNS.map((name) => [name, Float64Array.from([...bars[name], forming[name]])]));
}

function fillTable() {
  const own = fills.filter((one) => one.side).reverse(), column = (take) => Float64Array.from(own, take);
  const reasons = [...new Set(own.map((one) => one.reason))];
  return {
    rows: own.length, t: column((one) => one.at / 1000), side: column((one) => (one.side === "buy" ? 0 : 1)),
    price: column((one) => one.price), quantity: column((one) => one.quantity), position: column((one) => one.position || 0),
    why: column((one) => reasons.indexOf(one.reason)), maker: column((one) => +one.maker), fee: column((one) => one.fee),
    realized: column((one) => one.realised || 0), words: reasons.map(named),
  };
}

// What should rest now, over the newest candles, and the position's stop.
function orderTable(bars) {
  const end = bars.t[bars.t.length - 1] + 3600, start = bars.t[Math.max(bars.t.length - 120, 0)];
  const own = [...document.querySelectorAll("#orders tr[data-price]")].map(({dataset}) => dataset).filter((one) => +one.price);
  const spans = own.map((one) => [+one.price, one.kind === "stop" ? 2 : one.side === "buy" ? 0 : 1]);
  if (+now().stop) spans.push([+now().stop, 2]);
  return {
    rows: spans.length, t: Float64Array.from(spans, () => start), until: Float64Array.from(spans, () => end),
    price: Float64Array.from(spans, ([price]) => price), kind: Float64Array.from(spans, ([, kind]) => kind),
  };
}

function ribbons(bars) {
  const told = [...regimes].reverse().filter((one) => one.pair === pair);
  if (!told.length) return [];
  const names = [...new Set(told.map((one) => one.fields.regime))], end = bars.t[bars.t.length - 1] + 60;
  const start = (one) => one.at / 1000;
  return [{
    title: element.dataset.regime, names: names.map(named), colours: names.map((name) => REGIMES[name] || "#9aa5b1"),
    rows: told.length, t: Float64Array.from(told, start),
    until: Float64Array.from(told, (_, k) => (k + 1 < told.length ? start(told[k + 1]) : end)),
    which: Float64Array.from(told, (one) => names.indexOf(one.fields.regime)),
  }];
}

// Zones of market structure, from the last decision about each.
function zoneTable(bars) {
  const end = bars.t[bars.t.length - 1] + 60, last = new Map(), kinds = {liquidity: 2};
  for (const {fields} of [...zones].reverse()) last.set(`${fields.kind} ${fields.side} ${fields.timeframe} ${fields.born}`, fields);
  const own = [...last.values()].filter((one) => one.top !== null && one.bottom !== null);
  const column = (take) => Float64Array.from(own, take), seconds = (text) => Date.parse(text) / 1000;
  own.sort((a, b) => seconds(a.born) - seconds(b.born));
  return {
    rows: own.length, t: column((one) => seconds(one.born)), until: column((one) => (one.died ? seconds(one.died) : end)),
    bottom: column((one) => one.bottom), top: column((one) => one.top),
    kind: column((one) => kinds[one.kind] ?? (one.side === "demand" ? 0 : 1)),
  };
}

function tickOf(bars) {
  let digits = 0;
  for (let k = Math.max(bars.close.length - 50, 0); k < bars.close.length; k++) {
    const text = String(+bars.close[k].toFixed(8));
    digits = Math.max(digits, text.includes(".") ? text.length - text.indexOf(".") - 1 : 0);
  }
  return [1, 10 ** digits];
}

function drawn() {
  const bars = withForming(read);
  return {
    name: pair, seconds: 60, tick: tickOf(bars), lot: [1, 1], read: bars, fills: fillTable(), orders: orderTable(bars),
    ribbons: ribbons(bars), zones: zones.length ? zoneTable(bars) : null,
    since: history.first, columns: (length, from, to) => history.over(bars, length, from, to),
  };
}

async function renew() {
  if (busy || performance.now() - asked < 450) return;
  busy = true;
  asked = performance.now();
  try {
    const due = !read || market() >= read.t[read.t.length - 1] + 120;
    const filled = +now().fills !== renew.fills;
    const [bars, newer, told, structure] = await Promise.all([
      due ? candles() : read, filled ? rows(`fills?pair=${pair}&limit=500`) : fills,
      due ? rows(`decisions?pair=${pair}&kind=regime&limit=200`) : regimes,
      due ? rows(`decisions?pair=${pair}&kind=zone&limit=300`) : zones,
    ]);
    [read, fills, regimes, zones, renew.fills] = [bars, newer, told, structure, +now().fills];
    if (!read.t.length) return;
    if (chart) chart.follow(drawn());
    else show();
  } catch (error) {
    if (!chart) element.textContent = error.message;
  } finally {
    busy = false;
  }
}

function show() {
  element.textContent = "";
  chart = new window.PriceChart(element, {currency, words, pairs: [drawn()], account: null, targets: null, notes: []});
  chart.show(chart.end - 6 * 3600, chart.end + 900);
  chart.chart.timeScale().subscribeVisibleLogicalRangeChange(() => {
    clearTimeout(older.soon);
    older.soon = setTimeout(older, 150);
  });
  document.documentElement.dataset.ready = "1";
  history.begin().catch(() => {}); // the newest minutes stay
}

document.addEventListener("part", renew);
document.addEventListener("theme", () => chart && chart.recolour());
renew();
})();
