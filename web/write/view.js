// The view that writes: a model without a chat template completes text, one with a template converses.

import { filesOf, onFilesDropped } from "../drop.js";
import { count } from "../format.js";
import { keeper, lazily, OWN } from "../kept.js";
import { converser } from "./chat.js";
import { completer } from "./complete.js";
import { modelPicker } from "./picker.js";
import { settings } from "./settings.js";

const PAUSE = 300; // ms between two times that what is typed is kept
const kept = keeper("write", OWN);
const tab = keeper("write", ["session"]);

export function write(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [form, prompt, chat] = ["write-form", "prompt", "chat"].map(element);
  const sampling = settings(section);
  const help = {
    say: (text) => (element("write-told").textContent = text),
    valid: () => form.reportValidity(),
  };
  const modes = {
    text: completer(section, engine, sampling, help),
    chat: converser(section, engine, sampling, help),
  };
  const mode = () => modes[form.dataset.mode];
  let seen = null; // facts of the model that was last there
  const keeping = lazily(() => {
    kept.set("prompt", prompt.value);
    kept.set("fields", JSON.stringify(sampling.values()));
  }, PAUSE);

  function lay() {
    const speaks = Boolean(seen?.chat);
    const chats = chat.checked && (speaks || modes.chat.holds());
    form.dataset.mode = chats ? "chat" : "text";
    element("conversation").hidden = !chats;
    element("completing").hidden = element("completion").hidden = chats;
    element("chat-row").hidden = !speaks && !chats;
  }

  function choose(chats) {
    chat.checked = chats;
    tab.set("chat", chats ? "yes" : "");
    lay();
  }

  function fitTo(facts) {
    if (facts === seen) return; // told at every change of the engine's state
    const reloaded = !seen && chat.checked; // its conversation stays, whatever model is there now
    seen = facts;
    sampling.fitTo(facts);
    modes.chat.fitTo(facts);
    element("context").textContent = `up to ${count(facts.context, "token")} with the answer`;
    choose(facts.chat || reloaded);
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    mode().start();
  });
  section.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      mode().start();
    } else if (event.key === "Escape") mode().stop();
  });
  form.addEventListener("input", keeping.soon);
  chat.addEventListener("change", () => {
    mode().stop();
    choose(chat.checked);
  });
  const picker = modelPicker(section, engine);
  onFilesDropped(section, async (dropped) => picker.open(await filesOf(dropped)));
  engine.addEventListener("state", () => {
    const { facts } = engine.models.write;
    if (facts) fitTo(facts);
  });

  prompt.value = kept.get("prompt") ?? prompt.defaultValue;
  sampling.fill(JSON.parse(kept.get("fields") ?? "[]"));
  chat.checked = tab.get("chat") === "yes";
  lay();
}
