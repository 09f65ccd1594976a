// One turn of a conversation as the page shows it: who said it, the text, what became of it, and what
// can be done with it. A person's turn can be edited in its place.

import { button, holding, made } from "../dom.js";
import { copyOn } from "./copy.js";

// edit   (text) => void: the person's other words
// retry  () => void, or null where the answer is not the last
export function turnShown({ role, content, note }, { edit, retry }) {
  const mine = role === "user";
  const item = made("li", `turn ${role}`);
  const text = made("div", "content", content);
  text.dir = "auto";
  const copy = button("Copy", null, "link");
  copyOn(copy, () => text.textContent, text);
  const tools = holding("span", "tools", copy);
  const row = holding("p", "row", made("span", "note quiet", note), tools);
  if (mine) tools.append(button("Edit", () => editor(item, text, row, edit), "link change"));
  else if (retry) tools.append(button("Retry", retry, "link change"));
  item.append(made("p", "who", mine ? "You" : "Model"), text, row);
  return item;
}

function editor(item, text, row, edit) {
  const area = made("textarea");
  area.ariaLabel = "Your message";
  area.value = text.textContent;
  area.rows = Math.min(12, area.value.split("\n").length + 1);
  const bar = holding(
    "p",
    "buttons",
    button("Send again", () => edit(area.value), "primary"),
    button("Cancel", close),
    made("span", "quiet", "What follows is replaced."),
  );
  function close() {
    area.replaceWith(text);
    bar.replaceWith(row);
    row.querySelector(".change").focus();
  }
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
