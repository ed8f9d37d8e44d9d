// A list that one types into: what is typed narrows it, in any order and from the middle of a name.

let choosers = 0;
const SHOWN = 100;

// options: [value, text, more]; more is searched as well and shown beside the text.
function chooser(label, options, current, choose, hint = "") {
  const id = `list-${++choosers}`, name = options.find(([value]) => value === current)?.[1] ?? "";
  let found = [], at = -1;
  const list = h("ul", { class: "options", role: "listbox", id, "aria-label": label, hidden: true });
  const input = h("input", { type: "text", class: "chooser", role: "combobox", "aria-label": label, "aria-expanded": "false", "aria-controls": id, "aria-autocomplete": "list", autocomplete: "off", spellcheck: "false", value: name, placeholder: hint, title: name });
  const close = () => { list.hidden = true; input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant"); };
  const take = (value) => { close(); if (value === current) input.value = name; else choose(value); };
  const point = (to) => {
    at = found.length ? (to + found.length) % found.length : -1;
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === at)));
    if (list.children[at]) { input.setAttribute("aria-activedescendant", list.children[at].id); list.children[at].scrollIntoView({ block: "nearest" }); }
  };
  const open = (typed) => {
    const words = typed.toLowerCase().split(/\s+/).filter(Boolean);
    const all = options.filter(([value, text, more]) => { const said = `${text} ${more || ""} ${value}`.toLowerCase(); return words.every((word) => said.includes(word)); });
    found = all.slice(0, SHOWN);
    list.replaceChildren(...found.map(([value, text, more], i) => h("li", { role: "option", id: `${id}-${i}`, "data-value": value, onpointerdown: (event) => { event.preventDefault(); take(value); } }, text, more ? h("small", {}, more) : null)));
    if (all.length > found.length) list.append(h("li", { class: "hint" }, `${all.length - found.length} more: type on`));
    if (!all.length) list.append(h("li", { class: "hint" }, "nothing has these words"));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    point(words.length ? 0 : Math.max(0, found.findIndex(([value]) => value === current)));
  };
  input.addEventListener("focus", () => { input.select(); open(""); });
  input.addEventListener("click", () => { if (list.hidden) open(""); });
  input.addEventListener("input", () => open(input.value));
  input.addEventListener("blur", () => { close(); input.value = name; });
  input.addEventListener("keydown", (event) => {
    event.stopPropagation(); // the view's own keys are not for one who types
    if (event.key === "ArrowDown" || event.key === "ArrowUp") list.hidden ? open("") : point(at + (event.key === "ArrowDown" ? 1 : -1));
    else if (event.key === "Enter" && !list.hidden && at >= 0) take(found[at][0]);
    else if (event.key === "Escape") { close(); input.value = name; }
    else return;
    event.preventDefault();
  });
  return h("div", { class: "choosing" }, h("span", { "aria-hidden": "true" }, label), h("div", {}, input, list));
}
