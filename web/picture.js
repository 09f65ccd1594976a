// Pictures that Python draws (tensortab.display), as elements. They come as text and hold names of
// files and models, so only known shapes and attributes are taken over, whatever the text says.

import { button, made } from "./dom.js";
import { number } from "./format.js";

const SVG = "http://www.w3.org/2000/svg";
const SHAPES = new Set(["svg", "g", "rect", "text", "tspan", "title", "path", "line", "circle"]);
const ATTRIBUTES = new Set(
  (
    "x y x1 y1 x2 y2 dx dy cx cy r rx ry d width height viewBox transform fill fill-opacity " +
    "stroke stroke-opacity stroke-width stroke-dasharray opacity font-size font-weight " +
    "font-family text-anchor pointer-events class role"
  ).split(" "),
);

const MOST = 6000; // elements; of more a page grows slow

function taken(from) {
  const node = document.createElementNS(SVG, from.localName);
  for (const { name, value } of from.attributes)
    if (ATTRIBUTES.has(name)) node.setAttribute(name, value);
  for (const child of from.childNodes) {
    if (child.nodeType === Node.TEXT_NODE) node.append(child.data);
    else if (child.nodeType === Node.ELEMENT_NODE && SHAPES.has(child.localName)) node.append(taken(child));
  }
  return node;
}

// The picture in a box of its own that scrolls: it is as wide as it is, and reached by keys.
export function pictureNode(text, label) {
  const box = made("div", "scroll drawn");
  box.tabIndex = 0;
  box.role = "region";
  box.ariaLabel = label;
  const { documentElement: root } = new DOMParser().parseFromString(text, "image/svg+xml");
  if (root.localName !== "svg") return box;
  const count = root.querySelectorAll("*").length;
  const draw = () => {
    box.replaceChildren(taken(root));
    box.focus();
  };
  box.append(count > MOST ? button(`Draw it: ${number(count)} parts`, draw) : taken(root));
  return box;
}
