// The page of a run: the chart, and the table of trades with its sorting, filters and ways into the chart.
(async function () {
"use strict";

const ROWS = 20; // of the table at a time
const data = await Columns.unpackedAll(JSON.parse(document.getElementById("data").textContent));
const chart = new PriceChart(document.getElementById("chart"), data);
const shown = (value, digits) => value.toLocaleString("en-US", {minimumFractionDigits: digits, maximumFractionDigits: digits});
const signed = (value, digits, unit = "") => (Number.isNaN(value) ? "" : `${value > 0 ? "+" : ""}${shown(value, digits)}${unit}`);
const moment = (seconds) => (Number.isNaN(seconds) ? "open" : new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " "));
const lasted = (seconds) => {
  const hours = seconds / 3600;
  return hours >= 48 ? `${shown(hours / 24, 1)} days` : hours >= 1 ? `${shown(hours, 1)} h` : `${shown(seconds / 60, 0)} min`;
};
if (data.trades && data.trades.rows) showTrades(data.trades);
document.documentElement.dataset.ready = "yes";

function showTrades(table) {
  const word = (name, k) => (Number.isNaN(table[name][k]) ? "Still open" : table.words[name][table[name][k]]);
  const size = (pair, name) => data.pairs[pair][name][0] / data.pairs[pair][name][1];
  const own = Array.from({length: table.rows}, (_, k) => data.pairs.findIndex((one) => one.name === pairName(k)));
  const price = (name, k) => (table[name][k] / 10) * size(own[k], "tick");
  const digits = (k) => chart.digits(data.pairs[own[k]].tick);
  const end = (k) => (Number.isNaN(table.exit_time[k]) ? chart.end : table.exit_time[k]);
  const columns = [
    ["Entered, UTC", (k) => table.entry_time[k], (k) => moment(table.entry_time[k])],
    ["Pair", (k) => pairName(k), (k) => pairName(k), "pair"],
    ["Strategy", (k) => word("strategy", k), (k) => word("strategy", k), "strategy"],
    ["Side", (k) => word("side", k), (k) => word("side", k), "side"],
    ["Entry", (k) => word("entry_kind", k), (k) => word("entry_kind", k), "entry_kind"],
    ["Price", (k) => price("entry_price", k), (k) => shown(price("entry_price", k), digits(k))],
    ["Left, UTC", (k) => end(k) + (Number.isNaN(table.exit_time[k]) ? 1 : 0), (k) => moment(table.exit_time[k])],
    ["Price", (k) => price("exit_price", k), (k) => (Number.isNaN(table.exit_price[k]) ? "" : shown(price("exit_price", k), digits(k)))],
    ["Exit", (k) => word("exit_reason", k), (k) => word("exit_reason", k), "exit_reason"],
    ["Lasted", (k) => end(k) - table.entry_time[k], (k) => lasted(end(k) - table.entry_time[k])],
    ["Quantity", (k) => table.quantity[k] * size(own[k], "lot"), (k) => String(+(table.quantity[k] * size(own[k], "lot")).toPrecision(8))],
    [`Profit, ${data.currency}`, (k) => table.pnl[k], (k) => signed(table.pnl[k], 2)],
    ["Profit, %", (k) => table.pnl_pct[k], (k) => signed(table.pnl_pct[k], 2)],
    ["R", (k) => table.r_multiple[k], (k) => signed(table.r_multiple[k], 2)],
    ["Worst, %", (k) => table.mae[k], (k) => signed(table.mae[k], 2)],
    ["Best, %", (k) => table.mfe[k], (k) => signed(table.mfe[k], 2)],
    [`Fees, ${data.currency}`, (k) => table.fees[k], (k) => shown(table.fees[k], 2)],
  ].filter(([, , , name]) => !name || ["side", "exit_reason"].includes(name) || table.words[name].length > 1);
  const state = {column: 0, up: false, many: ROWS, filters: {}, result: ""};
  const head = document.querySelector("#trades thead tr"), body = document.querySelector("#trades tbody");
  const filters = document.querySelector("#trades-filters"), count = document.createElement("span"), more = document.getElementById("trades-more");

  function pairName(k) {
    return table.words.pair[table.pair[k]];
  }
  function menu(title, words, act) {
    const label = document.createElement("label"), select = document.createElement("select");
    select.append(new Option("all", ""), ...words.map((text) => new Option(text, text)));
    select.addEventListener("change", () => {
      act(select.value);
      state.many = ROWS;
      draw();
    });
    label.append(`${title} `, select);
    filters.append(label);
  }
  const names = {pair: "Pair", strategy: "Strategy", side: "Side", entry_kind: "Entry", exit_reason: "Exit"};
  for (const [name, title] of Object.entries(names)) {
    const open = name === "exit_reason" && table.exit_reason.some(Number.isNaN) ? ["Still open"] : [];
    const words = [...table.words[name], ...open];
    if (words.length > 1) menu(title, words, (value) => (state.filters[name] = value));
  }
  menu("Result", ["won", "lost"], (value) => (state.result = value));
  count.className = "soft";
  count.setAttribute("aria-live", "polite");
  filters.append(count);
  more.addEventListener("click", () => {
    state.many += 4 * ROWS;
    draw();
  });
  columns.forEach(([title], index) => {
    const cell = document.createElement("th"), button = document.createElement("button");
    button.type = "button";
    button.textContent = title;
    button.addEventListener("click", () => {
      state.up = state.column === index ? !state.up : false;
      state.column = index;
      draw();
    });
    cell.append(button);
    head.append(cell);
  });

  function chosen() {
    const key = columns[state.column][1], rows = [];
    for (let k = 0; k < table.rows; k++) {
      const fits = Object.entries(state.filters).every(([name, value]) => !value || word(name, k) === value);
      const won = !state.result || (state.result === "won") === table.pnl[k] > 0;
      if (fits && won) rows.push(k);
    }
    const last = (value) => typeof value === "number" && Number.isNaN(value);
    return rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if (last(x) || last(y)) return last(x) - last(y);
      return (x < y ? -1 : x > y ? 1 : a - b) * (state.up ? 1 : -1);
    });
  }
  function draw() {
    const rows = chosen(), sum = rows.reduce((whole, k) => whole + table.pnl[k], 0);
    count.textContent = `${rows.length.toLocaleString("en-US")} trades, ${signed(sum, 2)} ${data.currency}`;
    [...head.children].forEach((cell, index) => {
      if (index === state.column) cell.setAttribute("aria-sort", state.up ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    });
    body.replaceChildren(...rows.slice(0, state.many).map(row));
    more.hidden = rows.length <= state.many;
  }
  function row(k) {
    const line = document.createElement("tr");
    columns.forEach(([title, , text], index) => {
      const cell = document.createElement("td");
      if (index) cell.textContent = text(k);
      else cell.append(goTo(k, text(k)));
      if (title.startsWith("Profit")) cell.className = table.pnl[k] >= 0 ? "gain" : "loss";
      line.append(cell);
    });
    return line;
  }
  function goTo(k, text) {
    const made = document.createElement("button"), last = data.pairs[own[k]];
    made.type = "button";
    made.className = "go";
    made.textContent = text;
    made.title = "Show in the chart";
    made.addEventListener("click", () => {
      const exit = Number.isNaN(table.exit_price[k]) ? price("entry_price", k) : price("exit_price", k);
      chart.showTrade(last.name, {from: table.entry_time[k], to: table.exit_time[k], entry: price("entry_price", k), exit});
    });
    return made;
  }
  draw();
}
})();
