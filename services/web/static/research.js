// What the pages of research do: ask for changes once more, report, save; the answer is told, the page refreshed.
(function () {
"use strict";

const {ask, tell, want, confirmed} = window.traderagent;
const said = (name, value) => document.getElementById("research-words").dataset[name].replace("%s", value);

// Ask for a line of text, and try it until it is right or given up.
function entered(label, first, send) {
  const dialog = document.getElementById("enter"), input = dialog.querySelector("input"), fault = dialog.querySelector(".fault");
  dialog.querySelector("label span").textContent = label;
  input.value = first;
  fault.textContent = "";
  dialog.querySelector("[data-close]").onclick = () => dialog.close();
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      await send(input.value.trim());
      dialog.close();
      want();
    } catch (error) {
      fault.textContent = error.message;
    }
  };
  dialog.showModal();
  input.select();
}

async function change(button) {
  if (!(await confirmed(button))) return;
  await ask(button.dataset.method, button.dataset.do);
  want();
}

// Ask for a report until it is there; then the button is a link to it.
async function report(button, path, body) {
  button.disabled = true;
  const label = button.textContent;
  try {
    let told = await ask("POST", path, body);
    while (told.state === "playing") {
      button.textContent = said("playing");
      await new Promise((done) => setTimeout(done, 1000));
      told = await ask("GET", `/api/v1/backtests/report-state?report=${told.report}`);
    }
    if (told.state === "failed") throw new Error(told.fault);
    const link = document.createElement("a");
    Object.assign(link, {href: told.place, target: "_blank", rel: "noopener", className: "button strong", textContent: said("open")});
    return link;
  } finally {
    button.disabled = false;
    button.textContent = label;
  }
}

function preset({preset: session, variant, label}) {
  entered(label, "", async (name) => {
    const {name: saved} = await ask("POST", "/api/v1/backtests/presets", {session, variant: +variant, name});
    tell(said("saved", saved));
  });
}

async function keep({keep: session, variant}) {
  const {name, new: fresh} = await ask("POST", "/api/v1/strategies", {session, variant: +variant});
  tell(said(fresh ? "saved" : "known", name));
}

// "trend.stop=3, trend.target=6" as values by key.
function changes(text) {
  return Object.fromEntries(text.split(",").map((one) => one.split("=").map((part) => part.trim())).map(([key, value]) => [key, plain(value || "")]));
}

function plain(text) {
  if (text === "true" || text === "false") return text === "true";
  return text !== "" && !Number.isNaN(Number(text)) ? Number(text) : text;
}

function clone({clone: content, label}) {
  entered(label, "", async (text) => {
    const {name, new: fresh} = await ask("POST", `/api/v1/strategies/${content}/clone`, {changes: changes(text)});
    tell(said(fresh ? "saved" : "known", name));
  });
}

document.addEventListener("click", async ({target}) => {
  const button = target.closest("button");
  if (!button) return;
  const {dataset} = button;
  try {
    if (dataset.do) await change(button);
    else if (dataset.report) button.replaceWith(await report(button, "/api/v1/backtests/variant-report", {session: dataset.report, variant: +dataset.variant}));
    else if (dataset.preset) preset(dataset);
    else if (dataset.keep) await keep(dataset);
    else if (dataset.clone) clone(dataset);
  } catch (error) {
    tell(error.message, true);
  }
});
// Variants that were chosen to be compared, on whatever page of results, six at most.
const CHOSEN = "compare", MOST = 6;

function chosen() {
  return JSON.parse(sessionStorage.getItem(CHOSEN) || "[]");
}

function showChosen() {
  const runs = chosen(), button = document.getElementById("to-compare");
  document.querySelectorAll("[data-compare]").forEach((box) => {
    box.checked = runs.includes(box.dataset.compare);
    box.disabled = !box.checked && runs.length >= MOST;
  });
  if (!button) return;
  button.disabled = !runs.length;
  button.textContent = button.dataset.label.replace("%s", runs.length);
}

document.addEventListener("change", ({target}) => {
  const run = target.dataset.compare;
  if (!run) return;
  const rest = chosen().filter((one) => one !== run);
  sessionStorage.setItem(CHOSEN, JSON.stringify(target.checked ? [...rest, run].slice(0, MOST) : rest));
  showChosen();
});
document.addEventListener("click", ({target}) => {
  if (target.id === "to-compare") location.assign(`/compare?${chosen().map((one) => `run=${one}`).join("&")}`);
});
document.addEventListener("part", showChosen);
showChosen();
window.traderagent.report = report;
window.traderagent.entered = entered;
window.traderagent.saved = (name) => said("saved", name);
window.traderagent.plain = plain;
})();
