"use strict";
// Tables sort by a button in each heading; a row and its marks in the charts light up
// together, by mouse or by keyboard (arrow keys move between rows).
for (const table of document.querySelectorAll("table.sorted")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    head.querySelector("button")?.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const found = x - y;
        return (down ? -1 : 1) * (Number.isNaN(found) ? x.localeCompare(y) : found);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    });
  });
  table.tBodies[0].addEventListener("keydown", (event) => {
    const row = event.target.closest("tr");
    const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
    if (next) { event.preventDefault(); next.focus(); }
  });
}
const light = (event, on) => {
  const trial = event.target.closest?.("[data-trial]")?.dataset.trial;
  if (trial === undefined) return;
  for (const mark of document.querySelectorAll(`[data-trial="${trial}"]`)) {
    mark.classList.toggle("on", on);
    if (on && mark.ownerSVGElement) mark.parentNode.append(mark);
  }
};
for (const [name, on] of [["mouseover", true], ["mouseout", false], ["focusin", true], ["focusout", false]]) {
  document.addEventListener(name, (event) => light(event, on));
}
