// The table of runs: what varies, what was measured, and how it compares with the baseline. Sortable by every column, filtered by words,
// comparisons (nfe<5) and one choice per setting. As many columns as there is room for, the rest on demand.

// limits: of the interval, in the column's own unit. bound: whether the number is one of the axis. digits, scale, write: how it is shown.
function columns(ax = axis()) {
  const there = (run) => onAxis(run, ax), { digits, unit, key } = ax;
  const on = (pick) => (run) => { const found = there(run); return found ? pick(found) ?? null : null; };
  const given = (side) => (run) => run.by_proposal?.[side]?.accuracy ?? null;
  const numeric = (column) => ({ number: true, scale: 1, write: fixed, text: (run) => column.own?.(run) ?? ((value) => (known(value) ? (column.write || fixed)((column.scale || 1) * value, column.digits) : NONE))(column.value(run)), ...column });
  const together = (name) => on((r) => r.paired?.[`${name}_simultaneous`] ?? r.paired?.[`${name}_ci95`]);
  const list = [
    { name: "run", title: "the run's name; bold where it stays undominated in 95 % of resamples", value: (run) => run.label, text: (run) => h("a", { href: href("run", run.run_id), title: run.label }, run.label) },
    numeric({ name: costName(ax), alias: key, cost: true, word: costName(ax), title: ax.label, digits, value: on((r) => r.x), limits: on((r) => r.x_ci95) }),
    numeric({ name: "accuracy %", alias: "accuracy", word: "accuracy", title: `${core.accuracy} match`, digits: 1, scale: 100, value: (run) => run.accuracy, limits: (run) => run.accuracy_ci95 }),
    numeric({ name: "saved", bound: true, word: "saved", title: `${unit} saved against the baseline's own front at equal accuracy; ≥ and ≤ where the accuracy leaves that front`, digits, write: signed, value: on((r) => r.saved?.saved), own: (run) => savedText(there(run)?.saved, digits), limits: on((r) => r.saved?.ci95) }),
    numeric({ name: "saved %", bound: true, title: "the same as a share of what the baseline needs", digits: 0, scale: 100, write: signed, value: on((r) => r.saved?.saved_share), own: (run) => shareText(there(run)?.saved) }),
    { name: "family", word: "family", title: "what the method adds to plain unmasking", value: (run) => run.family ?? null, text: (run) => run.family ?? NONE },
    numeric({ name: "saved, others", alias: "others", bound: true, word: "against all others", title: `${unit} saved against the joint front of all other methods at equal accuracy`, digits, write: signed, value: on((r) => r.against_others?.saved), own: (run) => savedText(there(run)?.against_others, digits), limits: on((r) => r.against_others?.ci95) }),
    numeric({ name: "Δ accuracy", alias: "difference", word: "difference", title: "points of accuracy against the paired baseline run, same questions; interval simultaneous over all compared runs", digits: 1, scale: 100, write: signed, value: on((r) => r.paired?.accuracy_difference), limits: together("accuracy_difference") }),
    numeric({ name: "won : lost", alias: "won", word: "won : lost", title: "questions that only this run, only the baseline run got right; filter and order by won less lost", digits: 0, value: on((r) => r.paired && r.paired.wins - r.paired.losses), own: (run) => { const p = there(run)?.paired; return p ? h("a", { href: href("compare", run.run_id, p.baseline) }, `${p.wins} : ${p.losses}`) : NONE; } }),
    numeric({ name: "Δ cost", alias: "dcost", bound: true, title: `${unit} less (−) or more than the paired baseline run; interval simultaneous over all compared runs`, digits, write: signed, value: on((r) => r.paired?.x_difference), limits: together("x_difference") }),
    numeric({ name: "p (Holm)", alias: "holm", word: "Holm", title: "the same as p, adjusted for all runs that were compared", digits: 4, value: on((r) => r.paired?.mcnemar_p_holm), own: (run) => pValue(there(run)?.paired?.mcnemar_p_holm) }),
    numeric({ name: "undominated %", alias: "undominated", bound: true, word: "undominated", title: "share of resamples of the questions in which no other run dominates this one", digits: 0, scale: 100, value: on((r) => r.undominated_share) }),
    numeric({ name: "gained %", alias: "gained", bound: true, word: "gained", title: "points of accuracy above the baseline's own front at equal cost", digits: 1, scale: 100, write: signed, value: on((r) => r.saved?.gained_at_equal_cost.gained), own: (run) => { const g = there(run)?.saved?.gained_at_equal_cost; return g ? (BOUNDS[g.bound] || "") + signed(100 * g.gained, 1) : NONE; }, limits: on((r) => r.saved?.gained_at_equal_cost.ci95) }),
    numeric({ name: "p", word: "p", title: "exact McNemar test, two-sided", digits: 4, value: on((r) => r.paired?.mcnemar_p), own: (run) => pValue(there(run)?.paired?.mcnemar_p) }),
    { name: "not worse", alias: "margin", word: "not worse", title: `accuracy shown to be less than ${100 * core.margin} point${core.margin === 0.01 ? "" : "s"} below the baseline run's (one-sided 95 %)`, value: on((r) => (r.paired ? String(r.paired.non_inferior) : null)), text: (run) => { const p = there(run)?.paired; return !p ? NONE : p.non_inferior ? "yes" : known(p.questions_needed_non_inferior) ? "not shown" : "no"; } },
    numeric({ name: "needed", title: "questions that the observed difference would need to be significant", digits: 0, value: on((r) => r.paired?.questions_needed), own: (run) => thousands(there(run)?.paired?.questions_needed) }),
    numeric({ name: "right | p. right", alias: "given_right", word: "proposal", title: "share right where the proposal was right, %", digits: 1, scale: 100, value: given("right") }),
    numeric({ name: "right | p. wrong", alias: "given_wrong", title: "share right where the proposal was wrong, %", digits: 1, scale: 100, value: given("wrong") }),
    { name: "seeds", word: "seed", title: "the seeds that this point is the mean of", value: (run) => run.seeds?.values.join(" ") ?? null, text: (run) => run.seeds?.values.join(", ") ?? NONE },
    numeric({ name: `${costName(ax)} sd`, bound: true, title: `standard deviation of ${unit} between seeds`, digits, value: (run) => run.seeds?.x_sd[key] ?? null }),
    numeric({ name: "accuracy sd", title: "standard deviation of the accuracy between seeds, points", digits: 1, scale: 100, value: (run) => run.seeds?.accuracy_sd ?? null }),
    numeric({ name: "n", title: "questions", digits: 0, value: (run) => run.n }),
    ...differingKeys().map((dotted) => ({ name: shortKey(dotted), title: dotted, facet: dotted, number: groupRuns().every((run) => run.settings[dotted] == null || typeof run.settings[dotted] === "number"), value: (run) => run.settings[dotted] ?? null, text: (run) => setting(run, dotted) })),
  ];
  return list.filter((column) => column.facet || column.cost || ["run", "n", "accuracy %"].includes(column.name) || groupRuns().some((run) => known(column.value(run))));
}

