"use strict";
// The page is complete without this script, which reads charts and attention by pointer and keyboard.

const svgElement = (name, attributes) => {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
};

const nearest = (rows, x) => rows.reduce((best, row) => (Math.abs(row.x - x) < Math.abs(best.x - x) ? row : best));

// A chart's values come from its table, whose rows hold their coordinates on the canvas.
const readableChart = (figure) => {
  const svg = figure.querySelector("svg");
  const cursor = figure.querySelector(".cursor");
  const output = figure.querySelector("output");
  const [label, ...names] = [...figure.querySelectorAll("thead th")].map((cell) => cell.textContent);
  const runs = [...figure.querySelectorAll("thead .key")].map((key) => key.classList[1]);
  const rows = [...figure.querySelectorAll("tbody tr")].map((row) => ({
    x: Number(row.dataset.x),
    label: row.cells[0].textContent,
    cells: [...row.cells].slice(1).map((cell) => ({ text: cell.textContent, y: cell.dataset.y })),
  }));
  let current = -1;

  const show = (row) => {
    current = rows.indexOf(row);
    cursor.removeAttribute("hidden");
    cursor.querySelectorAll("circle").forEach((circle) => circle.remove());
    const line = cursor.querySelector("line");
    line.setAttribute("x1", row.x);
    line.setAttribute("x2", row.x);
    const parts = [`${label} ${row.label}`];
    row.cells.forEach((cell, place) => {
      if (cell.y === undefined) return;
      cursor.append(svgElement("circle", { cx: row.x, cy: cell.y, r: 4, class: runs[place] }));
      parts.push(`${names[place]} ${cell.text}`);
    });
    output.textContent = parts.join("  ·  ");
  };
  const hide = () => {
    cursor.setAttribute("hidden", "");
    output.textContent = "";
  };

  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    show(nearest(rows, ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width));
  });
  svg.addEventListener("pointerleave", hide);
  svg.addEventListener("blur", hide);
  svg.addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps)) return;
    event.preventDefault();
    show(rows[Math.max(0, Math.min(rows.length - 1, current + steps[event.key]))]);
  });
};

// Pointing at a piece of a translation colours the pieces of the source.
const readableAttention = (block) => {
  const layers = JSON.parse(block.dataset.layers);
  const sources = [...block.querySelectorAll(".source span")];
  const targets = [...block.querySelectorAll(".target button")];
  const squares = [...block.querySelectorAll(".squares rect")];
  const select = block.querySelector("select");
  const output = block.querySelector("output");

  const choose = (place) => {
    const percents = layers[Number(select.value)][place];
    targets.forEach((button, other) => {
      button.classList.toggle("chosen", other === place);
      button.tabIndex = other === place ? 0 : -1;
    });
    sources.forEach((span, other) => span.style.setProperty("--share", `${percents[other]}%`));
    const most = percents.map((percent, other) => [percent, other]).sort((a, b) => b[0] - a[0] || a[1] - b[1]);
    const told = most.slice(0, 3).map(([percent, other]) => `${sources[other].textContent} ${percent} %`);
    output.textContent = `${targets[place].textContent} looks at ${told.join(", ")}`;
  };

  targets.forEach((button, place) => {
    for (const event of ["pointerenter", "focus", "click"]) button.addEventListener(event, () => choose(place));
    button.addEventListener("keydown", (event) => {
      const next = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: targets.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      if (targets[next]) targets[next].focus();
    });
  });
  select.addEventListener("change", () => {
    layers[Number(select.value)].flat().forEach((percent, place) => {
      if (squares[place]) squares[place].setAttribute("fill-opacity", percent / 100);
    });
    const chosen = targets.findIndex((button) => button.classList.contains("chosen"));
    if (chosen >= 0) choose(chosen);
  });
};

document.querySelectorAll("figure.chart").forEach(readableChart);
document.querySelectorAll(".attention").forEach(readableAttention);
