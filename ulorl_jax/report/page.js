// What all parts of the page use: elements, numbers, the data in the page, the tabs.

// An element with properties and children. Text goes into text nodes, never into markup.
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

const find = (id) => document.getElementById(id);

// A metric's value as people read it: about four digits.
function formatNumber(value) {
  if (value == null || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return Number(value.toPrecision(3)).toExponential();
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return value.toLocaleString("en", { maximumSignificantDigits: size >= 1000 ? 6 : 4 });
}

const formatShare = (value) => (value == null ? "–" : `${formatNumber(100 * value)}%`);

// The data block of that id: base64 of gzip of JSON.
async function unpack(id) {
  const bytes = Uint8Array.from(atob(find(id).textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

// Colours stand in page.css, for light and dark.
const COLORS = 8;
const color = (number) => `var(--c${number % COLORS})`;

// The page's data and which runs are switched on.
const report = { runs: [], texts: [], table: null, shown: new Set() };

const shownRuns = () => report.runs.filter((run) => report.shown.has(run.number));

function makeRunSwitches(changed) {
  for (const run of report.runs) {
    const box = make("input", { type: "checkbox", checked: true });
    box.addEventListener("change", () => {
      if (box.checked) report.shown.add(run.number);
      else report.shown.delete(run.number);
      changed();
    });
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = color(run.number);
    const steps = run.columns.step;
    const at = steps.length ? `step ${steps[steps.length - 1]} of ${run.config.steps}` : "no step yet";
    find("runs").append(make("label", { className: "run" }, box, swatch, make("b", {}, run.name), ` ${at}`));
  }
}

// Tabs as the ARIA practices want them: arrow keys go from one to the next, only the chosen one is in the tab order.
function makeTabs(opened) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const open = (tab, focus) => {
    for (const other of tabs) {
      const chosen = other === tab;
      other.setAttribute("aria-selected", String(chosen));
      other.tabIndex = chosen ? 0 : -1;
      find(other.getAttribute("aria-controls")).hidden = !chosen;
    }
    if (focus) tab.focus();
    history.replaceState(null, "", `#${tab.getAttribute("aria-controls")}`);
    opened(tab.getAttribute("aria-controls"));
  };
  tabs.forEach((tab, i) => {
    tab.addEventListener("click", () => open(tab, false));
    tab.addEventListener("keydown", (event) => {
      const to = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: tabs.length - 1 }[event.key];
      if (to === undefined) return;
      event.preventDefault();
      open(tabs[(to + tabs.length) % tabs.length], true);
    });
  });
  open(tabs.find((tab) => `#${tab.getAttribute("aria-controls")}` === location.hash) || tabs[0], false);
}

// One tip for the whole page, beside what it speaks of.
function showTip(lines, left, top) {
  const tip = find("tip");
  tip.replaceChildren(...lines);
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  const x = left + 14 + width > innerWidth ? left - width - 14 : left + 14;
  const y = top + 14 + height > innerHeight ? top - height - 10 : top + 14;
  tip.style.left = `${Math.max(4, x)}px`;
  tip.style.top = `${Math.max(4, y)}px`;
}

function hideTip() {
  find("tip").hidden = true;
}

// A line of the tip: a swatch (or none), a name, a value.
function tipLine(swatch, name, value) {
  const mark = make("span", { className: "swatch" });
  if (swatch) mark.style.background = swatch;
  else mark.classList.add("empty");
  return make("div", { className: "tip-line" }, mark, make("span", {}, name), make("b", {}, value));
}