const shownRuns = () => {
  const { test } = understood();
  const chosen = Object.entries(state.facets).filter(([, value]) => value !== "");
  return groupRuns().filter((run) => chosen.every(([key, value]) => setting(run, key) === value) && test(run));
};

function compareValues(a, b) {
  if (!known(a) || !known(b)) return known(b) - known(a);
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
}

// As in the terminal: the front first, what may stand on none last, and by cost.
function inOrder(a, b) {
  const [x, y] = [onAxis(a), onAxis(b)];
  return !x - !y || (x ? y.on_front - x.on_front || a.oracle - b.oracle || x.x - y.x || b.accuracy - a.accuracy : 0);
}

function sorted(runs, list) {
  const column = state.sort && list.find((one) => one.name === state.sort.name);
  if (!column) return [...runs].sort(inOrder);
  const { down } = state.sort;
  return [...runs].sort((a, b) => {
    const [x, y] = [column.value(a), column.value(b)];
    const order = compareValues(x, y);
    return down && known(x) && known(y) ? -order : order; // what is not known stays last
  });
}

const limitsText = (column, run) => interval(column.limits(run), column.digits, column.scale, column.write);

// The runs that are shown, in their order, with every column, as a spreadsheet reads them.
function shownTable() {
  const list = columns(), scaled = (column, value) => (known(value) && typeof value === "number" ? (column.scale || 1) * value : value);
  const heads = list.flatMap((column) => (column.limits ? [column.name, `${column.name} low`, `${column.name} high`] : [column.name]));
  return csv([[...heads, "run id"], ...sorted(shownRuns(), list).map((run) => [...list.flatMap((column) => {
    const value = scaled(column, column.value(run));
    return column.limits ? [value, ...(column.limits(run) || [null, null]).map((limit) => scaled(column, limit))] : [value];
  }), run.run_id])]);
}

