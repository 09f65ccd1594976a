// Python's memory as it stands right after its start, kept by the browser: copying it on a later
// visit takes 0.2 s where starting Python takes 2 (Chromium 156 on two cores, 2026-11-22).
//
// Pyodide offers this as an experiment (_makeSnapshot, _loadSnapshot). So a snapshot serves only the
// very version of Pyodide and of the browser that it was made with; whoever cannot use one starts
// afresh, and after any failure there is none. A Python that was started to be copied sees JavaScript through a
// recorder, which WebGPU does not bear: it is made in a worker of its own, when the page is at rest.

const CACHE = "tensortab-python";
const REST = 5000; // ms after a start without one until a snapshot is made

const addressOf = (indexURL) =>
  new URL(`snapshot?${encodeURIComponent(navigator.userAgent)}`, indexURL).href;

// The snapshot kept for a version of Pyodide; nothing where there is none, or storage is forbidden.
export async function recall(indexURL) {
  try {
    const found = await caches.match(addressOf(indexURL), { cacheName: CACHE });
    return found && new Uint8Array(await found.arrayBuffer());
  } catch {
    return undefined;
  }
}

export async function forget() {
  try {
    await caches.delete(CACHE);
  } catch {
    // forbidden altogether: nothing is there to be forgotten
  }
}

// Makes a snapshot after a while, in a worker.
export function makeLater(indexURL) {
  setTimeout(() => {
    const worker = new Worker(new URL("snapshot_worker.js", import.meta.url), { type: "module" });
    worker.onmessage = worker.onerror = (event) => {
      event.preventDefault(); // without one the next visit is slower, no more
      worker.terminate();
    };
    worker.postMessage(indexURL);
  }, REST);
}

// What that worker does.
export async function make(indexURL) {
  const { loadPyodide } = await import(new URL("pyodide.mjs", indexURL).href);
  const pyodide = await loadPyodide({ indexURL, _makeSnapshot: true });
  await forget();
  const cache = await caches.open(CACHE);
  await cache.put(addressOf(indexURL), new Response(pyodide.makeMemorySnapshot()));
}
