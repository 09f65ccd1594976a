// A lane: one model of the worker's and its jobs, of which the newest wins: one that runs asks `stale`
// between two batches, one that waits is dropped. Lanes do not wait for each other.
//
//   new Lane("search", open, {aside: {…}, rank(model, job, stale) {…}})
//
// open    async (place, progress) => {model, name, …}: the Python object, which has facts(), its
//         name, and under `more` what else is told when it is ready
// jobs    by type, async (model, job, stale) => answer; those under `aside` run at once, beside
//         whatever else runs, as async (model, job, lane) => answer

const message = (error) => String(error?.message ?? error);

// What Python answered, as plain JavaScript.
export const plain = (proxy) => {
  const value = proxy.toJs({ dict_converter: Object.fromEntries });
  proxy.destroy();
  return value;
};
// As JSON, so that no proxy has to be destroyed and no lone surrogate gets as far as Python.
export const asJson = (value) =>
  JSON.stringify(value, (_, v) => (typeof v === "string" ? v.toWellFormed() : v));
// Tells how far something is; `head` says whose progress it is.
export const reporter = (head) => (stage, done, total) => {
  if (stage !== "tensors") postMessage({ type: "progress", ...head, stage, done, total });
};

export class Lane {
  #model = null;
  #waiting = null;
  #running = false;

  constructor(model, open, jobs) {
    Object.assign(this, { model, open, jobs });
  }

  stale = () => this.#waiting !== null;

  // What it has loaded, for a lane that looks at others; null before.
  get held() {
    return this.#model;
  }

  async load(place) {
    let opened;
    try {
      opened = await this.open(place, reporter({ model: this.model }));
    } catch (error) {
      postMessage({ type: "broken", model: this.model, text: message(error) });
      return;
    }
    this.stand(opened.model, opened.name, opened.more);
    await this.pump();
  }

  // A model is there, or another one. Seconds are since the worker's start, from where
  // performance.now() counts.
  stand(model, name, more, seconds = performance.now() / 1000) {
    this.#model = model;
    const facts = { name, seconds, ...more, ...plain(model.facts()) };
    postMessage({ type: "ready", model: this.model, ...facts });
  }

  async take(job) {
    if (job.type in this.jobs.aside) {
      const answer = await this.jobs.aside[job.type](this.#model, job, this);
      postMessage({ type: "answer", id: job.id, answer });
      await this.pump(); // a job may have waited for a model
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
