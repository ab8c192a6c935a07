"use strict";
(() => {
  const rows = [...document.querySelectorAll("tr.searched")].map((row) => ({ row, text: row.textContent.toLowerCase() }));
  const sections = [...document.querySelectorAll("main > section")];
  const query = document.getElementById("query");
  const filters = { graph: "in-graph", op: "of-op", memory: "in-memory" };
  const chosen = (kind) => document.getElementById(filters[kind]).value;

  function apply() {
    const words = query.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = Object.keys(filters).map((kind) => [kind, chosen(kind)]).filter(([, value]) => value);
    let shown = 0;
    for (const { row, text } of rows) {
      const fits = wanted.every(([kind, value]) => (row.dataset[kind] || "").split(" ").includes(value));
      row.hidden = !(fits && words.every((word) => text.includes(word)));
      shown += !row.hidden;
    }
    const limited = words.length > 0 || wanted.length > 0;
    for (const table of document.querySelectorAll("table:has(tr.searched)")) {
      table.hidden = limited && !table.querySelector("tr.searched:not([hidden])");
    }
    for (const section of document.querySelectorAll("section.graph")) {
      section.hidden = limited && !section.querySelector("tr.searched:not([hidden])");
    }
    document.getElementById("found").value = limited ? `${shown} of ${rows.length} rows` : "";
  }

  function clear() {
    query.value = "";
    for (const id of Object.values(filters)) document.getElementById(id).value = "";
    apply();
    query.blur();
  }

  function theme() {
    const root = document.documentElement;
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    const now = root.dataset.theme || (dark ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  }

  function current() {
    const visible = sections.filter((section) => !section.hidden);
    const at = visible.findLastIndex((section) => section.getBoundingClientRect().top < 120);
    return [visible, Math.max(at, 0)];
  }

  function move(by) {
    const [visible, at] = current();
    const next = visible[Math.min(Math.max(at + by, 0), visible.length - 1)];
    if (next) next.scrollIntoView();
  }

  function unfold() {
    const [visible, at] = current();
    const details = [...(visible[at] || document).querySelectorAll("details")];
    const open = details.some((each) => !each.open);
    for (const each of details) each.open = open;
  }

  const keys = {
    "/": () => query.focus(),
    t: theme,
    j: () => move(1),
    k: () => move(-1),
    e: unfold,
    "?": () => document.getElementById("help").scrollIntoView(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") return clear();
    if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const action = keys[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
  async function unpack(drawing) {
    const packed = Uint8Array.from(atob(drawing.dataset.picture), (letter) => letter.charCodeAt(0));
    delete drawing.dataset.picture;
    const plain = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    drawing.innerHTML = await new Response(plain).text();
  }

  for (const picture of document.querySelectorAll("details.picture")) {
    picture.addEventListener("toggle", () => {
      const drawing = picture.querySelector("[data-picture]");
      if (picture.open && drawing) unpack(drawing);
    });
  }
  document.getElementById("search").addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = query.value.trim();
    const exact = rows.find(({ row }) => !row.hidden && row.cells && row.cells[0].textContent.trim() === wanted);
    const first = exact || rows.find(({ row }) => !row.hidden);
    if (first) first.row.scrollIntoView({ block: "center" });
  });
  query.addEventListener("input", apply);
  for (const id of Object.values(filters)) document.getElementById(id).addEventListener("change", apply);
  document.getElementById("theme").addEventListener("click", theme);
  apply();
})();
