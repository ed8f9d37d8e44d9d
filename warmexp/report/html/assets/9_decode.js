// The decode itself. State s = 0 is the canvas before the first forward, state s the canvas after s forwards. A token committed in
// forward k (from 0; −1: injected) is visible from state k + 1 on, and one revoked in forward r up to state r.

const KINDS = {
  cold: ["--cold", "cold commit"], kept: ["--kept", "injected and kept"], undone: ["--undone", "injected and revoked"],
  again: ["--again", "re-decoded"], revoked: ["--revoked", "decoded and revoked"], fixed: ["--fixed", "fixed"],
};

function timeline(row) {
  const length = row.ids.length;
  const steps = Math.max(0, ...row.at.map((k) => k + 1), ...row.revoked.map(([r]) => r + 1));
  const spans = Array.from({ length }, () => []);
  for (const [r, position, token, source, k] of row.revoked) {
    spans[position].push({ from: k + 1, to: r, token, kind: source === "i" ? "undone" : "revoked", cut: true });
  }
  for (let i = 0; i < length; i++) {
    const source = row.source[i];
    if (source === "m") continue;
    const kind = source === "i" ? "kept" : source === "f" ? "fixed" : spans[i].length ? "again" : "cold";
    spans[i].push({ from: row.at[i] + 1, to: steps, token: row.ids[i], kind, confidence: row.confidence?.[i] });
  }
  return { steps, spans };
}

// Whether a position is on the canvas; where its length does not change, always.
const alive = (row, i, step) => !row.life || (row.life[i][0] <= step && (row.life[i][1] === null || step <= row.life[i][1]));
const visible = (spans, step) => spans.find((span) => span.from <= step && step <= span.to);

async function decodeView(main, id, question, query) {
  const warm = core.runs.filter((one) => !one.oracle);
  const asked = runById(id) || warm.find((one) => one.by_proposal?.injected) || warm.find((one) => one.by_proposal) || core.runs[0];
  const run = leaf(asked);
  const [block, set] = await Promise.all([runBlock(run), setBlock(run)]);
  const rows = block.rows.filter((row) => row.ids);
  const row = rows.find((one) => set.ids[one.q] === question) || rows[0];
  put(main, missing("run", !runById(id) && id, asked.run_id), h("h1", {}, "The decode"), ofSeed(asked));
  const go = (next, which) => { location.hash = href("decode", next, which); };
  const at = rows.indexOf(row);
  const name = (one) => `${block.correct[one.q] === "1" ? "✓" : "✗"} ${set.ids[one.q]}`;
  const turn = (by) => go(run.run_id, set.ids[rows[(at + by + rows.length) % rows.length].q]);
  put(main, h("div", { class: "controls" }, chooser("run", runOptions(true), run.run_id, (next) => go(next, row ? set.ids[row.q] : "")),
    row ? [chooser("question", rows.map((one) => [set.ids[one.q], name(one), set.questions[one.q]]), set.ids[row.q], (next) => go(run.run_id, next)),
      h("button", { type: "button", id: "previous", title: "previous question (p)", onclick: () => turn(-1) }, "‹"), h("button", { type: "button", id: "next", title: "next question (n)", onclick: () => turn(1) }, "›")] : null));
  if (!row) {
    put(main, h("p", { class: "notice" }, "This run's records do not hold its decodes."));
    return;
  }
  if (question && set.ids[row.q] !== question) put(main, h("p", { class: "notice" }, set.ids.includes(question) ? `${question} is not in this file (it is in the run's records.jsonl); this is another question of the run.` : `This run has no question "${question}"; this is another one.`));
  if (rows.length < set.ids.length) put(main, h("p", { class: "hint" }, `${rows.length} of ${set.ids.length} questions are in this file, taken in an order that puts those first on which runs differ from the baseline.`));
  const right = block.correct[row.q] === "1";
  put(main, h("p", { class: "question" }, set.questions[row.q]),
    h("p", {}, "target ", h("b", {}, set.targets[row.q]), " ", h("span", { class: `tag ${right ? "good" : "bad"}` }, right ? "right" : "wrong"), h("span", { class: "hint" }, ` ${block.nfe[row.q]} forwards`)),
    set.start ? h("details", { class: "hint" }, h("summary", {}, "what every prompt begins with"), h("p", { class: "text" }, set.start)) : null,
    row.proposal === undefined ? null : h("details", { open: true }, h("summary", { class: "hint" }, "the proposal", block.proposal ? (block.proposal[row.q] === "1" ? " (right)" : " (wrong)") : ""), h("p", { class: "text" }, row.proposal.trim())));
  stepThrough(main, { row, tokens: block.tokens, block: Number(block.settings["length.block_length"]) || row.ids.length, turn, address: href("decode", run.run_id, set.ids[row.q]) }, query.step);
}

