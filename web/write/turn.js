// One turn of a conversation as the page shows it: who said it, the text, what became of it, and what
// can be done with it. A person's turn can be edited in its place.

import { copyOn } from "./copy.js";

function made(tag, className, text = "") {
  const node = document.createElement(tag);
  node.className = className;
  node.textContent = text;
  return node;
}

function button(text, className, work) {
  const node = made("button", `link ${className}`, text);
  node.type = "button";
  if (work) node.addEventListener("click", work);
  return node;
}

// edit   (text) => void: the person's other words
// retry  () => void, or null where the answer is not the last
export function turnShown({ role, content, note }, { edit, retry }) {
  const mine = role === "user";
  const item = made("li", `turn ${role}`);
  const text = made("div", "content", content);
  text.dir = "auto";
  const tools = made("span", "tools");
  const copy = button("Copy", "");
  copyOn(copy, () => text.textContent, text);
  tools.append(copy);
  const row = made("p", "row");
  if (mine) tools.append(button("Edit", "change", () => editor(item, text, row, edit)));
  else if (retry) tools.append(button("Retry", "change", retry));
  row.append(made("span", "note quiet", note), tools);
  item.append(made("p", "who", mine ? "You" : "Model"), text, row);
  return item;
}

function editor(item, text, row, edit) {
  const area = document.createElement("textarea");
  area.ariaLabel = "Your message";
  area.value = text.textContent;
  area.rows = Math.min(12, area.value.split("\n").length + 1);
  const bar = made("p", "buttons");
  const save = made("button", "primary", "Send again");
  const leave = made("button", "", "Cancel");
  save.type = leave.type = "button";
  bar.append(save, leave, made("span", "quiet", "What follows is replaced."));
  function close() {
    area.replaceWith(text);
    bar.replaceWith(row);
    row.querySelector(".change").focus();
  }
  save.addEventListener("click", () => edit(area.value));
  leave.addEventListener("click", close);
  area.addEventListener("keydown", (event) => {
    if (event.key === "Escape") close();
    else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) edit(area.value);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the view's own keys send and stop
  });
  text.replaceWith(area);
  row.replaceWith(bar);
  area.focus();
}
