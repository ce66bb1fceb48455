// Which metrics stand in which chart, and the series of the runs that are switched on.

// Of each chart: series [metric, label]. The rest as in Chart; dots: measured now and then, never smoothed;
// brief: how many of the series are shown where several runs are.
const PANELS = [
  { title: "Reward", unit: "share correct", zero: true, top: 1, series: [["reward/mean", "training"]] },
  {
    title: "Held out", unit: "share correct", zero: true, top: 1, dots: true,
    series: [["heldout/sampled", "sampled"], ["heldout/greedy", "greedy"]],
  },
  { title: "Entropy", unit: "nats per token", zero: true, sigma: true, series: [["entropy/mean", "policy"]] },
  {
    title: "Mastered tokens", unit: "share of response tokens", share: true, zero: true,
    series: [["dmmpt/mpt_frac", "mastered (MPT)"], ["dmmpt/masked_frac", "left out (DMMPT)"]],
  },
  {
    title: "Clipped", unit: "share of tokens", share: true, zero: true,
    series: [["ratio/clip_frac", "clipped"], ["ratio/outside_frac", "ratio outside the range"]],
  },
  { title: "Ratio", unit: "mean", series: [["ratio/mean", "ratio"]] },
  {
    title: "Mismatch of sampler and trainer", unit: "nats per token", log: true,
    series: [["mismatch/kl", "KL"], ["mismatch/max", "largest difference"]],
  },
  { title: "Staleness", unit: "KL, nats per token", zero: true, series: [["staleness/kl", "sampled to newest policy"]] },
  {
    title: "Ratio to the policy that drew a token", unit: "ratio", brief: 2,
    series: [
      ["staleness/ratio_p99", "99th percentile"], ["staleness/ratio_p01", "1st"], ["staleness/ratio_p90", "90th"],
      ["staleness/ratio_p50", "median"], ["staleness/ratio_p10", "10th"],
    ],
  },
  { title: "Age of tokens", unit: "updates", zero: true, series: [["staleness/steps", "mean age"]] },
  {
    title: "Output length", unit: "tokens", zero: true, brief: 2,
    series: [
      ["rollout/len_p99", "99th percentile"], ["rollout/len_mean", "mean"], ["rollout/len_p90", "90th"],
      ["rollout/len_p50", "median"], ["rollout/len_p10", "10th"],
    ],
  },
  {
    title: "How samples end", unit: "share of samples", share: true, zero: true,
    series: [["rollout/truncated", "truncated"], ["reward/error_rate", "without a verdict"]],
  },
  {
    title: "Pools", unit: "samples", zero: true, brief: 2,
    series: [
      ["pool/unfinished", "unfinished"], ["pool/experience", "waiting for their group"],
      ["pool/waiting", "waiting for a slot"], ["pool/judging", "being judged"],
    ],
  },
  {
    title: "Groups", unit: "groups", zero: true,
    series: [["groups/informative", "informative"], ["groups/uninformative", "uninformative"]],
  },
  {
    title: "Slots", unit: "share of decode steps", share: true, zero: true, top: 1, brief: 1,
    series: [["rollout/slot_use", "used"], ["rollout/slot_idle", "idle"]],
  },
  { title: "Gradient norm", unit: "global norm", zero: true, series: [["train/grad_norm", "before clipping"]] },
  { title: "Loss", unit: "policy", series: [["loss/policy", "loss"]] },
];
const NO_PHASE = new Set(["time/step_s", "time/warm_start_s"]); // the sum, and what comes before the first step
const PHASES = 7;
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 5"];
const ACROSS = { step: "step", "x/trained": "trained tokens", "x/seconds": "seconds" };

const charts = { panels: [], stacks: new Map(), others: [] };
const known = new Set(PANELS.flatMap((panel) => panel.series.map(([metric]) => metric)));

// Of one metric of a run: x and y where it was measured.
function measured(run, metric, across) {
  const [x, y] = [[], []];
  const columns = run.columns;
  (columns[metric] || []).forEach((value, i) => {
    if (value === null || columns[across][i] === null) return;
    x.push(columns[across][i]);
    y.push(value);
  });
  return { x, y };
}

// With one run colours tell the series apart; with several the runs, and dashes the series.
function seriesOf(panel, across) {
  const several = report.runs.length > 1;
  const shown = shownRuns();
  const all = shown.length > 1 && panel.brief ? panel.series.slice(0, panel.brief) : panel.series;
  return shown.flatMap((run) => all.map(([metric, label], i) => ({
    metric: label,
    label: several ? (all.length > 1 ? `${run.name}, ${label}` : run.name) : label,
    color: color(several ? run.number : i),
    dash: several ? DASHES[i % DASHES.length] : "",
    dots: panel.dots,
    ...measured(run, metric, across),
  })));
}

