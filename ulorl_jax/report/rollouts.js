// The list of samples: filters, order, and only those rows in the document that can be seen.

const ROW = 30; // pixels, as in page.css
const HEAD = [
  ["run", "run"], ["step", "step"], ["sample", "sample"], ["reward", "reward"], ["use", "use"], ["tokens", "tokens"],
  ["entropy", "entropy"], ["finished", "ended by"],
];
// at: which of the list is chosen; order: numbers of the samples in the list.
const list = { order: [], sortBy: "step", down: true, at: -1, texts: [], search: 0 };
const NONE = "none"; // in a filter: the value is null

const rewardText = (reward) => (reward === null ? "error" : String(reward));
const cellText = (name, i) => {
  const value = report.table[name][i];
  if (name === "run") return report.runs[value].name;
  if (name === "reward") return rewardText(value);
  return value === null ? "–" : typeof value === "number" ? String(value) : value;
};

// Unpacked blocks, the newest few.
const blocks = new Map();
function block(number) {
  if (!blocks.has(number)) {
    blocks.set(number, unpack(`block-${number}`));
    if (blocks.size > 8) blocks.delete(blocks.keys().next().value);
  }
  return blocks.get(number);
}

const inFull = async (i) => (await block(report.table.block[i]))[report.table.row[i]];

const pieceText = (sample, texts, i) => sample.pieces[i] ?? texts[sample.tokens[i]];

// What the text search looks through; made once, block by block, when somebody searches.
async function searchTexts(going) {
  const { table } = report;
  for (let i = list.texts.length; i < table.step.length; i++) {
    const sample = await inFull(i);
    if (!going()) return false;
    if (i % 500 === 0) find("count").textContent = `reading texts: ${i} of ${table.step.length}`;
    if (i < list.texts.length) continue; // another search went on meanwhile
    const texts = report.texts[table.run[i]];
    const output = sample.tokens.map((_, position) => pieceText(sample, texts, position)).join("");
    const all = [sample.question, sample.reference, sample.reason, sample.source, output];
    list.texts.push(all.join("\n").toLowerCase());
  }
  return true;
}

async function applyFilters() {
  const { table } = report;
  const mine = ++list.search;
  const wanted = find("filter-text").value.toLowerCase();
  if (wanted && list.texts.length < table.step.length) {
    if (!(await searchTexts(() => mine === list.search))) return;
  }
  const filters = ["run", "step", "reward", "use", "finished"]
    .map((name) => [table[name], find(`filter-${name}`).value])
    .filter(([, value]) => value !== "");
  const [from, to] = [Number(find("filter-from").value), Number(find("filter-to").value) || Infinity];
  const chosen = list.order[list.at];
  list.order = [];
  for (let i = 0; i < table.step.length; i++) {
    const passes = filters.every(([column, value]) => (column[i] === null ? NONE : String(column[i])) === value)
      && table.tokens[i] >= from && table.tokens[i] <= to && report.shown.has(table.run[i])
      && (!wanted || list.texts[i].includes(wanted));
    if (passes) list.order.push(i);
  }
  sortOrder();
  list.at = list.order.indexOf(chosen);
  find("count").textContent = `${list.order.length.toLocaleString("en")} of ${table.step.length.toLocaleString("en")} samples`;
  find("sample-list").scrollTop = 0;
  drawRows();
  if (list.at < 0) choose(list.order.length ? 0 : -1);
}

function sortOrder() {
  const column = report.table[list.sortBy];
  const sign = list.down ? -1 : 1;
  // What has no value stands last, whichever way.
  list.order.sort((a, b) => {
    const [x, y] = [column[a], column[b]];
    if (x === y) return a - b;
    if (x === null || y === null) return x === null ? 1 : -1;
    return x < y ? -sign : sign;
  });
}

