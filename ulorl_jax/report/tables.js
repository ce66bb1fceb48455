// Warnings, and tables with a column per run: config, environment, summary.

const LOOKED_AT = "Entropy against its bounds, outputs without a verdict, skipped updates, values that are not finite, "
  + "the mismatch of sampler and trainer, evictions, steps without an informative group, and whether the run was stopped.";

function makeFindings() {
  const all = report.runs.flatMap((run) => run.findings.map((finding) => [...finding, run]));
  const warnings = all.filter(([level]) => level === "warning").length;
  if (warnings) find("tab-findings").append(make("span", { className: "badge" }, String(warnings)));
  const notes = report.remarks.map((text) => make("p", { className: "remark" }, text));
  const drawn = all.map(([level, title, text, run]) => {
    const swatch = make("span", { className: "swatch" });
    swatch.style.background = color(run.number);
    const head = make("h3", {}, make("span", { className: `level ${level}` }, level), title);
    const of = report.runs.length > 1 ? make("p", { className: "of-run" }, swatch, run.name) : null;
    return make("div", { className: "finding" }, head, of, make("p", {}, text));
  });
  const bounds = report.runs.filter((run) => run.entropy_bounds).map((run) => {
    const [low, high, why] = run.entropy_bounds;
    return make("p", {}, `Entropy of ${run.name}: ${formatNumber(low)} to ${formatNumber(high)} nats, because ${why}.`);
  });
  const looked = make("div", { className: "bounds" }, make("h3", {}, "What is looked at"), make("p", {}, LOOKED_AT), ...bounds);
  if (!drawn.length) drawn.push(make("p", {}, "Nothing stands out."));
  find("findings").replaceChildren(...notes, ...drawn, looked);
}

// {a: {b: 1}} as {"a.b": 1}; lists and empty objects are values.
function flatten(values, prefix = "", out = {}) {
  for (const [name, value] of Object.entries(values)) {
    const isObject = value !== null && typeof value === "object" && !Array.isArray(value);
    if (isObject && Object.keys(value).length) flatten(value, `${prefix}${name}.`, out);
    else out[prefix + name] = value;
  }
  return out;
}

const written = (value) => (value === undefined ? "–" : typeof value === "string" ? value || '""' : JSON.stringify(value));

// A table of names and each run's value; null where no row is left.
function valueTable(caption, runs, valuesOf, keep, mark = true) {
  const columns = runs.map((run) => flatten(valuesOf(run)));
  const names = [...new Set(columns.flatMap(Object.keys))];
  const rows = names
    .map((name) => [name, columns.map((values) => written(values[name]))])
    .filter(([name, values]) => keep(name, values));
  if (!rows.length) return null;
  const head = make("tr", {}, make("th", { scope: "col" }, "key"), ...runs.map((run) => make("th", { scope: "col" }, run.name)));
  const body = rows.map(([name, values]) => {
    const cells = values.map((value) => make("td", {}, value));
    const row = make("tr", {}, make("th", { scope: "row" }, name), ...cells);
    if (mark && new Set(values).size > 1) row.classList.add("differs");
    return row;
  });
  const table = make("table", {}, make("caption", {}, caption), make("thead", {}, head), make("tbody", {}, ...body));
  return make("div", { className: "table" }, table);
}

function drawTables() {
  const runs = shownRuns();
  const wanted = find("key-filter").value.trim().toLowerCase();
  const matches = (name) => name.toLowerCase().includes(wanted);
  const differs = (name, values) => matches(name) && new Set(values).size > 1;
  const tables = [];
  if (runs.length > 1) {
    const none = make("p", {}, "The configurations of the runs shown do not differ.");
    tables.push(valueTable("Differences", runs, (run) => run.config, differs) || (wanted ? null : none));
  }
  tables.push(
    valueTable("Environment", runs, (run) => run.environment, matches),
    runs.some((run) => Object.keys(run.environment).length) || wanted
      ? null
      : make("p", {}, "The environment is not recorded: the run has no summary.json yet, or is older than this record."),
    valueTable("Summary", runs, (run) => run.summary, matches, false),
    valueTable("Configuration", runs, (run) => run.config, matches),
  );
  find("tables").replaceChildren(...tables.filter((table) => table));
}

function makeTables() {
  find("key-filter").addEventListener("input", drawTables);
  drawTables();
}
