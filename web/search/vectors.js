// The index: vectors by model and text, remembered in this tab and kept in the browser for the next
// visit. Records stand alone, so that tabs add to each other's; the oldest go when there are too many.

import { finished, opened, settled } from "./database.js";

const NAME = "tensortab-search-index";
const AT_ONCE = 1000; // records asked for in one transaction
const DAY = 24 * 3600 * 1000; // ms after which a record's use is noted again

export const MOST = 50_000; // vectors; of 384 floats they are 77 MB

const open = () =>
  opened(NAME, (database) => {
    const store = database.createObjectStore("vectors", { keyPath: ["model", "text"] });
    store.createIndex("used", "used");
  });

export class Vectors {
  known = new Map(); // text → Float32Array
  #model;
  #most;
  #database;

  // model: what else the vectors depend on; most: how many are kept.
  constructor(model, database, most = MOST) {
    this.#model = model;
    this.#database = database;
    this.#most = most;
  }

  static async open(model, most) {
    return new Vectors(model, await open(), most);
  }

  // Whether what is added is kept for the next visit.
  get keeping() {
    return this.#database !== null;
  }

  // Does with the store what can be done; a store that fails is given up.
  async #using(mode, work) {
    if (!this.#database) return undefined;
    try {
      const transaction = this.#database.transaction("vectors", mode);
      const end = finished(transaction);
      end.catch(() => {}); // told by what work awaits, too
      const result = await work(transaction.objectStore("vectors"));
      await end;
      return result;
    } catch {
      this.#database = null; // forbidden, full or deleted meanwhile
      return undefined;
    }
  }

  // Takes from the store what is not known yet, of these texts.
  async recall(texts) {
    const unknown = texts.filter((text) => !this.known.has(text));
    for (let i = 0; i < unknown.length; i += AT_ONCE) {
      const part = unknown.slice(i, i + AT_ONCE);
      const records = await this.#using("readonly", (store) =>
        Promise.all(part.map((text) => settled(store.get([this.#model, text])))),
      );
      const found = (records ?? []).filter(Boolean);
      for (const { text, vector } of found) this.known.set(text, vector);
      await this.#put(found.filter(({ used }) => Date.now() - used > DAY));
    }
  }

  async #put(records) {
    if (!records.length) return;
    await this.#using("readwrite", async (store) => {
      for (const record of records) store.put({ ...record, used: Date.now() });
      const over = (await settled(store.count())) - this.#most;
      if (over > 0) await dropOldest(store, over + Math.floor(this.#most / 10));
    });
  }

  // Remembers vectors, and keeps them at once: a reload loses no more than what is being embedded.
  async add(texts, vectors) {
    texts.forEach((text, i) => this.known.set(text, vectors[i]));
    await this.#put(texts.map((text, i) => ({ model: this.#model, text, vector: vectors[i] })));
  }

  // Drops what this tab remembers beyond what is kept, but for these texts.
  trim(texts) {
    if (this.known.size <= this.#most) return;
    this.known = new Map(texts.map((text) => [text, this.known.get(text)]));
  }
}

function dropOldest(store, count) {
  return new Promise((resolve, reject) => {
    const request = store.index("used").openCursor();
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || !count--) resolve();
      else {
        cursor.delete();
        cursor.continue();
      }
    };
  });
}

// What `work` says of the store; null where there can be none.
async function asking(mode, work) {
  const database = await open();
  try {
    return await settled(work(database.transaction("vectors", mode).objectStore("vectors")));
  } catch {
    return null;
  } finally {
    database?.close();
  }
}

// How many vectors are kept, of every model; and none any more.
export const keptCount = () => asking("readonly", (store) => store.count());
export const forgetKept = () => asking("readwrite", (store) => store.clear());