function stepThrough(main, { row, tokens, block, turn, address }, asked) {
  const { steps, spans } = timeline(row);
  let step = asked === undefined ? steps : Math.max(0, Math.min(steps, Number(asked) || 0)), timer = null;
  const flow = h("div", { class: "canvas", id: "canvas", "aria-label": "canvas" });
  const blocks = grid(spans, steps, block, tokens, (to) => move(to));
  const slider = h("input", { type: "range", id: "step", min: 0, max: steps, value: step, "aria-label": "forward", oninput: (event) => move(Number(event.target.value)) });
  const out = h("output", { for: "step", id: "where" });
  const play = h("button", { type: "button", id: "play", title: "play (space)", onclick: () => (timer ? stop() : start()) }, "▶");
  const stop = () => { clearInterval(timer); timer = null; play.textContent = "▶"; };
  const start = () => {
    if (step === steps) move(0);
    play.textContent = "❚❚";
    timer = setInterval(() => { if (!play.isConnected || step === steps) stop(); else move(step + 1); }, 600);
  };
  const move = (to) => {
    step = Math.max(0, Math.min(steps, to));
    slider.value = step;
    show();
    history.replaceState(null, "", `${address}?step=${step}`);
  };
  const show = () => {
    const states = spans.map((list) => visible(list, step)), here = spans.map((_, i) => alive(row, i, step));
    const came = step ? here.filter((is, i) => is && !alive(row, i, step - 1)).length : 0, went = step ? here.filter((is, i) => !is && alive(row, i, step - 1)).length : 0;
    const left = states.filter((span, i) => !span && here[i]).length, fresh = states.filter((span) => span?.from === step && step > 0).length;
    const lost = step ? spans.filter((list) => list.some((span) => span.cut && span.to === step - 1)).length : 0;
    out.textContent = step ? `forward ${step} of ${steps}: ${fresh} committed${lost ? `, ${lost} revoked` : ""}${came ? `, ${came} appeared` : ""}${went ? `, ${went} gone` : ""}, ${left} masked` : `the start: ${left} masked of ${here.filter(Boolean).length}`;
    flow.replaceChildren(...flowing(states.filter((_, i) => here[i]), tokens, step));
    blocks.show(step, states, here);
  };
  const keys = (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("select, textarea, input:not([type=range])")) return;
    const moves = { ArrowLeft: step - 1, ArrowRight: step + 1, Home: 0, End: steps };
    if (event.key in moves) move(moves[event.key]);
    else if (event.key === " " && event.target.tagName !== "BUTTON" && event.target.tagName !== "SUMMARY") timer ? stop() : start();
    else if (event.key === "n" || event.key === "p") turn(event.key === "n" ? 1 : -1);
    else return;
    event.preventDefault();
  };
  document.addEventListener("keydown", keys);
  leave = () => { document.removeEventListener("keydown", keys); stop(); };
  put(main, legend(spans, row), h("div", { class: "stepper" }, h("button", { type: "button", id: "back", "aria-label": "back", onclick: () => move(step - 1) }, "←"), play, h("button", { type: "button", id: "forward", "aria-label": "forward", onclick: () => move(step + 1) }, "→"), slider, out),
    flow, blocks.element, h("p", { class: "hint" }, "Rows are positions, columns are forwards, the frame is the step shown. Keys: ← → Home End, space plays, n and p turn to another question. The number on the right is the confidence of the commit in percent."));
  show();
}

function legend(spans, row) {
  const all = spans.flat(), count = (kind) => all.filter((span) => span.kind === kind).length;
  const same = spans.filter((list) => list.length > 1 && list[0].token === list[list.length - 1].token).length, revoked = spans.filter((list) => list.some((span) => span.cut)).length;
  const items = Object.entries(KINDS).filter(([kind]) => count(kind)).map(([kind, [tint, text]]) => h("li", { "data-kind": kind }, h("i", { style: { background: `var(${tint})` } }), `${text} (${count(kind)})`));
  return h("div", {}, h("ul", { class: "legend" }, items, h("li", {}, h("i", { style: { background: "var(--mask)" } }), "masked")),
    revoked ? h("p", { class: "hint" }, `${revoked} positions were revoked; ${same} of them came back to the token they had.`) : null);
}

