// The page of stored data: queues downloads and repairs; what is wrong stands beside its field.
(function () {
"use strict";

const {ask, tell, want} = window.traderagent;
const form = document.getElementById("download");

async function queue(kind, request) {
  const {job} = await ask("POST", "/api/v1/jobs", {kind, request});
  tell(form.dataset.queued.replace("%s", job));
  want();
}

function wrong(error) {
  const found = form.querySelector(`[data-key="${CSS.escape(error.field || "")}"] .fault`);
  (found || document.getElementById("general")).textContent = error.sentence || error.message;
}

if (form) form.addEventListener("submit", async (event) => {
  event.preventDefault();
  form.querySelectorAll(".fault").forEach((one) => (one.textContent = ""));
  const given = Object.fromEntries([...new FormData(form)].map(([name, value]) => [name, value.trim()]).filter(([, value]) => value));
  try {
    await queue("download", given);
  } catch (error) {
    wrong(error);
  }
});

document.addEventListener("click", async ({target}) => {
  const button = target.closest("[data-repair]");
  if (!button) return;
  const {pair, exchange, market} = button.dataset;
  try {
    await queue("repair", {pair, exchange, market});
    button.disabled = true;
  } catch (error) {
    tell(error.message, true);
  }
});
})();
