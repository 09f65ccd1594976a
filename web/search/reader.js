// A text to read, of any length: only blocks of lines near the view are in the page.

import { made } from "../dom.js";

const LINES = 100; // of a block
const LETTERS = 20_000; // of a block, which one long line may fill

// A text's blocks: {start, end, first, lines}; a longer line goes on in the next block.
function blocksOf(text) {
  const blocks = [];
  let [start, first] = [0, 1];
  while (start < text.length) {
    let [end, lines] = [start, 0];
    while (end < text.length && lines < LINES && end - start < LETTERS) {
      const found = text.indexOf("\n", end);
      end = found < 0 ? text.length : found + 1;
      lines += 1;
    }
    if (end - start > 2 * LETTERS) end = start + LETTERS; // within a line
    const ends = text[end - 1] === "\n";
    blocks.push({ start, end, first, lines, goesOn: !ends });
    first += ends ? lines : lines - 1;
    start = end;
  }
  return blocks;
}

export class Reader {
  #element;
  #text = "";
  #blocks = [];
  #marked = [0, 0];
  #seen;

  constructor(element) {
    this.#element = element;
    const near = { root: element, rootMargin: "100% 0%" };
    this.#seen = new IntersectionObserver((entries) => {
      for (const { target, isIntersecting } of entries)
        if (isIntersecting) this.#fill([...element.children].indexOf(target));
    }, near);
  }

  show(text) {
    if (text === this.#text && this.#element.children.length) return;
    this.#text = text;
    this.#marked = [0, 0];
    this.#blocks = blocksOf(text);
    this.#seen.disconnect();
    const parts = this.#blocks.map(({ first, lines }) => {
      const part = made("div", "block");
      part.style.counterReset = `line ${first - 1}`;
      part.style.minHeight = `${lines * 1.5}em`;
      return part;
    });
    this.#element.replaceChildren(...parts);
    this.#element.scrollTop = 0;
    for (const part of parts) this.#seen.observe(part);
  }

  #fill(i, again = false) {
    const part = this.#element.children[i];
    if (!part || (part.firstChild && !again)) return;
    const { start, end } = this.#blocks[i];
    const lines = [];
    for (let at = start; at < end; ) {
      const found = this.#text.indexOf("\n", at);
      const to = found < 0 || found >= end ? end : found;
      lines.push(this.#line(at, to));
      at = to + 1;
    }
    part.style.minHeight = "";
    part.replaceChildren(...lines);
  }

  #line(from, to) {
    const line = made("div", "line");
    line.dir = "auto";
    const [start, end] = this.#marked.map((at) => Math.min(Math.max(at, from), to));
    const mark = made("mark", "", this.#text.slice(start, end));
    line.append(this.#text.slice(from, start));
    if (start < end) line.append(mark, this.#text.slice(end, to));
    else line.append(this.#text.slice(start, to));
    return line;
  }

  // The numbers of the blocks that a part of the text lies in.
  #over([start, end]) {
    const numbers = [...this.#blocks.keys()];
    return numbers.filter((i) => this.#blocks[i].start < end && this.#blocks[i].end > start);
  }

  // Marks a part of the text, goes there, and takes the focus.
  lead(start, end) {
    const old = this.#over(this.#marked);
    this.#marked = [start, end];
    const over = this.#over(this.#marked);
    for (const i of [...old, ...over]) this.#fill(i, true);
    // Before and behind, or it would move when they are filled.
    for (const i of [over[0] - 1, over.at(-1) + 1]) this.#fill(i);
    const mark = this.#element.querySelector("mark");
    if (!mark) return;
    mark.tabIndex = -1;
    mark.focus({ preventScroll: true });
    mark.scrollIntoView({ block: "center" });
  }
}
