// One run: its numbers, where its settings differ, how its forwards are spread, whether its probabilities can be believed, its questions.

async function runView(main, id, query) {
  const run = runById(id) || core.runs[0];
  const other = runById(query.beside) || companion(run);
  const absent = [missing("run", !runById(id) && id, run.run_id), missing("run", !runById(query.beside) && query.beside, other?.run_id)];
  const [block, beside] = await Promise.all([runBlock(run), other ? runBlock(other) : null]);
  const point = known(run.seed) ? runById(run.point) : run;
  const go = (next, to) => { location.hash = href("run", next) + (to ? `?beside=${encodeURIComponent(to)}` : ""); };
  put(main, absent, h("h1", {}, run.label), h("p", { class: "hint" }, run.run || run.run_id, run.oracle ? " · oracle: has seen the answers, never on a front" : "", run.is_baseline ? " · part of the baseline" : ""),
    known(run.seed) ? h("p", { class: "hint" }, "one of the seeds of ", h("a", { href: href("run", point.run_id) }, point.label)) : null,
    h("div", { class: "controls" }, chooser("run", runOptions(), run.run_id, (next) => go(next)),
      other ? chooser("beside", runOptions().filter(([value]) => value !== run.run_id), other.run_id, (next) => go(run.run_id, next)) : null,
      other ? h("a", { href: href("compare", run.run_id, other.run_id) }, "compare question by question") : null),
    h("div", { class: "columns" }, h("section", {}, h("h2", {}, "Measured"), measured(run)), h("section", {}, h("h2", {}, "Settings"), settings(run, block, other, beside))));
  if (point.seeds) put(main, seedTable(point, run), known(run.seed) ? null : ofSeed(run));
  const shapes = h("div", { class: "columns" });
  put(main, shapes);
  drawShapes(shapes, run, block, other, beside);
  put(main, await questionList(run, block, other, beside));
}

function measured(run) {
  const there = onAxis(run), paired = there?.paired, saved = there?.saved, { digits } = axis();
  const rows = core.axes.map((one) => [term(one.key, one.label), fixed(onAxis(run, one)?.x, one.digits), interval(onAxis(run, one)?.x_ci95, one.digits)]);
  if (there) rows.push([`median and 95th percentile of ${axis().unit}`, `${fixed(there.x_median, countDigits(axis()))}, ${fixed(there.x_p95, countDigits(axis()))}`, ""]);
  rows.push([term("accuracy", `accuracy, ${core.accuracy} match (%)`), percent(run.accuracy), interval(run.accuracy_ci95, 1, 100)]);
  if (saved) rows.push([term("saved", `saved at equal accuracy (${axis().unit})`), savedText(saved, digits), interval(saved.ci95, digits, 1, signed)], ["the same, %", shareText(saved), interval(saved.share_ci95, 0, 100, signed)]);
  if (saved?.without) rows.push(["lowest and highest, leaving one baseline run out", "", interval(saved.without, digits, 1, signed)]);
  if (saved) rows.push([term("gained", "points gained at equal cost"), (BOUNDS[saved.gained_at_equal_cost.bound] || "") + signed(100 * saved.gained_at_equal_cost.gained, 1), interval(saved.gained_at_equal_cost.ci95, 1, 100, signed)]);
  if (saved?.note) rows.push(["", h("span", { class: "hint" }, saved.note)]);
  if (!saved && there?.saved_reason) rows.push([term("saved", "saved at equal accuracy"), h("span", { class: "hint" }, there.saved_reason)]);
  if (paired) {
    rows.push(["paired with", h("a", { href: href("run", paired.baseline) }, paired.baseline_label)],
      [term("difference", "accuracy difference (points)"), signed(100 * paired.accuracy_difference, 1), interval(paired.accuracy_difference_ci95, 1, 100, signed)],
      [term("won : lost", `won : lost; p by ${paired.test}`), `${paired.wins} : ${paired.losses}, p ${pValue(paired.mcnemar_p).replace(/^(?=\d)/, "= ")}`], ...(known(paired.mcnemar_p_holm) ? [[term("Holm", `p by Holm, ${paired.compared} runs compared`), pValue(paired.mcnemar_p_holm)]] : []),
      [term("not worse", `less than ${100 * paired.margin} point${paired.margin === 0.01 ? "" : "s"} worse`), paired.non_inferior ? "shown (one-sided 95 %)" : "not shown"],
      ["NFE difference", signed(paired.nfe_difference, 2), interval(paired.nfe_difference_ci95, 2, 1, signed)]);
    if (known(paired.questions_needed)) rows.push(["questions the difference would need", thousands(paired.questions_needed)]);
  }
  const by = run.by_proposal;
  if (by) for (const side of ["right", "wrong"]) {
    const group = by[side];
    const cold = known(group.baseline_accuracy) ? `; baseline ${percent(group.baseline_accuracy)}` : "";
    rows.push([`right where the proposal is ${side} (%)`, percent(group.accuracy), `${interval(group.accuracy_ci95, 1, 100)} of ${group.n}${cold}`]);
  }
  const injected = by?.injected?.all;
  if (injected) rows.push([term("injected", "injected tokens never revoked, on the final canvas (%)"), `${percent(injected.kept)}, ${percent(injected.same)}`, `of ${injected.n}`]);
  return facts(rows);
}

