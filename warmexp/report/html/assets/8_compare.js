// Two runs, question by question: who got what right, what it cost, and the texts behind every flip.

const PAGE = 30;

async function compareView(main, a, b, query) {
  const one = runById(a) || groupRuns().find((run) => baselineOf(run) && onAxis(run).on_front) || groupRuns().find(baselineOf) || core.runs[0];
  const two = runById(b) || companion(one);
  if (!two) {
    put(main, h("h1", {}, "Compare"), h("p", {}, "There is only one run here."));
    return;
  }
  const [first, second, firstSet, secondSet] = await Promise.all([runBlock(one), runBlock(two), setBlock(one), setBlock(two)]);
  const pairs = shared(one, two, first, second, firstSet, secondSet);
  const [left, right] = [leaf(one), two && leaf(two)];
  const go = (x, y) => { location.hash = href("compare", x, y); };
  put(main, missing("run", !runById(a) && a, one.run_id), missing("run", !runById(b) && b, two.run_id), h("h1", {}, "Question by question"),
    h("div", { class: "controls" }, chooser("A", runOptions(true), left.run_id, (next) => go(next, two.run_id)), chooser("B", runOptions(true), right.run_id, (next) => go(one.run_id, next)),
      h("button", { type: "button", onclick: () => go(two.run_id, one.run_id) }, "swap")));
  put(main, ofSeed(one), ofSeed(two));
  if (one.set !== two.set) put(main, h("p", { class: "notice" }, `A and B ran on different questions: only the ${pairs.length} that share an id are compared.`));
  if (!pairs.length) return;
  const table = () => csv([["id", "target", "A right", "B right", "NFE of A less NFE of B"], ...pairs.map((pair) => [pair.id, firstSet.targets[pair.i], Number(pair.a), Number(pair.b), pair.nfe])]);
  const won = pairs.filter((pair) => pair.a && !pair.b), lost = pairs.filter((pair) => !pair.a && pair.b);
  const plot = h("div", { class: "plot small" });
  put(main, h("div", { class: "columns" }, h("section", {}, h("h2", {}, "A against B"), verdict(pairs, won, lost),
    saveButtons([["CSV", "every question that both answered", () => save(`${left.run_id}-against-${right.run_id}.csv`, table(), "text/csv")]])), h("section", {}, h("h2", {}, "Forwards, A minus B, per question"), plot)));
  chart(plot, () => histogram([{ name: "A − B", values: pairs.map((pair) => pair.nfe), colour: "--cold" }], "NFE of A minus NFE of B"));
  flips(main, { one: left, two: right, first, second, set: firstSet }, won, lost, query.show);
}

function shared(one, two, first, second, firstSet, secondSet) {
  const places = new Map(secondSet.ids.map((id, i) => [id, i]));
  return firstSet.ids.map((id, i) => [id, i, places.get(id)]).filter(([, , j]) => j !== undefined)
    .map(([id, i, j]) => ({ id, i, j, a: first.correct[i] === "1", b: second.correct[j] === "1", nfe: first.nfe[i] - second.nfe[j] }));
}

function verdict(pairs, won, lost) {
  const both = pairs.filter((pair) => pair.a && pair.b).length, n = pairs.length;
  const cost = meanDifference(pairs.map((pair) => pair.nfe));
  const accuracy = meanDifference(pairs.map((pair) => pair.a - pair.b));
  return facts([
    ["questions", String(n)], ["both right", String(both)], ["only A right", String(won.length)], ["only B right", String(lost.length)],
    ["neither right", String(n - both - won.length - lost.length)], ["exact McNemar p", pValue(mcnemar(won.length, lost.length))],
    ["accuracy, A − B (points)", signed(100 * accuracy.mean, 1), interval(accuracy.ci95, 1, 100, signed)],
    ["NFE, A − B", signed(cost.mean, 2), interval(cost.ci95, 2, 1, signed)],
    ["", h("span", { class: "hint" }, "95 % intervals of paired differences, normal approximation")],
  ]);
}

