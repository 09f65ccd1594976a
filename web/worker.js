// The page's worker: Pyodide, a model, one job at a time, so that the page itself never stalls.
//
// in    {id, type: "rank", query, lines}     lines without repetitions
//       {id, type: "stop"}                   takes the place of whatever runs, and does nothing
// out   {type: "progress", id?, stage, done, total}      without id: loading
//       {type: "ready", model, bits, adapter, kind, software, seconds}
//       {type: "answer", id, answer}         answer null: a newer job took this one's place
//       {type: "failed", text}               nothing works any more; text is the error with its traceback
//
// The newest job wins: one that runs asks `stale` between two batches, one that waits is dropped.

import { boot } from "./boot.js";

const MODEL = "all-MiniLM-L6-v2";

let python; // an instance of worker.py's Search, once its model is loaded
let waiting = null;
let running = false;

const stale = () => waiting !== null;
const failed = (error) => postMessage({ type: "failed", text: String(error?.message ?? error) });

const jobs = {
  async rank({ id, query, lines }) {
    const progress = (stage, done, total) =>
      postMessage({ type: "progress", id, stage, done, total });
    // From JSON, so that no proxy has to be destroyed and no lone surrogate gets as far as Python.
    const job = JSON.stringify({
      query: query.toWellFormed(),
      lines: lines.map((l) => l.toWellFormed()),
    });
    const found = await python.rank(job, stale, progress);
    if (!found) return null;
    const answer = found.toJs({ dict_converter: Object.fromEntries });
    found.destroy();
    return answer;
  },
  async stop() {
    return null;
  },
};

async function pump() {
  if (running || !python) return;
  running = true;
  while (waiting) {
    const job = waiting;
    waiting = null;
    postMessage({ type: "answer", id: job.id, answer: await jobs[job.type](job) });
  }
  running = false;
}

async function load() {
  const progress = (stage, done, total) => postMessage({ type: "progress", stage, done, total });
  const source = fetch(new URL("worker.py", import.meta.url)).then((response) => response.text());
  const pyodide = await boot({ progress });
  pyodide.FS.writeFile("worker.py", await source);
  const { Search } = pyodide.pyimport("worker");
  const url = new URL(`models/${MODEL}/`, import.meta.url).href;
  const search = await Search.open(url, progress);
  const facts = search.facts().toJs({ dict_converter: Object.fromEntries });
  // Since the worker's start: performance.now() counts from there.
  postMessage({ type: "ready", model: MODEL, seconds: performance.now() / 1000, ...facts });
  python = search;
}

onmessage = ({ data }) => {
  if (waiting) postMessage({ type: "answer", id: waiting.id, answer: null });
  waiting = data;
  pump().catch(failed);
};

load().then(pump).catch(failed);
