// The table of runs: what varies, what was measured, and how it compares with the baseline. Sortable by every column, filtered by words,
// comparisons (nfe<5) and one choice per setting.

function columns() {
  const { digits, key, unit } = axis();
  const share = (name, title, value, extra) => ({ name, title, number: true, value, text: (run) => percent(value(run)), extra });
  const on = (pick) => (run) => { const there = onAxis(run); return there ? pick(there) : null; };
  const given = (side) => (run) => run.by_proposal?.[side]?.accuracy ?? null;
  const cost = AXIS_NAMES[key] || key;
  const list = [
    { name: "run", title: "the run's name; bold where it stays undominated in 95 % of resamples", value: (run) => run.label, text: (run) => h("a", { href: href("run", run.run_id), title: run.label }, run.label) },
    { name: cost, alias: key, title: axis().label, number: true, value: on((r) => r.x), text: (run) => fixed(onAxis(run)?.x, digits), extra: (run) => interval(onAxis(run)?.x_ci95, digits) },
    { name: "accuracy %", alias: "accuracy", title: `${core.accuracy} match`, number: true, scale: 100, value: (run) => run.accuracy, text: (run) => percent(run.accuracy), extra: (run) => interval(run.accuracy_ci95, 1, 100) },
    { name: "saved", title: `${unit} saved against the baseline's own front at equal accuracy; ? where the accuracy leaves that front`, number: true, value: on((r) => r.saved?.saved), text: (run) => savedText(onAxis(run)?.saved, digits), extra: (run) => interval(onAxis(run)?.saved?.ci95, digits) },
    share("saved %", "the same as a share of what the baseline needs", on((r) => r.saved?.saved_share)),
    { name: "Δ accuracy", alias: "difference", title: "points of accuracy against the paired baseline run, same questions; interval simultaneous over all compared runs", number: true, scale: 100, value: on((r) => r.paired?.accuracy_difference), text: (run) => { const p = onAxis(run)?.paired; return p ? signed(100 * p.accuracy_difference, 1) : NONE; }, extra: (run) => interval(onAxis(run)?.paired?.accuracy_difference_simultaneous ?? onAxis(run)?.paired?.accuracy_difference_ci95, 1, 100) },
    { name: "won : lost", alias: "won", title: "questions that only this run, only the baseline run got right", number: true, value: on((r) => r.paired && r.paired.wins - r.paired.losses), text: (run) => { const p = onAxis(run)?.paired; return p ? h("a", { href: href("compare", run.run_id, p.baseline) }, `${p.wins} : ${p.losses}`) : NONE; } },
    { name: "Δ cost", alias: "dcost", title: `${unit} less (−) or more than the paired baseline run; interval simultaneous over all compared runs`, number: true, value: on((r) => r.paired?.x_difference), text: (run) => { const p = onAxis(run)?.paired; return p ? signed(p.x_difference, digits) : NONE; }, extra: (run) => interval(onAxis(run)?.paired?.x_difference_simultaneous, digits) },
    { name: "p (Holm)", alias: "holm", title: "the same, adjusted for all runs that were compared", number: true, value: on((r) => r.paired?.mcnemar_p_holm), text: (run) => pValue(onAxis(run)?.paired?.mcnemar_p_holm) },
    { name: "gained %", alias: "gained", title: "points of accuracy above the baseline's own front at equal cost", number: true, scale: 100, value: on((r) => r.saved?.gained_at_equal_cost.gained), text: (run) => { const g = onAxis(run)?.saved?.gained_at_equal_cost; return g ? signed(100 * g.gained, 1) : NONE; }, extra: (run) => interval(onAxis(run)?.saved?.gained_at_equal_cost.ci95, 1, 100) },
    { name: "undominated %", alias: "undominated", title: "share of resamples of the questions in which no other run dominates this one", number: true, scale: 100, value: on((r) => r.undominated_share), text: (run) => { const there = onAxis(run)?.undominated_share; return known(there) ? fixed(100 * there, 0) : NONE; } },
    { name: "p", title: "exact McNemar test, two-sided", number: true, value: on((r) => r.paired?.mcnemar_p), text: (run) => pValue(onAxis(run)?.paired?.mcnemar_p) },
    { name: "not worse", alias: "margin", title: `accuracy shown to be less than ${100 * core.margin} point${core.margin === 0.01 ? "" : "s"} below the baseline run's (one-sided 95 %)`, value: on((r) => (r.paired ? String(r.paired.non_inferior) : null)), text: (run) => { const p = onAxis(run)?.paired; return !p ? NONE : p.non_inferior ? "yes" : "no"; } },
    { name: "needed", title: "questions that the observed difference would need to be significant", number: true, value: on((r) => r.paired?.questions_needed), text: (run) => onAxis(run)?.paired?.questions_needed ?? NONE },
    share("right | p. right", "share right where the proposal was right, %", given("right")),
    share("right | p. wrong", "share right where the proposal was wrong, %", given("wrong")),
    { name: "n", title: "questions", number: true, value: (run) => run.n, text: (run) => String(run.n) },
    ...core.varying.map((dotted) => ({ name: shortKey(dotted), title: dotted, facet: dotted, number: core.runs.every((run) => run.settings[dotted] == null || typeof run.settings[dotted] === "number"), value: (run) => run.settings[dotted] ?? null, text: (run) => setting(run, dotted) })),
  ];
  return list.filter((column) => column.facet || ["run", "n", cost, "accuracy %"].includes(column.name) || core.runs.some((run) => known(column.value(run))));
}

