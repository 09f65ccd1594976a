// The worker's side of searching: all-MiniLM-L6-v2, which the server has or fetches, and texts as
// passages, which it embeds and ranks. score = query · passage over unit vectors, the cosine of
// their angle, in [-1, 1].

import { asJson, Lane, plain, reporter } from "../lane.js";
import { fetched } from "../model_files.js";
import { embedded } from "./embedding.js";
import { fitted, isMarkdown, passages } from "./passages.js";
import { Vectors } from "./vectors.js";

const SENTENCES = "all-MiniLM-L6-v2";
const BEST = 1000; // passages of an answer
const TOGETHER = 500; // passages that are fitted between two looks at whether the job is stale

export const source = "search/search.py";

const turn = () => new Promise((resolve) => setTimeout(resolve)); // for messages

function dot(a, b) {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i] * b[i];
  return sum;
}

// Passages of each document, as they were when its text was this.
const read = new Map(); // id → {name, text, found}

async function passagesOf({ id, name, text }, measure, stale) {
  const before = read.get(id);
  if (before?.name === name && before.text === text) return before.found;
  const all = passages(text, isMarkdown(name, text));
  const found = [];
  for (let i = 0; i < all.length; i += TOGETHER) {
    await turn();
    if (stale()) return null;
    found.push(...(await fitted(text, all.slice(i, i + TOGETHER), measure)));
  }
  read.set(id, { name, text, found });
  return found;
}

// Every different text with the places that say it; null if the job became stale on the way.
async function placesOf(documents, measure, stale, report) {
  const places = new Map();
  const counts = {};
  for (const id of read.keys()) if (!documents.some((one) => one.id === id)) read.delete(id);
  for (const [i, document] of documents.entries()) {
    report({ stage: "read", done: i, total: documents.length });
    const found = await passagesOf(document, measure, stale);
    if (!found) return null;
    counts[document.id] = found.length;
    for (const { text, kind, start, end, line, headings } of found) {
      if (!places.has(text)) places.set(text, { text, kind, places: [] });
      places.get(text).places.push({ document: document.id, start, end, line, headings });
    }
  }
  return { entries: [...places.values()], counts };
}

function ranked(entries, query, known) {
  const scored = entries.map((entry) => ({ ...entry, score: dot(query, known.get(entry.text)) }));
  return scored.sort((a, b) => b.score - a.score);
}

let vectors = null; // of the model that is loaded

// Ranks documents' passages by a query; with `known` only those whose vectors are there already.
async function rank(model, { id, query, documents, known }, stale) {
  const report = (progress) => postMessage({ type: "progress", id, ...progress });
  const measure = async (texts) => plain(model.pieces(asJson(texts)));
  const embed = async (texts) => plain(await model.embed(asJson(texts)));
  const found = await placesOf(documents, measure, stale, report);
  if (!found) return null;
  const { entries, counts } = found;
  const texts = entries.map(({ text }) => text);
  await vectors.recall([query, ...texts]);
  const fresh = texts.filter((text) => !vectors.known.has(text));
  const start = performance.now();
  if (!vectors.known.has(query)) vectors.known.set(query, await embed([query]));
  const middle = performance.now();
  if (!known && !(await embedded(fresh, { vectors, embed, stale, report, turn }))) return null;
  const end = performance.now();
  const there = entries.filter(({ text }) => vectors.known.has(text));
  const hits = ranked(there, vectors.known.get(query), vectors.known);
  vectors.trim([query, ...there.map(({ text }) => text)]);
  const missing = entries.length - there.length;
  return {
    hits: hits.slice(0, BEST),
    counts,
    missing,
    keeping: vectors.keeping,
    passages: there.reduce((sum, entry) => sum + entry.places.length, 0),
    embedded: fresh.length - missing,
    remembered: texts.length - fresh.length,
    seconds: { query: (middle - start) / 1000, passages: (end - middle) / 1000 },
  };
}

export const lane = (python) =>
  new Lane(
    "search",
    async (_, progress) => {
      const { pyodide, device } = await python;
      const url = await fetched(SENTENCES, progress);
      const model = await pyodide.pyimport("search").Search.open(url, device, progress);
      vectors = await Vectors.open(`${SENTENCES}, ${plain(model.facts()).bits} bits`);
      return { model, name: SENTENCES };
    },
    {
      aside: {},
      rank,
      async forget() {
        vectors.known.clear();
        return true;
      },
    },
  );
