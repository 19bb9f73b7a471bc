// The secret that signs a bot's signals: made, replaced and removed; it is shown once, until the page is left.
(function () {
"use strict";

const {ask, confirmed} = window.traderagent;
const byId = (id) => document.getElementById(id);
const card = byId("secret");

function show(made, secret) {
  byId("secret-made").hidden = !made;
  byId("secret-none").hidden = made;
  for (const button of card.querySelectorAll("[data-secret]")) button.hidden = (button.dataset.secret === "make") === made;
  byId("secret-shown").hidden = !secret;
  byId("secret-shown").querySelector("output").textContent = secret;
}

async function act(button) {
  const {bot, askReplace, askRemove} = card.dataset, what = button.dataset.secret, fault = card.querySelector(".fault");
  const question = {replace: askReplace, remove: askRemove}[what];
  if (question && !(await confirmed({dataset: {question}}))) return;
  fault.textContent = "";
  button.disabled = true;
  try {
    const path = `/api/v1/signals/${bot}/secret`;
    if (what === "remove") await ask("DELETE", path), show(false, "");
    else show(true, (await ask("POST", path)).secret);
  } catch (error) {
    fault.textContent = error.message;
  } finally {
    button.disabled = false;
  }
}

card && card.addEventListener("click", ({target}) => {
  const button = target.closest("[data-secret]");
  if (button) act(button);
});
})();