// With several runs, whose colours stand above the charts, dashes are told once.
function legendOf(series) {
  if (report.runs.length === 1 || !series.some((one) => one.dash)) return undefined;
  return [...new Map(series.map((one) => [one.metric, { label: one.metric, dash: one.dash, color: "var(--text)" }])).values()];
}

function sigmaLines() {
  const sigmas = new Map();
  for (const run of shownRuns()) {
    const { sigma } = run.config.loss;
    if (Number.isFinite(sigma) && sigma > 0) sigmas.set(sigma, sigmas.has(sigma) ? "var(--text)" : color(run.number));
  }
  const several = report.runs.length > 1;
  return [...sigmas].map(([y, own]) => ({ y, label: `sigma = ${y}`, color: several ? own : "var(--c1)" }));
}

// Seconds by phase of one run: the longest phases, and the rest as one.
function phases(run, across) {
  const names = Object.keys(run.columns).filter((name) => name.startsWith("time/") && !NO_PHASE.has(name));
  const rows = run.columns[across].map((_, i) => i).filter((i) => names.some((name) => run.columns[name][i] !== null));
  const x = rows.map((i) => run.columns[across][i]);
  const of = (name) => rows.map((i) => run.columns[name][i] || 0);
  const total = (name) => of(name).reduce((a, b) => a + b, 0);
  const sorted = names.filter((name) => name !== "time/other_s").sort((a, b) => total(b) - total(a));
  const rest = [...sorted.slice(PHASES - 1), ...names.filter((name) => name === "time/other_s")];
  const layers = sorted.slice(0, PHASES - 1).map((name) => [name.slice(5, -2), of(name)]);
  if (rest.length) layers.push(["the rest", rest.map(of).reduce((a, b) => a.map((value, i) => value + b[i]))]);
  return layers.map(([label, y], i) => ({ label, y, x, color: color(i) }));
}

function drawCurves() {
  const across = find("across").value;
  const half = Number(find("smoothing").value);
  find("smoothing-text").textContent = half ? `mean of ${2 * half + 1} steps` : "off";
  const common = { across: ACROSS[across], half };
  for (const { chart, panel } of [...charts.panels, ...charts.others]) {
    const lines = panel.sigma ? sigmaLines() : [];
    const series = seriesOf(panel, across);
    chart.draw({ ...panel, ...common, lines, series, legend: legendOf(series) });
  }
  for (const run of report.runs) {
    const chart = charts.stacks.get(run.number);
    chart.host.hidden = !report.shown.has(run.number);
    const title = report.runs.length > 1 ? `Time by phase, ${run.name}` : "Time by phase";
    chart.draw({ title, unit: "seconds per step", stack: true, ...common, series: phases(run, across) });
  }
}

function makeCurves() {
  const add = (room) => {
    const host = make("figure", { className: "panel" });
    room.append(host);
    return new Chart(host);
  };
  for (const run of report.runs) {
    const idle = (run.columns["rollout/slot_use"] || []).map((value) => (value === null ? null : 1 - value));
    run.columns["rollout/slot_idle"] = idle;
  }
  const has = (metric) => report.runs.some((run) => (run.columns[metric] || []).some((value) => value !== null));
  for (const panel of PANELS) {
    const series = panel.series.filter(([metric]) => has(metric));
    if (series.length) charts.panels.push({ chart: add(find("panels")), panel: { ...panel, series } });
  }
  for (const run of report.runs) charts.stacks.set(run.number, add(find("panels")));
  const names = new Set(report.runs.flatMap((run) => Object.keys(run.columns)));
  const others = [...names].filter((name) => (
    has(name) && !known.has(name) && !(name === "step" || name.startsWith("x/"))
  )).sort();
  find("others").hidden = !others.length;
  find("others").addEventListener("toggle", () => {
    if (charts.others.length || !find("others").open) return;
    for (const name of others) {
      const panel = { title: name, unit: "as recorded", series: [[name, name]], dots: name.startsWith("heldout/") };
      charts.others.push({ chart: add(find("others").querySelector(".panels")), panel });
    }
    drawCurves();
  });
  find("smoothing").addEventListener("input", drawCurves);
  find("across").addEventListener("change", drawCurves);
  drawCurves();
}
