// A text as the language model reads it: for a token, what it looks at and what may follow it.

import { choice, holding, made } from "../dom.js";
import { number } from "../format.js";

const CELL = 9; // pixels of the picture for one weight
const MOST = 5; // tokens named in words

// Spaces and line breaks as something that is seen.
const visible = (text) => text.replaceAll(" ", "·").replaceAll("\n", "⏎").replaceAll("\t", "⇥");
const percent = (share) => `${number(100 * share, share < 0.1 ? 1 : 0)} %`;

function paint(canvas, weights, count, chosen) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  canvas.width = canvas.height = count * CELL;
  context.fillStyle = style.getPropertyValue("--accent");
  for (let row = 0; row < count; row += 1)
    for (let column = 0; column <= row; column += 1) {
      context.globalAlpha = Math.max(0.04, Math.sqrt(weights[row * count + column]));
      context.fillRect(column * CELL, row * CELL, CELL - 1, CELL - 1);
    }
  context.globalAlpha = 1;
  context.strokeStyle = style.getPropertyValue("--busy");
  context.lineWidth = 2;
  context.strokeRect(1, chosen * CELL, (chosen + 1) * CELL - 2, CELL - 1);
}

// ask: (job) => the worker's answer
export function attention(section, ask) {
  const element = (id) => section.querySelector(`#${id}`);
  const [canvas, chips, words, follow] = ["attention-map", "tokens", "attention-words", "following"].map(element);
  let read = null; // {tokens, layers, heads}
  let weights = null; // of a layer, [heads, T, T]
  let [layer, head, token, turn] = [0, "mean", 0, 0];

  // The weights of the head that is shown, or of all of them on average.
  function shown() {
    const size = read.tokens.length ** 2;
    if (head !== "mean") return weights.subarray(Number(head) * size, (Number(head) + 1) * size);
    const mean = new Float32Array(size);
    weights.forEach((weight, i) => (mean[i % size] += weight / read.heads));
    return mean;
  }

  function draw() {
    if (!weights) return;
    const count = read.tokens.length;
    const all = shown();
    const row = all.subarray(token * count, (token + 1) * count);
    paint(canvas, all, count, token);
    [...chips.children].forEach((chip, i) => {
      chip.ariaPressed = String(i === token);
      chip.style.setProperty("--weight", i <= token ? Math.sqrt(row[i]) : 0);
      chip.title = i <= token ? percent(row[i]) : "comes later";
    });
    const order = [...row.keys()].filter((i) => i <= token).sort((a, b) => row[b] - row[a]);
    const said = order.slice(0, MOST).map((i) => `“${visible(read.tokens[i])}” (${i}) ${percent(row[i])}`);
    words.textContent = `Token ${token}, “${visible(read.tokens[token])}”, looks at ${said.join(", ")}.`;
    canvas.ariaLabel = `Attention of ${count} tokens, layer ${layer}, ${head === "mean" ? "all heads" : `head ${head}`}`;
  }

  async function choose(index) {
    token = index;
    draw();
    const mine = ++turn;
    const found = await ask({ type: "following", token });
    if (mine !== turn || !found) return;
    follow.replaceChildren(
      ...found.best.map(([text, share]) => {
        const bar = made("span", "bar");
        bar.ariaHidden = "true";
        bar.style.setProperty("--score", share);
        return holding("li", "", made("code", "", visible(text)), bar, made("span", "value", percent(share)));
      }),
    );
  }

  async function chooseLayer(index) {
    layer = index;
    const found = await ask({ type: "attention", layer });
    if (!found || layer !== index) return;
    weights = found.weights;
    draw();
  }

  function select(id, options, value, chosen) {
    const node = choice(options, value, chosen);
    node.id = id;
    element(id).replaceWith(node);
  }

  const numbered = (count) => Array.from({ length: count }, (_, i) => [String(i), String(i)]);

  async function show(answer) {
    read = answer;
    weights = null;
    [layer, head, token] = [0, "mean", read.tokens.length - 1];
    element("attention").hidden = false;
    element("read-left").textContent = read.left
      ? `Only the first ${read.tokens.length} tokens are read; ${number(read.left)} are left out.`
      : "";
    chips.replaceChildren(
      ...read.tokens.map((text, i) => {
        const chip = made("button", "chip code", visible(text));
        chip.type = "button";
        chip.addEventListener("click", () => choose(i));
        return chip;
      }),
    );
    select("layer", numbered(read.layers), "0", (value) => chooseLayer(Number(value)));
    select("head", [["mean", "all, on average"], ...numbered(read.heads)], "mean", (value) => {
      head = value;
      draw();
    });
    await chooseLayer(0);
    await choose(token);
  }

  canvas.addEventListener("click", (event) => {
    const { top, height } = canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - top) / height) * read.tokens.length);
    choose(Math.max(0, Math.min(row, read.tokens.length - 1)));
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  return { show };
}
