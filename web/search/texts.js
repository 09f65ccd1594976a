// The texts that were opened or typed, kept in the browser for the next visit. Each is a record of
// its own, so that two tabs add to the list; where storage is forbidden or full they stay in the tab.

import { finished, opened, settled } from "./database.js";

const NAME = "tensortab-search-texts";

export class Texts {
  #database = opened(NAME, (database) => database.createObjectStore("texts", { keyPath: "id" }));

  // In the order in which they came; null where none can be kept.
  async all() {
    const database = await this.#database;
    if (!database) return null;
    try {
      const found = await settled(database.transaction("texts").objectStore("texts").getAll());
      return found.sort((a, b) => a.at - b.at);
    } catch {
      return null;
    }
  }

  keep = (text) => this.#write((store) => store.put(text));
  drop = (id) => this.#write((store) => store.delete(id));

  // Whether it could be done.
  async #write(work) {
    const database = await this.#database;
    try {
      const transaction = database.transaction("texts", "readwrite");
      work(transaction.objectStore("texts"));
      await finished(transaction);
      return true;
    } catch {
      return false;
    }
  }
}