// The seeds that a point is the mean of, how far they lie apart, and the way to each of them.
function seedTable(point, run) {
  const { digits, key, unit } = axis(), rows = seedsOf(point);
  const name = (seed) => (seed === run ? h("b", {}, `seed ${seed.seed}`) : h("a", { href: href("run", seed.run_id) }, `seed ${seed.seed}`));
  const spread = `${fixed(point.seeds.x_sd[key], digits)} ${unit}, ${percent(point.seeds.accuracy_sd)} points of accuracy`;
  return h("section", { id: "seeds" }, h("h2", {}, "Seeds"), h("table", {}, h("thead", {}, h("tr", {}, h("th"), h("th", { class: "number" }, costName(axis())), h("th", { class: "number" }, "accuracy %"))),
    h("tbody", {}, rows.map((seed) => h("tr", {}, h("td", {}, name(seed)), h("td", { class: "number" }, `${fixed(onAxis(seed)?.x, digits)} ${interval(onAxis(seed)?.x_ci95, digits)}`), h("td", { class: "number" }, `${percent(seed.accuracy)} ${interval(seed.accuracy_ci95, 1, 100)}`))))),
    h("p", { class: "hint" }, "Standard deviation between ", term("seed", "seeds"), `: ${spread}. The point's intervals are those of questions and seeds together.`));
}

function settings(run, block, other, beside) {
  const text = (value) => (value === null || value === undefined ? NONE : String(value));
  const keys = Object.keys(block.settings).filter((key) => key !== "seed" || !run.seeds); // a point of several has none
  const differ = keys.filter((key) => beside && text(block.settings[key]) !== text(beside.settings[key]));
  const table = h("table", { class: "facts" }, h("thead", {}, h("tr", {}, h("th"), h("th", {}, "this run"), h("th", {}, "beside"))),
    h("tbody", {}, differ.map((key) => h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, text(block.settings[key])), h("td", { class: "soft" }, text(beside.settings[key]))))));
  return h("div", {}, differ.length ? table : h("p", { class: "hint" }, beside ? "The same as beside." : "Nothing to set it beside."),
    h("details", {}, h("summary", { class: "hint" }, `all ${keys.length} settings`), facts(keys.map((key) => [key, text(block.settings[key])]))));
}

