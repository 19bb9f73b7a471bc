// Changes one value of a running bot's config: asked once more, sent under a key of its own, done once.
(function () {
"use strict";

const {ask, form, tell} = window.traderagent;

form("config", async ({setting, value}, found) => {
  if (!(await window.traderagent.confirmed({dataset: {question: `${found.dataset.question} ${setting}: ${value}`}}))) return;
  const key = crypto.getRandomValues(new Uint32Array(4)).join("-");
  const body = {command: "set", setting, value};
  const {done} = await ask("POST", `/api/v1/bots/${found.dataset.bot}/commands`, body, {"Idempotency-Key": key});
  tell(`${found.dataset.bot}: ${done}`);
  window.traderagent.want();
});
})();