const shownToken = (text) => text.replace(/\n/g, "⏎").replace(/\t/g, "⇥");
const isSpecial = (text) => /^<.*>$/.test(text) && text.length > 3;

// The canvas as text; more than four masks or end tokens in a row become one chip with their number.
function flowing(states, tokens, step) {
  const chips = [], same = (a, b) => (a && b ? a.token === b.token && isSpecial(tokens[a.token]) : !a && !b);
  for (let i = 0, end; i < states.length; i = end) {
    for (end = i + 1; end < states.length && same(states[i], states[end]); ) end++;
    if (end - i > 4) chips.push(chip(states[i], tokens, step, end - i));
    else for (let j = i; j < end; j++) chips.push(chip(states[j], tokens, step));
  }
  return chips;
}

function chip(span, tokens, step, times = 1) {
  const often = times > 1 ? ` × ${times}` : "";
  if (!span) return h("span", { class: "token masked" }, `▢${often}`);
  const text = tokens[span.token], fresh = span.from === step && step > 0;
  const element = h("span", { class: `token${fresh ? " fresh" : ""}${isSpecial(text) ? " end" : ""}`, "data-kind": span.kind, style: { "--kind": `var(${KINDS[span.kind][0]})` }, title: described(span, text) }, isSpecial(text) ? `∎${often}` : shownToken(text));
  return text.includes("\n") ? h("span", {}, element, h("br")) : element;
}

function described(span, text) {
  const from = span.from ? `committed in forward ${span.from}` : "there from the start";
  return `${JSON.stringify(text)}: ${KINDS[span.kind][1]}, ${from}${span.cut ? `, revoked in forward ${span.to + 1}` : ""}${known(span.confidence) ? `, confidence ${span.confidence} %` : ""}`;
}

// Positions as rows, forwards as columns, a panel per block of the schedule.
function grid(spans, steps, block, tokens, goTo) {
  const columns = steps + 1, lines = [];
  const element = h("div", { class: "blocks", style: { "--columns": columns, "grid-template-columns": `repeat(auto-fit, minmax(min(100%, ${Math.max(330, 200 + 3.8 * columns)}px), 1fr))` } });
  const every = [1, 2, 5, 10, 20, 50, 100, 200].find((step) => columns / step <= 13) || 500;
  const click = (event) => { const box = event.currentTarget.getBoundingClientRect(); goTo(Math.floor(((event.clientX - box.left) / box.width) * columns)); };
  for (let start = 0; start < spans.length; start += block) {
    const rows = h("div", { class: "rows" });
    const ticks = Array.from({ length: Math.ceil(columns / every) }, (_, i) => h("span", { style: { left: `${(100 * (i * every + 0.5)) / columns}%` } }, String(i * every)));
    for (let i = start; i < Math.min(start + block, spans.length); i++) {
      const token = h("span", {}), sure = h("em", {});
      const bars = spans[i].map((span) => h("i", { class: span.cut ? "cut" : null, "data-kind": span.kind, title: described(span, tokens[span.token]), style: { "--kind": `var(${KINDS[span.kind][0]})`, left: `${(100 * span.from) / columns}%`, width: `${(100 * (span.to - span.from + 1)) / columns}%`, "--n": span.to - span.from + 1 } }));
      const line = h("div", { class: "row" }, h("b", {}, String(i)), token, h("div", { class: "track", onclick: click }, bars), sure);
      rows.append(line);
      lines.push({ token, sure, line });
    }
    element.append(h("section", { class: "block" }, h("h3", {}, spans.length > block ? `block ${start / block + 1}` : "canvas"), h("div", { class: "ticks" }, h("span"), h("span"), h("div", {}, ticks), h("span")), rows));
  }
  const show = (step, states, here) => {
    element.style.setProperty("--step", step);
    states.forEach((span, i) => {
      const { token, sure, line } = lines[i], text = span ? shownToken(tokens[span.token]) : "▢";
      line.style.opacity = here[i] ? "" : "0.2"; // not there yet, or gone
      if (token.textContent !== text) token.textContent = text;
      token.style.color = span ? "" : "var(--soft)";
      sure.textContent = known(span?.confidence) ? String(span.confidence) : "";
    });
  };
  return { element, show };
}
