// Tables of programs, plans and profiles: rows are made a hundred at a time.

import { holding, made, unfolding } from "./dom.js";

// columns: [title, class]; row(i): texts and nodes
export function tableOf(label, columns, count, row) {
  const head = made("tr");
  for (const [title, kind] of columns) {
    const cell = made("th", kind, title);
    cell.scope = "col";
    head.append(cell);
  }
  const cells = (i) =>
    row(i).map((value, column) => {
      const cell = made("td", columns[column][1]);
      cell.append(value);
      return cell;
    });
  const body = made("tbody");
  const more = unfolding(body, count, (i) => holding("tr", "", ...cells(i)));
  const scroll = holding("div", "scroll", holding("table", "listing", holding("thead", "", head), body));
  scroll.tabIndex = 0; // wider than a phone: reached and scrolled by keys, too
  scroll.role = "region";
  scroll.ariaLabel = label;
  return holding("div", "", scroll, more);
}

// What is seen, and made, when it is asked for.
export function folded(summary, make) {
  const node = made("details");
  node.append(made("summary", "", summary));
  node.addEventListener("toggle", () => node.children.length === 1 && node.append(make()), { once: true });
  return node;
}
