// The list of models in this browser: the one that comes with the page, and the kept ones, with their
// sizes and when each was used last, to be used or removed.

import { button, holding, made } from "../dom.js";
import { size } from "../format.js";
import { list, remove } from "./kept_models.js";

const DAY = 86_400_000; // ms
const days = new Intl.RelativeTimeFormat("en", { numeric: "auto" });

// In whole days by the calendar, as a person counts them.
function ago(time) {
  const midnight = (at) => new Date(at).setHours(0, 0, 0, 0);
  return days.format(Math.round((midnight(time) - midnight(Date.now())) / DAY), "day");
}

export class ModelList {
  #current;

  // use is called with a place (write/loading.js), removed with an ID, say with what went wrong.
  constructor(section, use, removed, say) {
    Object.assign(this, { use, removed, say });
    this.list = section.querySelector("#model-list");
    this.room = section.querySelector("#model-room");
    this.own = section.querySelector("#embedded");
    this.own.addEventListener("click", () => use(null));
  }

  // current: the ID of the kept model in use, null for the page's own, undefined for neither.
  show(current) {
    this.#current = current;
    return this.refresh();
  }

  async refresh() {
    const own = this.#current === null;
    this.own.hidden = own;
    this.own.parentElement.ariaCurrent = String(own);
    const kept = await list();
    const rows = kept.map((model) => this.#row(model));
    this.list.replaceChildren(this.list.firstElementChild, ...rows);
    const total = kept.reduce((sum, { bytes }) => sum + bytes, 0);
    this.room.textContent = kept.length ? `${size(total)} kept` : "";
  }

  #row({ id, name, bytes, used }) {
    const use = button("Use", () => this.use({ name, kept: id }), "link");
    use.ariaLabel = `Use ${name}`;
    use.hidden = id === this.#current;
    const drop = button("Remove", () => this.#drop(drop, id, name), "link");
    drop.ariaLabel = `Remove ${name}`;
    drop.addEventListener("blur", () => (drop.textContent = "Remove"));
    const told = made("span", "quiet", `${size(bytes)}, used ${ago(used)}`);
    const row = holding("li", "", made("strong", "", name), told, use, drop);
    row.ariaCurrent = String(id === this.#current);
    return row;
  }

  // The first click asks; leaving the button is a no.
  async #drop(pressed, id, name) {
    if (pressed.textContent === "Remove") {
      pressed.textContent = "Really remove?";
      pressed.ariaLabel = `Really remove ${name}?`;
      return;
    }
    if (await remove(id)) this.removed(id);
    else this.say(`“${name}” is being read or written, by this tab or another.`);
    await this.refresh();
    this.own.closest("div").querySelector("#pick").focus(); // the button that had it is gone
  }
}
