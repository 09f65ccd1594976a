// A compiled graph: its picture, its plan, its dispatches, the source of its kernels, their times.

import { button, choice, holding, made, unfolding } from "../dom.js";
import { pictureNode } from "../picture.js";
import { wgslNode } from "./wgsl.js";

const COLUMNS = ["", "Op", "Kernel", "Workgroups", "Buffers"];

function stepsNode(steps, showKernel) {
  const head = made("tr");
  for (const title of COLUMNS) {
    const cell = made("th", "", title);
    cell.scope = "col";
    head.append(cell);
  }
  const body = made("tbody");
  const row = (index) => {
    const { op, kernel, number, grid, buffers } = steps[index];
    return holding(
      "tr",
      "",
      made("td", "index", String(index)),
      made("td", "code", op),
      holding("td", "", button(kernel, () => showKernel(number), "link code")),
      made("td", "code", grid),
      made("td", "code quiet", buffers),
    );
  };
  const more = unfolding(body, steps.length, row);
  const scroll = holding("div", "scroll", holding("table", "operators", holding("thead", "", head), body));
  scroll.tabIndex = 0;
  scroll.role = "region";
  scroll.ariaLabel = "Dispatches";
  return holding("div", "", scroll, more);
}

function folded(title, ...children) {
  const node = holding("details", "", made("summary", "", title), ...children);
  return node;
}

// The plan in `section`'s panels; its kernels can be chosen from the list or from a dispatch.
export function showPlan(section, { graph, plan, summary, steps, kernels }) {
  const element = (id) => section.querySelector(`#${id}`);
  const source = element("kernel-source");

  function showKernel(number) {
    const { name, about, knobs, source: text } = kernels[number];
    kernel.value = String(number);
    element("kernel-about").textContent = about;
    element("kernel-knobs").textContent = knobs ? `Compiled with ${knobs}` : "It has no knobs.";
    source.replaceChildren(wgslNode(text, `WGSL of ${name}`));
  }

  const seen = {};
  const options = kernels.map(({ name }, i) => {
    seen[name] = (seen[name] ?? 0) + 1;
    return [String(i), seen[name] > 1 ? `${name} (${seen[name]})` : name];
  });
  const kernel = choice(options, "0", (value) => showKernel(Number(value)));
  kernel.id = "kernels";
  element("kernels").replaceWith(kernel);
  element("plan-summary").textContent = summary;
  element("plan").replaceChildren(
    pictureNode(plan, "Which buffer holds a value at which dispatch"),
    folded("The graph", pictureNode(graph, "The graph")),
    folded(
      `All ${steps.length} dispatches`,
      stepsNode(steps, (number) => {
        showKernel(number);
        kernel.focus();
        kernel.scrollIntoView({ block: "center" });
      }),
    ),
  );
  showKernel(0);
}

export function timesNode({ bars, timeline, summary }) {
  return holding(
    "div",
    "",
    made("p", "quiet", summary),
    pictureNode(bars, "Time by kernel"),
    pictureNode(timeline, "Dispatch by dispatch"),
  );
}
