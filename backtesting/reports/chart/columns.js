// Reads columns that backtesting/reports/packing.py packed, and rolls candles up. Draws nothing.
(function (root) {
"use strict";

const NONE = -2147483648;

async function inflated(text) {
  const letters = atob(text), bytes = new Uint8Array(letters.length);
  for (let k = 0; k < letters.length; k++) bytes[k] = letters.charCodeAt(k);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// One packed table as {rows, name: Float64Array}; everything else that stands beside its columns is kept.
async function unpacked(table) {
  const bytes = await inflated(table.data), n = table.rows, found = {...table, data: null};
  table.columns.forEach(([name, numerator, denominator, follows], place) => {
    const low = place * 4 * n, values = new Float64Array(n);
    let sum = 0;
    for (let k = 0, at = low; k < n; k++, at++) {
      const zigzag = bytes[at] | (bytes[at + n] << 8) | (bytes[at + 2 * n] << 16) | (bytes[at + 3 * n] << 24);
      const signed = (zigzag >>> 1) ^ -(zigzag & 1);
      sum = follows ? (sum + signed) | 0 : signed;
      values[k] = sum === NONE ? NaN : (sum * numerator) / denominator;
    }
    found[name] = values;
  });
  return found;
}

// Every packed table inside a value.
async function unpackedAll(value) {
  if (Array.isArray(value)) return Promise.all(value.map(unpackedAll));
  if (value === null || typeof value !== "object") return value;
  if (typeof value.data === "string" && Array.isArray(value.columns)) return unpacked(value);
  const names = Object.keys(value), parts = await Promise.all(names.map((name) => unpackedAll(value[name])));
  return Object.fromEntries(names.map((name, k) => [name, parts[k]]));
}

// Volume from three digits and a power of ten, as chart_data.py packs it.
function volumeOf(code) {
  const k = code - 1;
  return code > 0 ? (100 + (k % 900)) * 10 ** (Math.floor(k / 900) - 20) : 0;
}

// Candles from their differences: {t (seconds), open, high, low, close, volume}.
function candlesOf(table, seconds, tick) {
  const n = table.rows, price = (ticks) => (ticks * tick[0]) / tick[1];
  const out = {t: new Float64Array(n), open: new Float64Array(n), high: new Float64Array(n)};
  out.low = new Float64Array(n);
  out.close = new Float64Array(n);
  out.volume = Float64Array.from(table.volume, volumeOf);
  for (let k = 0, last = 0; k < n; k++) {
    const open = last + table.open[k], close = open + table.close[k];
    out.t[k] = table.t[k] * seconds;
    out.open[k] = price(open);
    out.close[k] = price(close);
    out.high[k] = price(Math.max(open, close) + table.high[k]);
    out.low[k] = price(Math.min(open, close) - table.low[k]);
    last = close;
  }
  return out;
}

// Columns by buckets of `seconds`: each taken by its rule, first, last, most, least or sum of the bucket.
function rolled(columns, rules, seconds) {
  const t = columns.t, starts = [];
  for (let k = 0, bucket = NaN; k < t.length; k++) {
    const own = Math.floor(t[k] / seconds);
    if (own !== bucket) starts.push(k);
    bucket = own;
  }
  const out = {t: Float64Array.from(starts, (k) => Math.floor(t[k] / seconds) * seconds)};
  for (const [name, rule] of Object.entries(rules)) {
    const from = columns[name], to = (out[name] = new Float64Array(starts.length));
    starts.forEach((start, row) => {
      const end = row + 1 < starts.length ? starts[row + 1] : t.length;
      let value = from[rule === "last" ? end - 1 : start];
      if (rule === "most") for (let k = start + 1; k < end; k++) value = Math.max(value, from[k]);
      if (rule === "least") for (let k = start + 1; k < end; k++) value = Math.min(value, from[k]);
      if (rule === "sum") for (let k = start + 1; k < end; k++) value += from[k];
      to[row] = value;
    });
  }
  return out;
}

// Index of the first value that is not less than `wanted`, in ascending values.
function place(values, wanted) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < wanted) low = middle + 1;
    else high = middle;
  }
  return low;
}

root.Columns = {unpackedAll, candlesOf, rolled, place};
})(window);
