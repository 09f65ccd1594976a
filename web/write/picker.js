// The models of the writing view: a folder picked or dropped, an address, a hub's id, or one that is
// kept; how far opening it is, and what is wrong with it. The model that was there stays until the
// new one stands.

import { size } from "../format.js";
import { keeper } from "../kept.js";
import { ModelList } from "./model_list.js";
import { Opening } from "./opening.js";
import { explain } from "./refusals.js";

const HUB_ID = /^[\w][\w.-]*\/[\w][\w.-]*$/;
const NO_CONFIG =
  "There is no config.json: choose the folder of a checkpoint as Hugging Face has them " +
  "(config.json, tokenizer.json, *.safetensors).";
const NO_ADDRESS =
  "Type a hub’s id (organization/model) or the address of a checkpoint’s folder (https://…).";
const kept = keeper("model");

// The place of the model that was used last, if it is kept; null for the page's own.
export const lastUsed = () => JSON.parse(kept.get("last") ?? "null");

// The place that a typed text names: a hub's id or an address; undefined for neither.
async function placeOf(text, boot) {
  if (HUB_ID.test(text)) return { name: text, url: `${(await boot).hub}/${text}/resolve/main` };
  const url = URL.parse(text, location.href);
  if (!/^(https?:\/\/|\/)/.test(text) || !url) return undefined;
  const parts = url.pathname.replace(/\/resolve\/[^/]+\/?$/, "").split("/").filter(Boolean);
  const inHub = url.pathname.includes("/resolve/"); // where two parts name a model
  return { name: parts.slice(inHub ? -2 : -1).join("/") || url.host, url: url.href };
}

export function modelPicker(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [input, pick, address, look] = ["folder", "pick", "address", "look"].map(element);
  const [problem, details, keeping, told] = [
    "model-problem",
    "model-details",
    "keeping",
    "keeping-told",
  ].map(element);
  const opening = new Opening(section);
  const models = new ModelList(section, open, forget, say);
  const boot = fetch(new URL("../boot.json", import.meta.url)).then((response) => response.json());
  boot.catch(() => {}); // told when a hub's id is asked for
  let busy = false;

  function say(text, more = "") {
    problem.textContent = text;
    problem.hidden = !text;
    details.hidden = !more;
    details.lastElementChild.textContent = more;
  }

  // place: see write/loading.js; null for the embedded model.
  async function open(place) {
    if (busy) return;
    busy = true;
    say("");
    opening.begin(place?.name ?? "python-16m");
    for (const control of [pick, look, address]) control.disabled = true;
    const answer = await engine.ask("write", { type: "open", place }, (what) => opening.tell(what));
    for (const control of [pick, look, address]) control.disabled = false;
    busy = false;
    opening.end();
    if (!answer) say("The model was not opened: the computation stopped.");
    else if (answer.refused) refuse("The model was not opened.", answer, place);
    else if (!answer.cancelled) settle(place && { ...place, ...answer });
  }

  function refuse(what, answer, place) {
    const { text, details: said } = explain(answer, place);
    say(`${what} ${text}`, said);
  }

  // A model stands: it is asked for again after a crash, and at the next visit if it is kept.
  function settle(place) {
    engine.place = place?.kept ? { name: place.name, kept: place.kept } : place;
    if (place?.kept) kept.set("last", JSON.stringify(engine.place));
    else kept.drop("last");
    models.show(place ? place.kept : null);
    address.value = "";
  }

  // A model was removed: it stays on the device, and is not asked for again.
  function forget(id) {
    if (engine.place?.kept !== id) return;
    engine.place = null;
    kept.drop("last");
  }

  async function openTyped() {
    const text = address.value.trim();
    try {
      const place = await placeOf(text, boot);
      if (place) open(place);
      else say(NO_ADDRESS);
    } catch {
      // boot.json names the hub
      say("This page’s server does not answer, and only it knows where the hub is.");
    }
  }

  function openFolder({ name, files }) {
    const found = modelFiles(files);
    if (found.length) open({ name, files: found });
    else say(NO_CONFIG);
  }

  function tellKeeping({ id, name, done, total, kept: isKept, refused }) {
    keeping.hidden = !total;
    if (total) {
      keeping.querySelector("progress").value = done / total;
      told.textContent = `Keeping ${name} in this browser: ${size(done)} of ${size(total)}`;
    }
    if (refused) say(`“${name}” is open, but was not kept for the next visit: ${refused}`);
    // Asked for once there is something to lose; without it a browser short of room may drop all.
    if (isKept) navigator.storage.persist?.().catch(() => {});
    if (isKept && engine.place?.id === id) settle({ name, kept: id });
    else if (isKept) models.refresh();
  }

  engine.addEventListener("keeping", ({ detail }) => tellKeeping(detail));
  engine.addEventListener("state", () => {
    const { facts } = engine.models.write;
    if (!facts?.missed) return;
    const { missed } = facts;
    delete facts.missed; // told once
    settle(null);
    refuse(`“${missed.name}” was not opened again.`, missed, missed);
  });
  pick.addEventListener("click", () => input.click());
  look.addEventListener("click", openTyped);
  address.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault(); // or the form it stands in would be sent
    openTyped();
  });
  element("cancel").addEventListener("click", () => engine.ask("write", { type: "cancel" }));
  opening.retry.addEventListener("click", () => engine.ask("write", { type: "retry" }));
  element("stop-keeping").addEventListener("click", () => engine.ask("write", { type: "stopKeeping" }));
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // the same folder may be opened again
    if (files.length) openFolder({ name: files[0].webkitRelativePath.split("/")[0], files });
  });
  models.show(engine.place?.kept ?? null);
  return { open: openFolder };
}

// The files beside the folder's topmost config.json; below it may lie others, of parts of the model.
function modelFiles(files) {
  const parts = (file) => file.webkitRelativePath.split("/");
  const folder = (file) => parts(file).slice(0, -1).join("/");
  const [config] = files
    .filter((file) => file.name === "config.json")
    .sort((a, b) => parts(a).length - parts(b).length);
  return config ? files.filter((file) => folder(file) === folder(config)) : [];
}
