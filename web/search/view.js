// The view that searches texts by meaning: texts and a query in, ranked passages out.

import { count, number, seconds } from "../format.js";
import { keeper } from "../kept.js";
import { Library } from "./library.js";
import { Results } from "./results.js";
import { forgetKept, keptCount } from "./vectors.js";

const BYTES = 384 * 4; // of a vector

const kept = keeper("search");

const timeLeft = (left) =>
  left < 90 ? `${number(Math.ceil(left))} s` : `${number(Math.ceil(left / 60))} min`;

function stageOf({ stage, done, total, pace, left }) {
  if (stage === "read") return "Reading the texts";
  const speed = pace ? ` · ${number(pace, pace < 10 ? 1 : 0)} a second · ${timeLeft(left)} left` : "";
  return `Embedding: ${number(done)} of ${count(total, "passage")}${speed}`;
}

function summaryOf({ passages, missing, embedded, remembered, seconds: took }) {
  if (missing)
    return `Stopped: ${count(passages, "passage")} ranked, ${number(missing)} not embedded yet.`;
  const vectors = embedded
    ? `${number(embedded)} embedded in ${seconds(took.passages)}, ${number(remembered)} remembered`
    : `all ${number(remembered)} remembered`;
  return `${count(passages, "passage")} ranked. Query ${seconds(took.query)}; ${vectors}.`;
}

export function search(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [form, query, work, ranking] = ["search-form", "query", "work", "ranking"].map(element);
  const [summary, problem, told, forget] = ["summary", "query-error", "index-told", "forget"].map(element);
  const back = element("back");
  let asked = 0;
  let led = null; // the link that led to what is marked
  let rankedTexts = new Map(); // id → its text when it was ranked

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function lead(place, link) {
    say("");
    if (library.lead(place, rankedTexts.get(place.document))) led = link;
    else say("This text has changed since it was ranked: rank again.");
    back.hidden = !led?.isConnected;
  }

  function goBack() {
    led?.focus();
    led?.scrollIntoView({ block: "nearest" });
    back.hidden = true;
  }

  const library = new Library(section, say, (id) => results.drop(id));
  const results = new Results(ranking, element("more"), lead, library.nameOf);

  function working(on) {
    work.hidden = !on;
    ranking.ariaBusy = String(on); // what stands there answers an older question
  }

  function progress(how) {
    work.firstElementChild.value = how.stage === "embed" ? how.done / how.total : 0;
    element("work-stage").textContent = stageOf(how);
  }

  async function tellIndex(keeping = true) {
    const n = await keptCount();
    forget.hidden = !n;
    told.textContent =
      n === null || !keeping
        ? "This browser has no room for this page's texts: at the next visit they are embedded anew."
        : n
          ? `Kept in this browser: ${count(n, "vector")}, ${number((n * BYTES) / 1e6, 1)} MB.`
          : "What is embedded is kept in this browser for the next visit.";
  }

  function missing(text) {
    const written = library.documents.some((one) => one.text.trim());
    if (!written) return "There is no text to search: open, paste or type one.";
    return text ? "" : "Type what you are looking for.";
  }

  // With `known`, what is embedded by now is ranked, and no more.
  async function rank(known = false) {
    const text = query.value.trim();
    say(missing(text));
    if (!problem.hidden) {
      query.focus();
      return;
    }
    kept.set("query", query.value);
    const turn = ++asked;
    working(!known);
    progress({ stage: "read" });
    if (!engine.models.search.facts) element("work-stage").textContent = "Waiting for the model";
    const documents = library.documents.map(({ id, name, text: words }) => ({ id, name, text: words }));
    const answer = await engine.ask("search", { type: "rank", query: text, documents, known }, progress);
    if (turn !== asked) return; // a newer one owns the page
    working(false);
    if (!answer) return;
    rankedTexts = new Map(documents.map(({ id, text: words }) => [id, words]));
    library.tellCounts(answer.counts);
    results.show(answer.hits);
    back.hidden = true;
    summary.textContent = summaryOf(answer);
    tellIndex(answer.keeping);
  }

  async function stop() {
    if (engine.models.search.facts) {
      await rank(true);
      return;
    }
    asked += 1;
    working(false);
    await engine.ask("search", { type: "stop" });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    rank();
  });
  section.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault(); // the form's own, too
      rank();
    } else if (event.key === "Escape" && !work.hidden) stop();
    else if (event.key === "Escape" && !back.hidden) goBack();
  });
  back.addEventListener("click", goBack);
  addEventListener("pagehide", () => kept.set("query", query.value));
  element("stop").addEventListener("click", stop);
  forget.addEventListener("click", async () => {
    asked += 1;
    working(false);
    // Whatever is being embedded ends first, or it would be kept after all.
    if (engine.models.search.facts) await engine.ask("search", { type: "forget" });
    await forgetKept();
    await tellIndex();
    forget.closest("p").tabIndex = -1; // the button is gone
    forget.closest("p").focus();
  });
  for (const button of section.querySelectorAll(".try")) {
    button.addEventListener("click", () => {
      query.value = button.textContent;
      rank();
    });
  }

  query.value = kept.get("query") ?? "";
  library.restore();
  tellIndex();
}
