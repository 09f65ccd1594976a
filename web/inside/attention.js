// A text as the language model reads it: what each token looks at, and what is expected after it.

import { button, choice, holding, made } from "../dom.js";
import { count, number } from "../format.js";
import { keeper } from "../kept.js";
import { draw, placeOf } from "./heat.js";
import { quoted, seen } from "./tokens.js";

const MOST = 3; // tokens named in words
const kept = keeper("inside");
const percent = (share) => `${number(100 * share, share < 0.1 ? 1 : 0)} %`;

// next: what did follow, beside the best if it is not among them
function expectedNode({ best, came }, next) {
  const list = made("ol", "expected");
  list.ariaLabel = "Likeliest next tokens";
  const shown = [...best];
  if (next !== undefined && !best.some(([, , follows]) => follows)) shown.push([next, came, true]);
  for (const [token, share, follows] of shown) {
    const bar = made("span", "bar");
    bar.ariaHidden = "true";
    bar.style.setProperty("--score", share);
    const [name, value] = [made("span", "code", seen(token)), made("span", "value", percent(share))];
    list.append(holding("li", "", name, bar, value, made("span", "quiet", follows ? "came next" : "")));
  }
  return list;
}

// ask: (job) => the worker's answer
export function attention(section, ask) {
  const element = (id) => section.querySelector(`#${id}`);
  const [text, problem, state, result] = ["read-text", "read-problem", "read-state", "read-result"].map(element);
  const [chips, matrix, heads, words, expected] = ["read-tokens", "read-matrix", "read-heads", "read-words", "read-expected"].map(element);
  let reading = null; // {tokens, layers, heads, expected, …}
  let weights = null; // of the layer, float32 [heads, T, T]
  let [layer, head, token] = [0, 0, 0];
  let turn = 0;

  function say(said) {
    problem.textContent = said;
    problem.hidden = !said;
  }

  const row = (at) => {
    const size = reading.tokens.length;
    const start = (head * size + at) * size;
    return weights.subarray(start, start + size);
  };

  function tell() {
    if (!weights) return; // they are on their way
    const { tokens } = reading;
    const shares = row(token);
    chips.querySelectorAll("label").forEach((chip, i) => {
      chip.style.setProperty("--share", i <= token ? Math.sqrt(shares[i]) : 0); // small ones are to be seen, too
      chip.title = i <= token ? percent(shares[i]) : "comes later";
    });
    const order = [...shares.keys()].sort((a, b) => shares[b] - shares[a]).slice(0, MOST);
    const parts = order.filter((i) => shares[i] > 0).map((i) => `${quoted(tokens[i])} ${percent(shares[i])}`);
    const where = `Layer ${layer + 1}, head ${head + 1}`;
    words.textContent = `${where}: token ${token + 1}, ${quoted(tokens[token])}, looks at ${parts.join(", ")}.`;
    element("read-after").textContent = `After ${quoted(tokens[token])}`;
    expected.replaceChildren(expectedNode(reading.expected[token], tokens[token + 1]));
    element("read-row").style.setProperty("--row", token / tokens.length);
    element("read-row").style.setProperty("--rows", tokens.length);
  }

  function show() {
    const size = reading.tokens.length;
    const area = size * size;
    draw(matrix, weights.subarray(head * area, (head + 1) * area), size);
    heads.querySelectorAll("button").forEach((node, i) => node.setAttribute("aria-pressed", i === head));
    tell();
  }

  // Pictures of all the layer's heads, to choose one by.
  function thumbnails() {
    const size = reading.tokens.length;
    const nodes = Array.from({ length: reading.heads }, (_, i) => {
      const canvas = made("canvas");
      draw(canvas, weights.subarray(i * size * size, (i + 1) * size * size), size);
      const node = button("", () => {
        head = i;
        show();
      });
      node.append(canvas, `Head ${i + 1}`);
      return node;
    });
    heads.replaceChildren(...nodes);
  }

  async function open(chosen) {
    layer = chosen;
    const mine = turn;
    const answer = await ask({ type: "attention", layer });
    if (!answer || answer.missing || mine !== turn || chosen !== layer) return; // something newer owns the page
    weights = answer.weights;
    const window = reading.windows[layer];
    element("read-window").textContent = window ? `This layer sees the last ${count(window, "token")} alone.` : "";
    thumbnails();
    show();
  }

  function chip(value, i) {
    const input = Object.assign(made("input"), { type: "radio", name: "token", value: String(i), checked: i === token });
    input.addEventListener("change", () => {
      token = i;
      tell();
    });
    const node = holding("label", "chip code", input, seen(value));
    return value.includes("\n") ? [node, made("span", "break")] : [node];
  }

  async function read() {
    if (!text.value) {
      say("Type a text first.");
      text.focus();
      return;
    }
    say("");
    kept.set("text", text.value);
    const mine = ++turn;
    state.textContent = "Reading";
    const answer = await ask({ type: "read", text: text.value });
    if (mine !== turn) return;
    state.textContent = "";
    if (!answer || answer.missing) return;
    if (answer.refused) {
      say(answer.refused);
      return;
    }
    reading = answer;
    weights = null;
    [layer, head, token] = [Math.min(layer, answer.layers - 1), Math.min(head, answer.heads - 1), answer.tokens.length - 1];
    const left = answer.left ? ` The ${count(answer.left, "token")} after these are not read.` : "";
    state.textContent = `${count(answer.tokens.length, "token")}.${left}`;
    chips.replaceChildren(...answer.tokens.flatMap(chip));
    const layers = choice(Array.from({ length: answer.layers }, (_, i) => [String(i), String(i + 1)]), String(layer), (i) => open(Number(i)));
    layers.id = "read-layer";
    element("read-layer").replaceWith(layers);
    await open(layer);
    result.hidden = false;
  }

  element("read-form").addEventListener("submit", (event) => {
    event.preventDefault();
    read();
  });
  text.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      read();
    }
  });
  matrix.addEventListener("click", (event) => {
    if (!weights) return;
    [token] = placeOf(event, reading.tokens.length);
    chips.querySelectorAll("input")[token].checked = true;
    tell();
  });
  matrix.addEventListener("pointermove", (event) => {
    if (!weights) return;
    const [from, to] = placeOf(event, reading.tokens.length);
    const [one, other] = [from, to].map((i) => quoted(reading.tokens[i]));
    const share = to <= from ? percent(row(from)[to]) : "cannot: it comes later";
    element("read-point").textContent = `${one} looks at ${other}: ${share}`;
  });
  matrix.addEventListener("pointerleave", () => (element("read-point").textContent = ""));
  text.value = kept.get("text") ?? text.defaultValue;

  return {
    // Another model: what was read is not its.
    forget() {
      turn += 1;
      reading = weights = null;
      result.hidden = true;
      state.textContent = "";
      say("");
    },
    shown: () => !reading && text.value && read(),
  };
}
