// Years of candles for a pair's chart: hours of all that is stored, finer ones of where one looks, the newest minutes over them.
(function () {
"use strict";

const HOUR = 3600, MOST = 20000; // seconds; candles of one answer
const SETTLED = 120, AGAIN = 10000; // ms: without a move, before finer ones are asked for; after a failure
const {place} = window.Columns;

// The rows of `old` with those of `fresh` in their place, from its first whole hour to its last row.
function over(old, fresh) {
  if (!old.t.length || !fresh.t.length) return fresh.t.length ? fresh : old;
  const touching = old.t[place(old.t, fresh.t[0] + 1) - 1] > fresh.t[0] - HOUR;
  const start = touching ? Math.ceil(fresh.t[0] / HOUR) * HOUR : fresh.t[0];
  const before = place(old.t, start), first = place(fresh.t, start), after = place(old.t, fresh.t[fresh.t.length - 1] + 1);
  return Object.fromEntries(Object.keys(old).map((name) => {
    const parts = [old[name].subarray(0, before), fresh[name].subarray(first), old[name].subarray(after)];
    const whole = new Float64Array(parts.reduce((sum, part) => sum + part.length, 0));
    parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
    return [name, whole];
  }));
}

class StoredHistory {
  // `columns(query)` asks for stored candles; `changed` is called when more of them have come.
  constructor(columns, changed) {
    this.ask = columns;
    this.changed = changed;
    this.hours = this.fine = null; // fine: {minutes, from, to, columns}
    this.failed = -AGAIN;
  }
  async begin() {
    const came = await this.ask(`minutes=60&bars=${MOST}`);
    if (!came.t.length) return;
    this.hours = came;
    this.first = came.t[0];
    this.end = came.t[came.t.length - 1] + HOUR;
    this.changed();
  }
  // Whether everything before this moment is here, as far as it is stored.
  reaches(time) {
    return this.hours !== null && this.end >= time - HOUR;
  }
  // Candles to draw bars of `length` seconds in [from, to) with: `newest` are the pair's minutes.
  over(newest, length, from, to) {
    if (!this.hours || (length < HOUR && newest.t[0] <= from)) return newest;
    if (length >= HOUR) return over(this.hours, newest);
    this.want(length, length < 300 ? 1 : 5, from, Math.min(to, newest.t[0]));
    return over(this.fine ? over(this.hours, this.fine.columns) : this.hours, newest);
  }
  // Ask for finer candles unless they are here, once the reader rests.
  want(length, minutes, from, to) {
    const margin = (to - from) / 4, low = Math.max(from - margin, this.first), high = Math.min(to + margin, this.end);
    const fine = this.fine;
    if (high <= low || performance.now() - this.failed < AGAIN) return;
    if (fine && fine.minutes <= minutes && fine.from <= low && fine.to >= high) return;
    const room = Math.min(Math.max((to - from) * 2, length * 1000), ((MOST - 120) * minutes * 60 - (to - from)) / 2);
    this.wanted = {
      minutes, from: Math.floor((from - room) / HOUR) * HOUR, to: Math.ceil((to + room) / HOUR) * HOUR,
    };
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.fetch(this.wanted), SETTLED);
  }
  async fetch(wanted) {
    const {minutes, from, to} = wanted;
    try {
      const since = Math.max(from, 0) * 1000;
      const columns = await this.ask(`minutes=${minutes}&bars=${MOST}&since=${since}&until=${to * 1000}`);
      if (wanted !== this.wanted) return;
      this.fine = {...wanted, columns};
      this.changed();
    } catch {
      this.failed = performance.now(); // hours stay
    }
  }
}

window.StoredHistory = StoredHistory;
})();
