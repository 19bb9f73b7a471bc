// Compares a day anew, and shows it.
(function () {
"use strict";

const {ask, tell} = window.traderagent;

document.addEventListener("submit", async (event) => {
  const form = event.target.closest("#compare");
  if (!form) return;
  event.preventDefault();
  const button = form.querySelector("button"), label = button.textContent, {bot, working} = form.dataset;
  const day = form.elements.day.value;
  button.disabled = true;
  button.textContent = working;
  try {
    await ask("POST", `/api/v1/bots/${bot}/drift/${day}`);
    location.assign(`/drift?bot=${bot}&day=${day}`);
  } catch (error) {
    tell(error.message, true);
    button.disabled = false;
    button.textContent = label;
  }
});
})();
