"use strict";
// Sorting, filters, zoom and copying. Without it everything is shown and can be read.
(() => {
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // Tables: a button in a header sorts the rows by data-value, or else by text; those that
  // have neither come last.
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
  };
  for (const button of all(".sort")) {
    button.addEventListener("click", () => {
      const header = button.closest("th"), body = header.closest("table").tBodies[0];
      const first = button.dataset.first ?? "ascending", again = header.getAttribute("aria-sort") === first;
      const ascending = (first === "ascending") !== again;
      for (const other of all("th[aria-sort]", header.parentNode)) other.removeAttribute("aria-sort");
      header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
      const rows = [...body.rows].map((row) => [valueOf(row, header.cellIndex), row]);
      const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
        : String(a).localeCompare(String(b), undefined, {numeric: true});
      rows.sort(([a], [b]) => (a === "") - (b === "") || (ascending ? order(a, b) : order(b, a)));
      body.append(...rows.map(([, row]) => row));
    });
  }

  // Trials of a study: a row and its marks in the charts light up together, by mouse or by
  // keyboard; arrow keys move between rows.
  const light = (event, on) => {
    const trial = event.target.closest?.("[data-trial]")?.dataset.trial;
    if (trial === undefined) return;
    for (const mark of all(`[data-trial="${trial}"]`)) {
      mark.classList.toggle("on", on);
      if (on && mark.ownerSVGElement) mark.parentNode.append(mark);
    }
  };
  for (const name of ["mouseover", "focusin"]) addEventListener(name, (event) => light(event, true));
  for (const name of ["mouseout", "focusout"]) addEventListener(name, (event) => light(event, false));
  addEventListener("keydown", (event) => {
    const row = event.target.closest?.("tr[data-trial]");
    const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling }[event.key];
    if (next) { event.preventDefault(); next.focus(); }
  });

  // Copying: a file that is opened from a disk may have no clipboard; then it is selected.
  for (const button of all(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const code = button.closest(".snippet").querySelector("code");
      const name = button.textContent;
      try {
        await navigator.clipboard.writeText(code.textContent);
        button.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        button.textContent = "Selected";
      }
      setTimeout(() => { button.textContent = name; }, 2000);
    });
  }

  // The gallery: kinds, classes, a first page, and one picture large.
  const gallery = document.querySelector("#pictures");
  if (gallery) {
    const cards = [...gallery.children], first = Number(gallery.dataset.first);
    const filters = document.querySelector(".filters"), more = document.querySelector(".more");
    const [label, prediction] = all("select", filters), said = filters.querySelector(".said");
    let kind = "mistakes", whole = false, shown = [];
    const show = () => {
      shown = cards.filter(({dataset}) => dataset.kinds.split(" ").includes(kind)
        && (label.value === "" || dataset.label === label.value)
        && (prediction.value === "" || dataset.prediction === prediction.value));
      const visible = new Set(whole ? shown : shown.slice(0, first));
      for (const card of cards) card.hidden = !visible.has(card);
      for (const button of all("button[data-kind]", filters)) {
        button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
      }
      more.hidden = visible.size === shown.length;
      more.textContent = `Show all ${shown.length}`;
      said.textContent = shown.length === 0 ? "No such picture" : `${visible.size} of ${shown.length} shown`;
    };
    for (const button of all("button[data-kind]", filters)) {
      button.addEventListener("click", () => { kind = button.dataset.kind; whole = false; show(); });
    }
    for (const select of [label, prediction]) select.addEventListener("change", show);
    more.addEventListener("click", () => { whole = true; show(); });
    for (const button of all("[data-pair]")) {
      button.addEventListener("click", () => {
        kind = "mistakes";
        [label.value, prediction.value] = button.dataset.pair.split(" ");
        show();
        document.querySelector("#mistakes").scrollIntoView();
        filters.querySelector("button").focus({preventScroll: true});
      });
    }
    filters.hidden = false;
    show();

    const dialog = document.querySelector("dialog.zoom");
    let at = 0;
    const fill = () => {
      const card = shown[at], bars = dialog.querySelector(".bars");
      dialog.querySelector("img").src = card.querySelector("img").src;
      dialog.querySelector("img").alt = card.querySelector("img").alt;
      dialog.querySelector("h3").textContent = `Label: ${card.dataset.name}`;
      dialog.querySelector(".badge").hidden = !card.dataset.kinds.includes("label_errors");
      dialog.querySelector(".id").textContent = card.dataset.id;
      bars.replaceChildren(...JSON.parse(card.dataset.likeliest).map(([name, share]) => {
        const row = document.createElement("li"), meter = document.createElement("meter");
        meter.value = share;
        meter.setAttribute("aria-label", name);
        row.append(`${name}: ${(100 * share).toFixed(1)}\u202f%`, meter);
        return row;
      }));
      dialog.querySelector(".place").textContent = `${at + 1} of ${shown.length}`;
    };
    const move = (steps) => { at = (at + steps + shown.length) % shown.length; fill(); };
    for (const card of cards) {
      card.querySelector(".open").addEventListener("click", () => {
        at = shown.indexOf(card);
        fill();
        dialog.showModal();
      });
    }
    dialog.querySelector(".back").addEventListener("click", () => move(-1));
    dialog.querySelector(".next").addEventListener("click", () => move(1));
    dialog.querySelector(".close").addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    dialog.addEventListener("keydown", (event) => {
      if (event.key === "ArrowRight") move(1);
      if (event.key === "ArrowLeft") move(-1);
    });
  }

  // Paper has no folds.
  const folded = () => all("details:not([open])");
  let opened = [];
  addEventListener("beforeprint", () => { opened = folded(); for (const one of opened) one.open = true; });
  addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
})();
