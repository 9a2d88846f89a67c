// The search boxes of the administration (select2) show a text field that has no name of its own. A screen reader is
// given that of the label. Comes after autocomplete.js, which makes the boxes in the same queue.
"use strict";
django.jQuery(() => {
  for (const select of document.querySelectorAll("select.admin-autocomplete")) {
    const label = document.querySelector(`label[for="${select.id}"]`);
    const shown = document.getElementById(`select2-${select.id}-container`);
    if (label && shown) {
      shown.setAttribute("aria-label", label.textContent.trim().replace(/[:：]$/, ""));
    }
  }
});
