// One run: its numbers, where its settings differ, how its forwards are spread, whether its probabilities can be believed, its questions.

async function runView(main, id, query) {
  const run = runById(id) || core.runs[0];
  const other = runById(query.beside) || companion(run);
  const [block, beside] = await Promise.all([runBlock(run), other ? runBlock(other) : null]);
  const go = (next, to) => { location.hash = href("run", next) + (to ? `?beside=${encodeURIComponent(to)}` : ""); };
  put(main, h("h1", {}, run.label), h("p", { class: "hint" }, run.run_id, run.oracle ? " · oracle: has seen the answers, never on a front" : "", run.is_baseline ? " · part of the baseline" : ""),
    h("div", { class: "controls" }, picker("run", runOptions(), run.run_id, (next) => go(next)),
      other ? picker("beside", runOptions().filter(([value]) => value !== run.run_id), other.run_id, (next) => go(run.run_id, next)) : null,
      other ? h("a", { href: href("compare", run.run_id, other.run_id) }, "compare question by question") : null),
    h("div", { class: "columns" }, h("section", {}, h("h2", {}, "Measured"), measured(run)), h("section", {}, h("h2", {}, "Settings"), settings(run, block, other, beside))));
  const shapes = h("div", { class: "columns" });
  put(main, shapes);
  drawShapes(shapes, run, block, other, beside);
  put(main, await questionList(run, block, other, beside));
}

function measured(run) {
  const there = onAxis(run), paired = there?.paired, saved = there?.saved, { digits } = axis();
  const rows = core.axes.map((one) => [one.label, fixed(one.runs[run.run_id]?.x, one.digits), interval(one.runs[run.run_id]?.x_ci95, one.digits)]);
  if (there) rows.push([`median and 95th percentile of ${axis().unit}`, `${fixed(there.x_median, digits)}, ${fixed(there.x_p95, digits)}`, ""]);
  rows.push([`accuracy, ${core.accuracy} match (%)`, percent(run.accuracy), interval(run.accuracy_ci95, 1, 100)]);
  if (saved) rows.push([`saved at equal accuracy (${axis().unit})`, savedText(saved, digits), interval(saved.ci95, digits)], ["the same, %", percent(saved.saved_share), interval(saved.share_ci95, 1, 100)]);
  if (saved?.without) rows.push(["lowest and highest, leaving one baseline run out", "", interval(saved.without, digits)]);
  if (saved) rows.push(["points gained at equal cost", signed(100 * saved.gained_at_equal_cost.gained, 1), interval(saved.gained_at_equal_cost.ci95, 1, 100)]);
  if (saved?.note) rows.push(["", h("span", { class: "hint" }, saved.note)]);
  if (!saved && there?.saved_reason) rows.push(["saved at equal accuracy", h("span", { class: "hint" }, there.saved_reason)]);
  if (paired) {
    rows.push(["paired with", h("a", { href: href("run", paired.baseline) }, paired.baseline_label)],
      ["accuracy difference (points)", signed(100 * paired.accuracy_difference, 1), interval(paired.accuracy_difference_ci95, 1, 100)],
      ["won : lost, exact McNemar p", `${paired.wins} : ${paired.losses}, p ${pValue(paired.mcnemar_p).replace(/^(?=\d)/, "= ")}`], ...(known(paired.mcnemar_p_holm) ? [[`p by Holm, ${paired.compared} runs compared`, pValue(paired.mcnemar_p_holm)]] : []),
      [`less than ${100 * paired.margin} point${paired.margin === 0.01 ? "" : "s"} worse`, paired.non_inferior ? "shown (one-sided 95 %)" : "not shown"],
      ["NFE difference", signed(paired.nfe_difference, 2), interval(paired.nfe_difference_ci95, 2)]);
    if (known(paired.questions_needed)) rows.push(["questions the difference would need", String(paired.questions_needed)]);
  }
  const by = run.by_proposal;
  if (by) for (const side of ["right", "wrong"]) {
    const group = by[side];
    const cold = known(group.baseline_accuracy) ? `; baseline ${percent(group.baseline_accuracy)}` : "";
    rows.push([`right where the proposal is ${side} (%)`, percent(group.accuracy), `${interval(group.accuracy_ci95, 1, 100)} of ${group.n}${cold}`]);
  }
  const injected = by?.injected?.all;
  if (injected) rows.push(["injected tokens never revoked, on the final canvas (%)", `${percent(injected.kept)}, ${percent(injected.same)}`, `of ${injected.n}`]);
  return facts(rows);
}

function settings(run, block, other, beside) {
  const text = (value) => (value === null || value === undefined ? NONE : String(value));
  const keys = Object.keys(block.settings);
  const differ = keys.filter((key) => beside && text(block.settings[key]) !== text(beside.settings[key]));
  const table = h("table", { class: "facts" }, h("thead", {}, h("tr", {}, h("th"), h("th", {}, "this run"), h("th", {}, "beside"))),
    h("tbody", {}, differ.map((key) => h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, text(block.settings[key])), h("td", { class: "soft" }, text(beside.settings[key]))))));
  return h("div", {}, differ.length ? table : h("p", { class: "hint" }, beside ? "The same as beside." : "Nothing to set it beside."),
    h("details", {}, h("summary", { class: "hint" }, `all ${keys.length} settings`), facts(keys.map((key) => [key, text(block.settings[key])]))));
}

