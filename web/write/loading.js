// The worker's side of opening models: from a place a person named, or from what was kept of it.
//
// A place is null (the embedded model), {name, files} (a picked folder's), {name, url} (an address,
// a hub's too) or {name, kept} (the ID of a kept model). Whatever comes from elsewhere is kept, once
// it is open, by the tab that opened it; another tab that wants the same waits for that, and reads
// what was kept.

import { plain } from "../lane.js";
import { embedded } from "../model_files.js";
import { able, draft, find, hold, identify, touch } from "./kept_models.js";

const PAUSE = 100; // ms between two messages of progress
const GONE = "This model is not kept any more. Open it anew.";

// What Python tells while it reads: written down, and told at most every so often.
function watch(tell) {
  const files = new Map();
  let stage = { stage: "Opening the model", done: 0, total: 0 };
  let timer;
  const now = (more) => {
    clearTimeout(timer);
    timer = undefined;
    tell({ ...stage, files: [...files.values()], ...more });
  };
  const soon = () => (timer ??= setTimeout(now, PAUSE));
  return {
    say(text) {
      stage = { stage: text, done: 0, total: 0 };
      now();
    },
    progress(name, done, total) {
      if (name === "tensors") return; // the bytes, told right after, say more
      stage = { stage: name, done, total };
      soon();
    },
    read(name, done, size) {
      files.set(name, { name, done, size });
      soon();
    },
    now,
    stop: () => clearTimeout(timer),
  };
}

export class Loading {
  #python;
  #writer; // the promise of Python's Writer
  #turn = Promise.resolve(); // one place is opened at a time
  #giveUp; // of the opening under way: an AbortController
  #again; // goes on after a failed download

  constructor(python) {
    this.#python = python;
  }

  get writer() {
    this.#writer ??= this.#python.then(({ pyodide, device }) => pyodide.pyimport("write").Writer(device));
    return this.#writer;
  }

  // Opens the model of a place: {model, name} with Python's Writer, and the ID of what was read (kept)
  // or is being written (id); {cancelled}; or {refused, wasKept}. `tell` is called with {stage, done, total, files, failed?}; where `patient`, a download that
  // fails waits for `retry`.
  open(place, tell, patient) {
    const mine = this.#turn.then(() => this.#open(place, watch(tell), patient));
    this.#turn = mine.catch(() => {});
    return mine;
  }

  async #open(place, watching, patient) {
    this.#giveUp = new AbortController();
    try {
      if (place?.kept) return await this.#reopen(place, watching);
      if (!place) return await this.#swap(await embedded(this.#python), watching);
      if (!able()) return await this.#swap(located(place), watching, patient);
      return await this.#openAndKeep(place, watching, patient);
    } finally {
      watching.stop();
    }
  }

  async #reopen({ name, kept }, watching) {
    const release = await hold(kept, "shared");
    try {
      const found = await find(kept);
      if (!found) return { refused: GONE };
      const answer = await this.#swap({ name, location: found.folder }, watching);
      if (answer.refused) return { ...answer, wasKept: true };
      if (answer.model) await touch(found.folder);
      return { ...answer, kept };
    } finally {
      release();
    }
  }

  async #openAndKeep(place, watching, patient) {
    const id = await identify(place);
    const { signal } = this.#giveUp;
    const waits = setTimeout(() => watching.say("Waiting for this model, which is being kept by another tab or this one"), PAUSE);
    let release;
    try {
      release = await hold(id, "exclusive", signal);
    } catch (error) {
      if (signal.aborted) return { cancelled: true };
      throw error;
    } finally {
      clearTimeout(waits);
    }
    if (await find(id)) {
      release();
      return this.#reopen({ name: place.name, kept: id }, watching);
    }
    try {
      const answer = await this.#swap(located(place), watching, patient);
      if (!answer.model) release();
      else this.#keep(id, place, release);
      return { ...answer, id };
    } catch (error) {
      release();
      throw error;
    }
  }

  async #swap({ name, location }, watching, patient) {
    const writer = await this.writer;
    if (this.#giveUp.signal.aborted) return { cancelled: true };
    let waiting; // several reads may fail at once, and a person is asked once
    const failed = (text) => {
      watching.now({ failed: text });
      waiting ??= new Promise((resolve) => {
        this.#again = () => {
          waiting = undefined;
          watching.now();
          resolve();
        };
      });
      return waiting;
    };
    const answer = plain(
      await writer.swap(location, watching.progress, watching.read, patient ? failed : null),
    );
    return answer.refused || answer.cancelled ? answer : { model: writer, name };
  }

  // Beside whatever runs. Told as "keeping" messages: {id, name, done, total}, at the end {kept: true},
  // {cancelled: true} or {refused}.
  async #keep(id, { name, url }, release) {
    const tell = (what) => postMessage({ type: "keeping", model: "write", id, name, ...what });
    const watching = watch(tell);
    try {
      const output = await draft(id, { name, from: url ?? "a folder" });
      const answer = plain(await (await this.writer).keep(output, watching.progress));
      watching.stop();
      tell(answer.refused || answer.cancelled ? answer : { kept: true });
    } catch (error) {
      watching.stop();
      tell({ refused: String(error?.message ?? error) });
    } finally {
      release();
    }
  }

  async cancel() {
    this.#giveUp?.abort();
    (await this.writer).cancel();
  }

  retry() {
    this.#again?.();
  }

  async stopKeeping() {
    (await this.writer).stop_keeping();
  }
}

const located = ({ name, files, url }) => ({ name, location: files ?? url });
