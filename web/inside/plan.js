// A plan: its pictures, its dispatches and its buffers.

import { button, made } from "../dom.js";
import { count, number } from "../format.js";
import { pictureNode } from "../picture.js";
import { folded, tableOf } from "../tables.js";

const LEGEND =
  "A row is a buffer, a column a dispatch; several bars in a row are memory used again. Blue: inputs, orange: " +
  "values on the way, green: outputs, violet: what outlives a run, teal: live numbers.";

// toKernel: (number) => shows that kernel
export function planNodes({ summary, reuse, graph, plan, steps, buffers }, toKernel) {
  const dispatches = () =>
    tableOf(
      "Dispatches",
      [["#", "number"], ["Op", ""], ["Kernel", ""], ["Workgroups", "code"], ["Buffers", "code wide"]],
      steps.length,
      (i) => {
        const [op, kernel, grid, slots, place] = steps[i];
        return [number(i), op, button(kernel, () => toKernel(place), "link code"), grid, slots];
      },
    );
  const slots = () =>
    tableOf(
      "Buffers",
      [["Buffer", "code wide"], ["For", ""], ["Size", "number"]],
      buffers.length,
      (i) => buffers[i],
    );
  return [
    made("p", "", summary),
    made("p", "quiet", reuse),
    made("h3", "", "Memory"),
    made("p", "quiet", LEGEND),
    pictureNode(plan, "Which buffer holds a value at which dispatch"),
    folded(`${number(steps.length)} ${steps.length === 1 ? "dispatch" : "dispatches"}`, dispatches),
    folded(count(buffers.length, "buffer"), slots),
    made("h3", "", "Graph"),
    pictureNode(graph, "The graph, from inputs to outputs"),
  ];
}
