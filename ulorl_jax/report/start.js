// Opens the page: curves first; samples are unpacked when somebody looks at them.

function redraw() {
  drawCurves();
  drawTables();
  if (report.table?.step) applyFilters();
}

async function start() {
  const about = await unpack("about");
  report.runs = about.runs.map((run, number) => ({ ...run, number }));
  report.texts = about.texts;
  report.remarks = about.remarks;
  report.shown = new Set(report.runs.map((run) => run.number));
  makeRunSwitches(redraw);
  makeFindings();
  makeTables();
  makeTabs((tab) => tab === "rollouts" && openRollouts().catch(fail));
  makeCurves();
  document.documentElement.dataset.ready = "true";
  performance.mark("ready");
}

function fail(error) {
  find("failure").hidden = false;
  find("failure").textContent = `The page cannot be drawn: ${error}. It needs a browser of 2023 or later.`;
  throw error;
}

start().catch(fail);
