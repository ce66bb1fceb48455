// A line chart, or a stack of areas, as SVG: axes, legend, hover, arrow keys. It knows nothing of runs or metrics.

const MARGIN = { left: 52, right: 10, top: 8, bottom: 26 };
const HEIGHT = 210;

// Up to n round numbers from lo to hi.
function ticks(lo, hi, n) {
  const raw = (hi - lo) / n || 1;
  const unit = 10 ** Math.floor(Math.log10(raw));
  const step = unit * [1, 2, 5, 10].find((factor) => raw <= factor * unit * 1.0001);
  const out = [];
  for (let i = Math.ceil(lo / step - 1e-9); i * step <= hi + step * 1e-9; i++) out.push(i * step + 0); // + 0: no -0
  return out;
}

function logTicks(lo, hi) {
  const [first, last] = [Math.floor(Math.log10(lo)), Math.ceil(Math.log10(hi))];
  const stride = Math.ceil((last - first) / 5) || 1;
  const out = [];
  for (let i = first; i <= last; i += stride) out.push(10 ** i);
  return out.filter((tick) => tick >= lo * 0.999 && tick <= hi * 1.001);
}

// Centred mean over 2 half + 1 points; near the ends over those that there are.
function smooth(y, half) {
  return y.map((_, i) => {
    const around = y.slice(Math.max(0, i - half), i + half + 1);
    return around.reduce((sum, value) => sum + value, 0) / around.length;
  });
}

// Of many points in a column of pixels only the lowest and the highest are seen.
function thin(points, columns) {
  if (points.length <= 4 * columns) return points;
  const size = Math.ceil(points.length / columns);
  const out = [];
  for (let i = 0; i < points.length; i += size) {
    const part = points.slice(i, i + size);
    const low = part.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = part.reduce((a, b) => (b[1] > a[1] ? b : a));
    out.push(...(low[0] <= high[0] ? [low, high] : [high, low]));
  }
  return out;
}

function svg(tag, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (parent) parent.append(element);
  return element;
}

// spec: title, unit, across; series [{label, color, dash, dots, x, y}] with finite y; lines [{y, label, color}];
// and, all optional: legend (instead of the series), half (smoothing), stack, share (y in percent), zero (y from 0), top (y up to), log.
class Chart {
  constructor(host) {
    this.host = host;
    this.title = make("h3");
    this.log = make("input", { type: "checkbox" });
    this.logLabel = make("label", { className: "log" }, this.log, "log");
    this.note = make("span", { className: "note" });
    this.plot = make("div", { className: "plot", tabIndex: 0 });
    this.legend = make("div", { className: "legend" });
    host.append(make("div", { className: "chart-head" }, this.title, this.note, this.logLabel), this.plot, this.legend);
    this.log.addEventListener("change", () => this.draw(this.spec));
    this.plot.addEventListener("pointermove", (event) => this.point(event));
    this.plot.addEventListener("pointerleave", () => this.clear());
    this.plot.addEventListener("blur", () => this.clear());
    this.plot.addEventListener("keydown", (event) => this.press(event));
    this.width = 0;
    new ResizeObserver(() => {
      if (this.spec && this.plot.clientWidth !== this.width) this.draw(this.spec);
    }).observe(this.plot);
  }

  draw(spec) {
    if (this.spec === undefined) this.log.checked = Boolean(spec.log);
    this.spec = spec;
    this.title.textContent = spec.title;
    this.logLabel.hidden = Boolean(spec.stack);
    this.note.textContent = "";
    this.width = this.plot.clientWidth;
    if (!this.width) return; // not visible now; the observer calls again
    this.clear();
    this.useLog = this.log.checked && !spec.stack;
    this.layers = this.layOut(spec);
    this.xs = [...new Set(this.layers.flatMap((layer) => layer.x))].sort((a, b) => a - b);
    this.setScales(spec);
    const [w, h] = [this.width, HEIGHT];
    const label = `${spec.title}, ${spec.unit}, over ${spec.across}`;
    this.root = svg("svg", { width: w, height: h, viewBox: `0 0 ${w} ${h}`, role: "img", "aria-label": label });
    if (this.xs.length) this.drawAxes(spec);
    const inside = svg("g", {}, this.root);
    if (spec.stack) this.drawAreas(inside);
    else this.drawLines(spec, inside);
    for (const line of spec.lines || []) this.drawLimit(line, inside);
    this.cursor = svg("line", { class: "cursor", y1: MARGIN.top, y2: h - MARGIN.bottom, visibility: "hidden" }, this.root);
    this.plot.replaceChildren(this.root);
    if (!this.xs.length) this.plot.append(make("p", { className: "nothing" }, "nothing measured"));
    this.drawLegend(spec);
  }

