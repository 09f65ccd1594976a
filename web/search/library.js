// The texts that are searched: opened, dropped, pasted or typed; listed, read, changed, removed.

import { button, holding, made } from "../dom.js";
import { onFilesDropped } from "../drop.js";
import { count, number } from "../format.js";
import { Reader } from "./reader.js";
import { Texts } from "./texts.js";

const LARGEST = 20e6; // bytes of a file
const EDITABLE = 200_000; // characters; a text area lays all of a longer one out at each key
const PASTED = 20_000; // characters from which a paste is a text of its own: Chromium's own way
// takes time that grows with the square, 20 s for 4,000 lines
const PAUSE = 300; // ms without typing until a text is kept
const EXAMPLES = ["the-hut.md", "forty-sentences.txt"];

// Line breaks as everything here expects them.
const broken = (text) => (text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text);
// randomUUID is for secure contexts alone.
const newId = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

function lineCount(text) {
  let lines = 1;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  return lines - (text.endsWith("\n") ? 1 : 0);
}

async function textOf(file) {
  if (file.size > LARGEST)
    throw new Error(
      `${file.name} is ${number(file.size / 1e6)} MB; up to ${LARGEST / 1e6} MB can be read.`,
    );
  const text = await file.text();
  if (text.includes("\0")) throw new Error(`${file.name} is not a text file.`);
  return broken(text).trimEnd();
}

async function exampleOf(name) {
  const response = await fetch(new URL(`examples/${name}`, import.meta.url));
  if (!response.ok) throw new Error(`The example ${name} could not be had from the server.`);
  return { name, text: (await response.text()).trimEnd(), example: true };
}

export class Library {
  documents = []; // {id, name, text, at, example}
  #texts = new Texts();
  #counts = {}; // by id, passages as far as they are known
  #selected = null; // an id
  #timer;
  #reader;
  #parts;
  #say;
  #removed;

  // say: (text) => tells a problem; removed: (id) => told when a text is gone
  constructor(section, say, removed) {
    const element = (id) => section.querySelector(`#${id}`);
    const ids = ["documents", "document", "document-name", "edit-text", "reader", "text", "text-count", "file"];
    this.#parts = Object.fromEntries(ids.map((id) => [id, element(id)]));
    [this.#say, this.#removed] = [say, removed];
    this.#reader = new Reader(this.#parts.reader);
    element("open").addEventListener("click", () => this.#parts.file.click());
    element("type-text").addEventListener("click", () => this.#type(""));
    element("examples").addEventListener("click", () => this.#try(() => this.#examples()));
    this.#parts["edit-text"].addEventListener("click", () => this.#edit(this.#parts.text.hidden));
    this.#parts.file.addEventListener("change", async ({ target }) => {
      await this.#open(target.files);
      target.value = ""; // the same file may be opened again
    });
    this.#parts.text.addEventListener("input", () => this.#changed());
    addEventListener("pagehide", () => this.#timer && this.#keepNow());
    onFilesDropped(section, ({ files }) => this.#open(files));
    addEventListener("paste", (event) => section.hidden || this.#paste(event));
  }

  // What was kept; the examples at a first visit, unless something came in meanwhile.
  async restore() {
    const kept = await this.#texts.all();
    if (kept?.length) this.documents = [...kept, ...this.documents];
    if (!this.documents.length)
      await this.#try(async () => {
        const examples = await Promise.all(EXAMPLES.map(exampleOf));
        if (!this.documents.length) await this.#add(examples);
      });
    if (!this.#get(this.#selected) || this.#get(this.#selected).example)
      this.select(this.documents[0]?.id);
  }

  nameOf = (id) => this.#get(id)?.name ?? "";

  tellCounts(counts) {
    this.#counts = counts;
    this.#list();
  }

  // Shows a place; false if the text is no longer what it was when it was ranked.
  lead({ document: id, start, end }, textThen) {
    const document = this.#get(id);
    if (document?.text !== textThen) return false;
    this.select(id);
    this.#reader.lead(start, end);
    return true;
  }

  select(id) {
    this.#keepNow();
    this.#selected = id ?? null;
    this.documents = this.documents.filter((one) => one.text || one.id === id); // never typed
    this.#list();
    const document = this.#get(id);
    this.#parts.document.hidden = !document;
    if (!document) return;
    this.#parts["document-name"].textContent = document.name;
    this.#edit(!document.text);
  }

  #get = (id) => this.documents.find((one) => one.id === id);

  async #try(work) {
    this.#say("");
    try {
      await work();
    } catch (error) {
      this.#say(error.message);
    }
  }

  // What was there untouched as an example makes room for a person's own.
  async #add(documents) {
    if (documents.some(({ example }) => !example))
      for (const { id, example } of this.documents) if (example) this.#drop(id);
    // All at once: what comes in while they are kept finds them there, examples too.
    const added = documents.map(({ name, text, example = false }, i) => {
      const before = this.documents.find((one) => one.name === name && one.text);
      if (before && name !== "") this.#drop(before.id); // a file's newer state
      const document = { id: newId(), name, text, example, at: Date.now() + i };
      this.documents.push(document);
      return document;
    });
    await Promise.all(added.map((document) => this.#keep(document)));
    const last = added.at(-1)?.id;
    if (this.#get(last)) this.select(last);
  }

  #open = (files) =>
    this.#try(async () => {
      const read = [];
      for (const file of files) read.push({ name: file.name, text: await textOf(file) });
      await this.#add(read);
    });

  async #examples() {
    await this.#add(await Promise.all(EXAMPLES.map(exampleOf)));
    const first = this.documents.find(({ name }) => name === EXAMPLES[0]);
    if (first) this.select(first.id);
  }

  async #type(text, kind = "Typed text") {
    let name = kind;
    for (let n = 2; this.documents.some((one) => one.name === name); n++) name = `${kind} ${n}`;
    await this.#add([{ name, text }]);
    if (!text) this.#parts.text.focus();
  }

  #paste(event) {
    const { files } = event.clipboardData;
    const text = broken(event.clipboardData.getData("text"));
    const inField = event.target.closest?.("textarea, input");
    if (!files.length && (!text.trim() || (inField && text.length < PASTED))) return;
    event.preventDefault();
    if (files.length) this.#open(files);
    else this.#try(() => this.#type(text, "Pasted text"));
  }