function drawRows() {
  const [view, room] = [find("sample-list"), find("sample-room")];
  room.style.height = `${ROW * list.order.length}px`;
  const first = Math.max(0, Math.floor(view.scrollTop / ROW) - 5);
  const last = Math.min(list.order.length, Math.ceil((view.scrollTop + view.clientHeight) / ROW) + 5);
  const rows = [];
  for (let at = first; at < last; at++) {
    const i = list.order[at];
    const cells = HEAD.filter(([name]) => name !== "run" || report.runs.length > 1).map(([name]) => {
      const text = cellText(name, i);
      const swatch = name === "run" ? make("span", { className: "swatch" }) : null;
      if (swatch) swatch.style.background = color(report.table.run[i]);
      return make("span", { className: `cell ${name}`, title: text }, swatch, text);
    });
    const row = make("div", { id: `option-${at}`, className: "row", role: "option" }, ...cells);
    row.setAttribute("aria-selected", String(at === list.at));
    row.setAttribute("aria-setsize", String(list.order.length));
    row.setAttribute("aria-posinset", String(at + 1));
    row.dataset.reward = rewardText(report.table.reward[i]);
    row.style.top = `${at * ROW}px`;
    row.addEventListener("click", () => choose(at));
    rows.push(row);
  }
  room.replaceChildren(...rows);
  view.setAttribute("aria-activedescendant", list.at >= 0 ? `option-${list.at}` : "");
}

function choose(at) {
  list.at = at;
  const view = find("sample-list");
  const top = at * ROW;
  if (at >= 0 && top < view.scrollTop) view.scrollTop = top;
  if (at >= 0 && top + ROW > view.scrollTop + view.clientHeight) view.scrollTop = top + ROW - view.clientHeight;
  drawRows();
  if (at >= 0) showSample(list.order[at]);
  else find("sample").replaceChildren(make("p", { className: "nothing" }, "No sample passes the filters."));
}

// A sample of the group may not be in the list; it is shown all the same.
function chooseSample(i) {
  const at = list.order.indexOf(i);
  if (at >= 0) return choose(at);
  list.at = -1;
  drawRows();
  showSample(i);
}

function pressList(event) {
  const page = Math.max(1, Math.floor(find("sample-list").clientHeight / ROW) - 1);
  const end = list.order.length - 1;
  const to = {
    ArrowDown: list.at + 1, ArrowUp: list.at - 1, PageDown: list.at + page, PageUp: list.at - page, Home: 0, End: end,
  }[event.key];
  if (to === undefined || end < 0) return;
  event.preventDefault();
  choose(Math.min(end, Math.max(0, to)));
}

function drawHead() {
  const shown = HEAD.filter(([name]) => name !== "run" || report.runs.length > 1);
  find("sample-head").replaceChildren(...shown.map(([name, text]) => {
    const arrow = name === list.sortBy ? (list.down ? " ↓" : " ↑") : "";
    const button = make("button", { type: "button", className: `cell ${name}` }, text + arrow);
    button.setAttribute("aria-pressed", String(name === list.sortBy));
    button.dataset.sort = name;
    button.addEventListener("click", () => {
      list.down = name === list.sortBy ? !list.down : name !== "run";
      list.sortBy = name;
      drawHead();
      find("sample-head").querySelector(`[data-sort=${name}]`).focus();
      applyFilters();
    });
    return button;
  }));
}

function fillFilter(name, all, text) {
  const values = [...new Set(report.table[name])];
  values.sort((a, b) => (a === null) - (b === null) || (typeof a === "number" ? a - b : String(a).localeCompare(b)));
  const options = values.map((value) => make("option", { value: value === null ? NONE : String(value) }, text(value)));
  find(`filter-${name}`).replaceChildren(make("option", { value: "" }, all), ...options);
}

// Unpacks the table when the tab is first opened.
async function openRollouts() {
  if (report.table) return drawRows();
  report.table = {}; // so that it is done once
  report.table = await unpack("table");
  fillFilter("run", "all", (value) => report.runs[value].name);
  find("run-label").hidden = report.runs.length === 1;
  fillFilter("step", "all", String);
  fillFilter("reward", "any", rewardText);
  fillFilter("use", "any", (value) => value ?? "not recorded");
  fillFilter("finished", "any", (value) => value || "–");
  find("rollouts").classList.toggle("several", report.runs.length > 1);
  find("filters").addEventListener("submit", (event) => event.preventDefault());
  find("filters").addEventListener("change", (event) => event.target.tagName === "SELECT" && applyFilters());
  let waiting;
  find("filters").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(applyFilters, 200); // somebody types
  });
  find("sample-list").addEventListener("scroll", drawRows, { passive: true });
  find("sample-list").addEventListener("keydown", pressList);
  new ResizeObserver(drawRows).observe(find("sample-list"));
  drawHead();
  await applyFilters();
}
