// The page of scans: queues one, saves what it proposes; what is wrong stands beside its field.
(function () {
"use strict";

const {ask, tell, want, plain, entered, saved} = window.traderagent;
const form = document.getElementById("scan");

function request() {
  const given = {strategy: form.strategy.value, days: plain(form.days.value.trim())};
  const pairs = form.pairs.value.split(",").map((one) => one.trim()).filter(Boolean);
  if (pairs.length) given.pairs = pairs;
  if (form.exchange.value) given.exchange = form.exchange.value;
  if (form.leverage.value.trim()) given.leverage = plain(form.leverage.value.trim());
  return given;
}

if (form) form.addEventListener("submit", async (event) => {
  event.preventDefault();
  form.querySelectorAll(".fault").forEach((one) => (one.textContent = ""));
  try {
    const {job} = await ask("POST", "/api/v1/jobs", {kind: "scan", request: request()});
    tell(form.dataset.queued.replace("%s", job));
    want();
  } catch (error) {
    const found = form.querySelector(`[data-key="${CSS.escape(error.field || "")}"] .fault`);
    (found || document.getElementById("general")).textContent = error.sentence || error.message;
  }
});

document.addEventListener("click", ({target}) => {
  const button = target.closest("[data-propose]");
  if (!button) return;
  const {propose, place, label} = button.dataset;
  entered(label, "", async (name) => {
    const {name: kept} = await ask("POST", "/api/v1/backtests/scan-presets", {job: +propose, place: +place, name});
    tell(saved(kept));
  });
});
})();
