// The conversations kept in this browser, of which a tab has one at a time.
//
//   const store = new Conversations();
//   await store.start();       this tab's before a reload, else the latest that no tab has
//   store.turns.push({ role: "user", content });
//   store.keep();              whether it is kept
//   await store.open(id);      false: another tab has it
//
// Each lies under a key of its own and is written by the tab that holds its lock alone, so that two
// tabs never write over each other. A tab that was duplicated goes on with a copy.

import { keeper } from "../kept.js";

const PATIENCE = 1000; // ms until a page that was reloaded or closed has let go of its lock
const SHORT = 40; // characters of a title
const kept = keeper("conversation");
const tab = keeper("conversation", ["session"]);

const read = (id) => JSON.parse(kept.get(id) ?? "null");

// A function that lets go; null where another tab has it, and keeps it for `patience` ms.
async function held(id, patience) {
  const asked = (options) =>
    new Promise((resolve) => {
      const hold = (lock) => lock && new Promise((release) => resolve(release));
      navigator.locks
        .request(`tensortab.conversation.${id}`, options, hold)
        .then(() => resolve(null), () => resolve(null));
    });
  if (!navigator.locks) return () => {}; // only https and localhost have them
  const free = await asked({ ifAvailable: true });
  return free ?? (patience ? asked({ signal: AbortSignal.timeout(patience) }) : null);
}

export class Conversations {
  id = "";
  turns = []; // {role: "user" | "assistant", content, note, used}
  #release = () => {};

  async start() {
    const before = tab.get("open");
    if (before) {
      if (await this.open(before)) return;
      await this.renew();
      this.turns = read(before)?.turns ?? [];
      this.keep();
      return;
    }
    for (const { id } of this.list()) if (await this.open(id, 0)) return;
    await this.renew();
  }

  async open(id, patience = PATIENCE) {
    const release = await held(id, patience);
    if (!release) return false;
    this.#release();
    this.#release = release;
    this.id = id;
    this.turns = read(id)?.turns ?? [];
    tab.set("open", id);
    return true;
  }

  renew = () => this.open(crypto.getRandomValues(new Uint32Array(2)).join("-"));

  // An empty one is not worth a key. Of one that has no room any more the beginning stays.
  keep() {
    if (!this.turns.length) {
      kept.drop(this.id);
      return true;
    }
    const older = kept.get(this.id);
    const done = kept.set(this.id, JSON.stringify({ at: Date.now(), turns: this.turns }));
    if (!done && older) kept.set(this.id, older);
    return done;
  }

  // The newest first, this tab's own included once something was said in it.
  list() {
    return kept
      .keys()
      .map((id) => ({ id, ...read(id) }))
      .sort((a, b) => b.at - a.at)
      .map(({ id, turns }) => ({ id, title: shortened(turns[0].content) }));
  }
}

function shortened(text) {
  const line = text.trim().replace(/\s+/g, " ");
  return line.length > SHORT ? `${line.slice(0, SHORT - 1)}…` : line;
}
