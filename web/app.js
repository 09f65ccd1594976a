// The page's shell: the engine, what is told about it, and the views that ask it. A view is a
// folder of its own: view.js, a function (section, engine); lane.js and Python for the worker; its
// style; its section in index.html. Its address is #name, and its model is loaded when it is first shown.

import { Engine } from "./engine.js";
import { number, seconds } from "./format.js";
import { inside } from "./inside/view.js";
import { keepOffline } from "./offline.js";
import { programs } from "./programs/view.js";
import { search } from "./search/view.js";
import { write } from "./write/view.js";

const VIEWS = { write, search, programs, inside };
const engine = new Engine(Object.keys(VIEWS));
const shown = () => (location.hash.slice(1) in VIEWS ? location.hash.slice(1) : "write");
engine.need(shown()); // before anything else is done: Python takes longest

// Stages of loading: what is told, and where on the bar each begins and ends.
const STAGES = {
  python: { label: "Starting Python", from: 0, to: 0.2 },
  packages: { label: "Unpacking the package", from: 0.2, to: 0.25 },
  tensortab: { label: "Opening the model", from: 0.25, to: 0.3 },
  fetching: { label: "Fetching the model to this machine, once", from: 0.3, to: 0.3 },
  weights: { label: "Reading and quantizing weights", from: 0.3, to: 1, bytes: true },
};

const NO_WEBGPU =
  "No WebGPU here, so numpy computes instead: correct, but slow. With WebGPU it is fast:";
const INSECURE =
  "No WebGPU here, so numpy computes instead: correct, but slow. Browsers offer WebGPU " +
  "only on https and on localhost: open the page at one of these.";
const SOFTWARE =
  "This adapter imitates a GPU on the CPU: correct, but slow. " +
  "With a GPU, check that hardware acceleration is on in the browser's settings.";
const STATES = {
  idle: "Loading",
  loading: "Loading",
  ready: "Ready",
  working: "Working",
  error: "Stopped",
};

const element = (id) => document.getElementById(id);

function tell() {
  const { state, stage, facts, problem } = engine.models[shown()];
  element("engine").dataset.state = state;
  if (element("engine-state").textContent !== STATES[state])
    element("engine-state").textContent = STATES[state];
  element("engine-progress").hidden = state !== "loading";
  if (state === "loading") tellStage(stage);
  element("engine-facts").hidden = !facts;
  element("engine-notice").hidden = true;
  if (facts) tellFacts(facts);
  element("engine-error").hidden = !problem;
  element("error-text").textContent = problem?.text ?? "";
  element("error-details").textContent = problem?.details ?? "";
}

function tellStage({ stage, done, total }) {
  if (stage === "tensors") return; // the bytes, told right after, say more
  const { label, from, to, bytes } = STAGES[stage] ?? { label: stage, from: 0.3, to: 1 };
  // The boot's stages count themselves; only a stage with a size fills its part of the bar.
  const share = bytes ? from + (to - from) * (done / total) : from;
  const count = bytes
    ? `: ${number(done / 1e6)} of ${number(total / 1e6)} MB`
    : total > 1
      ? `: step ${done + 1} of ${total}`
      : "";
  element("engine-progress").firstElementChild.value = share;
  element("engine-stage").textContent = label + count;
  element("engine-percent").textContent = `${Math.round(share * 100)} %`;
}

function tellFacts({ name, bits, adapter, kind, software, seconds: loaded }) {
  tellFact("model", name);
  tellFact("weights", bits && `${number(bits, 2)} bits each`);
  tellFact("adapter", adapter);
  tellFact("seconds", name && seconds(loaded));
  const missing = isSecureContext ? NO_WEBGPU : INSECURE;
  const notice = kind === "reference" ? missing : software ? SOFTWARE : "";
  element("engine-notice").hidden = !notice;
  element("notice-text").textContent = notice;
  element("webgpu-where").hidden = notice !== NO_WEBGPU;
}

// A view may be ready without a model.
function tellFact(fact, text) {
  element(`fact-${fact}`).parentElement.hidden = !text;
  element(`fact-${fact}`).textContent = text ?? "";
}

function show() {
  const view = shown();
  for (const part of document.querySelectorAll("[data-view]"))
    part.hidden = part.dataset.view !== view;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.hash === `#${view}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    if (here) document.title = `${link.textContent} · tensortab`;
  }
  engine.need(view);
  tell();
}

engine.addEventListener("state", tell);
const offline = keepOffline(engine, () => (element("offline").hidden = false));
element("restart").addEventListener("click", () => {
  if (offline.replaced()) location.reload(); // a new worker would not fit this older page
  else engine.need(shown());
});
for (const [name, view] of Object.entries(VIEWS)) view(element(name), engine);
element("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the part after # is the view's name
  document.querySelector("main").focus();
});
addEventListener("hashchange", show);
show();
performance.mark("interactive"); // for bench/warm.py
