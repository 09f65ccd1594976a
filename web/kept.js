// What a view keeps over reloads. Storage may be forbidden or full: the page then forgets, and works.
//
//   const kept = keeper("write", OWN);
//   kept.set("prompt", text);      whether it is kept
//   kept.get("prompt");            null where nothing is
//
// Stores: "local" is all tabs'; "session" is one tab's; with OWN a tab finds what it kept itself
// before what another tab did. `lazily` keeps at most once in so many ms, and when the page is left.

const STORES = { session: () => sessionStorage, local: () => localStorage };

// Reading the property may throw as well as using it.
function tried(store, work) {
  try {
    return work(STORES[store]());
  } catch {
    return null;
  }
}

export const OWN = ["session", "local"];

export function keeper(view, stores = ["local"]) {
  const prefix = `tensortab.${view}.`;
  const name = (key) => prefix + key;
  const all = (work) => stores.map((store) => tried(store, work));
  return {
    get: (key) => all((store) => store.getItem(name(key))).find((text) => text != null) ?? null,
    set(key, value) {
      const done = all((store) => {
        store.removeItem(name(key)); // where the new text has no room, an older one would come back
        store.setItem(name(key), value);
        return true;
      });
      return done.some(Boolean);
    },
    drop: (key) => void all((store) => store.removeItem(name(key))),
    keys() {
      const names = all(Object.keys).flatMap((keys) => keys ?? []);
      return names.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
    },
  };
}

export function lazily(keep, pause) {
  let timer;
  const now = () => {
    clearTimeout(timer);
    timer = undefined;
    keep();
  };
  addEventListener("pagehide", () => timer && now());
  return { now, soon: () => (timer ??= setTimeout(now, pause)) };
}
