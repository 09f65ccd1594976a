// The cell where a visitor's own Python runs: what it prints, shows and raises.

import { button, holding, made } from "../dom.js";
import { seconds } from "../format.js";
import { keeper } from "../kept.js";
import { pictureNode } from "../picture.js";
import { editor } from "./editor.js";

const EXAMPLES = new URL("examples/", import.meta.url);
const FIRST = "graph.py"; // where a visitor begins
const PATIENCE = 1500; // ms after which a run that was asked to stop is said not to
const PAUSE = 300; // ms without typing until the text is kept
const STUCK =
  "It does not stop: this Python computes without ever awaiting, and nothing reaches it. “Start again” ends " +
  "it, and loads the models anew.";
const kept = keeper("inside");

// ask: (job, progress) => the worker's answer, after what was asked before
export function cell(section, engine, ask) {
  const element = (id) => section.querySelector(`#${id}`);
  const [area, run, halt, output] = ["cell", "cell-run", "cell-halt", "cell-output"].map(element);
  const [state, stuck] = ["cell-state", "cell-stuck"].map(element);
  const edit = editor(area, element("cell-lines"));
  let running = false;
  let patience;
  let timer;

  function working(on) {
    running = on;
    run.hidden = on;
    halt.hidden = !on;
    output.ariaBusy = String(on);
    stuck.hidden = true;
    clearTimeout(patience);
  }

  function keep() {
    clearTimeout(timer);
    timer = undefined;
    kept.set("cell", area.value);
  }

  function add({ kind, said }) {
    if (kind === "picture") return output.append(pictureNode(said, "A picture that the cell shows"));
    const last = output.lastElementChild;
    if (last?.className === "code said") last.append(said);
    else output.append(made("pre", "code said", said));
  }

  function raised({ error, line, trace }) {
    const node = holding("div", "error", made("p", "code", error));
    node.role = "alert";
    if (line) node.prepend(button(`Line ${line}`, () => edit.go(line), "link"));
    const more = made("details");
    more.append(made("summary", "", "Traceback"), made("pre", "code", trace));
    node.append(more);
    output.append(node);
  }

  async function start() {
    if (running) return;
    keep();
    working(true);
    output.replaceChildren();
    state.textContent = engine.models.inside.facts ? "Running" : "Waiting for Python";
    const began = performance.now();
    const answer = await ask({ type: "run", text: area.value }, add);
    working(false);
    if (!answer) state.textContent = "Broken off.";
    else if (answer.stopped) state.textContent = "Stopped.";
    else state.textContent = `${answer.error ? "Failed" : "Done"} after ${seconds((performance.now() - began) / 1000)}.`;
    if (answer?.error) raised(answer);
  }

  function stop() {
    if (!running) return;
    state.textContent = "Stopping";
    engine.ask("inside", { type: "interrupt" });
    patience = setTimeout(() => (stuck.hidden = !running), PATIENCE);
  }

  async function open(file) {
    state.textContent = "Opening";
    const response = await fetch(new URL(file, EXAMPLES)).catch(() => null);
    if (response?.ok) {
      edit.set(await response.text());
      state.textContent = "";
    } else state.textContent = `${file} was not found on this server.`;
    return response?.ok;
  }

  async function example(file) {
    if (!running && (await open(file))) start();
  }

  element("cell-form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    }
  });
  area.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(keep, PAUSE);
  });
  addEventListener("pagehide", () => timer && keep());
  halt.addEventListener("click", stop);
  element("cell-text").textContent = STUCK;
  element("cell-again").addEventListener("click", () => engine.restart());
  for (const node of section.querySelectorAll("[data-cell]"))
    node.addEventListener("click", () => example(node.dataset.cell));
  const text = kept.get("cell");
  if (text) edit.set(text);
  else open(FIRST);
}
