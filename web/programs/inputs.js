// The form that a method's inputs make: sizes where they are live, and what each is filled with.

import { button, choice, holding, made } from "../dom.js";
import { elements, pictureOf, resized, SCALE_NAMES } from "./image.js";

const NOTHING = new Uint8Array(0);
const FILLS = [
  ["random", "random numbers"],
  ["ones", "ones"],
  ["zeros", "zeros"],
  ["count", "0, 1, 2, …"],
  ["values", "typed values"],
  ["file", "a .npy or .npz file"],
  ["image", "a picture"],
];

export const written = ({ dtype, shape, live }) =>
  `${dtype}[${shape.map((n) => (live && n > 1 ? `≤ ${n}` : n)).join(", ")}]`;

function field(label, value, options = {}) {
  const input = Object.assign(document.createElement("input"), { type: "text", value, ...options });
  return { input, node: holding("label", "field", label, input) };
}

// One input: `job()` is what the worker is told, and `bytes()` what it needs beside it.
class Input {
  #array = null; // {name, data, member, spec}, of a file
  #picture = null; // {name, place, shape, pixels}: what the shape was when it was taken

  // peek: async (bytes) => {arrays} or {refused}, what a .npy or .npz holds
  constructor(spec, index, peek) {
    Object.assign(this, { spec, index, peek, fill: "random", scale: "unit" });
    if (spec.kind !== "tensor" || !spec.shape.length) this.fill = "values";
    this.node = made("fieldset", "input");
    this.node.append(holding("legend", "", `Input ${index} `, made("code", "quiet", written(spec))));
    this.sizes = field("Sizes", spec.shape.join(", "), { className: "code" });
    this.fills = choice(this.#possible(), this.fill, (value) => this.#choose(value));
    this.seed = field("Seed", "0", { type: "number", min: "0", step: "1" });
    this.below = field("Below", "10", { type: "number", min: "1", step: "1" });
    this.text = made("textarea", "code");
    this.text.rows = 2;
    this.text.value = spec.kind === "tensor" && spec.shape.length ? "" : "0";
    this.text.spellcheck = false;
    this.text.addEventListener("input", () => this.#show());
    this.text.placeholder = "[[1, 2], [3, 4]], or one number for all";
    this.textNode = holding("label", "field wide", "Values", this.text);
    this.note = made("p");
    this.note.role = "status";
    this.preview = made("canvas", "preview");
    this.chooser = Object.assign(document.createElement("input"), { type: "file", hidden: true });
    this.chooser.addEventListener("change", async () => {
      const [file] = this.chooser.files;
      if (file) await this.take(file);
      this.chooser.value = "";
    });
    this.choose = button("Choose…", () => this.chooser.click());
    this.scales = holding("label", "field", "Scaled to", choice(SCALE_NAMES, this.scale, (value) => (this.scale = value)));
    const row = holding("div", "fields", holding("label", "field", "Filled with", this.fills));
    row.append(this.sizes.node, this.seed.node, this.below.node, this.scales, this.choose);
    this.node.append(row, this.textNode, this.preview, this.note, this.chooser);
    this.#show();
  }

  get picture() {
    return this.spec.kind === "tensor" && pictureOf({ ...this.spec, shape: this.shape() });
  }

  #possible() {
    if (this.spec.kind !== "tensor") return FILLS.filter(([of]) => of === "values");
    return FILLS.filter(([of]) => of !== "image" || pictureOf(this.spec));
  }

  #choose(fill) {
    this.fill = this.fills.value = fill;
    this.#show();
  }

