"use strict";
// Collects the answers to each trade and saves them as a file: no server is asked.
(() => {
  const asked = JSON.parse(document.getElementById("asked").textContent);
  const said = document.getElementById("said");
  const answers = () => asked.trades.flatMap((trade, at) => {
    const chosen = document.querySelector(`input[name="trade-${at}"]:checked`);
    const note = document.getElementById(`note-${at}`).value.trim();
    return chosen ? [{ ...trade, answer: chosen.value, note }] : [];
  });
  const count = () => { said.textContent = `${answers().length} of ${asked.trades.length} answered`; };
  document.addEventListener("change", count);
  document.getElementById("save").addEventListener("click", () => {
    const whole = { run_id: asked.run_id, answers: answers() };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(whole, null, 2) + "\n"], { type: "application/json" }));
    link.download = `answers-${asked.run_id}.json`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
  count();
  document.documentElement.dataset.ready = "1";
})();