function drawShapes(parent, run, block, other, beside) {
  const panel = (title, note, figure, words = []) => {
    const plot = h("div", { class: "plot small" });
    parent.append(h("section", {}, h("h2", {}, title), plot, note ? h("p", { class: "hint" }, note, words.length ? [" Words: ", words.flatMap((word, i) => [i ? ", " : "", term(word)]), "."] : null) : null));
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
  if (confidence) panel("Can the backbone's confidence be believed?", `At masked positions, of what it put there. ${truth(confidence)} On the dotted line a probability is the share of what is right.`, () => reliability(levels(confidence)), ["confidence", "ECE"]);
  else absent("Can the backbone's confidence be believed?", "These records do not say with what confidence tokens were committed.");
  if (score) panel("Can the backbone be believed about tokens it sees?", `Its probability of every proposed token, read before any was kept. ${truth(score)}`, () => reliability(levels(score)), ["ECE"]);
  const fitted = calibrated ? [
    { name: "every token, calibrated", level: calibrated.tokens, colour: "--kept", symbol: "diamond", independent: false },
    { name: "behind right ones, calibrated", level: calibrated.behind_right, colour: "--revoked", symbol: "triangle-down", independent: false },
  ] : [];
  if (trust) panel("Can the proposal's trust be believed?", `The probabilities of its author. ${truth(trust)}`, () => reliability([...levels(trust), ...fitted]), ["trust", "ECE"]);
  else if (run.by_proposal) absent("Can the proposal's trust be believed?", "Its author gave no probabilities.");
  const { survival } = block;
  if (survival) panel("Which injected tokens stand in the end?", `${survival.truth === "token" ? byToken : "A token counts as right where its proposal's answer is"}.${survival.trusted ? "" : " Their author gave no probabilities: all have trust 1."}`, () => survivalCurves(survival), ["injected", "trust", "revoked"]);
}

// Links to the decodes in this file: what this run won and lost against the one beside it, then the rest.
async function questionList(run, block, other, beside) {
  const set = await setBlock(run), places = other && new Map((await setBlock(other)).ids.map((id, j) => [id, j]));
  const rows = block.rows.filter((row) => row.ids), n = set.ids.length;
  const right = (row) => block.correct[row.q] === "1";
  const change = (row) => { const j = places?.get(set.ids[row.q]); return j === undefined ? 0 : right(row) - (beside.correct[j] === "1"); };
  const said = !rows.length ? "None: these records do not hold them." : rows.length < n ? `${rows.length} of ${n} questions are in this file, taken in an order that puts those first on which runs differ from the baseline; the others are in the run's records.jsonl.` : `All ${n} questions.`;
  const groups = [["only this run is right", rows.filter((row) => change(row) > 0)], ["only the one beside is right", rows.filter((row) => change(row) < 0)], ["the same", rows.filter((row) => !change(row))]];
  const box = h("div", { id: "decodes" });
  const fill = (typed) => {
    const words = wordsOf(typed), found = (row) => hasWords(words, set.ids[row.q], set.questions[row.q], set.targets[row.q], row.response, row.proposal);
    const left = groups.map(([title, members]) => [title, members.filter(found)]);
    box.replaceChildren(...left.filter(([, members]) => members.length).map(([title, members]) => chips(title, members, run, set, right)));
    if (words.length && !left.some(([, members]) => members.length)) box.append(h("p", { class: "hint" }, "No question here has these words."));
  };
  fill("");
  const table = () => csv([["id", "target", "right", "NFE", "proposal right"], ...set.ids.map((id, i) => [id, set.targets[i], Number(block.correct[i]), block.nfe[i], block.proposal ? Number(block.proposal[i]) : null])]);
  return h("section", {}, h("h2", {}, "Decodes"), h("p", { class: "hint" }, said), rows.length ? h("div", { class: "controls" }, searchBox("look for a question, an answer or a proposal", fill)) : null, box,
    saveButtons([["CSV", "every question of this run: right or wrong, and its forwards", () => save(`${run.run_id}.csv`, table(), "text/csv")]]));
}

function chips(title, rows, run, set, right, length = 48) {
  const link = (row) => h("a", { href: href("decode", run.run_id, set.ids[row.q]), title: set.questions[row.q] }, h("span", { class: right(row) ? "good" : "bad" }, right(row) ? "✓" : "✗"), ` ${set.ids[row.q]}`);
  const box = h("div", { class: "chips" }, rows.slice(0, length).map(link));
  if (rows.length > length) put(box, h("button", { type: "button", onclick: (event) => { event.target.remove(); put(box, rows.slice(length).map(link)); } }, `${rows.length - length} more`));
  return h("div", {}, h("h3", {}, `${title} (${rows.length})`), box);
}
