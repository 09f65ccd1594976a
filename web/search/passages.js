// A text as passages: what is embedded, ranked, and led to.
//
//   const found = passages(text, isMarkdown(name, text));
//   const fitting = await fitted(text, found, measure);    none longer than the model reads
//
// A passage is {kind, start, end, line, headings, text}: `start` and `end` are places in the text,
// `line` is its first line's number, from 1, `headings` are those that it lies under, outermost
// first. `text` is what is embedded and shown: prose in one line, without list marks and addresses
// of links; code as it is. Line breaks of a text are \n alone.

export const BUDGET = 254; // word pieces of a passage: the model's 256 without its two special ones
const MOST = 8000; // characters of a passage's text; more than 256 word pieces are hardly ever longer

// Hostile texts are read in no more than linear time: no two stars in a row match the same letter.
const FENCE = /^[ \t]*(?:>[ \t]*)*(`{3,}|~{3,})[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]|$)/;
const UNDERLINE = /^ {0,3}(=+|-+)[ \t]*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const ITEM = /^[ \t]*(?:>[ \t]*)*(?:[-*+]|\d{1,9}[.)])[ \t]+\S/;
const ROW = /^[ \t]*\|.*\|[ \t]*$/;
const DELIMITER = /^[\s|:-]+$/;
const INDENTED = /^(?: {4}|\t)\s*\S/;
const QUOTED_BLANK = /^\s*(?:>\s*)+$/;
const blank = (line) => !line.trim() || QUOTED_BLANK.test(line);

// By its name, or for what was typed by how it looks.
export const isMarkdown = (name, text) =>
  /\.(md|markdown)$/i.test(name) ||
  (!/\.\w{1,8}$/.test(name) && /^(#{1,6} \S|\s*(```|~~~)|\s*[-*+] \S)/m.test(text));

// Lines as [start, end] without their break.
function linesOf(text) {
  const lines = [];
  for (let start = 0; start <= text.length; ) {
    const found = text.indexOf("\n", start);
    const end = found < 0 ? text.length : found;
    lines.push([start, end]);
    start = end + 1;
  }
  return lines;
}

const unmarked = (line, kind) => {
  const bare = line.replace(/^ ?(?:> ?)*/, "");
  if (kind === "heading") return bare.replace(/^#{1,6} ?/, "").replace(/(^| )#+ ?$/, "");
  if (kind === "row") return bare.replace(/^\| ?/, "").replace(/ ?\| ?$/, "").replace(/ ?\| ?/g, ", ");
  return kind === "item" ? bare.replace(/^(?:[-*+]|\d{1,9}[.)]) (?:\[[ xX]\] )?/, "") : bare;
};

