// The builder of backtests and searches: fields from the parameters as data, read by the console as one types.
(function () {
"use strict";

const {ask, tell, report, plain} = window.traderagent;
const form = document.getElementById("builder"), place = document.getElementById("parameters"), words = form.dataset;
const button = form.querySelector("#begin button"), count = document.getElementById("count"), general = document.getElementById("general");
const begun = document.getElementById("begun");
let strategies = {}, pairs = [], indicators = [], turn = 0, waiting = 0;

function made(tag, values = {}, ...inside) {
  const one = Object.assign(document.createElement(tag), values);
  one.append(...inside);
  return one;
}

function option(value, label = value) {
  return made("option", {value, textContent: label});
}

// Fields of a parameter: a number or a range, words of which one or several are taken, or a text.

function field(one) {
  const name = one.name.split(".").pop(), box = made("fieldset");
  box.dataset.key = one.name;
  box.dataset.find = `${one.name} ${one.meaning}`.toLowerCase();
  box.append(made("legend", {textContent: name}), made("span", {textContent: about(one)}));
  const words = one.words.length ? one.words : typeof one.default === "boolean" ? ["true", "false"] : [];
  if (words.length) box.append(choices(words, name));
  else if (one.search === "range or list") box.append(numbers(one, name));
  else box.append(text(one, name));
  box.append(fault());
  return box;
}

function fault() {
  const one = made("small", {className: "fault"});
  one.setAttribute("role", "alert");
  return one;
}

function about(one) {
  const unit = one.unit && !one.meaning.includes(one.unit) ? `, ${one.unit}` : "", limits = bounds(one);
  const first = one.default === null ? "" : ` · ${words.default}: ${one.default}`;
  return `${one.meaning}${unit}${limits ? ` · ${words.bounds}: ${limits}` : ""}${first}`;
}

function bounds({lower, upper, lower_included, upper_included}) {
  const low = lower === null ? "" : `${lower_included ? "≥" : ">"} ${lower}`;
  const high = upper === null ? "" : `${upper_included ? "≤" : "<"} ${upper}`;
  return [low, high].filter(Boolean).join(", ");
}

function choices(words, name) {
  const boxes = words.map((word) => made("label", {}, made("input", {type: "checkbox", value: word}), word));
  const box = made("div", {className: "choices-of"}, ...boxes);
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", name);
  return box;
}

function input(label, placeholder) {
  const one = made("input", {placeholder, inputMode: "text", autocomplete: "off"});
  one.setAttribute("aria-label", label);
  return one;
}

function numbers(one, name) {
  const first = one.default === null ? words.from : String(one.default);
  const parts = [["from", words.from, first], ["to", words.to, words.to], ["step", words.step, words.step]];
  return made("div", {className: "three"}, ...parts.map(([part, label, shown]) => Object.assign(input(`${name}: ${label}`, shown), {name: part})));
}

function text(one, name) {
  return input(`${name}: ${words.several}`, one.default === null || String(one.default) === "" ? words.several : String(one.default));
}

// Conditions: an indicator by its default rule, its parameters as numbers or ranges.

function condition(strategy, at) {
  const box = made("fieldset"), chosen = made("select"), settings = made("div");
  box.dataset.key = `${strategy}.when`;
  box.dataset.condition = at;
  box.dataset.find = "when indicator";
  chosen.append(option("", words.none), ...indicators.map(({name}) => option(name)));
  chosen.setAttribute("aria-label", `${words.indicator} ${at + 1}`);
  const rule = made("span");
  chosen.addEventListener("change", () => {
    const one = indicators.find(({name}) => name === chosen.value);
    rule.textContent = one ? one.rule : "";
    settings.replaceChildren(...(one ? one.settings : []).map((setting) => {
      const inner = numbers({default: setting.default}, setting.name);
      inner.dataset.setting = setting.name;
      return made("div", {}, `${setting.name} · ${words.bounds}: ${setting.least} – ${setting.most}`, inner);
    }));
  });
  box.append(made("legend", {textContent: `${words.indicator} ${at + 1}`}), chosen, rule, settings, fault());
  return box;
}

function show() {
  const name = form.strategy.value, fields = strategies[name] || [];
  place.replaceChildren(...(fields.some((one) => one.name === `${name}.when`) ? [0, 1, 2].map((at) => condition(name, at)) : []));
  place.append(...fields.filter(({search}) => search !== "ranges inside" && search !== "list of lists").map(field));
  find();
}

function find() {
  const text = document.getElementById("find").value.toLowerCase();
  for (const one of place.children) one.hidden = !one.dataset.find.includes(text);
}

// What the fields say, as a config.

function share(text) {
  return text.endsWith("%") ? text : plain(text);
}

function ranged(box) {
  const {from, to, step} = Object.fromEntries([...box.querySelectorAll("input")].map((one) => [one.name, one.value.trim()]));
  if (from === "" && to === "" && step === "") return undefined;
  if (to !== "" || step !== "") return {from: share(from), ...(to === "" ? {} : {to: share(to)}), ...(step === "" ? {steps: 5} : {step: share(step)})};
  return listed(from);
}

function listed(text) {
  const parts = text.split(",").map((one) => one.trim()).filter(Boolean);
  return parts.length > 1 ? parts.map(share) : share(text.trim());
}

function value(box) {
  const group = box.querySelector(".choices-of");
  if (group) {
    const taken = [...group.querySelectorAll("input:checked")].map((one) => plain(one.value));
    return taken.length > 1 ? taken : taken[0];
  }
  const three = box.querySelector(".three");
  if (three) return ranged(three);
  const text = box.querySelector("input").value.trim();
  return text === "" ? undefined : listed(text);
}

function conditions() {
  return [...place.querySelectorAll("[data-condition]")].filter((box) => box.querySelector("select").value).map((box) => {
    const one = {indicator: box.querySelector("select").value};
    box.querySelectorAll("[data-setting]").forEach((inner) => {
      const given = ranged(inner);
      if (given !== undefined) one[inner.dataset.setting] = given;
    });
    return one;
  });
}

function request() {
  const name = form.strategy.value, pair = pairs[+form.pair.value] || {}, section = {};
  for (const box of place.querySelectorAll("[data-key]:not([data-condition])")) {
    const given = value(box);
    if (given !== undefined) section[box.dataset.key.split(".").pop()] = given;
  }
  const when = conditions();
  if (when.length) section.when = when;
  const asked = {strategy: name, ...pair};
  if (name !== "auto") asked[name] = section;
  const more = form.more.value.toUpperCase().split(",").map((one) => one.trim()).filter(Boolean);
  if (more.length) {
    asked.pairs = [...new Set([pair.pair, ...more])];
    delete asked.pair;
  }
  costs(asked);
  for (const key of ["from", "to"]) if (form[key].value) asked[key] = form[key].value;
  for (const key of ["capital", "leverage"]) if (form[key].value.trim()) asked[key] = plain(form[key].value.trim());
  if (!searches(section)) return {kind: "run", request: asked};
  const kind = form.kind.value, search = {};
  if (kind !== "staged") search.method = form.method.value;
  if (form.objective.value) search.objective = form.objective.value;
  return {kind, request: Object.keys(search).length ? {...asked, search} : asked};
}

// A fee is a fraction; 0.05% is read as one.
function fee(text) {
  const value = text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : plain(text);
  return Number.isNaN(value) ? text : value;
}

// Fees belong to the instrument of each pair, the rest to the simulated exchange.
function costs(asked) {
  const said = (name) => form[name].value.trim(), rules = {}, fees = {};
  for (const name of ["slippage_bps", "forced_exit_bps"]) if (said(name)) rules[name] = plain(said(name));
  for (const name of ["maker_fee", "taker_fee"]) if (said(name)) fees[name] = fee(said(name));
  if (Object.keys(rules).length) asked.execution = rules;
  if (!Object.keys(fees).length) return;
  if (asked.pairs || asked.strategy === "auto") asked.instruments = Object.fromEntries((asked.pairs || [asked.pair]).map((one) => [one, fees]));
  else asked.instrument = fees;
}

function searches(section) {
  const axis = (one) => Array.isArray(one) || (typeof one === "object" && one !== null && ("from" in one || "to" in one));
  return Object.entries(section).some(([key, one]) => (key === "when" ? one.some((inner) => Object.values(inner).some(axis)) : axis(one)));
}

// What the console says of it: a fault stands beside its field.

function clear() {
  general.textContent = "";
  form.querySelectorAll(".fault").forEach((one) => (one.textContent = ""));
  form.querySelectorAll(".wrong").forEach((one) => one.classList.remove("wrong"));
}

function wrong(error) {
  const key = (error.field || "").replace(/^instruments\.[A-Z0-9]+\./, "instrument."), found = form.querySelector(`[data-key="${CSS.escape(key)}"]`);
  count.textContent = "";
  button.disabled = true;
  if (!found) return void (general.textContent = error.sentence || error.message);
  found.classList.add("wrong");
  found.hidden = false;
  found.querySelector(".fault").textContent = error.sentence || error.message;
}

async function read() {
  const own = ++turn, asked = request();
  form.method.disabled = asked.kind === "staged" || asked.kind === "run";
  form.kind.disabled = form.objective.disabled = asked.kind === "run";
  button.textContent = asked.kind === "run" ? words.run : words.submit;
  try {
    const {variants, most, seconds} = await ask("POST", "/api/v1/backtests/estimate", asked);
    if (own !== turn) return;
    clear();
    button.disabled = false;
    const [all, part] = [variants, most].map((one) => (one === null ? "" : one.toLocaleString()));
    count.textContent = asked.kind === "run" ? words.once : most < variants ? words.most.replace("%m", part).replace("%s", all) : words.count.replace("%s", all);
    if (seconds !== null && asked.kind !== "run") count.textContent += words.takes.replace("%s", lasting(seconds));
  } catch (error) {
    if (own !== turn) return;
    clear();
    wrong(error);
  }
}

function lasting(seconds) {
  const rough = (value) => (value < 10 ? value.toFixed(1) : Math.round(value)).toLocaleString();
  return seconds < 90 ? `${rough(seconds)} s` : seconds < 5400 ? `${rough(seconds / 60)} min` : `${rough(seconds / 3600)} h`;
}

function soon() {
  turn += 1; // what is being read is of other fields
  button.disabled = true;
  clearTimeout(waiting);
  waiting = setTimeout(read, 400);
}

async function begin(event) {
  event.preventDefault();
  const asked = request();
  begun.replaceChildren();
  try {
    if (asked.kind === "run") return begun.replaceChildren(await report(button, "/api/v1/backtests/run", {request: asked.request}));
    button.disabled = true;
    const {job} = await ask("POST", "/api/v1/jobs", asked);
    begun.replaceChildren(made("a", {href: "/jobs", className: "button", textContent: words.queued.replace("%s", job)}));
  } catch (error) {
    clear();
    wrong(error);
  } finally {
    button.disabled = false;
  }
}

async function start() {
  count.textContent = words.reading;
  try {
    const [parameters, stored, known] = await Promise.all(["strategies/parameters", "backtests/pairs", "indicators"].map((one) => ask("GET", `/api/v1/${one}`)));
    [strategies, pairs, indicators] = [parameters.strategies, stored.items, known.items];
  } catch (error) {
    return tell(error.message, true);
  }
  form.pair.replaceChildren(...pairs.map(({pair, exchange, market}, at) => option(at, `${pair} · ${exchange} ${market}`)));
  if (!pairs.length) form.pair.replaceChildren(option("", words.nothing));
  form.strategy.replaceChildren(...[...Object.keys(strategies), "auto"].map((name) => option(name)));
  show();
  form.addEventListener("input", (event) => event.target.id === "find" ? find() : soon());
  form.addEventListener("change", (event) => event.target.name === "strategy" && show());
  form.addEventListener("submit", begin);
  await proposed();
  document.documentElement.dataset.ready = "1";
  read();
}

// A config that a scan has proposed: what is not its default goes into the fields.
async function proposed() {
  const asked = new URLSearchParams(location.search);
  if (!asked.get("scan")) return;
  try {
    const {items} = await ask("GET", `/api/v1/backtests/scan?job=${+asked.get("scan")}`);
    fill(items[+asked.get("place") - 1].document);
  } catch (error) {
    tell(error.message, true);
  }
}

function fill(config) {
  const name = config.strategy, at = pairs.findIndex((one) => one.pair === config.pair && one.exchange === config.exchange && one.market === config.market);
  if (strategies[name]) form.strategy.value = name;
  if (at >= 0) form.pair.value = at;
  show();
  for (const key of ["capital", "leverage"]) if (config[key] !== undefined && form[key]) form[key].value = config[key];
  for (const [key, given] of Object.entries(config[name] || {})) put(`${name}.${key}`, given);
}

function put(key, given) {
  const box = place.querySelector(`[data-key="${CSS.escape(key)}"]:not([data-condition])`), one = (strategies[form.strategy.value] || []).find((each) => each.name === key);
  if (!box || given === null || typeof given === "object" || (one && String(one.default) === String(given))) return;
  const choice = [...box.querySelectorAll("input[type=checkbox]")].find((each) => each.value === String(given));
  const text = box.querySelector("[name=from]") || box.querySelector("input:not([type=checkbox])");
  if (choice) choice.checked = true;
  else if (text) text.value = given;
}

start();
})();
