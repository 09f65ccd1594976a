// How fast something goes, and how long it will take: a mean over the last seconds, so that one slow
// or quick piece does not make the figures jump.

const MEMORY = 4000; // ms: what is older counts for little
const ENOUGH = 1000; // ms until a figure is worth telling

export class Pace {
  #start;
  #last; // {at, done}
  #mean = 0; // of what was done in a millisecond, as if nothing had been done before the start

  // `at` is in ms, as performance.now() gives it.
  note(done, at = performance.now()) {
    const now = { at, done };
    this.#start ??= now;
    const { at: before, done: had } = this.#last ?? now;
    if (at > before) {
      const weight = 1 - Math.exp((before - at) / MEMORY);
      this.#mean += weight * ((done - had) / (at - before) - this.#mean);
    }
    this.#last = now;
  }

  // A second; 0 while nobody knows.
  get rate() {
    const passed = this.#last.at - this.#start.at;
    return passed < ENOUGH ? 0 : (1000 * this.#mean) / (1 - Math.exp(-passed / MEMORY));
  }

  // Seconds until `total` is reached; undefined while nobody knows.
  left(total) {
    return this.rate > 0 ? (total - this.#last.done) / this.rate : undefined;
  }
}
