// The page's worker: Pyodide, one device, and models that are loaded when they are asked for, so that
// the page itself never stalls. Each view's model and jobs are a lane (lane.js) in its own folder.
//
// in    {type: "load", model, place}             place: see write/loading.js; null for others
//       {id, model: "search", type: "rank", query, documents: [{id, name, text}], known}
//       {id, model: "search", type: "forget"}    the vectors that this tab remembers
//       {id, model: "write", type: "write", prompt, options}   prompt: a text, or messages
//       {id, model: "write", type: "open", place}
//       {id, model: "write", type: "cancel" | "retry"}     of opening
//       {id, model: "write", type: "stopKeeping"}
//       {id, model: "inside", type: "look" | "profile" | "read" | "run" | …, …}   see inside/lane.js
//       {id, model: "programs", type: "see" | "run" | "reset" | "peek", …}   see programs/lane.js
//       {id, model, type: "stop"}                takes the place of whatever runs, and does nothing
// out   {type: "progress", model?, id?, stage, done, total}   without model: Python's start
//       {type: "progress", id, stage, done, total, files, failed?}     of opening
//       {type: "progress", id, stage, done, total, pace?, left?}   of searching: passages, a second, seconds
//       {type: "progress", id, text, tokens, read}   of writing: a piece, how many tokens by now,
//                                                and how many the prompt had
//       {type: "ready", model, name?, bits?, adapter, kind, software, seconds, …}
//       {type: "keeping", model, id, name, done, total | kept | cancelled | refused}
//       {type: "answer", id, answer}             answer null: a newer job took this one's place
//       {type: "broken", model, text}            that model could not be loaded
//       {type: "failed", text}                   nothing works any more

import { boot } from "./boot.js";
import { reporter } from "./lane.js";
import * as inside from "./inside/lane.js";
import * as programs from "./programs/lane.js";
import * as search from "./search/lane.js";
import { forget } from "./snapshot.js";
import * as write from "./write/lane.js";

const VIEWS = { inside, programs, search, write };
const SHARED = ["adapter.py"]; // Python that several views' import

const failed = async (error) => {
  await forget(); // should it be at fault, the next start is a plain one
  postMessage({ type: "failed", text: String(error?.message ?? error) });
};

// The adapter's process starts while Python does.
navigator.gpu?.requestAdapter().catch(() => {});

const python = (async () => {
  const files = [...SHARED, ...Object.values(VIEWS).flatMap(({ source }) => source)];
  const sources = files.map(async (source) => {
    const response = await fetch(new URL(source, import.meta.url));
    return { name: source.split("/").at(-1), text: await response.text() };
  });
  const pyodide = await boot({ progress: reporter({}), remember: true });
  for (const { name, text } of await Promise.all(sources)) pyodide.FS.writeFile(name, text);
  const device = await pyodide.runPythonAsync("import tensortab; await tensortab.Device.default()");
  return { pyodide, device };
})();

const held = (view) => lanes[view].held;
const lanes = Object.fromEntries(
  Object.entries(VIEWS).map(([name, { lane }]) => [name, lane(python, held)]),
);

onmessage = ({ data }) => {
  const lane = lanes[data.model];
  (data.type === "load" ? lane.load(data.place) : lane.take(data)).catch(failed);
};
