// The journal: notes and tags of a record, edited in a dialog and tried until they are taken.
(function () {
"use strict";

const {ask, want} = window.traderagent;
const dialog = document.getElementById("edit"), [notes, tags] = ["notes", "tags"].map((name) => dialog.querySelector(`[name=${name}]`));
const fault = dialog.querySelector(".fault");

function edit({edit: record, revision, notes: text, tags: kept}) {
  [notes.value, tags.value, fault.textContent] = [text, kept, ""];
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    const list = tags.value.split(",").map((one) => one.trim()).filter(Boolean);
    try {
      await ask("POST", `/api/v1/journal/${encodeURIComponent(record)}`, {revision: +revision, notes: notes.value, tags: list});
      dialog.close();
      want();
    } catch (error) {
      fault.textContent = error.message;
    }
  };
  dialog.showModal();
}

dialog.querySelector("[data-close]").onclick = () => dialog.close();
document.addEventListener("click", ({target}) => {
  const button = target.closest("button[data-edit]");
  if (button) edit(button.dataset);
});
})();
