// A model of one's own in the writing view: a folder picked or dropped, how far its loading is, and
// what is wrong with it. The model that was there stays until the new one stands.

import { number } from "../format.js";

export function modelPicker(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [input, pick, own, work] = ["folder", "pick", "embedded", "opening"].map(element);
  const [problem, cancel] = ["model-problem", "cancel"].map(element);
  let opening = false;

  function say(text) {
    problem.textContent = text;
    problem.hidden = !text;
  }

  function progress({ stage, done, total }) {
    work.firstElementChild.value = done / total;
    element("opening-stage").textContent =
      stage === "weights"
        ? `Reading and quantizing weights: ${number(done / 1e6)} of ${number(total / 1e6)} MB`
        : stage;
  }

  // picked: {name, files}, or null for the embedded model.
  async function open(picked) {
    if (opening) return;
    const files = picked && { name: picked.name, files: modelFiles(picked.files) };
    if (files && !files.files.length) {
      say(
        "There is no config.json: choose the folder of a checkpoint as Hugging Face has them " +
          "(config.json, tokenizer.json, *.safetensors).",
      );
      return;
    }
    opening = true;
    say("");
    work.hidden = false;
    pick.disabled = own.disabled = true;
    progress({ stage: "Opening the folder", done: 0, total: 1 });
    const answer = await engine.ask("write", { type: "open", files }, progress);
    opening = false;
    work.hidden = true;
    pick.disabled = own.disabled = false;
    if (!answer) say("The model was not opened: the computation stopped.");
    else if (answer.refused) say(`The model was not opened. ${answer.refused}`);
    else if (!answer.cancelled) {
      engine.files = files;
      own.hidden = !files;
    }
  }

  pick.addEventListener("click", () => input.click());
  own.addEventListener("click", () => open(null));
  cancel.addEventListener("click", () => engine.ask("write", { type: "cancel" }));
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = ""; // the same folder may be opened again
    if (files.length) open({ name: files[0].webkitRelativePath.split("/")[0], files });
  });
  return { open };
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
