// Boots Pyodide with numpy and this package, from the addresses in boot.json.
//
//   const pyodide = await boot({ base, stdout, stderr, progress, remember });
//
// base      the site's root, where boot.json lies; the page's own folder if left out
// stdout    (text) => void, per line; the console if left out; stderr the same
// progress  (stage, done, total) => void; stages: "python", "packages", "tensortab"
// remember  true: start from a snapshot if one is kept, else keep one for the next visit (snapshot.js)
//
// Runs in a window and in a module worker; classic workers are not supported by Pyodide any more.

import { forget, makeLater, recall } from "./snapshot.js";

const PATIENCE = 8000; // ms for what takes 200
const STAGES = ["python", "packages", "tensortab"];

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`boot: ${url} answered ${response.status}`);
  return response;
}

// A snapshot that cannot be used may throw, and may as well hang.
function inTime(promise) {
  const late = new Promise((_, reject) => setTimeout(reject, PATIENCE));
  return Promise.race([promise, late]);
}

async function start(options, remember) {
  const { indexURL } = options;
  const [{ loadPyodide }, snapshot] = await Promise.all([
    import(new URL("pyodide.mjs", indexURL).href),
    remember ? recall(indexURL) : undefined,
  ]);
  if (snapshot) {
    try {
      return await inTime(loadPyodide({ ...options, _loadSnapshot: snapshot }));
    } catch {
      await forget();
    }
  }
  if (remember) makeLater(indexURL);
  return loadPyodide(options);
}

export async function boot({
  base = new URL(".", import.meta.url).href,
  stdout,
  stderr,
  progress,
  remember = false,
} = {}) {
  const report = (stage) => progress?.(stage, STAGES.indexOf(stage), STAGES.length);
  report("python");
  const config = await (await fetched(new URL("boot.json", base))).json();
  const indexURL = new URL(config.pyodide, base).href;
  // Everything is fetched at once; the package is unpacked when Python stands.
  const wheel = fetched(new URL(config.wheel, base)).then((response) => response.arrayBuffer());
  const tokenizers = import(new URL(config.tokenizers, base).href);
  const replay = import(new URL(config.replay, base).href);
  const pyodide = await start({ indexURL, stdout, stderr }, remember);
  report("packages");
  await pyodide.loadPackage("numpy", { messageCallback() {} });
  // Left alone, unpackArchive takes the working folder, which a program may leave.
  const extractDir = pyodide.runPython("import site; site.getsitepackages()[0]");
  pyodide.unpackArchive(await wheel, "wheel", { extractDir });
  // What the Python would otherwise need eval to import: text/ the tokenizer, device/ its replay loop.
  // And where text/ finds jinja2, which only chat templates need.
  const jinja = new URL(config.jinja, base).href;
  globalThis.tensortab = { tokenizers: await tokenizers, replay: await replay, jinja };
  report("tensortab");
  return pyodide;
}
