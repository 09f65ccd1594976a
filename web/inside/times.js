// The times of a plan's kernels by the GPU's clock.

import { made } from "../dom.js";
import { number, seconds } from "../format.js";
import { pictureNode } from "../picture.js";
import { folded, tableOf } from "../tables.js";

const ROUNDED =
  "This browser rounds the GPU's clock to 0.1 ms, so short kernels show as 0. Chrome started with " +
  "--enable-unsafe-webgpu does not.";

export function timesNodes({ about, dispatches, milliseconds, bars, timeline, rounded, rows }) {
  const listing = () =>
    tableOf(
      "Times of the dispatches",
      [["#", "number"], ["Op", ""], ["Kernel", "code"], ["Workgroups", "code"], ["Invocations", "code"], ["µs", "number"]],
      rows.length,
      (i) => {
        const [op, kernel, grid, workgroup, microseconds] = rows[i];
        return [number(i), op, kernel, grid, workgroup, number(microseconds, 1)];
      },
    );
  const took = seconds(milliseconds / 1000);
  const nodes = [
    made("p", "", `${about}: ${number(dispatches)} dispatches, ${took} on the GPU, each timed in a pass of its own.`),
    made("h3", "", "By kernel"),
    pictureNode(bars, "Time by kernel"),
    made("h3", "", "One after the other"),
    pictureNode(timeline, "Timeline of the dispatches"),
    folded("All dispatches", listing),
  ];
  if (rounded) nodes.splice(1, 0, made("p", "quiet", ROUNDED));
  return nodes;
}
