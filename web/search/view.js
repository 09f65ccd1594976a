// The view that ranks lines by meaning: lines and a query in, the ranking out.

import { made } from "../dom.js";
import { onFilesDropped } from "../drop.js";
import { count, number, seconds } from "../format.js";
import { keeper } from "../kept.js";

const SHOWN = 100; // results at first, and more at each "show more"
const LARGEST = 20e6; // bytes of a dropped file; the text area grows slow long before
const PASTED = 20_000; // characters from which a paste is put in by script
const LONG = 400; // characters from which a result can be unfolded
const PAUSE = 300; // ms without typing until lines are counted and kept

const kept = keeper("search");

// Each different line with the numbers of the lines that say it.
function distinct(text) {
  const lines = new Map();
  text.split(/\r\n|\r|\n/).forEach((raw, i) => {
    const line = raw.trim();
    if (!line) return;
    if (lines.has(line)) lines.get(line).push(i + 1);
    else lines.set(line, [i + 1]);
  });
  return [...lines].map(([line, numbers]) => ({ line, numbers }));
}

const total = (entries) => entries.reduce((sum, { numbers }) => sum + numbers.length, 0);

function places(numbers) {
  if (numbers.length === 1) return `line ${number(numbers[0])}`;
  const first = numbers
    .slice(0, 3)
    .map((n) => number(n))
    .join(", ");
  return `${number(numbers.length)} times: lines ${first}${numbers.length > 3 ? ", …" : ""}`;
}

function result({ line, numbers }, score) {
  const item = made("li", "result");
  const row = made("div", "score");
  const bar = made("span", "bar");
  bar.ariaHidden = "true";
  bar.style.setProperty("--score", Math.max(0, Math.min(1, score)));
  row.append(bar, made("span", "value", score.toFixed(3)), made("span", "quiet", places(numbers)));
  const text = made("p", "text", line);
  text.dir = "auto";
  item.append(text, row);
  if (line.length > LONG) {
    text.classList.add("folded");
    const unfold = made("button", "link", "Whole line");
    unfold.type = "button";
    unfold.addEventListener("click", () => {
      unfold.textContent = text.classList.toggle("folded") ? "Whole line" : "Less";
    });
    row.append(unfold);
  }
  return item;
}

async function read(files) {
  const texts = [];
  for (const file of files) {
    if (file.size > LARGEST)
      throw new Error(
        `${file.name} is ${number(file.size / 1e6)} MB; up to ${LARGEST / 1e6} MB can be read.`,
      );
    const text = await file.text();
    if (text.includes("\0")) throw new Error(`${file.name} is not a text file.`);
    texts.push(text.trimEnd());
  }
  return texts.join("\n");
}

export function search(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [form, lines, query, work] = ["search-form", "lines", "query", "work"].map(element);
  const [ranking, more, summary, problem] = ["ranking", "more", "summary", "query-error"].map(
    element,
  );
  let best = []; // {entry, score}, of the last answer
  let asked = 0;
  let timer;

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function keep() {
    clearTimeout(timer);
    timer = undefined;
    element("line-count").textContent = count(total(distinct(lines.value)), "line");
    kept.set("lines", lines.value);
    kept.set("query", query.value);
  }

  function keepSoon() {
    clearTimeout(timer);
    timer = setTimeout(keep, PAUSE);
  }

  function fill(text) {
    lines.value = text;
    lines.scrollTop = 0;
    say("");
    keep();
  }

  function showMore() {
    const from = ranking.children.length;
    ranking.append(
      ...best.slice(from, from + SHOWN).map(({ entry, score }) => result(entry, score)),
    );
    const left = best.length - ranking.children.length;
    more.hidden = left <= 0;
    more.textContent = `Show ${number(Math.min(SHOWN, left))} more of ${number(left)}`;
    return ranking.children[from];
  }

  function working(on) {
    work.hidden = !on;
    ranking.ariaBusy = String(on); // what stands there answers an older question
  }

  function progress({ done, total: all }) {
    work.firstElementChild.value = done / all;
    element("work-stage").textContent =
      `Embedding: ${number(done)} of ${count(all, "line")} · ${Math.round((done / all) * 100)} %`;
  }

  function show(entries, { order, scores, embedded, seconds: took }) {
    best = Array.from(order, (entry, rank) => ({ entry: entries[entry], score: scores[rank] }));
    ranking.replaceChildren();
    showMore();
    const remembered = entries.length - embedded;
    summary.textContent =
      `${count(total(entries), "line")} ranked. Query ${seconds(took.query)}; ` +
      `${number(embedded)} embedded in ${seconds(took.lines)}, ${number(remembered)} remembered.`;
  }

  async function rank() {
    const entries = distinct(lines.value);
    const text = query.value.trim();
    say(
      !entries.length
        ? "There are no lines to rank: type or paste some."
        : !text
          ? "Type what you are looking for."
          : "",
    );
    if (!problem.hidden) {
      (entries.length ? query : lines).focus();
      return;
    }
    keep();
    const turn = ++asked;
    working(true);
    work.firstElementChild.value = 0;
    element("work-stage").textContent = engine.models.search.facts ? "Ranking" : "Waiting for the model";
    const answer = await engine.ask(
      "search",
      { type: "rank", query: text, lines: entries.map((e) => e.line) },
      progress,
    );
    if (turn !== asked) return; // a newer one owns the page
    working(false);
    if (answer) show(entries, answer);
  }

  async function stop() {
    asked += 1;
    await engine.ask("search", { type: "stop" });
    working(false);
    summary.textContent = "Stopped. What was embedded so far is remembered.";
  }

  async function open(files) {
    try {
      if (files.length) fill(await read(files));
    } catch (error) {
      say(error.message);
    }
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    rank();
  });
  lines.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) rank();
  });
  lines.addEventListener("paste", (event) => {
    const text = event.clipboardData.getData("text");
    if (text.length < PASTED) return;
    // Chromium's own way takes time that grows with the square: 20 s for 4,000 lines. This one has no undo.
    event.preventDefault();
    lines.setRangeText(text, lines.selectionStart, lines.selectionEnd, "end");
    keep();
  });
  form.addEventListener("input", keepSoon);
  addEventListener("pagehide", () => timer && keep());
  more.addEventListener("click", () => {
    const first = showMore();
    first.tabIndex = -1; // reading goes on where the list did
    first.focus();
  });
  element("stop").addEventListener("click", stop);
  element("examples").addEventListener("click", () => fill(lines.defaultValue));
  element("open").addEventListener("click", () => element("file").click());
  element("file").addEventListener("change", async ({ target }) => {
    await open(target.files);
    target.value = ""; // the same file may be opened again
  });
  for (const button of section.querySelectorAll(".try")) {
    button.addEventListener("click", () => {
      query.value = button.textContent;
      keepSoon();
      rank();
    });
  }
  onFilesDropped(section, ({ files }) => open(files));

  lines.value = kept.get("lines") ?? lines.defaultValue;
  query.value = kept.get("query") ?? "";
  keep();
}
