// One sample: verdict, its group, and its tokens in colour.

const CHUNK = 4000; // tokens put into the document at once
const FULL = { probability: 3, entropy: 2 }; // nats at which the colour is strongest
const view = { i: -1, sample: null, color: "segment", at: -1, shown: 0, segments: [], mastered: new Set() };

const hasNumbers = (values) => Boolean(values) && values.some((value) => value !== null);
const COLORINGS = {
  segment: { text: "segment and policy step", known: () => true },
  probability: { text: "probability, sampler", known: (sample) => hasNumbers(sample.logp) },
  policy: { text: "probability, policy at the update", known: (sample) => hasNumbers(sample.policy_logp) },
  entropy: { text: "entropy", known: (sample) => hasNumbers(sample.entropy) },
  mastered: { text: "mastered and left out (MPT)", known: (sample) => sample.mastered !== undefined },
  none: { text: "nothing", known: () => true },
};

async function showSample(i) {
  view.i = i;
  const sample = await inFull(i);
  if (view.i !== i) return; // another one was chosen meanwhile
  Object.assign(view, { sample, at: -1, shown: 0, mastered: new Set(sample.mastered) });
  view.segments = sample.segments.flatMap(([, , count], number) => Array(count).fill(number));
  const tokens = make("div", { id: "tokens", tabIndex: 0, role: "application" });
  tokens.setAttribute("aria-label", "Tokens of the output; arrow keys go from one to the next");
  tokens.addEventListener("pointerover", (event) => event.target.dataset.i && tell(Number(event.target.dataset.i), event));
  tokens.addEventListener("pointerleave", leave);
  tokens.addEventListener("blur", leave);
  tokens.addEventListener("keydown", pressTokens);
  find("sample").replaceChildren(...about(i, sample), coloringSwitch(sample), make("div", { id: "legend" }), tokens);
  find("sample").dataset.sample = report.table.sample[i];
  hideTip();
  moreTokens();
  paint();
}

function about(i, sample) {
  const { table } = report;
  const fact = (name, value, kind = "") => make("span", { className: `fact ${kind}` }, `${name} `, make("b", {}, value));
  const reward = table.reward[i];
  const facts = [
    fact("reward", rewardText(reward), reward === null ? "bad" : reward > 0 ? "good" : "wrong"),
    fact("tokens", table.tokens[i].toLocaleString("en")),
    fact("ended by", table.finished[i] || "–"),
    table.use[i] === null ? null : fact("use", table.use[i]),
    sample.advantage === undefined ? null : fact("advantage", formatNumber(sample.advantage)),
    table.entropy[i] === null ? null : fact("mean entropy", `${formatNumber(table.entropy[i])} nats`),
    table.masked[i] === null ? null : fact("mastered tokens left out", table.masked[i] ? "yes" : "no"),
  ];
  const run = report.runs.length > 1 ? `${report.runs[table.run[i]].name}, ` : "";
  const of = sample.source ? `, question ${sample.source}` : "";
  const pairs = [["Question", sample.question], ["Reference", sample.reference], ["Verdict", sample.reason || "–"]];
  return [
    make("h2", {}, `${run}step ${table.step[i]}, sample ${table.sample[i]}${of}`),
    make("div", { className: "facts" }, ...facts),
    make("dl", {}, ...pairs.flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])),
    make("details", {}, make("summary", {}, "Prompt as the policy reads it"), make("pre", {}, sample.prompt)),
    groupOf(i),
  ];
}

// The samples of the same group, as buttons.
function groupOf(i) {
  const { table } = report;
  const members = [];
  for (let j = 0; j < table.step.length; j++) {
    if (table.group[j] === table.group[i] && table.run[j] === table.run[i]) members.push(j);
  }
  const buttons = members.map((j) => {
    const text = `${table.sample[j]}: ${rewardText(table.reward[j])}, ${table.tokens[j]} tokens`;
    const button = make("button", { type: "button", className: "member", disabled: j === i }, text);
    button.dataset.reward = rewardText(table.reward[j]);
    button.dataset.sample = table.sample[j];
    button.addEventListener("click", () => chooseSample(j));
    return button;
  });
  const alone = members.length === 1 ? " (no other sample of it was recorded)" : "";
  const name = make("span", { className: "group-name" }, `Group ${table.group[i]}${alone}`);
  return make("div", { className: "group", role: "group", "aria-label": "Samples of the group" }, name, ...buttons);
}

function coloringSwitch(sample) {
  const select = make("select", { id: "coloring" });
  for (const [name, { text, known }] of Object.entries(COLORINGS)) {
    const there = known(sample);
    select.append(make("option", { value: name, disabled: !there }, there ? text : `${text} (not recorded)`));
  }
  select.value = COLORINGS[view.color].known(sample) ? view.color : "segment";
  select.addEventListener("change", () => {
    view.color = select.value;
    paint();
  });
  return make("label", { className: "coloring" }, "Colour tokens by ", select);
}

// Line ends are shown, and break the line.
const visible = (text) => text.replaceAll("\r", "␍").replaceAll("\t", "⇥\t").replaceAll("\n", "↵\n");