  // Every series with what is drawn of it: smoothed, positive where the axis is logarithmic, on top of those below it.
  layOut(spec) {
    const base = new Map();
    return spec.series
      .map((series) => {
        const keep = series.y.map((value) => !this.useLog || value > 0);
        const layer = { ...series, x: series.x.filter((_, i) => keep[i]), y: series.y.filter((_, i) => keep[i]) };
        layer.drawn = spec.half && !series.dots ? smooth(layer.y, spec.half) : layer.y;
        if (spec.stack) {
          layer.low = layer.x.map((x) => base.get(x) || 0);
          layer.high = layer.drawn.map((value, i) => layer.low[i] + value);
          layer.x.forEach((x, i) => base.set(x, layer.high[i]));
        }
        return layer;
      })
      .filter((layer) => layer.x.length);
  }

  setScales(spec) {
    const values = this.layers.flatMap((layer) => layer.high || layer.y.concat(layer.drawn));
    values.push(...(spec.lines || []).map((line) => line.y));
    let lo = values.reduce((a, b) => Math.min(a, b), Infinity);
    let hi = values.reduce((a, b) => Math.max(a, b), -Infinity);
    if (!values.length) [lo, hi] = [0, 1];
    if (spec.stack) hi = this.cutOutliers(hi);
    if (this.useLog) {
      [lo, hi] = lo > 0 ? [lo / 1.5, hi * 1.5] : [hi / 10, hi];
    } else {
      if (spec.zero || spec.stack) lo = Math.min(0, lo);
      const room = (hi - lo || Math.abs(hi) || 1) * 0.06;
      hi = spec.top ? Math.max(hi, spec.top) : hi + room;
      if (!spec.zero && !spec.stack) lo -= room;
    }
    const [first, last] = this.xs.length ? [this.xs[0], this.xs[this.xs.length - 1]] : [0, 1];
    const inner = this.width - MARGIN.left - MARGIN.right;
    this.toX = (x) => MARGIN.left + (last > first ? (x - first) / (last - first) : 0.5) * inner;
    const scale = this.useLog ? Math.log10 : (value) => value;
    const [bottom, span] = [scale(lo), scale(hi) - scale(lo) || 1];
    this.toY = (y) => HEIGHT - MARGIN.bottom - ((scale(y) - bottom) / span) * (HEIGHT - MARGIN.top - MARGIN.bottom);
    this.domain = { first, last, lo, hi };
  }

  // A step that took four times the median compiled something: it is cut off, so that the others are not flattened.
  cutOutliers(highest) {
    const tops = new Map();
    for (const layer of this.layers) layer.x.forEach((x, i) => tops.set(x, layer.high[i]));
    const sorted = [...tops.values()].sort((a, b) => a - b);
    const most = 4 * sorted[Math.floor(sorted.length / 2)];
    if (!(highest > most && most > 0)) return highest;
    this.note.textContent = `up to ${formatNumber(highest)}`;
    return sorted.filter((value) => value <= most).pop();
  }

  drawAxes(spec) {
    const { first, last, lo, hi } = this.domain;
    const format = spec.share ? formatShare : formatNumber;
    for (const tick of this.useLog ? logTicks(lo, hi) : ticks(lo, hi, 5)) {
      const y = this.toY(tick);
      svg("line", { class: "grid", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y }, this.root);
      const text = svg("text", { x: MARGIN.left - 6, y: y + 4, "text-anchor": "end" }, this.root);
      text.textContent = format(Number(tick.toPrecision(6)));
    }
    for (const tick of ticks(first, last, Math.max(2, Math.floor(this.width / 70)))) {
      const text = svg("text", { x: this.toX(tick), y: HEIGHT - 8, "text-anchor": "middle" }, this.root);
      text.textContent = tick >= 1e4 ? tick.toLocaleString("en", { notation: "compact" }) : formatNumber(tick);
    }
  }

