// What the words mean, in a sentence or two: behind every word that is underlined with dots, and all of them on a page.

const GLOSSARY = {
  "NFE": "Number of function evaluations: how many forwards of the diffusion model a question took. Auxiliary forwards (a self-draft's) are not in it.",
  "rows": "Forwards of one canvas: where a draft has several candidates of a question read in one forward, each of them counts.",
  "full forwards": "Full-forward equivalents: forwards weighted by the share of positions that they computed, auxiliary ones included. A cache makes a forward cheaper than one.",
  "token-forwards": "Positions computed, summed over all forwards of a question: the cost that a cache really saves.",
  "guide forwards": "Forwards of an autoregressive model that is consulted about the diffusion model's tokens. They are in no other count; the last axes add them.",
  "seconds": "Wall-clock time per question, the proposal's included. It compares only where machine, batch size and threads are the same.",
  "accuracy": "Share of questions whose answer is right, by the filter that the front was made with: strict (the asked-for form) or flexible (the last number in the text).",
  "95 % interval": "The range that holds the true value in 95 of 100 such measurements. ∞ says that nothing bounds it on that side: nobody measured there.",
  "cold start": "Decoding from a canvas of masks, without a proposal (init=mask).",
  "proposal": "A text by another model, its author, from which decoding starts. Proposer: who wrote it.",
  "baseline": "The runs to beat, by default all cold starts without revision. What they reach by their own settings, such as their threshold, is the line in the picture.",
  "front": "The runs that no other beats on cost and accuracy at once.",
  "undominated": "In what share of 4,999 resamples of the questions no other run is both cheaper and more accurate. Bold from 95 %.",
  "saved": "What the baseline spends at this run's accuracy, less what this run spends. ≥ and ≤: outside the accuracies that the baseline reached, it is a bound.",
  "against all others": "What the joint front of all other methods here spends at the run's accuracy, less what the run spends. A method is what was chosen (init, unmasking, revision …) at all its settings; the limits hold for all of its runs together.",
  "family": "What a method adds to plain unmasking: evidence, revision, a watcher, an ensemble, a warm start.",
  "gained": "Points of accuracy above the baseline's own front at this run's cost.",
  "difference": "Δ: question by question against the baseline run with the same settings. Its intervals hold together for all runs that were compared.",
  "won : lost": "Questions that only this run, and that only the paired baseline run, got right.",
  "p": "How often chance alone would give a difference at least as large (exact McNemar test; over several seeds Student's paired t).",
  "Holm": "The same p, made larger because many runs were compared: of twenty, one falls below 0.05 by luck.",
  "not worse": "Shown to be less accurate by no more than the stated margin (non-inferior, one-sided 95 %).",
  "hypervolume": "Share of the rectangle up to a stated reference point that a front covers: one number for cost and accuracy, larger is better.",
  "AUP": "Accuracy under parallelism (d3LLM): the area under a method's curve of accuracy over tokens per forward. Larger is better.",
  "trust": "A number in [0, 1] per proposed token: how sure its author was of it, or what a fitted map makes of that.",
  "confidence": "The probability that the diffusion model gave a token when it was put on the canvas.",
  "ECE": "Expected calibration error: how far probabilities lie from the share that is right, on average over ten bins. 0 is perfect.",
  "injected": "A token of the proposal that stands on the canvas before any forward.",
  "revoked": "A visible token that was masked again (remask), because the model came to doubt it.",
  "oracle": "A proposal made from the reference solution. It has seen the answers and is on no front.",
  "threshold": "τ: a token is committed where the model's confidence is above it. Lower is faster and less accurate.",
  "seed": "The number that keys every random draw. Runs that differ in it alone are one point; spread is the standard deviation between them.",
};

const ALIASES = { "full_forward_equivalents": "full forwards", "token_forwards": "token-forwards", "nfe": "NFE", "guide_forwards": "guide forwards" };

// A word with its meaning behind it; the word as it is where nothing is known of it.
function term(word, text = word) {
  const key = ALIASES[word] || word;
  if (!(key in GLOSSARY)) return text;
  return h("button", { type: "button", class: "term", "aria-label": `${typeof text === "string" ? text : key}: what is it?`, onclick: (event) => explain(event.currentTarget, key) }, text);
}

function explain(button, key) {
  let box = document.getElementById("meaning");
  if (!box) {
    box = h("div", { id: "meaning", popover: "auto", role: "note" });
    document.body.append(box);
  }
  if (!box.showPopover) return void (location.hash = href("words"));
  box.replaceChildren(h("b", {}, key), h("p", {}, GLOSSARY[key]), h("a", { href: href("words"), onclick: () => box.hidePopover() }, "all words"));
  box.showPopover();
  const place = button.getBoundingClientRect(), below = place.bottom + 6 + box.offsetHeight < innerHeight;
  box.style.left = `${Math.max(8, Math.min(place.left, innerWidth - box.offsetWidth - 8))}px`;
  box.style.top = `${below ? place.bottom + 6 : Math.max(8, place.top - box.offsetHeight - 6)}px`;
}

function wordsView(main) {
  put(main, h("h1", {}, "What the words mean"), h("dl", { class: "words" }, Object.entries(GLOSSARY).map(([word, meaning]) => [h("dt", {}, word), h("dd", {}, meaning)])));
}
