// Every method against the joint front of all the others, by family: one row each, about the run that saves most for certain.

function methodsTable() {
  const methods = group()?.methods || [], { digits } = axis();
  if (methods.length < 3) return null;
  const runs = new Map(core.runs.map((run) => [run.run_id, run]));
  const families = [...new Set(methods.map((one) => one.family))];
  const row = (one) => {
    const best = runs.get(one.best), there = onAxis(best), saved = one.saved;
    return h("tr", {}, h("td", { class: "name" }, one.label), h("td", { class: "number" }, String(one.runs.length)), h("td", { class: "number" }, String(one.on_front)),
      h("td", { class: "name" }, h("a", { href: href("run", best.run_id) }, best.shown || best.label)), h("td", { class: "number" }, fixed(there.x, digits)), h("td", { class: "number" }, fixed(100 * best.accuracy, 1)),
      h("td", { class: "number" }, savedText(saved, digits), " ", saved ? interval(saved.ci95, digits, 1, signed) : ""), h("td", { class: "number" }, shareText(saved)));
  };
  const heads = ["method", "runs", "on the front", "best at", costName(axis()), "accuracy %", term("against all others", "saved against all others"), "%"];
  const body = families.map((name) => h("tbody", {}, h("tr", {}, h("th", { scope: "rowgroup", colspan: String(heads.length) }, name)), methods.filter((one) => one.family === name).map(row)));
  return h("details", { class: "hint", id: "methods", open: methods.filter((one) => one.family !== "warm starts").length >= 3 },
    h("summary", {}, `${methods.length} methods, each against the joint front of all the others`),
    h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Methods" }, h("table", {}, h("thead", {}, h("tr", {}, heads.map((text) => h("th", { scope: "col" }, text)))), body)));
}
