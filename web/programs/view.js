// The view that opens ExecuTorch programs and runs them on what a person types, drops or picks.

import { choice, made } from "../dom.js";
import { filesOf, onFilesDropped } from "../drop.js";
import { number, seconds } from "../format.js";
import { pictureNode } from "../picture.js";
import { dropped, inputsOf, written } from "./inputs.js";
import { operatorsNode, summaryOf } from "./listing.js";
import { outputNode } from "./outputs.js";

const EXAMPLES = new URL("examples/", import.meta.url);
const STOPPED = "The computation stopped.";

export function programs(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [input, problem, form, list] = ["program-file", "program-problem", "program-form", "program-inputs"].map(element);
  const [run, reset, summary, outputs] = ["program-run", "program-reset", "program-summary", "program-outputs"].map(element);
  const drawing = element("program-picture");
  let open = null; // {key, file, methods}
  let method = null;
  let inputs = [];
  let keys = 0; // of files, so that the worker knows one it has open
  let calls = 0; // since the program was opened or reset
  let drawn = false; // the delegate's graph
  let latest = Promise.resolve(); // of what was asked for
  let running = false;

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  // One after the other: the worker would drop what waits when something newer comes.
  function ask(job) {
    latest = latest.then(() => engine.ask("programs", job));
    return latest;
  }

  const peek = (data) => ask({ type: "peek", data });

  async function load(file) {
    say("");
    const key = ++keys;
    element("program-opening").textContent = `Opening ${file.name}`;
    const answer = await ask({ type: "see", key, file });
    if (key !== keys) return; // a newer one is on its way
    element("program-opening").textContent = "";
    if (!answer || answer.refused) {
      say(`${file.name} was not opened. ${answer?.refused ?? STOPPED}`);
      return;
    }
    open = { key, file, methods: answer.methods };
    calls = 0;
    element("program").hidden = element("program-graph").hidden = false;
    element("program-name").textContent = file.name;
    element("program-size").textContent = `${number(file.size / 1e3, 1)} kB`;
    const named = open.methods.map(({ name }, index) => [String(index), name]);
    const methods = choice(named, "0", (index) => show(open.methods[index]));
    methods.id = "program-methods";
    element("program-methods").replaceWith(methods);
    show(open.methods[0]);
  }

  function show(chosen) {
    method = chosen;
    inputs = inputsOf(method.inputs, peek);
    list.replaceChildren(...inputs.map(({ node }) => node));
    element("program-gives").textContent = method.outputs.map(written).join(", ");
    element("operators-summary").textContent = summaryOf(method);
    element("operators").replaceChildren(operatorsNode(method));
    const named = method.delegates.map((_, index) => [String(index), `delegate ${index}`]);
    const delegates = choice(named, "0", (index) => draw(Number(index)));
    delegates.id = "delegates";
    element("delegates").replaceWith(delegates);
    element("graph-heading").hidden = !named.length;
    element("delegate-row").hidden = named.length < 2;
    drawing.replaceChildren();
    drawn = false;
    outputs.replaceChildren();
    summary.textContent = "";
    reset.hidden = true;
    draw(0);
  }

  async function draw(delegate) {
    const mine = method;
    if (!mine.delegates.length) return;
    const answer = await ask({ type: "draw", method: mine.name, delegate });
    if (!answer || mine !== method) return;
    const later = "Its sizes come with the first call: run it, and it is drawn.";
    const node = answer.picture
      ? pictureNode(answer.picture, `Graph of delegate ${delegate}`)
      : made("p", "quiet", later);
    drawing.replaceChildren(node);
    drawn = Boolean(answer.picture);
  }

  function jobOf() {
    const parts = inputs.map((one) => one.job());
    return {
      type: "run",
      key: open.key,
      file: open.file,
      method: method.name,
      inputs: parts.map(([told]) => told),
      data: parts.map(([, bytes]) => bytes),
    };
  }

  async function start() {
    if (!open || running) return;
    say("");
    running = true;
    await work();
    running = false;
  }

  async function work() {
    const mine = method;
    let job;
    try {
      job = jobOf();
    } catch (error) {
      say(error.message);
      return;
    }
    summary.textContent = "Running";
    outputs.ariaBusy = "true"; // what stands there answers an older question
    const answer = await ask(job);
    outputs.ariaBusy = "false";
    if (mine !== method) return; // another one was opened meanwhile
    if (!answer || answer.refused) {
      summary.textContent = "";
      say(answer?.refused ?? STOPPED);
      return;
    }
    calls += 1;
    const state = answer.stateful ? ` · call ${calls}: what it remembers stays for the next` : "";
    summary.textContent = `${method.name} in ${seconds(answer.seconds)}${state}`;
    reset.hidden = !answer.stateful;
    outputs.replaceChildren(...answer.outputs.map(outputNode));
    if (!drawn) draw(Number(element("delegates").value));
  }

  async function forget() {
    if (!(await ask({ type: "reset" }))) return;
    calls = 0;
    summary.textContent = "Reset: the next call is the first again.";
    run.focus(); // the button that was pressed goes
    reset.hidden = true;
  }

  async function take(files) {
    const [program] = files.filter((file) => /\.pte$/i.test(file.name));
    if (program) return load(program);
    if (!open) return say("Open a .pte first; arrays and pictures are for its inputs.");
    say("");
    try {
      for (const file of files) await dropped(inputs, file);
    } catch (error) {
      say(error.message);
    }
  }

  async function example(name) {
    element("program-opening").textContent = `Opening ${name}`;
    try {
      const response = await fetch(new URL(name, EXAMPLES));
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      await load(new File([await response.blob()], name));
    } catch (error) {
      element("program-opening").textContent = "";
      say(`${name} was not opened: ${error.message}.`);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  section.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) start();
  });
  reset.addEventListener("click", forget);
  element("program-open").addEventListener("click", () => input.click());
  input.addEventListener("change", async () => {
    const [file] = input.files;
    if (file) await load(file);
    input.value = ""; // the same file may be opened again
  });
  for (const node of section.querySelectorAll(".example"))
    node.addEventListener("click", () => example(node.dataset.file));
  onFilesDropped(section, async (transfer) => take((await filesOf(transfer)).files));
}
