// The view that looks inside of what the other views have open, and has an editor for Python.

import { choice } from "../dom.js";
import { attention } from "./attention.js";
import { editor } from "./editor.js";
import { showPlan, timesNode } from "./plan.js";

const STOPPED = "The computation stopped.";
const ABSENT = {
  write: "The language model is not loaded.",
  search: "The sentence model is not loaded.",
  programs: "No program is open: open one in Programs, and run it once.",
};

export function inside(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [view, load, found, problem] = ["subject", "subject-load", "found", "inside-problem"].map(element);
  const [times, time, reading] = ["times", "time", "reading"].map(element);
  let part = 0;
  let seen = null; // the facts of the model that is shown
  let latest = Promise.resolve(); // of what was asked for

  // One after the other: the worker would drop what waits when something newer comes.
  function ask(job, progress) {
    latest = latest.then(() => engine.ask("inside", job, progress));
    return latest;
  }

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function absent() {
    const { state, problem: broken } = engine.models[view.value];
    const coming = state === "loading" && view.value !== "programs";
    found.hidden = true;
    element("absent").hidden = false;
    element("absent-text").textContent = broken?.text ?? (coming ? "Loading" : ABSENT[view.value]);
    load.hidden = coming || view.value === "programs";
  }

  async function look() {
    const mine = view.value;
    const { facts } = engine.models[mine];
    if (seen !== facts) element("attention").hidden = true; // another model read it
    seen = facts;
    times.replaceChildren();
    reading.hidden = mine !== "write" || !facts;
    if (!facts) return absent();
    const answer = await ask({ type: "look", view: mine, part });
    if (mine !== view.value || seen !== facts) return; // another one was chosen meanwhile
    if (!answer || answer.missing) return absent();
    element("absent").hidden = true;
    found.hidden = false;
    element("subject-name").textContent = facts.name ?? "";
    const parts = choice(answer.parts.map((name, i) => [String(i), name]), String(answer.part), (value) => {
      part = Number(value);
      look();
    });
    parts.id = "part";
    element("part").replaceWith(parts);
    showPlan(section, answer);
  }

  async function profile() {
    const mine = [view.value, part];
    time.ariaBusy = "true";
    const answer = await ask({ type: "profile", view: view.value, part });
    time.ariaBusy = "false";
    if (mine[0] !== view.value || mine[1] !== part) return; // another one was chosen meanwhile
    say(answer?.refused ?? (answer ? "" : STOPPED));
    if (answer && !answer.refused && !answer.missing) times.replaceChildren(timesNode(answer));
  }

  const { show } = attention(section, ask);

  async function read() {
    const status = element("read-status");
    status.textContent = "Reading";
    const answer = await ask({ type: "read", text: element("read-text").value });
    const refused = answer ? answer.refused : STOPPED;
    status.textContent = refused ?? "";
    if (!refused && !answer.missing) await show(answer);
  }

  view.addEventListener("change", () => {
    part = 0;
    say("");
    look();
  });
  load.addEventListener("click", () => engine.need(view.value));
  time.addEventListener("click", profile);
  element("read-form").addEventListener("submit", (event) => {
    event.preventDefault();
    read();
  });
  editor(section, engine, ask);
  const changed = () => engine.models[view.value].facts !== seen;
  engine.addEventListener("state", () => {
    if (section.hidden) return;
    if (changed()) look();
    else if (!seen) absent(); // how far its loading is
  });
  addEventListener("hashchange", () =>
    setTimeout(() => {
      // The shell has shown it by now; a program may have run meanwhile, and be compiled.
      if (!section.hidden && (changed() || view.value === "programs")) look();
    }),
  );
  absent();
}
