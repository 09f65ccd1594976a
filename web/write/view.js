// The view that writes: a prompt in, the text after it streaming.

import { filesOf, onFilesDropped } from "../drop.js";
import { count, number, seconds } from "../format.js";
import { keeper } from "../kept.js";
import { modelPicker } from "./picker.js";

const PAUSE = 300; // ms without typing until the prompt is kept
const COPIED = 1500; // ms that the button says so
const MOST = 128; // new tokens where a person names no number
const kept = keeper("write");

const ENDS = {
  end: "the model ended it",
  limit: "as many as asked for",
  context: "the model's context is full",
  stopped: "stopped",
};

// Options as the fields say them; an empty field leaves the model's own setting.
function optionsOf(fields) {
  const options = { max_new_tokens: MOST };
  for (const field of fields) {
    if (field.name === "stop") {
      if (field.value) options.stop = [field.value.replaceAll("\\n", "\n")];
    } else if (field.value) options[field.name] = Number(field.value);
  }
  // Told with the answer, so that it can be had again.
  options.seed ??= crypto.getRandomValues(new Uint32Array(1))[0];
  return options;
}

const rate = ({ tokens, rest }) =>
  tokens > 1 && rest > 0 ? ` · ${number((tokens - 1) / rest, 1)} tokens/s` : "";

function summaryOf(answer, { seed, temperature }) {
  const drawn = temperature === 0 ? "" : ` · seed ${seed}`;
  return (
    `${count(answer.tokens, "token")} after ${number(answer.prompt)} of prompt${rate(answer)} · ` +
    `first after ${seconds(answer.first)} · ${ENDS[answer.end]}${drawn}`
  );
}

export function write(section, engine) {
  const element = (id) => section.querySelector(`#${id}`);
  const [form, prompt, run, halt] = ["write-form", "prompt", "run", "halt"].map(element);
  const [answer, given, written] = ["answer", "given", "written"].map(element);
  const [problem, summary, chat] = ["write-problem", "write-summary", "chat"].map(element);
  const [copy, more] = ["copy", "continue"].map(element);
  const fields = [...section.querySelectorAll(".settings input")];
  let turn = 0; // of the answer that is shown
  let running = false;
  let timer;

  function say(text) {
    problem.textContent = text && text[0].toUpperCase() + text.slice(1);
    problem.hidden = !text;
  }

  function keep() {
    clearTimeout(timer);
    timer = undefined;
    kept.set("prompt", prompt.value);
    kept.set("fields", JSON.stringify(fields.map((field) => field.value)));
  }

  function keepSoon() {
    clearTimeout(timer);
    timer = setTimeout(keep, PAUSE);
  }

  function working(on) {
    running = on;
    run.hidden = on;
    halt.hidden = !on;
    answer.ariaBusy = String(on);
    copy.hidden = more.hidden = on || !written.textContent;
    if (chat.checked) more.hidden = true; // an answer's end is the model's to say
  }

  function add(text) {
    const atEnd = answer.scrollTop + answer.clientHeight >= answer.scrollHeight - 4;
    written.append(text);
    if (atEnd) answer.scrollTop = answer.scrollHeight; // unless a person reads further up
  }

  function show([prompted, answered, told]) {
    given.textContent = prompted;
    written.textContent = answered;
    summary.textContent = told;
    working(running);
  }

  const shown = () => [given.textContent, written.textContent, summary.textContent];

  // Writes after `text`, which for a continuation is all there is on the page; a refusal puts back
  // what was there before.
  async function generate(text, before) {
    const mine = ++turn;
    const options = optionsOf(fields);
    const start = { at: 0, tokens: 0 };
    say("");
    working(true);
    summary.textContent = engine.models.write.facts ? "Reading the prompt" : "Waiting for the model";
    const job = { type: "write", prompt: text, chat: chat.checked, options };
    const found = await engine.ask("write", job, ({ text: piece, tokens }) => {
      if (mine !== turn) return;
      add(piece);
      const now = performance.now();
      if (!start.at) {
        Object.assign(start, { at: now, tokens });
        performance.mark("first text");
      }
      const passed = (now - start.at) / 1000;
      const speed = passed > 0 ? ` · ${number((tokens - start.tokens) / passed, 1)} tokens/s` : "";
      summary.textContent = count(tokens, "token") + speed;
    });
    if (mine !== turn) return; // a newer one owns the page
    working(false);
    if (!found) summary.textContent = written.textContent ? "Broken off." : "";
    else if (found.refused) {
      say(found.refused);
      show(before);
    } else summary.textContent = summaryOf(found, options);
  }

  function start() {
    if (!prompt.value) {
      say("Type a prompt first.");
      prompt.focus();
      return;
    }
    if (!form.reportValidity()) return;
    keep();
    const before = shown();
    show([prompt.value, "", ""]);
    answer.scrollTop = answer.scrollHeight;
    answer.scrollIntoView({ block: "nearest" });
    generate(prompt.value, before);
  }

  function goOn() {
    if (form.reportValidity()) generate(given.textContent + written.textContent, shown());
  }

  // The text so far stays; the job itself answers once its burst is done.
  const stop = () => running && engine.ask("write", { type: "stop" });

  async function copyAll() {
    const text = (chat.checked ? "" : given.textContent) + written.textContent;
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(chat.checked ? written : answer);
      copy.textContent = "Selected: press Ctrl+C";
    }
    setTimeout(() => (copy.textContent = "Copy"), COPIED);
  }

  function fitTo({ defaults, context, chat: speaks }) {
    for (const field of fields) {
      const own = { max_new_tokens: MOST, ...defaults }[field.name];
      if (own !== undefined) field.placeholder = number(own, 2);
    }
    element("context").textContent = `up to ${count(context, "token")} with the answer`;
    element("chat-row").hidden = !speaks;
    if (!speaks) chat.checked = false;
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  section.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      start();
    } else if (event.key === "Escape") stop();
  });
  form.addEventListener("input", keepSoon);
  addEventListener("pagehide", () => timer && keep());
  halt.addEventListener("click", stop);
  copy.addEventListener("click", copyAll);
  more.addEventListener("click", goOn);
  for (const example of section.querySelectorAll(".example")) {
    example.addEventListener("click", () => {
      prompt.value = example.dataset.prompt ?? example.textContent;
      start();
    });
  }
  const picker = modelPicker(section, engine);
  onFilesDropped(section, async (dropped) => picker.open(await filesOf(dropped)));
  engine.addEventListener("state", () => {
    const { facts } = engine.models.write;
    if (facts) fitTo(facts);
  });

  prompt.value = kept.get("prompt") ?? prompt.defaultValue;
  const values = JSON.parse(kept.get("fields") ?? "[]");
  fields.forEach((field, i) => (field.value = values[i] ?? ""));
}
