// A method's operators as a table: what each reads and gives, and where it runs.

import { made } from "../dom.js";
import { count, number } from "../format.js";
import { tableOf } from "../tables.js";

const COLUMNS = [["", "index"], ["Operator", "code"], ["Reads", "code"], ["Gives", "code"], ["Runs on", ""]];

const place = (on) =>
  on < 0 ? made("span", "fallback", "numpy") : `GPU, delegate ${on}`;

export const operatorsNode = ({ operators }) =>
  tableOf("Operators", COLUMNS, operators.length, (i) => {
    const { op, reads, gives, on } = operators[i];
    return [`#${i}`, op, reads.join(", "), gives, place(on)];
  });

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
