// A chart of a run or a bot: candles with what was ordered and filled, and below them equity and drawdown, on one clock.
//
// `new PriceChart(element, data)` takes unpacked data (columns.js). It keeps a few thousand bars in the library at a time
// and rolls up as one zooms out. The wheel belongs to the page until the chart has the focus.
// A pair may bring more than it `read`: `columns(length, from, to)` gives candles for bars of `length`, `since` the first.
(function (root) {
"use strict";

const {candlesOf, rolled, place} = root.Columns;
const LENGTHS = [1, 5, 15, 30, 60, 300, 900, 1800, 3600, 7200, 14400, 28800, 43200, 86400, 604800]; // seconds
const MOST_BARS = 4000; // in the library at a time
const BAR_WIDTH = 2.2; // px, the least that a bar is given
const CANDLE = {open: "first", high: "most", low: "least", close: "last", volume: "sum"};
const ACCOUNT = {equity: "last", held: "last", drawdown: "least"};
const SPANS = [["1 day", 86400], ["1 week", 604800], ["1 month", 2592000], ["All", 0]];
const LAYERS = [["fills", "Fills"], ["orders", "Resting orders"], ["zones", "Zones"], ["compared", "Compared bot"]];
const LINES = ["#6366f1", "#14b8a6", "#f97316", "#db2777", "#65a30d", "#0891b2", "#7c3aed", "#b45309"];
const PER_CENT = {type: "custom", minMove: 0.001, formatter: (value) => `${value.toFixed(2)} %`};
const SCALE = 0.06; // above and under what is drawn, share of the pane

class PriceChart {
  constructor(element, data) {
    this.element = element;
    element.chart = this;
    this.data = data;
    this.hidden = new Set();
    this.cache = new Map();
    this.build();
    this.makeChart();
    this.showPair(data.pairs.length ? 0 : -1);
    this.listen();
  }

  // The frame around the chart.

  build() {
    const make = (tag, name, parent, text = "") => {
      const made = document.createElement(tag);
      made.className = name;
      made.textContent = text;
      parent.append(made);
      return made;
    };
    this.make = make;
    this.bar = make("div", "chart-bar", this.element);
    if (this.data.pairs.length > 1) this.pairMenu();
    for (const [text, seconds] of SPANS) {
      this.button(this.say(text), `${this.say("Show")} ${this.say(text).toLowerCase()}`, () => this.showSpan(seconds));
    }
    if (this.data.pairs.length) {
      this.button(this.say("◀ fill"), this.say("Previous fill"), () => this.step(-1));
      this.button(this.say("fill ▶"), this.say("Next fill"), () => this.step(1));
      this.layerButtons = LAYERS.map(([name, text]) => this.layerButton(name, text));
    }
    this.told = make("div", "chart-told", this.element);
    this.box = make("div", "chart-box", this.element);
    this.box.tabIndex = 0;
    this.box.setAttribute("role", "application");
    const keys = "Arrows move and zoom, N and P go to the next and previous fill, 0 shows all.";
    this.box.setAttribute("aria-label", this.say(`Chart. ${keys}`));
    this.names = make("div", "chart-names", this.element);
    this.hint = make("div", "chart-hint", this.element);
    this.printed = make("img", "chart-printed", this.element);
    this.printed.alt = "Chart";
  }
  // A text in the reader's language, where the data brings one.
  say(text) {
    return (this.data.words && this.data.words[text]) || text;
  }
  pairMenu() {
    const menu = this.make("select", "", this.bar);
    menu.setAttribute("aria-label", "Pair");
    this.data.pairs.forEach((pair, index) => menu.append(new Option(pair.name, index)));
    menu.addEventListener("change", () => this.showPair(+menu.value));
    this.menu = menu;
  }
  button(text, title, act) {
    const made = this.make("button", "", this.bar, text);
    made.type = "button";
    made.title = title;
    made.addEventListener("click", act);
    return made;
  }
  layerButton(name, text) {
    const own = this.say(text);
    const made = this.button(own, `${this.say("Show or hide")} ${own.toLowerCase()}`, () => {
      this.toggle(name);
    });
    made.setAttribute("aria-pressed", "true");
    made.dataset.layer = name;
    return made;
  }

  toggle(name) {
    if (this.hidden.has(name)) this.hidden.delete(name);
    else this.hidden.add(name);
    const button = this.layerButtons.find((one) => one.dataset.layer === name);
    button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
    this.overlays.redraw();
  }

  // The library's chart: its panes and series.

  makeChart() {
    const charts = root.LightweightCharts;
    const wheel = {mouseWheel: false, pressedMouseMove: true, horzTouchDrag: true, vertTouchDrag: false};
    this.chart = charts.createChart(this.box, {
      autoSize: true,
      handleScroll: wheel,
      handleScale: {mouseWheel: false, pinch: true, axisPressedMouseMove: true},
      crosshair: {mode: charts.CrosshairMode.Normal},
      timeScale: {timeVisible: true, secondsVisible: false, minBarSpacing: 0.3, rightOffset: 2},
      localization: {locale: "en-GB"},
    });
    let pane = 0;
    const quiet = {priceLineVisible: false, crosshairMarkerVisible: false, lastValueVisible: true};
    if (this.data.pairs.length) {
      const plain = {priceLineVisible: false, borderVisible: false};
      this.candles = this.chart.addSeries(charts.CandlestickSeries, plain, pane++);
      this.overlays = new root.Overlays(this.candles, this.frame());
    }
    this.lines = [];
    if (this.data.account) {
      const under = {...quiet, lineWidth: 1, title: "drawdown", invertFilledArea: true, priceFormat: PER_CENT};
      this.held = this.chart.addSeries(charts.LineSeries, {...quiet, lineWidth: 1, title: "buy and hold"}, pane);
      this.equity = this.chart.addSeries(charts.LineSeries, {...quiet, lineWidth: 2, title: "equity"}, pane++);
      this.drawdown = this.chart.addSeries(charts.AreaSeries, under, pane++);
    }
    for (const [index, line] of (this.data.lines || []).entries()) {
      const own = {color: LINES[index % LINES.length], lineWidth: line.bold ? 3 : 2, title: line.name, priceFormat: PER_CENT};
      this.lines.push({series: this.chart.addSeries(charts.LineSeries, {...quiet, ...own}, pane), ...line});
    }
    this.targets = this.data.targets ? this.data.pairs.map((_, index) => this.targetLine(charts, index, pane)) : [];
    this.stretch();
    this.theme();
  }
  // Share of the equity that an allocator gives a pair.
  targetLine(charts, index, pane) {
    const options = {color: LINES[index % LINES.length], lineWidth: 1, lineType: charts.LineType.WithSteps};
    const quiet = {priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false};
    return this.chart.addSeries(charts.LineSeries, {...options, ...quiet, priceFormat: PER_CENT}, pane);
  }
  stretch() {
    const panes = this.chart.panes(), shares = this.candles ? [5, 2.4, 1.3, 1.2] : [1];
    panes.forEach((pane, index) => pane.setStretchFactor(shares[index] || 1));
    this.box.classList.toggle("low", !this.candles);
    this.box.classList.toggle("high", this.targets.length > 0);
  }
  colour(name) {
    return getComputedStyle(this.element).getPropertyValue(`--${name}`).trim();
  }
  theme() {
    const names = ["ink", "soft", "line", "paper", "gain", "loss", "buy", "sell", "stop", "accent"];
    const colours = (this.colours = Object.fromEntries(names.map((name) => [name, this.colour(name)])));
    this.chart.applyOptions({
      layout: {
        background: {color: colours.paper},
        textColor: colours.soft,
        panes: {separatorColor: colours.line},
        fontFamily: "system-ui, sans-serif",
      },
      grid: {vertLines: {color: colours.line}, horzLines: {color: colours.line}},
      timeScale: {borderColor: colours.line},
      rightPriceScale: {borderColor: colours.line},
    });
    const bars = {upColor: colours.gain, downColor: colours.loss, wickUpColor: colours.gain, wickDownColor: colours.loss};
    if (this.candles) this.candles.applyOptions(bars);
    if (!this.equity) return;
    this.equity.applyOptions({color: colours.accent});
    this.held.applyOptions({color: colours.soft});
    this.drawdown.applyOptions({lineColor: colours.loss, topColor: `${colours.loss}22`, bottomColor: `${colours.loss}44`});
  }
  frame() {
    return {
      x: (time) => this.x(time),
      middle: (time) => this.x(Math.floor(time / this.length) * this.length),
      y: (price) => this.candles.priceToCoordinate(price),
      sight: () => this.sight(),
      shows: (name) => !this.hidden.has(name),
      get colours() { return this.owner.colours; },
      owner: this,
    };
  }

  // Time and the library's places: bars are numbered, and lie evenly.

  x(time) {
    const scale = this.chart.timeScale();
    return scale.logicalToCoordinate(0) + (this.number(time)) * scale.options().barSpacing;
  }
  number(time) {
    const times = this.times, at = place(times, time);
    if (at === times.length) return times.length - 1 + (time - times[times.length - 1]) / this.length;
    if (at === 0) return (time - times[0]) / this.length;
    return at - 1 + (time - times[at - 1]) / (times[at] - times[at - 1]);
  }
  timeAt(number) {
    const times = this.times, last = times.length - 1, whole = Math.floor(number);
    if (number <= 0) return times[0] + number * this.length;
    if (number >= last) return times[last] + (number - last) * this.length;
    return times[whole] + (number - whole) * (times[whole + 1] - times[whole]);
  }
  sight() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    return range ? {from: this.timeAt(range.from) - this.length, to: this.timeAt(range.to) + this.length} : {from: 0, to: 0};
  }

  // What is loaded.

  showPair(index) {
    this.pair = this.data.pairs[index] || null;
    this.cache.clear();
    const seen = this.times ? this.sight() : null;
    if (this.pair) {
      if (!this.pair.read) this.pair.read = candlesOf(this.pair.candles, this.pair.seconds, this.pair.tick);
      const precision = this.digits(this.pair.tick), minMove = this.pair.tick[0] / this.pair.tick[1];
      const scaleMargins = {top: SCALE, bottom: SCALE + this.pair.ribbons.length * 0.04};
      this.candles.applyOptions({priceFormat: {type: "price", precision, minMove}});
      this.candles.priceScale().applyOptions({scaleMargins});
      this.overlays.pair = this.pair;
      this.overlays.trade = null;
      this.offerLayers();
      if (this.menu) this.menu.value = index;
    }
    this.nameColours();
    this.measure();
    this.load(seen ? seen.from : this.first, seen ? seen.to : this.end);
  }
  offerLayers() {
    this.layerButtons.forEach((one) => (one.hidden = !this.pair[one.dataset.layer]));
  }
  // From when to when there is anything.
  measure() {
    const read = this.pair ? this.pair.read.t : null, account = this.base();
    const clocks = [read && [read, this.pair.seconds], account && [account.t, account.seconds]].filter(Boolean);
    this.first = Math.min(...clocks.map(([t]) => t[0]), (this.pair && this.pair.since) || Infinity);
    this.end = Math.max(...clocks.map(([t, seconds]) => t[t.length - 1] + seconds));
  }
  // Take newer data of the pair that is shown. What is in sight stays; it moves on where the newest bar was in sight.
  follow(pair) {
    const {from, to} = this.exactSight(), before = this.end, newest = to >= before - 2 * this.length;
    this.pair = this.data.pairs[0] = pair;
    this.overlays.pair = pair;
    this.offerLayers();
    this.cache.clear();
    this.nameColours();
    this.measure();
    const moved = newest ? this.end - before : 0;
    this.load(from + moved, to + moved);
    this.overlays.redraw();
  }
  base() {
    if (this.account) return this.account;
    if (this.data.account) {
      const table = this.data.account;
      this.account = {...table, t: table.t.map((bucket) => bucket * table.seconds)};
    } else if (this.lines.length) {
      const {seconds, t} = this.lines[0].table; // of all of them
      this.account = {seconds, t: t.map((bucket) => bucket * seconds)};
      this.lines.forEach((line, index) => (this.account[`line${index}`] = line.table.value));
    }
    return this.account || null;
  }
  digits([numerator, denominator]) {
    const text = (numerator / denominator).toFixed(12).replace(/0+$/, "");
    return text.length - text.indexOf(".") - 1;
  }
  nameColours() {
    const lines = this.targets.length ? this.data.pairs : this.data.lines || [];
    const rows = this.pair ? this.pair.ribbons.map((one) => [one.title, one.names, one.colours]) : [];
    if (lines.length) rows.push([this.pair ? "Capital targets" : "Lines", lines.map((one) => one.name), LINES]);
    this.names.replaceChildren();
    for (const [title, names, colours] of rows) {
      const row = this.make("span", "", this.names, `${title}: `);
      names.forEach((name, index) => {
        this.make("span", "chart-name", row, name).style.setProperty("--own", colours[index % colours.length]);
      });
    }
  }
  at(kind, columns, rules, seconds) {
    const key = `${kind} ${seconds}`;
    const kept = this.cache.get(key);
    if (kept && kept.of === columns) return kept.rolled;
    this.cache.set(key, {of: columns, rolled: rolled(columns, rules, seconds)});
    return this.cache.get(key).rolled;
  }
  // Length of bars with which so much time is drawn.
  lengthFor(span) {
    const finest = this.pair ? this.pair.seconds : this.base().seconds;
    const most = Math.max(this.box.clientWidth, 300) / BAR_WIDTH, longest = LENGTHS[LENGTHS.length - 1];
    return Math.max(finest, LENGTHS.find((one) => one >= finest && span / one <= most) || longest);
  }
  load(from, to) {
    const span = Math.max(to - from, 60), length = (this.length = this.lengthFor(span));
    const room = Math.max(span * 1.5, (length * MOST_BARS) / 4);
    this.loaded = {from: Math.max(this.first, from - room), to: Math.min(this.end, to + room)};
    const all = new Set(), parts = [];
    if (this.pair) {
      const own = this.pair.columns ? this.pair.columns(length, from, to) : this.pair.read;
      parts.push([this.at("candles", own, CANDLE, length), "candle"]);
    }
    if (this.base()) parts.push([this.accountAt(Math.max(length, this.base().seconds)), "account"]);
    const cut = parts.map(([columns, kind]) => {
      const start = Math.max(place(columns.t, this.loaded.from) - 1, 0), end = place(columns.t, this.loaded.to + 1);
      for (let k = start; k < end; k++) all.add(columns.t[k]);
      return [columns, kind, start, end];
    });
    this.times = Float64Array.from(all).sort();
    for (const [columns, kind, start, end] of cut) this.fill(columns, kind, start, end);
    if (this.targets.length) this.fillTargets(length);
    this.chart.timeScale().setVisibleLogicalRange({from: this.number(from), to: this.number(to)});
    this.tell(null);
  }
  fillTargets(length) {
    const names = this.targets.map((_, index) => `p${index}`);
    const rules = Object.fromEntries(names.map((name) => [name, "last"]));
    const columns = (this.shownTargets = this.at("targets", this.data.targets, rules, length));
    const first = this.times[0], last = this.times[this.times.length - 1];
    const rows = Array.from(columns.t.keys()).filter((k) => columns.t[k] >= first && columns.t[k] <= last);
    const line = (name) => rows.map((k) => ({time: columns.t[k], value: columns[name][k]}));
    this.targets.forEach((series, index) => series.setData(line(names[index])));
  }
  accountAt(seconds) {
    if (this.data.account) return this.at("account", this.base(), ACCOUNT, seconds);
    return this.at("account", this.base(), Object.fromEntries(this.lines.map((_, k) => [`line${k}`, "last"])), seconds);
  }
  fill(columns, kind, start, end) {
    const rows = (make) => Array.from({length: end - start}, (_, k) => make(start + k));
    if (kind === "candle") {
      this.bars = columns;
      const {t, open, high, low, close} = columns;
      this.candles.setData(rows((k) => ({time: t[k], open: open[k], high: high[k], low: low[k], close: close[k]})));
      return;
    }
    this.shownAccount = columns;
    const line = (name) => rows((k) => ({time: columns.t[k], value: columns[name][k]}));
    if (this.equity) {
      this.equity.setData(line("equity"));
      this.held.setData(line("held"));
      this.drawdown.setData(line("drawdown"));
    }
    this.lines.forEach((one, index) => one.series.setData(line(`line${index}`)));
  }
  // Load anew where what is in sight wants other bars than those that are loaded.
  check() {
    const {from, to} = this.exactSight();
    if (!Number.isFinite(from) || to <= from) return;
    const short = from < this.loaded.from && this.loaded.from > this.first;
    const ends = to > this.loaded.to && this.loaded.to < this.end;
    if (this.lengthFor(to - from) !== this.length || short || ends) this.load(from, to);
    this.hint.textContent = this.sentence();
  }
  exactSight() {
    const range = this.chart.timeScale().getVisibleLogicalRange();
    return range ? {from: this.timeAt(range.from), to: this.timeAt(range.to)} : {from: NaN, to: NaN};
  }

  // What a reader does.

  listen() {
    this.chart.timeScale().subscribeVisibleLogicalRangeChange(() => {
      clearTimeout(this.soon);
      this.soon = setTimeout(() => this.check(), 40);
    });
    this.chart.subscribeCrosshairMove((param) => this.tell(param.logical === undefined ? null : param.logical));
    const focus = (has) => {
      this.chart.applyOptions({handleScroll: {mouseWheel: has}, handleScale: {mouseWheel: has}});
      this.element.classList.toggle("focused", has);
      this.hint.textContent = this.sentence();
    };
    this.box.addEventListener("focus", () => focus(true));
    this.box.addEventListener("blur", () => focus(false));
    this.box.addEventListener("pointerdown", () => this.box.focus({preventScroll: true}));
    this.box.addEventListener("keydown", (event) => this.key(event));
    root.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolour());
    root.addEventListener("beforeprint", () => this.print());
    focus(false);
  }
  recolour() {
    this.theme();
    if (this.overlays) this.overlays.redraw();
  }
  print() {
    this.element.classList.add("light");
    this.recolour();
    this.printed.src = this.chart.takeScreenshot(true).toDataURL();
    this.element.classList.remove("light");
    this.recolour();
  }
  sentence() {
    const bars = `${this.say("Candles of")} ${this.words(this.length)}. `;
    const crowded = this.overlays && this.overlays.crowded && !this.hidden.has("orders");
    const wheel = this.element.classList.contains("focused")
      ? "The wheel zooms, arrows move, Esc leaves."
      : "Click the chart, or tab to it, to zoom with the wheel or keys.";
    return (this.pair ? bars : "") + (crowded ? `${this.say("Zoom in to see resting orders.")} ` : "") + this.say(wheel);
  }
  words(seconds) {
    const names = [[604800, "week"], [86400, "day"], [3600, "hour"], [60, "minute"], [1, "second"]];
    const [unit, name] = names.find(([one]) => seconds % one === 0), count = seconds / unit;
    return this.data.words ? `${count} ${this.say(name)}` : `${count} ${name}${count > 1 ? "s" : ""}`;
  }
  key(event) {
    const {from, to} = this.exactSight(), span = to - from;
    const zoom = (by) => this.show(from + (span * (1 - by)) / 2, to - (span * (1 - by)) / 2);
    const acts = {
      ArrowLeft: () => this.show(from - span * 0.1, to - span * 0.1),
      ArrowRight: () => this.show(from + span * 0.1, to + span * 0.1),
      ArrowUp: () => zoom(0.7), "+": () => zoom(0.7), "=": () => zoom(0.7),
      ArrowDown: () => zoom(1 / 0.7), "-": () => zoom(1 / 0.7),
      Home: () => this.show(this.first, this.first + span),
      End: () => this.show(this.end - span, this.end),
      0: () => this.showSpan(0),
      n: () => this.step(1), p: () => this.step(-1),
      Escape: () => this.box.blur(),
    };
    if (!acts[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    acts[event.key]();
  }
  show(from, to) {
    const whole = this.end - this.first, span = Math.min(to - from, whole * 1.05);
    const middle = Math.min(Math.max((from + to) / 2, this.first), this.end); // of time that there is
    this.load(middle - span / 2, middle + span / 2);
    this.hint.textContent = this.sentence();
  }
  showSpan(seconds) {
    if (!seconds || seconds > this.end - this.first) return this.show(this.first, this.end);
    const {from, to} = this.exactSight(), middle = (from + to) / 2;
    if (to - from > (this.end - this.first) * 0.9) return this.show(this.end - seconds, this.end);
    return this.show(middle - seconds / 2, middle + seconds / 2);
  }
  // Go to the next fill before or after the middle of what is in sight.
  step(by) {
    const fills = this.pair && this.pair.fills;
    if (!fills || !fills.rows) return;
    if (this.stepped === undefined || this.stepped >= fills.rows) this.stepped = by > 0 ? -1 : fills.rows;
    this.stepped = Math.min(Math.max(this.stepped + by, 0), fills.rows - 1);
    const time = fills.t[this.stepped], {from, to} = this.exactSight(), span = Math.min(to - from, 86400);
    this.show(time - span / 2, time + span / 2);
    const bucket = Math.floor(time / this.length) * this.length, price = fills.price[this.stepped];
    const point = () => {
      this.chart.setCrosshairPosition(price, bucket, this.candles);
      this.tell(Math.round(this.number(bucket)));
    };
    root.requestAnimationFrame(() => root.requestAnimationFrame(point)); // the library moves its bars in the next frame
  }
  showTrade(pair, trade) {
    const index = this.data.pairs.findIndex((one) => one.name === pair);
    if (index >= 0 && this.pair !== this.data.pairs[index]) this.showPair(index);
    const to = Number.isNaN(trade.to) ? this.end : trade.to;
    const room = Math.max((to - trade.from) * 0.6, 60 * this.pair.seconds);
    this.overlays.trade = {...trade, to};
    this.show(trade.from - room, to + room);
    this.element.scrollIntoView({block: "center", behavior: "smooth"});
  }

  // What stands above the chart: everything about the bar under the pointer, or about the last one.

  tell(logical) {
    const last = this.times.length - 1, at = logical === null ? last : Math.min(Math.max(Math.round(logical), 0), last);
    const time = this.times[at], parts = [this.date(time)];
    if (this.pair) parts.push(...this.tellCandle(time));
    if (this.shownAccount) parts.push(...this.tellAccount(time));
    if (this.pair) {
      parts.push(...this.pair.ribbons.map((one) => this.tellSpan(one, time)));
      parts.push(...this.tellOrders(time), ...this.tellFills(time));
    }
    this.told.replaceChildren();
    parts.filter(Boolean).forEach((part, index) => this.make(index ? "span" : "b", "", this.told, part));
  }
  date(seconds) {
    return `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
  }
  row(columns, time) {
    const at = place(columns.t, time + 1) - 1;
    return at >= 0 ? at : 0;
  }
  shown(value, digits = 2) {
    return value.toLocaleString("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits});
  }
  tellCandle(time) {
    const bars = this.bars, k = this.row(bars, time), digits = this.digits(this.pair.tick);
    const prices = ["open", "high", "low", "close"].map((name) => `${this.say(name)} ${this.shown(bars[name][k], digits)}`);
    const change = (bars.close[k] / bars.open[k] - 1) * 100, sign = change >= 0 ? "+" : "";
    const volume = bars.volume[k], amount = volume.toLocaleString("en-US", {maximumSignificantDigits: 3});
    const traded = Number.isNaN(volume) ? "" : `, ${this.say("volume")} ${amount}`;
    return [`${this.pair.name} ${prices.join(" ")} (${sign}${change.toFixed(2)} %)${traded}`];
  }
  tellAccount(time) {
    const account = this.shownAccount, k = this.row(account, time);
    const money = (name) => `${this.shown(account[name][k])} ${this.data.currency}`;
    let targets = [];
    if (!this.equity) return this.lines.map((one, index) => `${one.name} ${account[`line${index}`][k].toFixed(2)} %`);
    if (this.shownTargets) {
      const at = place(this.shownTargets.t, time + 1) - 1;
      const share = (index) => `${this.data.pairs[index].name} ${this.shownTargets[`p${index}`][at].toFixed(1)} %`;
      targets = at >= 0 ? [`capital targets: ${this.targets.map((_, index) => share(index)).join(", ")}`] : [];
    }
    return [...targets, `equity ${money("equity")}`, `buy and hold ${money("held")}`, `drawdown ${account.drawdown[k].toFixed(2)} %`];
  }
  tellSpan(ribbon, time) {
    const k = place(ribbon.t, time + 1) - 1;
    return k >= 0 ? `${ribbon.title.toLowerCase()} ${ribbon.names[ribbon.which[k]]}` : "";
  }
  tellOrders(time) {
    const orders = this.pair.orders, counts = [0, 0];
    let stop = NaN;
    if (!orders) return [];
    for (let k = 0; k < orders.rows && orders.t[k] < time + this.length; k++) {
      if (orders.until[k] <= time) continue;
      if (orders.kind[k] === 2) stop = orders.price[k];
      else counts[orders.kind[k]]++;
    }
    const text = `${this.say("resting: buys")} ${counts[0]}, ${this.say("sells")} ${counts[1]}`;
    return [Number.isNaN(stop) ? text : `${text}, ${this.say("stop")} ${this.shown(stop, this.digits(this.pair.tick))}`];
  }
  tellFills(time) {
    const fills = this.pair.fills, told = [], start = place(fills.t, time), end = place(fills.t, time + this.length);
    const before = start - 1;
    if (end === start) return before >= 0 ? [`${this.say("position")} ${fills.position[before]}`] : [];
    for (let k = start; k < Math.min(end, start + 4); k++) told.push(this.tellFill(fills, k));
    if (end - start > 4) told.push(`${this.say("and")} ${end - start - 4} ${this.say("more fills")}`);
    return [...told, `${this.say("position")} ${fills.position[end - 1]}`];
  }
  tellFill(fills, k) {
    const price = this.shown(fills.price[k], this.digits(this.pair.tick)), profit = fills.realized[k];
    const gained = profit ? `, ${profit > 0 ? "+" : ""}${this.shown(profit)} ${this.data.currency}` : "";
    const how = `${fills.words[fills.why[k]]}, ${this.say(fills.maker[k] ? "maker" : "taker")}, ${this.say("fee")} ${this.shown(fills.fee[k], 4)}`;
    const did = fills.side[k] ? `▼ ${this.say("sold")}` : `▲ ${this.say("bought")}`;
    return `${did} ${fills.quantity[k]} ${this.say("at")} ${price} (${how}${gained})`;
  }
}

root.PriceChart = PriceChart;
})(window);