  #show() {
    const { fill, spec } = this;
    const listed = fill === "values" && this.text.value.trim().startsWith("[");
    const shaped = spec.live && !listed && !["file", "image"].includes(fill);
    const whole = /int/.test(spec.dtype);
    this.sizes.node.hidden = !shaped;
    this.seed.node.hidden = fill !== "random";
    this.below.node.hidden = fill !== "random" || !whole;
    this.textNode.hidden = fill !== "values";
    this.choose.hidden = fill !== "file" && fill !== "image";
    this.chooser.accept = fill === "image" ? "image/*" : ".npy,.npz";
    this.scales.hidden = fill !== "image" || spec.dtype === "uint8";
    this.preview.hidden = fill !== "image" || !this.#picture;
    this.note.className = "quiet wide";
    this.note.textContent = this.#told();
    this.note.hidden = !this.note.textContent;
  }

  #told() {
    if (this.fill === "file")
      return this.#array ? `${this.#array.name}: ${written(this.#array.spec)}` : "None chosen yet; or drop one here.";
    if (this.fill === "image")
      return this.#picture
        ? `${this.#picture.name}, at ${this.#picture.pixels.width} × ${this.#picture.pixels.height}`
        : "None chosen yet; or drop one here.";
    return "";
  }

  // The sizes as typed; a person's mistake is an Error.
  shape() {
    if (!this.spec.live) return this.spec.shape;
    const parts = this.sizes.input.value.split(",").map((part) => part.trim());
    if (!parts.every((part) => /^\d+$/.test(part)))
      throw new Error(`Input ${this.index}: sizes are whole numbers with commas, as ${this.spec.shape.join(", ")}.`);
    return parts.map(Number);
  }

  // A file or a picture, given by hand; throws what is wrong with it.
  async take(file) {
    try {
      if (/\.np[yz]$/i.test(file.name)) await this.takeArray(file.name, new Uint8Array(await file.arrayBuffer()));
      else await this.#takePicture(file);
    } catch (error) {
      this.note.hidden = false;
      this.note.className = "problem wide";
      this.note.textContent = error.message;
    }
  }

  async takeArray(name, data, member) {
    const found = await this.peek(data);
    if (!found) throw new Error(`${name} was not read: the computation stopped.`);
    if (found.refused) throw new Error(`${name}: ${found.refused}`);
    const spec = found.arrays[member ?? 0];
    if (!spec) throw new Error(`${name} holds no array.`);
    const label = spec.name ? `${name}, ${spec.name}` : name;
    this.#array = { name: label, data, member: spec.name, spec };
    this.#choose("file");
    return found.arrays.length;
  }

  async #takePicture(file) {
    const place = this.picture;
    if (!place)
      throw new Error(
        `${file.name} is no .npy or .npz file, and ${written(this.spec)} is not the shape of a picture ` +
          "(1, 3 or 4 channels, first or last).",
      );
    let pixels;
    try {
      pixels = await resized(file, place);
    } catch {
      throw new Error(`${file.name} cannot be read as a picture.`);
    }
    this.#picture = { name: file.name, place, shape: this.shape(), pixels };
    this.preview.width = pixels.width;
    this.preview.height = pixels.height;
    this.preview.getContext("2d").putImageData(pixels, 0, 0);
    this.#choose("image");
  }

  // [what the worker is told, the bytes it needs for that]
  job() {
    const { fill, spec } = this;
    const named = { fill, dtype: spec.dtype };
    if (fill === "file") {
      if (!this.#array) throw new Error(`Input ${this.index}: choose a .npy or .npz file first.`);
      return [{ ...named, member: this.#array.member }, this.#array.data];
    }
    if (fill === "image") {
      if (!this.#picture) throw new Error(`Input ${this.index}: choose a picture first.`);
      const { pixels, place, shape } = this.#picture;
      const { stored, bytes } = elements(pixels, place, spec.dtype, this.scale);
      return [{ ...named, stored, shape }, bytes];
    }
    const seed = Number(this.seed.input.value);
    const below = Number(this.below.input.value);
    return [{ ...named, shape: this.shape(), text: this.text.value, seed, below }, NOTHING];
  }
}

export const inputsOf = (specs, peek) => specs.map((spec, index) => new Input(spec, index, peek));

// A dropped .npz goes to the inputs in order, anything else to the first that has room for it.
export async function dropped(inputs, file) {
  if (!/\.npz$/i.test(file.name)) {
    const wanted = /\.npy$/i.test(file.name) ? "file" : "image";
    const free = inputs.find((input) => input.fill !== "file" && (wanted === "file" || input.picture));
    await (free ?? inputs[0])?.take(file);
    return;
  }
  const data = new Uint8Array(await file.arrayBuffer());
  let count = 1;
  for (let i = 0; i < Math.min(count, inputs.length); i += 1)
    count = await inputs[i].takeArray(file.name, data, i);
}
