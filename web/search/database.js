// What this view keeps in IndexedDB, as promises. Storage may be forbidden or full: then there is
// none, and whoever asks goes on without.

export const settled = (request) =>
  new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });

// A transaction's end: what was written is there only then.
export const finished = (transaction) =>
  new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = transaction.onerror = () =>
      reject(transaction.error ?? new DOMException("aborted", "AbortError"));
  });

// The database of that name; `make` lays its stores out. Null where there can be none.
export async function opened(name, make) {
  try {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => make(request.result);
    const database = await settled(request);
    database.onversionchange = () => database.close(); // what uses it from then on goes without
    return database;
  } catch {
    return null;
  }
}
