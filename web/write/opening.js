// How far opening a model is: each file with its size, speed and time left, what failed, and the
// buttons that cancel and retry.

import { holding, made } from "../dom.js";
import { size } from "../format.js";
import { Pace } from "./pace.js";

const STAGES = { weights: "Reading and quantizing weights" };

// In words that do not change at every tick.
function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, seconds < 10 ? Math.ceil(seconds) : 5 * Math.ceil(seconds / 5))} s`;
  return `${Math.round(seconds / 60)} min`;
}

export class Opening {
  #rows = new Map(); // by a file's name: {bar, told}
  #pace;

  constructor(section) {
    const element = (id) => section.querySelector(`#${id}`);
    [this.box, this.stage, this.told, this.files, this.failure, this.retry] = [
      "opening",
      "opening-stage",
      "opening-told",
      "opening-files",
      "opening-failure",
      "retry",
    ].map(element);
    this.bar = this.box.querySelector("progress");
  }

  begin(name) {
    this.#pace = new Pace();
    this.#rows.clear();
    this.files.replaceChildren();
    this.box.hidden = false;
    this.tell({ stage: `Opening ${name}`, done: 0, total: 0 });
  }

  end() {
    this.box.hidden = true;
  }

  tell({ stage, done, total, files = [], failed }) {
    this.#say(this.stage, failed ? "The download stopped" : (STAGES[stage] ?? stage));
    this.retry.hidden = this.failure.hidden = !failed;
    this.#say(this.failure, failed ?? "");
    if (total) this.bar.value = done / total;
    else this.bar.removeAttribute("value"); // nobody knows how much there is to do
    this.#say(this.told, total ? this.#progress(done, total, failed) : "");
    for (const file of files) this.#tellFile(file);
  }

  #progress(done, total, failed) {
    const parts = [`${size(done)} of ${size(total)}`];
    this.#pace.note(done);
    const left = this.#pace.left(total);
    if (left !== undefined && !failed)
      parts.push(`${size(this.#pace.rate)}/s`, `about ${duration(left)} left`);
    return parts.join(" · ");
  }

  #tellFile({ name, done, size: whole }) {
    if (!this.#rows.has(name)) this.#rows.set(name, this.#row(name));
    const { bar, told } = this.#rows.get(name);
    bar.value = whole ? done / whole : 1;
    this.#say(told, done < whole ? `${size(done)} of ${size(whole)}` : size(whole));
  }

  #row(name) {
    const [told, bar] = [made("span"), made("progress")];
    bar.ariaLabel = name;
    this.files.append(holding("li", "", made("span", "", name), told, bar));
    return { bar, told };
  }

  // A status that is set anew is read out anew.
  #say(element, text) {
    if (element.textContent !== text) element.textContent = text;
  }
}
