// The kernels of a plan: their source as it was compiled, and their knobs.

import { choice, holding, made } from "../dom.js";
import { number } from "../format.js";
import { tableOf } from "../tables.js";
import { lines } from "./wgsl.js";

const times = (n) => `${number(n)} ${n === 1 ? "dispatch" : "dispatches"}`;

function titles(kernels) {
  // Of one file there may be several, with other knobs.
  const named = kernels.map(({ name }, i) => kernels.slice(0, i + 1).filter((k) => k.name === name).length);
  const twice = ({ name }) => kernels.filter((k) => k.name === name).length > 1;
  return kernels.map((k, i) => `${k.name}${twice(k) ? ` (${named[i]})` : ""}, ${times(k.times)}`);
}

function shown({ name, times: used, workgroup, knobs, source }) {
  const code = made("pre", "code wgsl");
  code.tabIndex = 0;
  code.role = "region";
  code.ariaLabel = `${name}.wgsl`;
  code.append(...lines(source));
  const about = made("p", "quiet", `wgsl/${name}.wgsl · ${times(used)} · workgroups of ${workgroup} invocations`);
  if (!knobs.length) return [about, code];
  const columns = [["Knob", "code"], ["Compiled with", "code"], ["In the file", "code quiet"]];
  const table = tableOf("Knobs", columns, knobs.length, (i) => knobs[i]);
  table.classList.add("knobs");
  return [about, table, code];
}

// {nodes, select(number)}
export function kernelNodes(kernels) {
  const body = made("div");
  const show = (i) => body.replaceChildren(...shown(kernels[i]));
  const chooser = choice(titles(kernels).map((title, i) => [String(i), title]), "0", (i) => show(Number(i)));
  const select = (i) => {
    chooser.value = String(i);
    show(i);
    chooser.focus();
  };
  if (kernels.length) show(0);
  return { nodes: [holding("label", "field", "Kernel", chooser), body], select };
}
