// An editor's cell: Python that a visitor changes and runs in the page's worker.

import { made } from "../dom.js";
import { seconds } from "../format.js";
import { keeper } from "../kept.js";
import { pictureNode } from "../picture.js";

const EXAMPLES = new URL("examples/", import.meta.url);
const PATIENCE = 1500; // ms until a cell that was asked to stop is told to be busy
const kept = keeper("inside");

// Typed as by hand, so that it can be undone.
const type = (text) => document.execCommand("insertText", false, text);

function indent(area) {
  const before = area.value.slice(0, area.selectionStart);
  const [line] = before.slice(before.lastIndexOf("\n") + 1).match(/^ */);
  return line + (/:\s*$/.test(before) ? "    " : "");
}

// ask: (job, progress) => the worker's answer, after what was asked before
export function editor(section, engine, ask) {
  const element = (id) => section.querySelector(`#${id}`);
  const [area, run, halt, output] = ["cell", "cell-run", "cell-stop", "cell-output"].map(element);
  const [summary, busy, where] = ["cell-summary", "cell-busy", "cell-line"].map(element);
  let running = false;
  let turn = 0;
  let leaving = false; // Escape was pressed: Tab moves on, as elsewhere
  let wrong = null; // the line that an error came from

  const keep = () => kept.set("cell", area.value);

  function working(on) {
    running = on;
    run.hidden = on;
    halt.hidden = !on;
    busy.hidden = true;
    output.ariaBusy = String(on);
  }

  function told({ kind, said }) {
    if (kind === "picture") output.append(pictureNode(said, "A picture of what the cell shows"));
    else if (output.lastChild?.nodeName === "PRE") output.lastChild.append(said);
    else output.append(made("pre", "code", said));
  }

  function point(line) {
    wrong = line;
    where.hidden = !line;
    where.textContent = `Go to line ${line}`;
  }

  async function start() {
    if (running) return;
    turn += 1;
    keep();
    point(null);
    output.replaceChildren();
    summary.textContent = engine.models.inside.facts ? "Running" : "Waiting for Python";
    working(true);
    const began = performance.now();
    const answer = await ask({ type: "run", source: area.value }, told);
    const took = seconds((performance.now() - began) / 1000);
    working(false);
    if (answer?.error) {
      output.append(made("pre", "code problem", answer.error));
      point(answer.line);
      summary.textContent = `An error after ${took}.`;
    } else
      summary.textContent = !answer ? "Broken off." : answer.stopped ? `Stopped after ${took}.` : `Done in ${took}.`;
  }

  async function stop() {
    if (!running) return;
    summary.textContent = "Stopping";
    const mine = turn;
    setTimeout(() => (busy.hidden = !running || mine !== turn), PATIENCE);
    await engine.ask("inside", { type: "interrupt" });
  }

  function goTo(line) {
    const lines = area.value.split("\n");
    const from = lines.slice(0, line - 1).join("\n").length + (line > 1 ? 1 : 0);
    area.focus();
    area.setSelectionRange(from, from + (lines[line - 1]?.length ?? 0));
  }

  async function example(name) {
    try {
      const response = await fetch(new URL(name, EXAMPLES));
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const text = await response.text();
      area.focus();
      area.select();
      type(text.trimEnd());
      keep();
    } catch (error) {
      summary.textContent = `The example was not had: ${error.message}.`;
    }
  }

  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    } else if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      type(`\n${indent(area)}`);
    } else if (event.key === "Tab" && !event.shiftKey && !leaving) {
      event.preventDefault();
      type("    ");
    }
    leaving = event.key === "Escape";
  });
  area.addEventListener("input", keep);
  run.addEventListener("click", start);
  halt.addEventListener("click", stop);
  where.addEventListener("click", () => goTo(wrong));
  element("cell-restart").addEventListener("click", () => {
    engine.restart();
    engine.need("inside");
  });
  for (const node of section.querySelectorAll("[data-example]"))
    node.addEventListener("click", () => example(node.dataset.example));

  const before = kept.get("cell");
  if (before !== null) area.value = before;
}
