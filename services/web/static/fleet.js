// What the page of bots does: start, stop and delete, asked once more and done once; and a form that creates a bot.
(function () {
"use strict";

const {ask, tell, want, confirmed} = window.traderagent;
const form = document.getElementById("create"), words = form.dataset, general = document.getElementById("general");
const button = form.querySelector(".buttons button");
let keys = [];

const fresh = () => ({"Idempotency-Key": crypto.getRandomValues(new Uint32Array(4)).join("-")});
const plural = (text) => text.split(",").map((one) => one.trim()).filter(Boolean);

async function act(pushed) {
  const {fleet: word, bot} = pushed.dataset;
  if (!(await confirmed(pushed))) return;
  pushed.disabled = true;
  try {
    const {done} = word === "delete" ? await removed(bot) : await ask("POST", `/api/v1/bots/${bot}/run`, {command: word}, fresh());
    tell(done);
  } catch (error) {
    tell(error.message, true);
  } finally {
    pushed.disabled = false;
    want();
  }
}

// A bot that holds positions is refused first, and then only on a second word.
async function removed(bot) {
  try {
    return await ask("DELETE", `/api/v1/bots/${bot}`, undefined, fresh());
  } catch (error) {
    if (!error.message.includes("--leave-positions")) throw error;
    if (!(await confirmed({dataset: {question: `${error.sentence} ${words.askLeave}`}}))) throw error;
    return ask("DELETE", `/api/v1/bots/${bot}?leave_positions=true`, undefined, fresh());
  }
}

// The form.

function option(value, label) {
  return Object.assign(document.createElement("option"), {value, textContent: label});
}

function group(label, options) {
  const one = document.createElement("optgroup");
  one.label = label;
  one.append(...options);
  return one;
}

function shown() {
  const environment = form.environment.value;
  form.querySelector("[data-key=address]").hidden = environment !== "venue";
  form.querySelector("[data-key=untested]").hidden = environment !== "live";
  const known = keys.filter((one) => one.environment === environment);
  form.user.replaceChildren(...(known.length ? known.map(({user}) => option(user, user)) : [option("owner", words.noKey)]));
}

function given() {
  const [kind, ...rest] = form.strategy.value.split(":"), environment = form.environment.value;
  const capital = form.capital.value.trim();
  return {
    name: form.name.value.trim(), [kind]: rest.join(":"), pairs: plural(form.pairs.value.toUpperCase()), environment,
    user: form.user.value, start: form.start.checked, untested: environment === "live" && form.untested.checked,
    address: environment === "venue" ? form.address.value.trim() : null,
    capital: capital === "" ? null : Number.isNaN(Number(capital)) ? capital : Number(capital),
  };
}

function clear() {
  form.querySelectorAll(".fault").forEach((one) => (one.textContent = ""));
  form.querySelectorAll(".wrong").forEach((one) => one.classList.remove("wrong"));
}

function wrong(error) {
  const field = (error.field || "").split(".")[0], key = ["preset", "saved"].includes(field) ? "strategy" : field;
  const found = form.querySelector(`[data-key="${CSS.escape(key)}"]`);
  if (!found) return void (general.textContent = error.message);
  found.hidden = false;
  found.classList.add("wrong");
  found.querySelector(".fault").textContent = error.sentence || error.message;
}

async function create(event) {
  event.preventDefault();
  clear();
  const said = given();
  if (said.environment === "live" && !(await confirmed({dataset: {question: words.live}}))) return;
  button.disabled = true;
  try {
    const {done} = await ask("POST", "/api/v1/bots", said, fresh());
    tell(done);
    form.name.value = "";
  } catch (error) {
    wrong(error);
  } finally {
    button.disabled = false;
    want();
  }
}

async function begin() {
  try {
    const {strategies, presets, saved, keys: known} = await ask("GET", "/api/v1/fleet/choices");
    keys = known;
    const groups = [
      group(words.strategies, strategies.map((one) => option(`strategy:${one}`, one))),
      group(words.presets, presets.map((one) => option(`preset:${one}`, one))),
      group(words.saved, saved.map(([content, name]) => option(`saved:${content}`, name))),
    ];
    form.strategy.replaceChildren(...groups.filter((one) => one.children.length));
  } catch (error) {
    tell(error.message, true);
  }
  shown();
  document.documentElement.dataset.ready = "1";
}

document.addEventListener("click", ({target}) => {
  const pushed = target.closest("[data-fleet]");
  if (pushed) act(pushed);
});
form.environment.addEventListener("change", shown);
form.addEventListener("submit", create);
begin();
})();
