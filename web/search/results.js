// The ranking: passages, best first, each with its score and the places that say it.

import { button, holding, made } from "../dom.js";
import { count, number } from "../format.js";

const SHOWN = 20; // results at first, and more at each "show more"
const LONG = 400; // characters from which a result can be unfolded
const PLACES = 3; // links of a result that stands in several places

export class Results {
  #list;
  #more;
  #lead;
  #nameOf;
  #hits = [];

  // lead: (place, link) => goes there; nameOf: (document's id) => its name
  constructor(list, more, lead, nameOf) {
    [this.#list, this.#more, this.#lead, this.#nameOf] = [list, more, lead, nameOf];
    more.addEventListener("click", () => {
      this.#showMore()?.querySelector("button").focus(); // reading goes on where the list did
    });
    list.addEventListener("keydown", (event) => this.#step(event));
  }

  show(hits) {
    this.#hits = hits;
    this.#list.replaceChildren();
    this.#showMore();
  }

  // Without what a document that was removed said.
  drop(id) {
    const left = this.#hits.map((hit) => ({
      ...hit,
      places: hit.places.filter(({ document }) => document !== id),
    }));
    this.show(left.filter(({ places }) => places.length));
  }

  #showMore() {
    const from = this.#list.children.length;
    this.#list.append(...this.#hits.slice(from, from + SHOWN).map((hit) => this.#item(hit)));
    const left = this.#hits.length - this.#list.children.length;
    this.#more.hidden = left <= 0;
    this.#more.textContent = `Show ${number(Math.min(SHOWN, left))} more of ${number(left)}`;
    return this.#list.children[from];
  }

  // Arrows go from result to result.
  #step(event) {
    const by = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const next = by && event.target.closest(".result")?.[by];
    if (!next) return;
    event.preventDefault();
    next.querySelector("button").focus();
  }

  #link(place) {
    const path = [this.#nameOf(place.document), ...place.headings];
    const link = button("", () => this.#lead(place, link), "link place");
    link.append(made("bdi", "", path.join(" › ")), `, line ${number(place.line)}`);
    return link;
  }

  #item({ text, kind, score, places }) {
    const words = made("p", kind === "code" ? "text code" : "text", text);
    words.dir = "auto";
    const bar = made("span", "bar");
    bar.ariaHidden = "true";
    bar.style.setProperty("--score", Math.max(0, Math.min(1, score)));
    const where = holding("span", "places", ...places.slice(0, PLACES).map((at) => this.#link(at)));
    const others = places.length - PLACES;
    if (others > 0) where.append(made("span", "quiet", `and ${count(others, "place")} more`));
    if (text.length > LONG || text.split("\n").length > 4) where.append(unfolding(words));
    const row = holding("div", "score", bar, made("span", "value", score.toFixed(3)), where);
    const item = holding("li", "result", words, row);
    item.dataset.kind = kind;
    words.addEventListener("click", () => {
      // Else a person takes words from it.
      if (getSelection().isCollapsed) this.#lead(places[0], item.querySelector("button"));
    });
    return item;
  }
}

function unfolding(words) {
  words.classList.add("folded");
  const unfold = button("All of it", () => {
    const folded = words.classList.toggle("folded");
    unfold.textContent = folded ? "All of it" : "Less";
    unfold.ariaExpanded = String(!folded);
  }, "link");
  unfold.ariaExpanded = "false";
  return unfold;
}