  #edit(on) {
    const { text, reader, "edit-text": edit } = this.#parts;
    const document = this.#get(this.#selected);
    if (!text.hidden) this.#keepNow();
    const large = document.text.length > EDITABLE;
    text.hidden = !on;
    reader.hidden = on;
    edit.hidden = large;
    edit.textContent = on ? "Done" : "Edit";
    if (on) text.value = document.text;
    else this.#reader.show(document.text);
  }

  #changed() {
    const document = this.#get(this.#selected);
    document.text = this.#parts.text.value;
    document.example = false;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#keepNow(), PAUSE);
  }

  #keepNow() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const document = this.#get(this.#selected);
    if (document) this.#keep(document);
    this.#list();
  }

  async #keep(document) {
    if (document.text) await this.#texts.keep(document);
    else await this.#texts.drop(document.id);
  }

  #drop(id) {
    this.documents = this.documents.filter((one) => one.id !== id);
    this.#texts.drop(id);
    this.#removed(id);
  }

  #remove(id) {
    const at = this.documents.findIndex((one) => one.id === id);
    this.#drop(id);
    if (this.#selected === id) this.select((this.documents[at] ?? this.documents.at(-1))?.id);
    else this.#list();
    (this.#parts.documents.querySelector("[aria-current]") ?? this.#parts.documents).focus();
  }

  #list() {
    const rows = this.documents.map(({ id, name, text }) => {
      const open = button(name, () => this.select(id), "link name");
      if (id === this.#selected) open.ariaCurrent = "true";
      const passages = id in this.#counts ? ` · ${count(this.#counts[id], "passage")}` : "";
      const about = made("span", "quiet", count(lineCount(text), "line") + passages);
      const remove = button("Remove", () => this.#remove(id), "link");
      remove.ariaLabel = `Remove ${name}`;
      return holding("li", "", open, about, remove);
    });
    this.#parts.documents.replaceChildren(...rows);
    this.#parts["text-count"].textContent = count(this.documents.length, "text");
  }
}
