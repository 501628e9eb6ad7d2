"use strict";

// Tables: a click on a heading sorts by it, a second click the other way round. Cells without a number come last.
for (const table of document.querySelectorAll("table")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.firstElementChild.addEventListener("click", () => {
      const ascending = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const sign = ascending ? 1 : -1;
      const rows = [...body.rows].map((row) => {
        const text = row.cells[column].dataset.value;
        return { row, text, number: Number(text) };
      });
      const numeric = rows.every(({ text, number }) => text === "nan" || !Number.isNaN(number));
      rows.sort((a, b) => {
        if (!numeric) return sign * a.text.localeCompare(b.text);
        if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
        return sign * (a.number - b.number);
      });
      body.append(...rows.map(({ row }) => row));
    });
  });
}

// Pictures: the slider moves the edge between colour image and layer; the buttons choose the layer of all frames.
for (const slider of document.querySelectorAll(".wipe input")) {
  slider.addEventListener("input", () => slider.parentElement.style.setProperty("--at", `${slider.value}%`));
}
for (const group of document.querySelectorAll("[data-frames]")) {
  group.addEventListener("change", (event) => {
    if (event.target.type !== "radio") return;
    for (const frame of group.querySelectorAll(".frame")) {
      frame.querySelectorAll(".layer").forEach((layer, number) => {
        layer.hidden = number !== Number(event.target.value);
        if (layer.hidden) return;
        const note = frame.querySelector(".depth-scale");
        note.hidden = !layer.dataset.range;
        note.textContent = `Colours: ${layer.dataset.range}.`;
        group.querySelector(".scale").hidden = !note.hidden;
      });
    }
  });
}

// Charts: a pointer on a mark shows the figures that its label tells screen readers.
const tip = document.getElementById("tip");
document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest?.(".chart [aria-roledescription][role=graphics-symbol]:not([aria-roledescription=axis])");
  tip.hidden = !mark;
  if (!mark) return;
  tip.textContent = mark.getAttribute("aria-label");
  const left = Math.min(event.clientX + 12, window.innerWidth - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${event.clientY + 16}px`;
});

// Links to closed sections open them.
const openSection = () => {
  const details = location.hash.length > 1 && document.getElementById(location.hash.slice(1))?.querySelector("details");
  if (details) details.open = true;
};
addEventListener("hashchange", openSection);
openSection();
