// The view that looks inside what the others have open: plan, times, kernels, attention, and a cell.

import { button, made } from "../dom.js";
import { keeper } from "../kept.js";
import { attention } from "./attention.js";
import { cell } from "./cell.js";
import { kernelNodes } from "./kernels.js";
import { planNodes } from "./plan.js";
import { tabs } from "./tabs.js";
import { timesNodes } from "./times.js";

const kept = keeper("inside");
const MISSING = {
  write: "The language model is not loaded yet.",
  search: "The sentence model is not loaded yet.",
  programs: "No program is open, or it has not run yet: it is compiled for the sizes it first gets.",
};

export function inside(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [parts, missing] = ["inside-parts", "inside-missing"].map(element);
  const [plan, times, kernels] = ["side-plan", "side-times", "side-kernels"].map(element);
  const subjects = [...section.querySelectorAll("[name=subject]")];
  const reader = attention(section, ask);
  let seen = null; // the facts of what is shown
  let chosen = {}; // the plan that is shown: {part, kernels, …}
  let timed = false;
  let turn = 0;
  let latest = Promise.resolve(); // of what was asked for

  // One after the other: the worker would drop what waits when something newer comes.
  function ask(job, progress) {
    latest = latest.then(() => engine.ask("inside", job, progress));
    return latest;
  }

  const subject = () => subjects.find(({ checked }) => checked).value;
  const there = () => ["ready", "working"].includes(engine.models[subject()].state);

  // A cell needs no model; all else does.
  function tellSides(side) {
    const empty = !missing.hidden && side !== "cell";
    element("inside-sides").hidden = empty;
    element("inside-empty").hidden = !empty;
  }

  function tellMissing(on) {
    missing.hidden = !on;
    tellSides(sides.shown());
    if (!on) return;
    const loading = engine.models[subject()].state === "loading";
    element("missing-text").textContent = loading ? "It is being loaded." : MISSING[subject()];
    element("inside-load").hidden = loading || subject() === "programs";
    element("inside-open").hidden = subject() !== "programs";
    for (const side of [plan, times, kernels]) side.replaceChildren();
    parts.parentElement.hidden = true;
  }

  async function look(part = 0) {
    const mine = ++turn;
    timed = false;
    const answer = await ask({ type: "look", subject: subject(), part });
    if (mine !== turn || !answer) return;
    tellMissing(Boolean(answer.missing));
    if (answer.missing) return;
    chosen = answer;
    parts.replaceChildren(...answer.parts.map((name, i) => new Option(name, i, false, i === answer.part)));
    parts.parentElement.hidden = answer.parts.length < 2;
    const { nodes, select } = kernelNodes(answer.kernels);
    kernels.replaceChildren(...nodes);
    const toKernel = (i) => {
      sides.show("kernels");
      select(i);
    };
    plan.replaceChildren(...planNodes(answer, toKernel));
    times.replaceChildren();
    times.ariaBusy = "false";
    show(sides.shown());
  }

  async function measure() {
    const mine = turn;
    timed = true;
    times.replaceChildren(made("p", "quiet", "Measuring"));
    times.ariaBusy = "true";
    const answer = await ask({ type: "profile", subject: subject(), part: chosen.part });
    if (mine !== turn) return;
    times.ariaBusy = "false";
    const again = button("Measure again", measure);
    if (!answer || answer.missing) times.replaceChildren(again);
    else if (answer.refused) times.replaceChildren(made("p", "notice", answer.refused), again);
    else times.replaceChildren(...timesNodes(answer), again);
  }

  // What a side needs when it is first seen.
  function show(side) {
    tellSides(side);
    if (!missing.hidden) return;
    if (side === "times" && !timed) measure();
    if (side === "attention") {
      const reads = subject() === "write";
      element("attention").hidden = !reads;
      element("no-attention").hidden = reads;
      if (reads) reader.shown();
    }
  }

  // The models of other views come, change and go.
  function follow() {
    if (section.hidden) return;
    const { facts } = engine.models[subject()];
    if (!there()) {
      seen = null;
      turn += 1;
      tellMissing(true);
    } else if (facts !== seen) {
      seen = facts;
      reader.forget();
      look();
    }
  }

  function choose() {
    kept.set("subject", subject());
    engine.about = subject();
    seen = null;
    follow();
    engine.dispatchEvent(new Event("state")); // the shell tells of the model that is looked at
  }

  const sides = tabs(element("inside-tabs"), kept.get("side"), (side) => {
    kept.set("side", side);
    show(side);
  });
  cell(section, engine, ask);
  for (const input of subjects) input.addEventListener("change", choose);
  for (const input of subjects) if (input.value === kept.get("subject")) input.checked = true;
  engine.about = subject();
  parts.addEventListener("change", () => look(Number(parts.value)));
  element("inside-load").addEventListener("click", () => engine.need(subject()));
  engine.addEventListener("state", follow);
  addEventListener("hashchange", () =>
    setTimeout(() => {
      // The shell has shown the view by now; a program may have run meanwhile, and be compiled.
      if (subject() === "programs") seen = null;
      follow();
    }),
  );
  follow();
}