  path(points, parent, attributes, stroke) {
    const d = thin(points, this.width).map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`);
    const path = svg("path", { d: d.join(""), class: "line", ...attributes }, parent);
    path.style.stroke = stroke;
  }

  drawLines(spec, parent) {
    for (const layer of this.layers) {
      const points = (values) => layer.x.map((x, i) => [this.toX(x), this.toY(values[i])]);
      const dash = layer.dash ? { "stroke-dasharray": layer.dash } : {};
      if (layer.drawn !== layer.y) this.path(points(layer.y), parent, { ...dash, class: "line faint" }, layer.color);
      this.path(points(layer.drawn), parent, dash, layer.color);
      if (!layer.dots && layer.x.length > 1) continue;
      for (const [x, y] of points(layer.drawn)) {
        svg("circle", { cx: x, cy: y, r: 3 }, parent).style.fill = layer.color;
      }
    }
  }

  drawAreas(parent) {
    const bottom = HEIGHT - MARGIN.bottom;
    const clip = (y) => Math.min(bottom, Math.max(MARGIN.top, this.toY(y)));
    // Every value is as wide as its step: from the middle between its neighbours to the next.
    const bars = (x, y) => x.flatMap((_, i) => {
      const to = (j) => this.toX((x[i] + x[Math.min(x.length - 1, Math.max(0, j))]) / 2);
      return [[to(i - 1), clip(y[i])], [to(i + 1), clip(y[i])]];
    });
    for (const layer of this.layers) {
      const up = thin(bars(layer.x, layer.high), this.width);
      const down = thin(bars(layer.x, layer.low), this.width).reverse();
      const d = [...up, ...down].map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");
      svg("path", { d: `${d}Z`, class: "area" }, parent).style.fill = layer.color;
    }
  }

  drawLimit(line, parent) {
    const y = this.toY(line.y);
    const rule = svg("line", { class: "limit", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y }, parent);
    rule.style.stroke = line.color;
  }

  drawLegend(spec) {
    const items = spec.legend || (spec.stack ? [...this.layers].reverse() : this.layers);
    const lines = (spec.lines || []).map((line) => ({ ...line, dash: "5 4" }));
    this.legend.replaceChildren(...[...items, ...lines].map((layer) => {
      const sample = svg("svg", { width: 22, height: 10, "aria-hidden": "true" });
      const shape = { x1: 0, x2: 22, y1: 5, y2: 5, "stroke-dasharray": layer.dash || "none", class: "line" };
      const mark = svg("line", shape, sample);
      mark.style.stroke = layer.color;
      if (spec.stack) mark.style.strokeWidth = "9";
      return make("span", {}, sample, layer.label);
    }));
    this.legend.append(make("span", { className: "unit" }, `${spec.unit} over ${spec.across}`));
  }

  point(event) {
    if (!this.xs || !this.xs.length) return;
    const at = event.clientX - this.plot.getBoundingClientRect().left;
    const distances = this.xs.map((x) => Math.abs(this.toX(x) - at));
    this.showAt(distances.indexOf(Math.min(...distances)), event.clientX, event.clientY);
  }

  press(event) {
    if (event.key === "Escape") return this.clear();
    if (!this.xs || !this.xs.length || !["ArrowLeft", "ArrowRight"].includes(event.key)) return;
    event.preventDefault();
    const step = event.key === "ArrowRight" ? 1 : -1;
    const at = this.at === undefined ? (step > 0 ? 0 : this.xs.length - 1) : this.at + step;
    const box = this.plot.getBoundingClientRect();
    const index = Math.min(this.xs.length - 1, Math.max(0, at));
    this.showAt(index, box.left + this.toX(this.xs[index]), box.top + 20);
  }

  showAt(index, left, top) {
    this.at = index;
    const x = this.xs[index];
    this.cursor.setAttribute("x1", this.toX(x));
    this.cursor.setAttribute("x2", this.toX(x));
    this.cursor.setAttribute("visibility", "visible");
    const format = this.spec.share ? formatShare : formatNumber;
    const lines = [make("div", { className: "tip-title" }, `${this.spec.across} ${formatNumber(x)}`)];
    for (const layer of this.spec.stack ? [...this.layers].reverse() : this.layers) {
      const i = layer.x.indexOf(x);
      if (i < 0) continue;
      const smoothed = layer.drawn === layer.y ? "" : ` (mean ${format(layer.drawn[i])})`;
      lines.push(tipLine(layer.color, layer.label, format(layer.y[i]) + smoothed));
    }
    showTip(lines, left, top);
  }

  clear() {
    this.at = undefined;
    if (this.cursor) this.cursor.setAttribute("visibility", "hidden");
    hideTip();
  }
}
