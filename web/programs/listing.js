// A method's operators as a table: what each reads and gives, and where it runs.

import { holding, made, unfolding } from "../dom.js";
import { count, number } from "../format.js";

const place = (on) => (on < 0 ? "numpy" : `GPU, delegate ${on}`);

function row(operator, index) {
  const reads = operator.reads.join(", ");
  const where = made("td", operator.on < 0 ? "fallback" : "", place(operator.on));
  return holding(
    "tr",
    "",
    made("td", "index", `#${index}`),
    made("td", "code", operator.op),
    made("td", "code", reads),
    made("td", "code", operator.gives),
    where,
  );
}

export function operatorsNode({ operators }) {
  const head = made("tr");
  for (const title of ["", "Operator", "Reads", "Gives", "Runs on"]) {
    const cell = made("th", "", title);
    cell.scope = "col";
    head.append(cell);
  }
  const body = made("tbody");
  const more = unfolding(body, operators.length, (i) => row(operators[i], i));
  const table = holding("table", "operators", holding("thead", "", head), body);
  const scroll = holding("div", "scroll", table);
  scroll.tabIndex = 0; // wider than a phone: reached and scrolled by keys, too
  scroll.role = "region";
  scroll.ariaLabel = "Operators";
  return holding("div", "", scroll, more);
}

export function summaryOf({ delegates, operators }) {
  const outside = operators.filter(({ on }) => on < 0).length;
  const bytes = delegates.reduce((sum, part) => sum + part.bytes, 0);
  const parts = [
    `${count(operators.length - outside, "operator")} in ${count(delegates.length, "delegate")} on the GPU`,
    outside ? `${count(outside, "operator")} on numpy` : "nothing falls back to numpy",
    `${number(bytes / 1e6, 2)} MB of weights`,
  ];
  return parts.join(" · ");
}