const WORDS = { difference: "Δ" };

function fillTable(parent, changed) {
  const list = columns();
  const count = h("span", { class: "hint", id: "count", "aria-live": "polite" }), said = h("p", { class: "hint", id: "filter-said", role: "status" });
  const scroller = h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Runs" }), room = h("p", { class: "hint", id: "room" });
  let shown = list;
  const refresh = () => {
    const { problems } = understood(), runs = sorted(shownRuns(), list), all = groupRuns().length;
    count.textContent = runs.length === all ? `${all} run${all === 1 ? "" : "s"}` : `${runs.length} of ${all} runs`;
    said.textContent = problems.join(" ");
    const heads = shown.map((column) => h("th", { scope: "col", colspan: column.limits ? 2 : null, class: column.limits ? "wide" : column.number ? "number" : null, title: column.title, "data-column": column.name, "aria-sort": state.sort?.name === column.name ? (state.sort.down ? "descending" : "ascending") : "none" },
      h("button", { type: "button", onclick: () => sortBy(column) }, column.name)));
    scroller.replaceChildren(h("table", { class: "runs" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, runs.map((run) => tableRow(run, shown)))));
    remember();
  };
  // A column is shown whole or not at all, from the left; on a phone all of them, behind each other.
  const fit = () => {
    shown = list;
    refresh();
    if (!state.all && !narrow()) {
      const heads = [...scroller.querySelectorAll("th")], edge = scroller.getBoundingClientRect().right;
      let places = heads.filter((head) => head.getBoundingClientRect().right <= edge).length;
      while (places < shown.length && places > 1) {
        shown = list.slice(0, places);
        refresh();
        if (scroller.scrollWidth <= scroller.clientWidth) break;
        places -= 1;
      }
    }
    const hidden = list.length - shown.length;
    const words = [...new Set(shown.map((column) => column.word).filter(Boolean))];
    room.replaceChildren(h("span", {}, "Words: ", words.flatMap((word, i) => [i ? ", " : "", term(word, WORDS[word] || word)]), "."),
      hidden || state.all ? h("button", { type: "button", id: "columns", class: "quiet", onclick: () => { state.all = !state.all; fit(); } }, state.all ? "only the columns that fit" : `${hidden} more column${hidden === 1 ? "" : "s"}`) : "");
  };
  const sortBy = (column) => {
    state.sort = { name: column.name, down: state.sort?.name === column.name ? !state.sort.down : false };
    refresh();
    scroller.querySelector(`th[data-column="${CSS.escape(column.name)}"] button`)?.focus({ preventScroll: true });
  };
  const search = h("input", { type: "search", id: "filter", value: state.filter, placeholder: "filter: words, -words, nfe<5 accuracy>80 rho=0.5", "aria-label": "Filter runs", oninput: (event) => { state.filter = event.target.value; refresh(); changed(); } });
  const facets = differingKeys().map((key) => facet(key, () => { refresh(); changed(); }));
  parent.replaceChildren(h("div", { class: "controls" }, search, facets, count), said, scroller, room);
  fit();
  sizes.observe(scroller);
  scroller.refit = fit;
}

function facet(key, changed) {
  const values = [...new Set(groupRuns().map((run) => setting(run, key)))].sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  if (values.length < 2) return null;
  const choose = (value) => { state.facets[key] = value; changed(); };
  if (values.length > 12) {
    const options = [["", "any"], ...values.map((value) => [value, value])];
    const box = h("span", {});
    const fill = () => box.replaceChildren(chooser(shortKey(key), options, state.facets[key] || "", (value) => { choose(value); fill(); }));
    fill();
    return box;
  }
  const select = picker(shortKey(key), [["", "any"], ...values.map((value) => [value, value])], state.facets[key] || "", choose);
  select.title = key;
  return select;
}

function tableRow(run, list) {
  const kind = run.oracle ? "oracle" : onAxis(run)?.steady ? "front" : null;
  return h("tr", { class: kind, "data-run": run.run_id }, list.map((column) => [
    h("td", { class: column.number ? "number" : null }, column.text(run)), column.limits ? h("td", { class: "interval" }, limitsText(column, run)) : null,
  ]));
}
