// The engine: a worker with Python, a device, and models that are loaded when they are first needed.
//
// engine.need("search")                loads that model unless it is there
// engine.ask("search", job, progress)  a job's answer; null if a newer job took its place, or if the
//                                      engine failed (which the shell tells)
// engine.restart()                     ends whatever runs; models have to be loaded again
// engine.models.search                 {state, stage, facts, problem}
//
// Events: "state" whenever a model's state, stage, facts or problem changed.
// A model's state: idle | loading | ready | working | error; problem is {text, details}.

// What went wrong, by what the error says: a sentence, and what to do.
const PROBLEMS = [
  [
    /models\/\S* ?answered 503: (.*)/,
    "This model is fetched when it is first used, and the server could not get it: it needs a " +
      "network once. Then start again.",
  ],
  [
    /models\/\S* ?answered 404|config\.json.*404|404.*config\.json/i,
    "The model was not found on this server. “tensortab serve” fetches it when it is first used, and " +
      "“tensortab site --with-search” writes it beside the page.",
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
    "The tab ran out of memory. Close other tabs, or give it less at once, and start again.",
  ],
];
const UNKNOWN =
  "The computation stopped unexpectedly. Start again; the details below help in a report.";

const STARTING = { stage: "python", done: 0, total: 3 };
const fresh = () => ({ state: "idle", stage: STARTING, facts: null, problem: null });

function told(details) {
  const text = PROBLEMS.find(([pattern]) => pattern.test(details))?.[1] ?? UNKNOWN;
  return { text, details };
}

export class Engine extends EventTarget {
  models; // by the views' names
  files = null; // of the model that a person picked for writing, asked for again after a crash
  #jobs = new Map(); // id → {model, aside, resolve, progress}; aside: does not keep the model
  #next = 1;
  #worker;

  constructor(views) {
    super();
    this.models = Object.fromEntries(views.map((view) => [view, fresh()]));
  }

  // A model is loaded from here on; a worker that failed is replaced.
  need(model) {
    const { state } = this.models[model];
    if (state !== "idle" && state !== "error") return;
    this.#worker ??= this.#started();
    this.#change(model, { ...fresh(), state: "loading" });
    this.#worker.postMessage({ type: "load", model, files: model === "write" ? this.files : null });
  }

  ask(model, job, progress) {
    this.need(model);
    const id = this.#next++;
    return new Promise((resolve) => {
      this.#jobs.set(id, { model, aside: job.type === "open", resolve, progress });
      this.#worker.postMessage({ id, model, ...job });
      if (job.type !== "open" && this.models[model].state === "ready")
        this.#change(model, { state: "working" });
    });
  }

  #started() {
    const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
    worker.onmessage = ({ data }) => this.#receive(data);
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(event.message || "the worker could not be loaded");
    };
    return worker;
  }

  #receive({ type, id, model, ...data }) {
    if (type === "progress" && id) this.#jobs.get(id).progress(data);
    else if (type === "progress") this.#stage(model, data);
    else if (type === "ready") this.#ready(model, data);
    else if (type === "broken") this.#break(model, data.text);
    else if (type === "failed") this.#fail(data.text);
    else this.#settle(id, data.answer);
  }

  #ready(model, facts) {
    performance.mark("ready"); // for bench/warm.py
    this.#change(model, { state: this.#busy(model), facts });
  }

  #stage(model, stage) {
    for (const name of model ? [model] : Object.keys(this.models))
      if (this.models[name].state === "loading") this.#change(name, { stage });
  }

  #busy(model) {
    return [...this.#jobs.values()].some((job) => job.model === model && !job.aside) ? "working" : "ready";
  }

  #settle(id, answer) {
    const { model, resolve } = this.#jobs.get(id);
    this.#jobs.delete(id);
    resolve(answer);
    if (this.models[model].state === "working") this.#change(model, { state: this.#busy(model) });
  }

  // A model could not be loaded; the others go on.
  #break(model, details) {
    this.#change(model, { state: "error", facts: null, problem: told(details) });
    this.#drop(model);
  }

  // Ends the worker, whatever it does, with all that is in it; what is needed is loaded again.
  restart() {
    this.#end();
    for (const [model, { state }] of Object.entries(this.models)) {
      if (state === "idle") continue;
      this.#change(model, fresh());
      this.#drop(model);
    }
  }

  #end() {
    this.#worker?.terminate();
    this.#worker = undefined;
  }

  #drop(model) {
    for (const [id, job] of [...this.#jobs]) if (job.model === model) this.#settle(id, null);
  }

  #fail(details) {
    this.#end();
    for (const [model, { state }] of Object.entries(this.models))
      if (state !== "idle") this.#break(model, details);
  }

  #change(model, what) {
    Object.assign(this.models[model], what);
    this.dispatchEvent(new Event("state"));
  }
}