function matches(run, list) {
  for (const [key, value] of Object.entries(state.facets)) if (value !== "" && setting(run, key) !== value) return false;
  return state.filter.toLowerCase().split(/\s+/).filter(Boolean).every((word) => wordMatches(run, word, list));
}

// "nfe<5" compares a column by its short name; anything else must occur in the run's name, id or settings.
function wordMatches(run, word, list) {
  const [, name, sign, number] = /^([^<>=]+)(<=|>=|<|>)(-?[\d.]+)%?$/.exec(word) || [];
  const column = name && list.find((one) => [one.alias, one.name, one.facet].some((known) => known && known.toLowerCase().replace(/[ %]+/g, "") === name));
  if (column) {
    const value = column.value(run);
    if (!known(value) || value === "") return false;
    const left = (column.scale || (column.name.endsWith("%") ? 100 : 1)) * Number(value), right = Number(number);
    return sign === "<" ? left < right : sign === ">" ? left > right : sign === "<=" ? left <= right : left >= right;
  }
  const text = [run.label, run.run_id, ...core.varying.map((key) => `${shortKey(key)}=${setting(run, key)}`)].join(" ").toLowerCase();
  return text.includes(word);
}

const shownRuns = () => { const list = columns(); return core.runs.filter((run) => matches(run, list)); };

function compareValues(a, b) {
  if (!known(a) || !known(b)) return known(b) - known(a);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

function sorted(runs, list) {
  const column = state.sort && list.find((one) => one.name === state.sort.name);
  if (!column) return runs;
  const { down } = state.sort;
  return [...runs].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    const order = compareValues(x, y);
    return down && known(x) && known(y) ? -order : order; // what is not known stays last
  });
}

function fillTable(parent, changed) {
  const list = columns();
  const count = h("span", { class: "hint", id: "count", "aria-live": "polite" });
  const body = h("tbody", {});
  const refresh = () => {
    const runs = sorted(shownRuns(), list);
    count.textContent = runs.length === core.runs.length ? `${runs.length} runs` : `${runs.length} of ${core.runs.length} runs`;
    body.replaceChildren(...runs.map((run) => tableRow(run, list)));
    remember();
  };
  const search = h("input", { type: "search", id: "filter", value: state.filter, placeholder: "filter: words, or nfe<5 accuracy>80", "aria-label": "Filter runs", oninput: (event) => { state.filter = event.target.value; refresh(); changed(); } });
  const facets = core.varying.map((key) => facet(key, () => { refresh(); changed(); }));
  const heads = list.map((column) => h("th", { scope: "col", colspan: column.extra ? 2 : null, class: column.extra ? "wide" : column.number ? "number" : null, title: column.title, "data-column": column.name }, h("button", { type: "button", onclick: () => sortBy(column) }, column.name)));
  const mark = () => heads.forEach((head, i) => head.setAttribute("aria-sort", state.sort?.name === list[i].name ? (state.sort.down ? "descending" : "ascending") : "none"));
  const sortBy = (column) => {
    state.sort = { name: column.name, down: state.sort?.name === column.name ? !state.sort.down : false };
    mark();
    refresh();
  };
  mark();
  parent.replaceChildren(h("div", { class: "controls" }, search, facets, count),
    h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Runs" }, h("table", { class: "runs" }, h("thead", {}, h("tr", {}, heads)), body)));
  refresh();
}

function facet(key, changed) {
  const values = [...new Set(core.runs.map((run) => setting(run, key)))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (values.length < 2 || values.length > 12) return null;
  const select = picker(shortKey(key), [["", "any"], ...values.map((value) => [value, value])], state.facets[key] || "", (value) => { state.facets[key] = value; changed(); });
  select.title = key;
  return select;
}

function tableRow(run, list) {
  const kind = run.oracle ? "oracle" : onAxis(run)?.steady ? "front" : null;
  return h("tr", { class: kind, "data-run": run.run_id }, list.map((column) => [
    h("td", { class: column.number ? "number" : null }, column.text(run)), column.extra ? h("td", { class: "interval" }, column.extra(run)) : null,
  ]));
}
