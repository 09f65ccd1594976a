// Outputs as a page shows them: dtype and shape, first values, statistics, the largest elements, a
// picture where it looks like one, and a .npy file.

import { button, holding, made } from "../dom.js";
import { number } from "../format.js";
import { written } from "./inputs.js";

const size = (shape) => shape.reduce((product, n) => product * n, 1);

function saved(name, bytes) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([bytes]));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href)); // once the click's download has begun
}

function picture({ width, height, pixels }, index) {
  const canvas = made("canvas", "picture");
  Object.assign(canvas, { width, height, role: "img", ariaLabel: `Output ${index} as a picture` });
  canvas.getContext("2d").putImageData(new ImageData(new Uint8ClampedArray(pixels), width, height), 0, 0);
  return canvas;
}

function statistics(told) {
  const list = made("dl");
  for (const [name, value] of Object.entries(told))
    list.append(holding("div", "", made("dt", "", name), made("dd", "", value)));
  return list;
}

function best({ of, places }) {
  const list = made("ol", "best");
  for (const [place, value] of places)
    list.append(holding("li", "", made("span", "place", `index ${number(place)}`), made("code", "", value)));
  const title = of > 1 ? `Largest of the last of ${number(of)} rows` : "Largest elements";
  return holding("div", "", made("h4", "", title), list);
}

export function outputNode(output, index) {
  const node = made("article", "output");
  const save = button("Save as .npy", () => saved(`output-${index}.npy`, output.file), "link");
  save.ariaLabel = `Save output ${index} as .npy`;
  node.append(
    holding("div", "heading", holding("h3", "", `Output ${index} `, made("code", "quiet", written(output))), save),
  );
  const total = size(output.shape);
  const rest = total - output.values.length;
  const more = rest > 0 ? `, … and ${number(rest)} more` : "";
  if (output.image) node.append(picture(output.image, index));
  node.append(made("p", "values code", total ? output.values.join(", ") + more : "no elements"));
  if (Object.keys(output.statistics).length) node.append(statistics(output.statistics));
  if (output.best) node.append(best(output.best));
  return node;
}
