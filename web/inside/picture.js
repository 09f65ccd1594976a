// Pictures that this page's Python drew, as SVG text, put into the page: parsed as XML, checked, and
// taken over node by node. What is not known to be harmless is refused, whoever wrote it.

const SVG = "http://www.w3.org/2000/svg";
const ELEMENTS = new Set(["svg", "g", "title", "rect", "path", "text"]);
const ACTIVE = /^(on|style$|href$|src$|id$)/i;
export const MOST = 6000; // elements; beyond, a page grows slow, and nobody tells them apart

// The <svg> of a text; throws what is wrong with it.
export function pictureOf(text) {
  const root = new DOMParser().parseFromString(text, "image/svg+xml").documentElement;
  if (root.localName !== "svg") throw new Error(`a picture is <svg>, got <${root.localName}>`);
  const nodes = [root, ...root.querySelectorAll("*")];
  for (const node of nodes) {
    if (node.namespaceURI !== SVG || !ELEMENTS.has(node.localName))
      throw new Error(`a picture holds <${node.localName}>`);
    const bad = [...node.attributes].find(({ localName }) => ACTIVE.test(localName));
    if (bad) throw new Error(`a picture's <${node.localName}> has the attribute ${bad.name}`);
  }
  return { picture: document.importNode(root, true), elements: nodes.length };
}

// A picture in a box that scrolls, by keys too; a very large one only when it is asked for.
export function framed(text, label) {
  const { picture, elements } = pictureOf(text);
  const frame = document.createElement("div");
  frame.className = "picture-frame";
  frame.tabIndex = 0;
  frame.role = "region";
  frame.ariaLabel = label;
  if (elements <= MOST) {
    frame.append(picture);
    return frame;
  }
  const draw = document.createElement("button");
  draw.type = "button";
  draw.textContent = `Draw it: ${elements.toLocaleString("en")} parts`;
  draw.addEventListener("click", () => {
    frame.replaceChildren(picture);
    frame.focus();
  });
  frame.append(draw);
  return frame;
}