function drawShapes(parent, run, block, other, beside) {
  const panel = (title, note, figure) => {
    const plot = h("div", { class: "plot small" });
    parent.append(h("section", {}, h("h2", {}, title), plot, note ? h("p", { class: "hint" }, note) : null));
    chart(plot, figure);
  };
  const series = () => [{ name: "this run", values: block.nfe, colour: "--cold" }, ...(beside ? [{ name: "beside", values: beside.nfe, colour: "--undone" }] : [])];
  panel("Forwards per question", null, () => histogram(series(), "NFE"));
  if (block.readout) panel("What the canvas says after each forward", "Masked positions are left out of the text; finished questions keep their last answer. At 0 stands what the start put there.", () => readoutCurves(block.readout, beside?.readout));
  const levels = (found) => [
    { name: "weakest token of a text", level: found.answers, colour: "--cold", symbol: "circle", independent: true },
    { name: "every token", level: found.tokens, colour: "--undone", symbol: "square", independent: false },
    { name: "token behind right ones", level: found.behind_right, colour: "--again", symbol: "triangle-up", independent: false },
  ];
  const { confidence, trust, calibrated, score } = block.calibration || {};
  const byToken = "A token is right as long as the text up to it begins a correct solution";
  const truth = (found) => `${found.truth === "token" ? byToken : "A token counts as right where its text's answer is"}; a text, where its answer is.`;
  const absent = (title, why) => parent.append(h("section", {}, h("h2", {}, title), h("p", { class: "hint" }, why)));
  if (confidence) panel("Can the backbone's confidence be believed?", `At masked positions, of what it put there. ${truth(confidence)} On the dotted line a probability is the share of what is right.`, () => reliability(levels(confidence)));
  else absent("Can the backbone's confidence be believed?", "These records do not say with what confidence tokens were committed.");
  if (score) panel("Can the backbone be believed about tokens it sees?", `Its probability of every proposed token, read before any was kept. ${truth(score)}`, () => reliability(levels(score)));
  const fitted = calibrated ? [
    { name: "every token, calibrated", level: calibrated.tokens, colour: "--kept", symbol: "diamond", independent: false },
    { name: "behind right ones, calibrated", level: calibrated.behind_right, colour: "--revoked", symbol: "triangle-down", independent: false },
  ] : [];
  if (trust) panel("Can the proposal's trust be believed?", `The probabilities of its author. ${truth(trust)}`, () => reliability([...levels(trust), ...fitted]));
  else if (run.by_proposal) absent("Can the proposal's trust be believed?", "Its author gave no probabilities.");
  const { survival } = block;
  if (survival) panel("Which injected tokens stand in the end?", `${survival.truth === "token" ? byToken : "A token counts as right where its proposal's answer is"}.${survival.trusted ? "" : " Their author gave no probabilities: all have trust 1."}`, () => survivalCurves(survival));
}

// Links to the decodes in this file: what this run won and lost against the one beside it, then the rest.
async function questionList(run, block, other, beside) {
  const set = await setBlock(run), places = other && new Map((await setBlock(other)).ids.map((id, j) => [id, j]));
  const rows = block.rows.filter((row) => row.ids), n = set.ids.length;
  const right = (row) => block.correct[row.q] === "1";
  const change = (row) => { const j = places?.get(set.ids[row.q]); return j === undefined ? 0 : right(row) - (beside.correct[j] === "1"); };
  const said = !rows.length ? "None: these records do not hold them." : rows.length < n ? `${rows.length} of ${n} questions are in this file, taken in an order that puts those first on which runs differ from the baseline; the others are in the run's records.jsonl.` : `All ${n} questions.`;
  const groups = [["only this run is right", rows.filter((row) => change(row) > 0)], ["only the one beside is right", rows.filter((row) => change(row) < 0)], ["the same", rows.filter((row) => !change(row))]];
  return h("section", {}, h("h2", {}, "Decodes"), h("p", { class: "hint" }, said), groups.map(([title, members]) => members.length ? chips(title, members, run, set, right) : null));
}

function chips(title, rows, run, set, right, length = 48) {
  const link = (row) => h("a", { href: href("decode", run.run_id, set.ids[row.q]), title: set.questions[row.q] }, h("span", { class: right(row) ? "good" : "bad" }, right(row) ? "✓" : "✗"), ` ${set.ids[row.q]}`);
  const box = h("div", { class: "chips" }, rows.slice(0, length).map(link));
  if (rows.length > length) put(box, h("button", { type: "button", onclick: (event) => { event.target.remove(); put(box, rows.slice(length).map(link)); } }, `${rows.length - length} more`));
  return h("div", {}, h("h3", {}, `${title} (${rows.length})`), box);
}
