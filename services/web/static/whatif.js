// The slider of a pair's page: where the price goes, and what the bot would do then, as the console renders it.
(function () {
"use strict";

const WAIT = 250; // ms after the last move, before the console is asked
const form = document.getElementById("what-if"), slider = form.elements.share, field = form.elements.price;
const answer = document.getElementById("what-if-answer");
let soon = 0, number = 0;

const now = () => +(document.getElementById("now") || {dataset: {}}).dataset.price || 0;
const rounded = (price) => +price.toPrecision(6);

async function suppose() {
  const asked = ++number, price = +field.value;
  if (!(price > 0)) return;
  answer.setAttribute("aria-busy", "true");
  try {
    const got = await fetch(`${location.pathname}/what-if?price=${price}`);
    const text = got.ok ? await got.text() : (await got.json()).message;
    if (asked !== number) return;
    if (got.ok) answer.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
    else answer.textContent = text;
  } catch (error) {
    if (asked === number) answer.textContent = error.message;
  } finally {
    if (asked === number) answer.removeAttribute("aria-busy");
  }
}

function wait() {
  clearTimeout(soon);
  soon = setTimeout(suppose, WAIT);
}

function told() {
  const share = now() && +field.value ? 100 * (+field.value / now() - 1) : +slider.value;
  document.getElementById("what-if-share").textContent = `${share >= 0 ? "+" : "\u2212"}${Math.abs(share).toFixed(1)}\u00a0%`;
}

slider.addEventListener("input", () => {
  if (!now()) return;
  field.value = rounded(now() * (1 + slider.value / 100));
  told();
  wait();
});
field.addEventListener("input", () => {
  if (now() && +field.value) slider.value = 100 * (+field.value / now() - 1);
  told();
  wait();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  wait();
});
})();
