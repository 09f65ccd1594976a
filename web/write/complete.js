// Completing: a prompt in, the text after it streaming.

import { keeper, lazily, OWN } from "../kept.js";
import { copyOn } from "./copy.js";
import { teller } from "./problem.js";
import { streamer, summaryOf } from "./stream.js";

const PAUSE = 300; // ms between two times that the text is kept
const kept = keeper("write", OWN);

// `say` tells a person who does not see the page; `valid` asks whether the sampling fields are.
export function completer(section, engine, settings, { say, valid }) {
  const element = (id) => section.querySelector(`#${id}`);
  const [prompt, run, halt, problem] = ["prompt", "run", "halt", "write-problem"].map(element);
  const [answer, given, written] = ["answer", "given", "written"].map(element);
  const [summary, copy, more] = ["write-summary", "copy", "continue"].map(element);
  const refuse = teller(problem);
  const stream = streamer(engine);
  const keeping = lazily(() => kept.set("text", JSON.stringify(shown())), PAUSE);
  let running = false;

  function working(on) {
    running = on;
    run.hidden = on;
    halt.hidden = !on;
    answer.ariaBusy = String(on);
    copy.hidden = more.hidden = on || !written.textContent;
  }

  function add(text) {
    const atEnd = answer.scrollTop + answer.clientHeight >= answer.scrollHeight - 4;
    written.append(text);
    if (atEnd) answer.scrollTop = answer.scrollHeight; // unless a person reads further up
    keeping.soon();
  }

  function show([prompted, answered, told]) {
    given.textContent = prompted;
    written.textContent = answered;
    summary.textContent = told;
    working(running);
  }

  const all = () => given.textContent + written.textContent;
  // What is kept while text comes is found by whoever left before its end.
  const shown = () => [
    given.textContent,
    written.textContent,
    running ? "Broken off." : summary.textContent,
  ];

  // Writes after `text`, which for a continuation is all there is on the page; a refusal puts back
  // what was there before.
  async function generate(text, before) {
    const options = settings.options();
    refuse("");
    working(true);
    say("Writing");
    const done = await stream.run(text, options, add, (line) => (summary.textContent = line));
    if (!done) return; // a newer one owns the page
    working(false);
    const { found } = done;
    if (!found) summary.textContent = written.textContent ? "Broken off." : "";
    else if (found.refused) {
      refuse(found.refused);
      show(before);
    } else summary.textContent = summaryOf(found, options);
    say(summary.textContent);
    keeping.now();
  }

  function start() {
    if (!prompt.value) {
      refuse("Type a prompt first.");
      prompt.focus();
      return;
    }
    if (!valid()) return;
    const before = shown();
    show([prompt.value, "", ""]);
    answer.scrollTop = answer.scrollHeight;
    answer.scrollIntoView({ block: "nearest" });
    generate(prompt.value, before);
  }

  // The text so far stays; the job itself answers once its burst is done.
  const stop = () => running && stream.stop();

  halt.addEventListener("click", stop);
  more.addEventListener("click", () => valid() && generate(all(), shown()));
  copyOn(copy, all, answer);
  for (const example of section.querySelectorAll(".example")) {
    example.addEventListener("click", () => {
      prompt.value = example.dataset.prompt ?? example.textContent;
      prompt.dispatchEvent(new Event("input", { bubbles: true })); // as if typed, so it is kept
      start();
    });
  }
  show(JSON.parse(kept.get("text") ?? '["", "", ""]'));
  return { start, stop };
}
