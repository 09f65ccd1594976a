// The page's worker: Pyodide, one device, and models that are loaded when they are asked for, so that
// the page itself never stalls.
//
// in    {type: "load", model, files}             files: null, or a picked folder's, see "open"
//       {id, model: "search", type: "rank", query, lines}     lines without repetitions
//       {id, model: "write", type: "write", prompt, chat, options}
//       {id, model: "write", type: "open", files: {name, files} | null}   null: the embedded model
//       {id, model: "write", type: "cancel"}     gives up opening
//       {id, model, type: "stop"}                takes the place of whatever runs, and does nothing
// out   {type: "progress", model?, id?, stage, done, total}   without model: Python's start
//       {type: "progress", id, text, tokens}     of writing: a piece, and how many tokens by now
//       {type: "ready", model, name, bits, adapter, kind, software, seconds, …}
//       {type: "answer", id, answer}             answer null: a newer job took this one's place
//       {type: "broken", model, text}            that model could not be loaded
//       {type: "failed", text}                   nothing works any more
//
// Of one model's jobs the newest wins: one that runs asks `stale` between two batches, one that waits
// is dropped. Models do not wait for each other.

import { boot } from "./boot.js";
import { embedded, fetched } from "./model_files.js";
import { forget } from "./snapshot.js";

const SENTENCES = "all-MiniLM-L6-v2";
const MODULES = ["search.py", "write.py"];

const message = (error) => String(error?.message ?? error);
const failed = async (error) => {
  await forget(); // should it be at fault, the next start is a plain one
  postMessage({ type: "failed", text: message(error) });
};
const plain = (proxy) => {
  const value = proxy.toJs({ dict_converter: Object.fromEntries });
  proxy.destroy();
  return value;
};
// As JSON, so that no proxy has to be destroyed and no lone surrogate gets as far as Python.
const asJson = (value) =>
  JSON.stringify(value, (_, v) => (typeof v === "string" ? v.toWellFormed() : v));
const reporter = (head) => (stage, done, total) => {
  if (stage !== "tensors") postMessage({ type: "progress", ...head, stage, done, total });
};

// The adapter's process starts while Python does.
navigator.gpu?.requestAdapter().catch(() => {});

const python = (async () => {
  const sources = MODULES.map((name) =>
    fetch(new URL(name, import.meta.url)).then((response) => response.text()),
  );
  const pyodide = await boot({ progress: reporter({}), remember: true });
  for (const [i, name] of MODULES.entries()) pyodide.FS.writeFile(name, await sources[i]);
  const device = await pyodide.runPythonAsync("import tensortab; await tensortab.Device.open()");
  return { pyodide, device };
})();

// One model and its jobs.
class Lane {
  #model = null;
  #waiting = null;
  #running = false;

  constructor(model, open, jobs) {
    Object.assign(this, { model, open, jobs });
  }

  stale = () => this.#waiting !== null;

  async load(files) {
    try {
      const { model, name } = await this.open(files, reporter({ model: this.model }));
      this.#model = model;
      this.ready(name);
    } catch (error) {
      postMessage({ type: "broken", model: this.model, text: message(error) });
      return;
    }
    await this.pump();
  }

  // Seconds are since the worker's start: performance.now() counts from there.
  ready(name, seconds = performance.now() / 1000) {
    postMessage({ type: "ready", model: this.model, name, seconds, ...plain(this.#model.facts()) });
  }

  async take(job) {
    if (job.type in this.jobs.aside) {
      const answer = await this.jobs.aside[job.type](this.#model, job, this);
      postMessage({ type: "answer", id: job.id, answer });
      return;
    }
    if (this.#waiting) postMessage({ type: "answer", id: this.#waiting.id, answer: null });
    this.#waiting = job;
    await this.pump();
  }

  async pump() {
    if (this.#running || !this.#model) return;
    this.#running = true;
    while (this.#waiting) {
      const job = this.#waiting;
      this.#waiting = null;
      const work = job.type === "stop" ? null : this.jobs[job.type];
      const answer = work && (await work(this.#model, job, this.stale));
      postMessage({ type: "answer", id: job.id, answer });
    }
    this.#running = false;
  }
}

let cancelled = false; // opening a picked folder
const located = (picked) => (picked ? { name: picked.name, location: picked.files } : embedded(python));

const search = new Lane(
  "search",
  async (_, progress) => {
    const { pyodide, device } = await python;
    const url = await fetched(SENTENCES, progress);
    const model = await pyodide.pyimport("search").Search.open(url, device, progress);
    return { model, name: SENTENCES };
  },
  {
    aside: {},
    async rank(model, { id, query, lines }, stale) {
      const found = await model.rank(asJson({ query, lines }), stale, reporter({ id }));
      return found && plain(found);
    },
  },
);

const write = new Lane(
  "write",
  async (files, progress) => {
    const { name, location } = await located(files);
    const { pyodide, device } = await python;
    const model = await pyodide.pyimport("write").Writer.open(location, device, progress);
    return { model, name };
  },
  {
    aside: {
      // Beside whatever runs: the model that was there answers until the new one stands.
      async open(model, { id, files }, lane) {
        cancelled = false;
        const start = performance.now();
        const { name, location } = await located(files);
        const answer = plain(await model.swap(location, reporter({ id }), () => cancelled));
        if (!answer.refused && !answer.cancelled) lane.ready(name, (performance.now() - start) / 1000);
        return answer;
      },
      async cancel() {
        cancelled = true;
        return null;
      },
    },
    async write(model, { id, prompt, chat, options }, stale) {
      const emit = (text, tokens) => postMessage({ type: "progress", id, text, tokens });
      return plain(await model.write(asJson({ prompt, chat, options }), stale, emit));
    },
  },
);

const lanes = { search, write };

onmessage = ({ data }) => {
  const lane = lanes[data.model];
  (data.type === "load" ? lane.load(data.files) : lane.take(data)).catch(failed);
};
