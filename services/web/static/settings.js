// The second factor on the page of settings: its picture and secret, the first code, the recovery codes; off by a code.
(function () {
"use strict";

const {ask, form, tell} = window.traderagent;
const byId = (id) => document.getElementById(id);
const path = "/api/v1/auth/second-factor";
const begin = byId("factor-begin"), fault = byId("factor-fault");

begin && begin.addEventListener("click", async () => {
  fault.textContent = "";
  begin.disabled = true;
  try {
    const {secret, uri, picture} = await ask("POST", path);
    byId("factor-picture").src = picture;
    byId("factor-secret").textContent = secret.match(/.{1,4}/g).join(" ");
    byId("factor-uri").href = uri;
    byId("factor-on").hidden = false;
    begin.hidden = true;
    byId("factor-on").elements.code.focus();
  } catch (error) {
    fault.textContent = error.message;
  } finally {
    begin.disabled = false;
  }
});

form("factor-on", async ({code}, found) => {
  const {codes} = await ask("PUT", path, {code});
  byId("factor-codes").textContent = codes.join("\n");
  byId("factor-kept").hidden = false;
  found.hidden = true;
});
form("factor-off", async ({code}) => {
  await ask("POST", `${path}/off`, {code});
  tell(document.body.dataset.sayDone);
  setTimeout(() => location.reload(), 800);
});
const kept = byId("factor-done");
kept && kept.addEventListener("click", () => location.reload());
})();