function flips(main, both, won, lost, show) {
  const list = h("div", { id: "flips" });
  const choices = [["won", `only A right (${won.length})`], ["lost", `only B right (${lost.length})`]];
  let shown = show === "lost" || (!won.length && lost.length) ? "lost" : "won";
  const bar = h("div", { class: "controls" });
  let words = [];
  const fill = (length = PAGE) => {
    const pairs = shown === "won" ? won : lost;
    const rows = [new Map(both.first.rows.map((row) => [row.q, row])), new Map(both.second.rows.map((row) => [row.q, row]))];
    const about = (pair) => [pair.id, both.set.questions[pair.i], both.set.targets[pair.i], rows[0].get(pair.i)?.response, rows[1].get(pair.j)?.response];
    const found = pairs.filter((pair) => hasWords(words, ...about(pair)));
    const known = found.sort((x, y) => rows[0].has(y.i) - rows[0].has(x.i)); // those with texts first
    bar.replaceChildren(segmented("Which flips", choices, shown, (next) => { shown = next; fill(); history.replaceState(null, "", `${href("compare", both.one.run_id, both.two.run_id)}?show=${shown}`); }));
    list.replaceChildren(...known.slice(0, length).map((pair) => flip(pair, both, rows[0].get(pair.i), rows[1].get(pair.j))),
      found.length ? "" : h("p", { class: "hint" }, pairs.length ? "None with these words." : "None."),
      found.length > length ? h("button", { type: "button", onclick: () => fill(length + 3 * PAGE) }, `show more (${found.length - length} left)`) : "");
  };
  fill();
  put(main, h("h2", {}, "Questions that flipped"), bar, h("div", { class: "controls" }, searchBox("look for a question or an answer", (typed) => { words = wordsOf(typed); fill(); })), list);
}

function flip(pair, { one, two, first, second, set }, a, b) {
  const proposal = (block, row, i) => row?.proposal === undefined || !block.proposal ? null : [row.proposal, block.proposal[i] === "1"];
  const proposals = [proposal(first, a, pair.i), proposal(second, b, pair.j)];
  if (proposals[0] && proposals[1] && proposals[0][0] === proposals[1][0]) proposals[1] = null; // the same proposer: say it once
  const both = proposals[0] && proposals[1], [left, right] = differing(a?.response, b?.response);
  const parts = [
    ...proposals.map((p, i) => p && textPart(both ? `Proposal of ${"AB"[i]}` : "Proposal", p[0], p[1])),
    textPart("A", left, pair.a, a?.ids && href("decode", one.run_id, pair.id)),
    textPart("B", right, pair.b, b?.ids && href("decode", two.run_id, pair.id)),
  ];
  return h("article", { class: "flip", "data-question": pair.id },
    h("header", {}, h("b", {}, pair.id), h("span", {}, "target ", h("b", {}, set.targets[pair.i])), h("span", { class: "hint" }, `NFE A − B: ${signed(pair.nfe, 0)}`)),
    h("p", { class: "question" }, set.questions[pair.i]), h("div", { class: "texts" }, parts));
}

function textPart(name, text, right, link) {
  return h("section", {}, h("h3", {}, name, " ", h("span", { class: `tag ${right ? "good" : "bad"}` }, right ? "right" : "wrong"), link ? [" ", h("a", { href: link }, "decode")] : null),
    h("p", { class: "text" }, Array.isArray(text) ? text : known(text) ? text.trim() || "(empty)" : h("span", { class: "hint" }, "not in this file; see the run's records.jsonl")));
}

// Both texts with the words marked that are not in a longest common subsequence of the two.
function differing(a, b) {
  if (!known(a) || !known(b)) return [a, b];
  const [x, y] = [a, b].map((text) => text.trim().split(/(?<=\s)|(?=\s)/));
  if (x.length * y.length > 1e6) return [a, b];
  const best = Array.from({ length: x.length + 1 }, () => new Uint16Array(y.length + 1));
  for (let i = x.length - 1; i >= 0; i--)
    for (let j = y.length - 1; j >= 0; j--) best[i][j] = x[i] === y[j] ? best[i + 1][j + 1] + 1 : Math.max(best[i + 1][j], best[i][j + 1]);
  if (best[0][0] < 0.6 * Math.max(x.length, y.length)) return [a, b]; // told in other words: marks would say nothing
  const out = [[], []];
  const put = (side, word, same) => out[side].push(same || !word.trim() ? word : h("mark", {}, word));
  let i = 0, j = 0;
  while (i < x.length || j < y.length) {
    if (i < x.length && j < y.length && x[i] === y[j]) { put(0, x[i++], true); put(1, y[j++], true); }
    else if (j >= y.length || (i < x.length && best[i + 1][j] >= best[i][j + 1])) put(0, x[i++], false);
    else put(1, y[j++], false);
  }
  return out;
}
