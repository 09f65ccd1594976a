// Elements with text: what a page shows of files, models and programs is only ever textContent.

export function made(tag, className = "", text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

// An element with its children.
export function holding(tag, className, ...children) {
  const node = made(tag, className);
  node.append(...children);
  return node;
}

export function button(text, act, className = "") {
  const node = made("button", className, text);
  node.type = "button";
  node.addEventListener("click", act);
  return node;
}

// A list of [value, text] to choose from; `chosen` is told the value.
export function choice(options, value, chosen) {
  const node = made("select");
  node.append(...options.map(([of, text]) => new Option(text, of, false, of === value)));
  node.addEventListener("change", () => chosen(node.value));
  return node;
}

// Rows made when they are asked for, a hundred at a time: a graph may have thousands.
export function unfolding(parent, count, row, step = 100) {
  const more = button("", () => show(), "more");
  function show() {
    const from = parent.children.length;
    const to = Math.min(count, from + step);
    parent.append(...Array.from({ length: to - from }, (_, i) => row(from + i)));
    more.hidden = to >= count;
    more.textContent = `Show ${Math.min(step, count - to)} more of ${count - to}`;
    if (from) {
      parent.children[from].tabIndex = -1; // reading goes on where the list did
      parent.children[from].focus();
    }
  }
  show();
  return more;
}
