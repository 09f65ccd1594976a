// The page's shell: the engine (a worker with a model), what is told about it, and the views that
// ask it. A view is a function (section, engine) in a module of its own, its section in index.html.

import { number, seconds } from "./format.js";
import { search } from "./search.js";

const VIEWS = { search };

// Stages of loading: what is told, and where on the bar each begins and ends.
const STAGES = {
  python: { label: "Starting Python", from: 0, to: 0.2 },
  packages: { label: "Unpacking the package", from: 0.2, to: 0.25 },
  tensortab: { label: "Opening the model", from: 0.25, to: 0.3 },
  weights: { label: "Reading and quantizing weights", from: 0.3, to: 1, bytes: true },
};

// What went wrong, by what the error says: a sentence, and what to do.
const PROBLEMS = [
  [
    /models\/\S* ?answered 404|config\.json.*404|404.*config\.json/i,
    "The model was not found on this server. Start it with “tensortab serve”, which fetches it.",
  ],
  [
    /answered \d{3}|\b404\b/,
    "A file of this page was not found. Start the server with “tensortab serve”, which sets it up.",
  ],
  [
    /failed to fetch|networkerror|load failed|dynamically imported module/i,
    "The server does not answer. Check that “tensortab serve” still runs, then start again.",
  ],
  [
    /DeviceLostError/,
    "The GPU went away (a driver restart, or the machine slept). Start again to go on.",
  ],
  [
    /memory|allocation failed/i,
    "The tab ran out of memory. Close other tabs, or rank fewer lines, and start again.",
  ],
];
const UNKNOWN =
  "The computation stopped unexpectedly. Start again; the details below help in a report.";

const NO_WEBGPU =
  "No WebGPU here, so numpy computes instead: correct, but slow. " +
  "Current Chrome and Edge have WebGPU, so have Safari 26 and Firefox 141 and later (Linux: " +
  "Chrome with chrome://flags/#enable-unsafe-webgpu, Firefox with dom.webgpu.enabled in about:config). " +
  "Hardware acceleration has to be on in the browser's settings.";
const INSECURE =
  "No WebGPU here, so numpy computes instead: correct, but slow. Browsers offer WebGPU " +
  "only on https and on localhost: open the page at one of these.";
const SOFTWARE =
  "This adapter imitates a GPU on the CPU: correct, but slow. " +
  "With a GPU, check that hardware acceleration is on in the browser's settings.";

// A worker with a model. Events: "state" whenever `state`, `stage`, `facts` or `problem` changed.
class Engine extends EventTarget {
  state = "loading"; // loading | ready | working | error
  stage = { stage: "python", done: 0, total: 3 };
  facts = null;
  problem = null; // {text, details}
  #jobs = new Map(); // id → {resolve, progress}
  #next = 1;
  #worker;

  start() {
    this.#worker?.terminate();
    this.#worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    this.#worker.onmessage = ({ data }) => this.#receive(data);
    this.#worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message || "the worker could not be loaded");
    };
    this.#change({ state: "loading", problem: null, facts: null });
  }

  // A job's answer; null if a newer job took its place or the engine failed (which the shell tells).
  ask(job, progress) {
    if (this.state === "error") this.start();
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#jobs.set(id, { resolve, progress });
      this.#worker.postMessage({ id, ...job });
      if (this.state === "ready") this.#change({ state: "working" });
    });
  }

  #receive({ type, id, ...data }) {
    if (type === "progress" && id) this.#jobs.get(id).progress(data);
    else if (type === "progress") this.#change({ stage: data });
    else if (type === "ready")
      this.#change({ state: this.#jobs.size ? "working" : "ready", facts: data });
    else if (type === "failed") this.#fail(data.text);
    else this.#settle(id, data.answer);
  }

  #settle(id, answer) {
    this.#jobs.get(id).resolve(answer);
    this.#jobs.delete(id);
    if (this.state === "working" && !this.#jobs.size) this.#change({ state: "ready" });
  }

  #fail(details) {
    this.#worker.terminate();
    const text = PROBLEMS.find(([pattern]) => pattern.test(details))?.[1] ?? UNKNOWN;
    this.#change({ state: "error", problem: { text, details } });
    for (const id of [...this.#jobs.keys()]) this.#settle(id, null);
  }

  #change(what) {
    Object.assign(this, what);
    this.dispatchEvent(new Event("state"));
  }
}

const element = (id) => document.getElementById(id);

function tell(engine) {
  const { state, stage, facts, problem } = engine;
  element("engine").dataset.state = state;
  const states = { loading: "Loading", ready: "Ready", working: "Working", error: "Stopped" };
  if (element("engine-state").textContent !== states[state])
    element("engine-state").textContent = states[state];
  element("engine-progress").hidden = state !== "loading";
  if (state === "loading") tellStage(stage);
  element("engine-facts").hidden = !facts;
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
    ? `${number(done / 1e6)} of ${number(total / 1e6)} MB`
    : `step ${done + 1} of ${total}`;
  element("engine-progress").firstElementChild.value = share;
  element("engine-stage").textContent = `${label}: ${count}`;
  element("engine-percent").textContent = `${Math.round(share * 100)} %`;
}

function tellFacts({ model, bits, adapter, kind, software, seconds: loaded }) {
  element("fact-model").textContent = model;
  element("fact-weights").textContent = `${number(bits, 2)} bits each`;
  element("fact-adapter").textContent = adapter;
  element("fact-seconds").textContent = seconds(loaded);
  const missing = isSecureContext ? NO_WEBGPU : INSECURE;
  const notice = kind === "reference" ? missing : software ? SOFTWARE : "";
  element("engine-notice").hidden = !notice;
  element("engine-notice").textContent = notice;
}

const engine = new Engine();
engine.addEventListener("state", () => tell(engine));
element("restart").addEventListener("click", () => engine.start());
engine.start();
for (const [id, view] of Object.entries(VIEWS)) view(element(id), engine);
