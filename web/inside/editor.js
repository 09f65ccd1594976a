// A text area as an editor of Python: Tab and Shift+Tab indent, Enter keeps the indent, lines are
// numbered. Escape lets the next Tab leave, so that keys alone get on.

const INDENT = "    ";

export function editor(area, gutter) {
  let leaving = false;

  function number() {
    const count = area.value.split("\n").length;
    gutter.textContent = Array.from({ length: count }, (_, i) => i + 1).join("\n");
    gutter.scrollTop = area.scrollTop;
  }

  // As if typed, so that undo knows it; setRangeText would empty its stack.
  function put(text, start, end) {
    area.setSelectionRange(start, end);
    if (text) document.execCommand("insertText", false, text);
    else if (start !== end) document.execCommand("delete");
  }

  function shift(back) {
    const { value, selectionStart: start, selectionEnd: end } = area;
    const first = value.lastIndexOf("\n", start - 1) + 1;
    if (start === end && !back) return put(INDENT.slice((start - first) % 4), start, end);
    const lines = value.slice(first, end).split("\n");
    const moved = lines.map((l) => (back ? l.replace(/^ {1,4}/, "") : l && INDENT + l)).join("\n");
    if (moved === lines.join("\n")) return;
    put(moved, first, end);
    if (start !== end) area.setSelectionRange(first, first + moved.length);
  }

  area.addEventListener("keydown", (event) => {
    if (event.key === "Tab" && !leaving && !event.ctrlKey && !event.altKey) {
      event.preventDefault();
      shift(event.shiftKey);
    } else if (event.key === "Enter" && !event.ctrlKey && !event.metaKey && !event.isComposing) {
      const before = area.value.slice(0, area.selectionStart).split("\n").at(-1);
      const indent = before.match(/^ */)[0] + (before.trimEnd().endsWith(":") ? INDENT : "");
      if (indent) {
        event.preventDefault();
        put(`\n${indent}`, area.selectionStart, area.selectionEnd);
      }
    }
    if (event.key !== "Shift") leaving = event.key === "Escape";
  });
  area.addEventListener("input", number);
  area.addEventListener("scroll", () => (gutter.scrollTop = area.scrollTop));
  number();

  return {
    set(text) {
      area.value = text;
      area.scrollTop = 0;
      number();
    },
    // Selects a line, counted from 1.
    go(line) {
      const lines = area.value.split("\n");
      const start = lines.slice(0, line - 1).reduce((sum, l) => sum + l.length + 1, 0);
      area.focus();
      area.setSelectionRange(start, start + (lines[line - 1] ?? "").length);
      const height = area.scrollHeight / lines.length;
      area.scrollTop = Math.max(0, (line - 4) * height);
    },
  };
}