// What a reader of the page that Markdown makes would see, nearly: enough for what it means.
const unlinked = (line) =>
  line
    .replace(/!?\[([^[\]]*)\]\([^()\s]*(?: "[^"]*")?\)/g, "$1")
    .replace(/(\*\*|`+)(?=\S)(.+?)\1/g, "$2");

function unfenced(raw) {
  const lines = raw.trimEnd().split("\n");
  if (!FENCE.test(lines[0])) return lines.join("\n");
  const closed = lines.length > 1 && FENCE.test(lines.at(-1));
  return lines.slice(1, closed ? -1 : undefined).join("\n");
}

function shown(raw, kind, markdown) {
  if (kind === "code") return unfenced(raw).slice(0, MOST);
  const lines = raw.replace(/[^\S\n]+/g, " ").slice(0, MOST).split("\n");
  const words = markdown ? lines.map((line) => unlinked(unmarked(line, kind))) : lines;
  return words.join(" ").replace(/\s+/g, " ").trim();
}

function plainPassages(text, lines) {
  const parted = /\S[^\S\n]*\n[^\S\n]*\n\s*\S/.test(text);
  const found = [];
  for (let i = 0; i < lines.length; i++) {
    const first = i;
    if (blank(text.slice(...lines[i]))) continue;
    while (parted && i + 1 < lines.length && text.slice(...lines[i + 1]).trim()) i++;
    found.push({ kind: parted ? "paragraph" : "line", first, last: i });
  }
  return found;
}

// The line with which the block that begins at `first` ends, and what it is; null for no passage.
function blockAt(line, first, count, inList) {
  let last = first;
  const more = (goesOn) => {
    while (last + 1 < count && goesOn(line(last + 1))) last++;
  };
  const begins = (l) => blank(l) || FENCE.test(l) || HEADING.test(l) || ITEM.test(l) || RULE.test(l);
  const text = line(first);
  if (first === 0 && /^---\s*$/.test(text)) {
    let end = 1; // a document's front matter
    while (end < count && !/^(---|\.\.\.)\s*$/.test(line(end))) end++;
    if (end < count) return { kind: "code", last: end };
  }
  const fence = FENCE.exec(text)?.[1];
  if (fence) {
    const closes = new RegExp(`^[ \\t]*(?:>[ \\t]*)*\\${fence[0]}{${fence.length},}[ \\t]*$`);
    more((l) => !closes.test(l));
    return { kind: "code", last: Math.min(last + 1, count - 1) };
  }
  if (HEADING.test(text)) return { kind: "heading", last, level: HEADING.exec(text)[1].length };
  if (RULE.test(text) || (ROW.test(text) && DELIMITER.test(text))) return { kind: null, last };
  if (ROW.test(text)) return { kind: "row", last };
  if (ITEM.test(text)) {
    more((l) => !begins(l));
    return { kind: "item", last };
  }
  if (INDENTED.test(text) && !inList) {
    more((l) => INDENTED.test(l) || !l.trim());
    while (!line(last).trim()) last--;
    return { kind: "code", last };
  }
  more((l) => !begins(l) && !ROW.test(l) && !UNDERLINE.test(l));
  const under = last + 1 < count && UNDERLINE.exec(line(last + 1));
  if (under) return { kind: "heading", last: last + 1, level: under[1][0] === "=" ? 1 : 2, under: true };
  return { kind: "paragraph", last };
}

function markdownPassages(text, lines) {
  const line = (i) => text.slice(...lines[i]);
  const found = [];
  let inList = false; // where four spaces are an item's, not code's
  for (let i = 0; i < lines.length; i++) {
    if (blank(line(i))) continue;
    if (!/^\s/.test(line(i))) inList = false;
    const block = blockAt(line, i, lines.length, inList);
    inList ||= block.kind === "item";
    if (block.kind) found.push({ ...block, first: i });
    i = block.last;
  }
  return found;
}

export function passages(text, markdown) {
  const lines = linesOf(text);
  const path = [];
  const found = (markdown ? markdownPassages : plainPassages)(text, lines);
  return found.flatMap(({ kind, first, last, level, under }) => {
    const [start, end] = [lines[first][0], lines[last][1]];
    const words = shown(text.slice(start, under ? lines[last][0] : end), kind, markdown);
    if (level) path.length = Math.min(path.length, level - 1);
    const headings = path.filter(Boolean);
    if (level) path[level - 1] = words;
    return words ? [{ kind, start, end, line: first + 1, headings, text: words, markdown }] : [];
  });
}

// Ways to part what is too long, each for what the one before leaves too long.
const sentences = new Intl.Segmenter(undefined, { granularity: "sentence" });
const parted = (pattern) => (text) => text.match(pattern) ?? [];
const WAYS = [
  // A break of a hard-wrapped line would end a sentence.
  (text) => [...sentences.segment(text.replaceAll("\n", " "))].map(({ segment }) => segment),
  parted(/[^\n]*\n|[^\n]+$/g),
  parted(/\S+\s*|\s+/g),
  parted(/[^]{1,80}/gu), // at most three word pieces each, of a syllable of Hangul
];

// Spans of text.slice(start, end) that fit, as long as they can be.
async function spans(text, start, end, words, measure, way = 0) {
  const found = [];
  let at = start;
  const parts = WAYS[way](text.slice(start, end)).map((part) => [at, (at += part.length)]);
  const sizes = await measure(parts.map(([from, to]) => words(from, to)));
  let room = 0; // in the span that found ends with
  for (const [i, [from, to]] of parts.entries()) {
    if (sizes[i] > BUDGET && way + 1 < WAYS.length) {
      found.push(...(await spans(text, from, to, words, measure, way + 1)));
      room = 0;
    } else if (found.length && sizes[i] <= room) {
      found.at(-1)[1] = to;
      room -= sizes[i];
    } else {
      found.push([from, to]);
      room = BUDGET - sizes[i];
    }
  }
  return found;
}

// As many word pieces as letters and marks, at most: what is shorter need not be measured.
const short = ({ kind, text }) => kind === "code" || text.normalize("NFD").length <= BUDGET;

function lineAt(text, line, from, to) {
  for (let at = text.indexOf("\n", from); at >= 0 && at < to; at = text.indexOf("\n", at + 1)) line++;
  return line;
}

// Passages of which none is longer than BUDGET, but code, which is kept whole.
// measure: async (texts) => how many word pieces each has.
export async function fitted(text, found, measure) {
  const fitting = [];
  for (const passage of found) {
    if (short(passage)) {
      fitting.push(passage);
      continue;
    }
    const { kind, start, end, line, markdown } = passage;
    const words = (from, to) => shown(text.slice(from, to), kind, markdown);
    for (let [from, to] of await spans(text, start, end, words, measure)) {
      while (from < to && !text[from].trim()) from++; // its line is where its words begin
      const at = { start: from, end: to, line: lineAt(text, line, start, from) };
      const part = words(from, to);
      if (part) fitting.push({ ...passage, ...at, text: part });
    }
  }
  return fitting;
}
