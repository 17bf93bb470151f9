(() => {
  "use strict";
  document.documentElement.classList.add("js");

  // Tables: a button in every heading sorts by its column; empty cells stay at the end.
  const value = (row, column) => {
    const cell = row.cells[column];
    return (cell.dataset.v !== undefined ? cell.dataset.v : cell.textContent).trim();
  };
  const compare = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en", { numeric: true }) : x - y;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const headings = [...table.tHead.rows[0].cells];
    headings.forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      heading.append(button);
      heading.setAttribute("aria-sort", "none");
      button.addEventListener("click", () => {
        const down = heading.getAttribute("aria-sort") === "ascending";
        headings.forEach((h) => h.setAttribute("aria-sort", "none"));
        heading.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => {
          if (a === "" || a === "–") return b === "" || b === "–" ? 0 : 1;
          if (b === "" || b === "–") return -1;
          return down ? compare(b, a) : compare(a, b);
        });
        table.tBodies[0].append(...rows.map(([, row]) => row));
      });
    });
  }

  // Filters: what is typed must stand in the row; the choice names what the row must have.
  for (const controls of document.querySelectorAll("[data-filter]")) {
    const table = document.getElementById(controls.dataset.filter);
    const [typed, choice] = [controls.querySelector("input"), controls.querySelector("select")];
    const shown = controls.querySelector("output");
    const texts = new Map([...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]));
    const apply = () => {
      const words = typed.value.toLowerCase().split(/\s+/).filter(Boolean);
      let count = 0;
      for (const [row, text] of texts) {
        const fits = words.every((word) => text.includes(word)) &&
          (!choice || !choice.value || (row.dataset.has || "").split(" ").includes(choice.value));
        row.hidden = !fits;
        count += fits;
      }
      shown.textContent = `${count} of ${texts.size} shown`;
    };
    typed.addEventListener("input", apply);
    if (choice) choice.addEventListener("change", apply);
    apply();
  }

  // Flicker: two rows of pictures on top of each other, switched by hand or twice a second.
  for (const place of document.querySelectorAll("[data-flicker]")) {
    const layers = [...place.parentElement.querySelectorAll("[data-layer]")];
    if (layers.length < 2) continue;
    const stage = document.createElement("div");
    stage.className = "stage outlined";
    const controls = document.createElement("div");
    controls.className = "controls";
    const select = (label, chosen) => {
      const box = document.createElement("select");
      box.setAttribute("aria-label", label);
      layers.forEach((layer, i) => box.add(new Option(layer.dataset.layer, i, false, i === chosen)));
      return box;
    };
    const button = (text) => {
      const made = document.createElement("button");
      made.type = "button";
      made.textContent = text;
      return made;
    };
    const [first, second] = [select("First image", 0), select("Second image", 1)];
    const [swap, flicker] = [button("Switch"), button("Flicker")];
    flicker.setAttribute("aria-pressed", "false");
    const caption = document.createElement("output");
    controls.append(first, second, swap, flicker, caption);
    let top = false;
    let timer = 0;
    const show = () => {
      stage.lastElementChild.classList.toggle("away", !top);
      caption.textContent = layers[(top ? second : first).value].dataset.layer;
    };
    const load = () => {
      const copies = [first, second].map((box) => {
        const copy = layers[box.value].cloneNode(true);
        delete copy.dataset.layer;
        return copy;
      });
      copies[1].classList.add("top");
      stage.replaceChildren(...copies);
      show();
    };
    const stop = () => { clearInterval(timer); timer = 0; flicker.setAttribute("aria-pressed", "false"); };
    swap.addEventListener("click", () => { stop(); top = !top; show(); });
    flicker.addEventListener("click", () => {
      if (timer) { stop(); return; }
      flicker.setAttribute("aria-pressed", "true");
      timer = setInterval(() => { top = !top; show(); }, 500);
    });
    first.addEventListener("change", load);
    second.addEventListener("change", load);
    place.append(controls, stage);
    load();
  }

  // Commands: a button that copies, where the browser allows it.
  if (navigator.clipboard) {
    for (const block of document.querySelectorAll("figure.command")) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = "Copy";
      const bar = document.createElement("div");
      bar.className = "controls";
      bar.append(button);
      button.addEventListener("click", async () => {
        await navigator.clipboard.writeText(block.querySelector("code").textContent);
        button.textContent = "Copied";
      });
      block.append(bar);
    }
  }

  // What is folded away is printed too, but for long tables that a TSV file holds as well.
  addEventListener("beforeprint", () => document.querySelectorAll("details:not(.long)").forEach((d) => { d.open = true; }));
})();