function moreTokens() {
  const { sample } = view;
  const [room, texts] = [find("tokens"), report.texts[report.table.run[view.i]]];
  room.querySelector(".more")?.remove();
  const last = Math.min(sample.tokens.length, view.shown + CHUNK);
  const part = make("div", { className: "part" });
  for (let i = view.shown; i < last; i++) {
    const span = make("span", { className: "token" }, visible(pieceText(sample, texts, i)) || "·");
    span.dataset.i = i;
    part.append(span);
  }
  room.append(part);
  view.shown = last;
  if (last === sample.tokens.length) return;
  const left = (sample.tokens.length - last).toLocaleString("en");
  const more = make("button", { type: "button", className: "more" }, `Show more: ${left} tokens are left`);
  more.addEventListener("click", () => {
    moreTokens();
    paint();
  });
  room.append(more);
}

// Class and strength of a token's colour.
function shade(i, by) {
  const { sample } = view;
  if (by === "segment") return [`segment-${view.segments[i] % 6}`, 0.3];
  if (by === "mastered") {
    if (!view.mastered.has(i)) return ["", 0];
    return sample.masked ? ["left-out", 0.45] : ["mastered", 0.35];
  }
  const values = { probability: sample.logp, policy: sample.policy_logp, entropy: sample.entropy }[by];
  if (!values) return ["", 0];
  if (values[i] === null) return ["unknown", 0];
  const nats = by === "entropy" ? values[i] / FULL.entropy : -values[i] / FULL.probability;
  return [by === "entropy" ? "entropy" : "unlikely", 0.75 * Math.min(1, Math.max(0, nats))];
}

function paint() {
  const by = find("coloring").value;
  for (const span of find("tokens").querySelectorAll(".token")) {
    const [kind, strength] = shade(Number(span.dataset.i), by);
    span.className = `token ${kind}`;
    span.style.setProperty("--strength", `${Math.round(100 * strength)}%`);
  }
  find("tokens").dataset.coloring = by;
  drawLegend(by);
}

function drawLegend(by) {
  const entry = (kind, strength, text) => {
    const mark = make("span", { className: `token ${kind}` }, "  ");
    mark.style.setProperty("--strength", `${100 * strength}%`);
    return make("span", { className: "entry" }, mark, text);
  };
  const scale = (kind, text) => [0, 0.2, 0.4, 0.75].map((strength, i) => entry(kind, strength, text[i]));
  const entries = {
    segment: () => view.sample.segments.map(([step, kv, count], i) => (
      entry(`segment-${i % 6}`, 0.3, `${i + 1}: policy step ${step}, ${count} tokens, cache: ${kv}`))),
    probability: () => scale("unlikely", ["p = 1", "0.45", "0.2", "0.05 or less"]),
    policy: () => scale("unlikely", ["p = 1", "0.45", "0.2", "0.05 or less"]),
    entropy: () => scale("entropy", ["0 nats", "0.5", "1.1", "2 or more"]),
    mastered: () => [entry("mastered", 0.35, "mastered, trained"), entry("left-out", 0.45, "mastered, left out of the loss")],
    none: () => [],
  }[by]();
  find("legend").replaceChildren(...entries);
}

function tell(i, place) {
  const { sample } = view;
  const [step, kv] = sample.segments[view.segments[i]];
  const nats = (value) => (value == null ? "–" : `${formatNumber(value)} nats, p = ${formatNumber(Math.exp(value))}`);
  const lines = [
    make("div", { className: "tip-title" }, `token ${i}: ${JSON.stringify(pieceText(sample, report.texts[report.table.run[view.i]], i))}`),
    tipLine(null, "id", String(sample.tokens[i])),
    tipLine(null, "log-prob, sampler", nats(sample.logp[i])),
  ];
  if (sample.policy_logp) lines.push(tipLine(null, "log-prob, policy", nats(sample.policy_logp[i])));
  if (sample.entropy) lines.push(tipLine(null, "entropy", `${formatNumber(sample.entropy[i])} nats`));
  lines.push(tipLine(null, "segment", `${view.segments[i] + 1} of ${sample.segments.length}, cache: ${kv}`));
  lines.push(tipLine(null, "policy step", String(step)));
  if (view.mastered.has(i)) lines.push(tipLine(null, "mastered", sample.masked ? "left out of the loss" : "trained"));
  find("tokens").querySelector(".at")?.classList.remove("at");
  tokenAt(i).classList.add("at");
  view.at = i;
  showTip(lines, place.clientX, place.clientY);
}

const tokenAt = (i) => find("tokens").querySelector(`[data-i="${i}"]`);

function pressTokens(event) {
  if (event.key === "Escape") return leave();
  const to = { ArrowRight: view.at + 1, ArrowLeft: view.at - 1, Home: 0, End: view.shown - 1 }[event.key];
  if (to === undefined || event.target.tagName === "BUTTON") return;
  event.preventDefault();
  const i = Math.min(view.shown - 1, Math.max(0, to));
  tokenAt(i).scrollIntoView({ block: "nearest" });
  const box = tokenAt(i).getBoundingClientRect();
  tell(i, { clientX: box.left, clientY: box.bottom });
}

function leave() {
  find("tokens")?.querySelector(".at")?.classList.remove("at");
  view.at = -1;
  hideTip();
}
