// The search boxes of the administration (select2) show a text field that has no name of its own. A screen reader is
// given that of the label, and then what is chosen; and the same name for the list that opens. Comes after
// autocomplete.js, which makes the boxes in the same queue.
"use strict";
django.jQuery(() => {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const label = document.querySelector(`label[for="${select.id}"]`);
    const shown = document.getElementById(`select2-${select.id}-container`);
    const box = shown && shown.closest("[role=combobox]");
    if (!label || !box) {
      continue;
    }
    label.id ||= `${select.id}_label`;
    shown.setAttribute("aria-labelledby", label.id);
    box.setAttribute("aria-labelledby", `${label.id} ${shown.id}`);
    if (select.getAttribute("aria-describedby")) {
      box.setAttribute("aria-describedby", select.getAttribute("aria-describedby"));
    }
    django.jQuery(select).on("select2:open", () => {
      const list = document.getElementById(`select2-${select.id}-results`);
      const typed = document.querySelector(`[aria-controls="select2-${select.id}-results"]`);
      for (const part of [list, typed]) {
        part?.setAttribute("aria-labelledby", label.id);
      }
    });
  }
});
