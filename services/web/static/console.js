// Keeps a page as new as its bots: hears the stream, asks for the part that changes, says how old it is. And commands.
(function () {
"use strict";

const BETWEEN = 500; // ms between two refreshes
const POLL = 2000; // ms: without the stream
const OLD = 5; // seconds
const byId = (id) => document.getElementById(id);
const say = document.body.dataset;
const csrf = document.querySelector("meta[name=csrf]");
const live = byId("live");

// Asking the console.

async function ask(method, path, body, headers = {}) {
  const given = {...headers};
  if (csrf) given["X-CSRF-Token"] = csrf.content;
  if (body !== undefined) given["Content-Type"] = "application/json";
  const answer = await fetch(path, {method, headers: given, body: body === undefined ? undefined : JSON.stringify(body)});
  const told = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) {
    const remedy = told.remedy ? ` ${told.remedy[0].toUpperCase()}${told.remedy.slice(1)}.` : "";
    throw Object.assign(new Error(told.message + remedy), {field: told.field, sentence: told.message});
  }
  return told;
}

function tell(text, bad = false) {
  const line = document.createElement("p");
  line.textContent = text;
  line.classList.toggle("bad", bad);
  byId("said").append(line);
  setTimeout(() => line.remove(), bad ? 12000 : 6000);
}

// The part of the page that changes.

let tag = "", asked = 0, wanted = false, busy = false;
let age = 0, aged = performance.now(), reached = performance.now(), failed = false;

function want() {
  wanted = true;
  if (!busy) setTimeout(refresh, Math.max(BETWEEN - (performance.now() - asked), 0));
}

async function refresh() {
  if (busy || !wanted || document.hidden) return;
  busy = true;
  wanted = false;
  asked = performance.now();
  try {
    const answer = await fetch(location.pathname + location.search, {headers: {"X-Part": "1", "If-None-Match": tag}});
    if (answer.status === 401) return signedOut();
    if (answer.ok || answer.status === 304) {
      age = parseFloat(answer.headers.get("X-Age"));
      aged = reached = performance.now();
      failed = false;
    }
    if (answer.ok) {
      tag = answer.headers.get("ETag") || "";
      put(await answer.text());
    } else if (answer.status !== 304) failed = true;
  } catch {
    failed = true;
  } finally {
    busy = false;
    if (wanted) want();
  }
}

function signedOut() {
  byId("stale").hidden = false;
  byId("stale").textContent = say.saySignedOut;
  setTimeout(() => location.assign("/sign-in"), 1500);
}

// Put a new part in place of the old one: what is the same stays, so that focus, scrolling and open details stay.
function put(text) {
  const parsed = new DOMParser().parseFromString(`<div>${text}</div>`, "text/html").body.firstChild;
  merge(live, parsed);
  document.querySelectorAll("table.sortable").forEach(sorted);
  document.querySelectorAll("input.filter").forEach(filtered);
  document.dispatchEvent(new CustomEvent("part"));
}

function merge(old, fresh) {
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((node, k) => {
    const there = before[k];
    if (!there) return old.append(node);
    if (there.isEqualNode(node)) return;
    const alike = there.nodeType === 1 && node.nodeType === 1 && there.tagName === node.tagName && there.id === node.id;
    if (!alike) return there.replaceWith(node);
    if (there.tagName === "INPUT") return;
    for (const {name} of [...there.attributes]) {
      if (!node.hasAttribute(name) && name !== "open" && name !== "aria-sort") there.removeAttribute(name);
    }
    for (const {name, value} of node.attributes) if (there.getAttribute(name) !== value) there.setAttribute(name, value);
    merge(there, node);
  });
  before.slice(after.length).forEach((node) => node.remove());
}

function pulse() {
  const silent = (performance.now() - reached) / 1000;
  const known = Number.isFinite(age) ? age + (performance.now() - aged) / 1000 : 0;
  const away = failed && silent > 2, old = known > OLD || silent > OLD;
  const pair = byId("stale");
  document.body.classList.toggle("stale", away || old);
  document.body.classList.toggle("alive", !away && !old);
  const seconds = Math.round(Math.max(known, silent)), sentence = say.sayStale.replace("%s", seconds.toLocaleString());
  pair.hidden = !(away || old);
  pair.textContent = away ? `${say.sayAway} ${sentence}` : sentence;
  byId("pulse").textContent = away || old ? sentence : say.sayLive;
  count();
}

// Countdowns go on between two refreshes, in the market's minutes as they came last.
function count() {
  document.querySelectorAll("[data-due]").forEach((one) => one.classList.toggle("loss", parseFloat(one.dataset.due) < 5));
}

// The stream: it resumes after the last event that came.

const places = new Map();

function listen(delay = 500) {
  const after = [...places.values()].map((id) => `after=${encodeURIComponent(id)}`).join("&");
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/api/v1/stream?${after}`);
  let opened = false;
  socket.onopen = () => {
    opened = true;
    want();
  };
  socket.onmessage = ({data}) => {
    for (const told of JSON.parse(data)) {
      if (told.kind === "event") places.set(told.bot, told.id);
      if (told.event === "alarm" && !told.data.over) tell(`${told.bot}: ${told.data.sentence} ${told.data.remedy}`, true);
    }
    want();
  };
  socket.onclose = ({code}) => {
    if (code === 4401 || !opened) want();
    setTimeout(() => listen(Math.min(delay * 2, 5000)), opened ? 500 : delay);
  };
}

// Tables: a click sorts, and stays sorted; a filter hides rows that do not have its words.

function cellValue(row, column) {
  const text = row.cells[column] ? row.cells[column].textContent.trim() : "";
  const number = parseFloat(text.replace(/,/g, "").replace("\u2212", "-").replace(/[^\d.+-].*$/, ""));
  return /^[-+\u2212]?[\d]/.test(text) && !/^\d{4}-/.test(text) && !Number.isNaN(number) ? number : text;
}

function sorted(table) {
  const heads = [...table.tHead.rows[0].cells], column = heads.findIndex((one) => one.hasAttribute("aria-sort"));
  heads.forEach((one) => (one.tabIndex = 0));
  if (column < 0) return;
  const up = heads[column].getAttribute("aria-sort") === "ascending" ? 1 : -1, body = table.tBodies[0];
  const rows = [...body.rows].map((row) => [cellValue(row, column), row]);
  rows.sort(([a], [b]) => up * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
  rows.forEach(([, row], k) => body.rows[k] !== row && body.insertBefore(row, body.rows[k]));
}

function filtered(input) {
  const words = input.value.toLowerCase().split(/\s+/);
  document.querySelectorAll("#live table.sortable tbody tr").forEach((row) => {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  });
}

function sortBy(head) {
  const up = head.getAttribute("aria-sort") === "descending";
  [...head.parentNode.cells].forEach((one) => one.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  sorted(head.closest("table"));
}

// Commands: asked once more, sent under a key of their own, done once.

async function confirmed(button) {
  const dialog = byId("ask"), force = byId("force");
  byId("question").textContent = button.dataset.question;
  force.hidden = !("force" in button.dataset);
  force.firstElementChild.checked = false;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((done) => dialog.addEventListener("close", done, {once: true}));
  return dialog.returnValue === "yes";
}

async function command(button) {
  const {command: name, bot, pair} = button.dataset, force = byId("force");
  if (!(await confirmed(button))) return;
  button.disabled = true;
  try {
    const body = {command: name, pair: pair || null, force: !force.hidden && force.firstElementChild.checked};
    const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
    const {done} = await ask("POST", `/api/v1/bots/${bot}/commands`, body, {"Idempotency-Key": key});
    tell(`${bot}: ${done}`);
  } catch (error) {
    tell(`${bot}: ${error.message}`, true);
  } finally {
    button.disabled = false;
    want();
  }
}

// Forms: what is wrong stands beside them.

function form(id, send) {
  const found = byId(id);
  if (!found) return;
  found.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = found.querySelector("button"), fault = found.querySelector(".fault");
    fault.textContent = "";
    button.disabled = true;
    try {
      await send(Object.fromEntries(new FormData(found)), found);
    } catch (error) {
      fault.textContent = error.message;
    } finally {
      button.disabled = false;
    }
  });
}

function remember(name, value) {
  document.cookie = `${name}=${value}; path=/; max-age=31536000; samesite=strict`;
}

form("sign-in", async ({password, code}, found) => {
  try {
    await ask("POST", "/api/v1/auth/sign-in", {password, code});
    location.assign("/");
  } catch (error) {
    if (error.field === "code") byId("code").hidden = false, found.elements.code.value = "", found.elements.code.focus();
    throw error;
  }
});
form("password", async ({old, new: fresh}, found) => {
  await ask("PUT", "/api/v1/auth/password", {old: old || null, new: fresh});
  found.reset();
  tell(say.sayDone);
  setTimeout(() => location.reload(), 800);
});
form("token", async ({label, scope, days}, found) => {
  found.querySelector("output").textContent = (await ask("POST", "/api/v1/auth/tokens", {label, scope, days: +days})).token;
  want();
});

async function byLink(link) {
  history.replaceState(null, "", location.pathname);
  try {
    await ask("POST", "/api/v1/auth/link", {link});
    location.assign("/");
  } catch (error) {
    document.querySelector(".fault").textContent = error.message;
  }
}

document.addEventListener("click", async ({target}) => {
  const button = target.closest("button"), head = target.closest(".sortable th");
  if (head) return sortBy(head);
  if (!button) return;
  const {command: name, language, end} = button.dataset;
  if (name) return command(button);
  if (language) {
    remember("language", language);
    location.reload();
  } else if (end) {
    await ask("DELETE", `/api/v1/auth/sessions/${end}`).then(want, (error) => tell(error.message, true));
  } else if (button.id === "sign-out") {
    await ask("POST", "/api/v1/auth/sign-out").finally(() => location.assign("/sign-in"));
  } else if (button.id === "theme") {
    const root = document.documentElement, dark = getComputedStyle(root).colorScheme === "dark";
    root.className = dark ? "light" : "dark";
    remember("theme", root.className);
    document.dispatchEvent(new CustomEvent("theme"));
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.matches(".sortable th")) sortBy(event.target);
});
document.addEventListener("input", ({target}) => target.matches("input.filter") && filtered(target));
document.addEventListener("visibilitychange", () => !document.hidden && want());

const shownPage = document.querySelector("header .places [aria-current]");
if (shownPage) shownPage.scrollIntoView({block: "nearest", inline: "center"}); // on a phone the menu is wider than the page
window.traderagent = {ask, form, tell, want, confirmed}; // for the scripts of single pages
if (location.hash.startsWith("#link=")) byLink(location.hash.slice(6));
if (live) {
  document.querySelectorAll("table.sortable").forEach(sorted);
  listen();
  setInterval(want, POLL);
  setInterval(pulse, 500);
  pulse();
}
})();
