// Conversing: messages as turns, the model's answers streaming. Text is only ever set as text.

import { number } from "../format.js";
import { lazily } from "../kept.js";
import { Conversations } from "./conversations.js";
import { teller } from "./problem.js";
import { anySeed } from "./settings.js";
import { streamer, summaryOf } from "./stream.js";
import { turnShown } from "./turn.js";

const PAUSE = 300; // ms between two times that a running answer is kept
const SPOKEN = 600; // characters of an answer that are read out
const UNKEPT =
  "This browser keeps no more text: delete an older conversation, or lose this one with the tab.";
const ELSEWHERE = "This conversation is open in another tab.";

export function converser(section, engine, settings, { say, valid }) {
  const element = (id) => section.querySelector(`#${id}`);
  const [log, list, empty, message] = ["log", "turns", "log-empty", "message"].map(element);
  const [send, hush, problem] = ["send", "hush", "chat-problem"].map(element);
  const [choice, renew, discard] = ["conversations", "renew", "discard"].map(element);
  const refuse = teller(problem);
  const store = new Conversations();
  const stream = streamer(engine);
  const keeping = lazily(() => store.keep() || refuse(UNKEPT), PAUSE);
  let running = false;
  let speaks = true; // as far as is known
  let context = 0; // tokens that the model takes

  function working(on) {
    running = on;
    send.hidden = on;
    hush.hidden = !on;
    log.ariaBusy = String(on);
    // What would change the conversation waits until the answer is there.
    for (const button of list.querySelectorAll(".change")) button.disabled = on || !speaks;
    send.disabled = !speaks;
    element("chat-lack").hidden = speaks;
    choice.disabled = renew.disabled = discard.disabled = on;
  }

  // How much of the model's context the conversation takes by now.
  function measure(used = store.turns.at(-1)?.used) {
    element("used").parentElement.hidden = !context || !speaks;
    element("used").max = context;
    element("used").value = used ?? 0;
    element("used-text").textContent =
      `${number(used ?? 0)} of ${number(context)} tokens of context`;
  }

  function draw() {
    const { turns } = store;
    const last = turns.length - 1;
    list.replaceChildren(
      ...turns.map((turn, i) =>
        turnShown(turn, { edit: (text) => edited(i, text), retry: i === last ? retry : null }),
      ),
    );
    empty.hidden = turns.length > 0;
    log.scrollTop = log.scrollHeight;
    measure();
    offer();
    working(running);
  }

  // The conversations there are to choose from; a new one has no name yet.
  function offer() {
    const found = store.list();
    const { id: mine } = store;
    if (!found.some(({ id }) => id === mine)) found.unshift({ id: mine, title: "New conversation" });
    choice.replaceChildren(...found.map(({ id, title }) => new Option(title, id, false, id === mine)));
    choice.hidden = found.length < 2;
    renew.hidden = discard.hidden = !store.turns.length;
  }

  // Has the model answer the turns; `before` are put back where that is refused.
  async function answer(options, before) {
    const { turns } = store;
    const messages = turns.map(({ role, content }) => ({ role, content }));
    const turn = { role: "assistant", content: "", note: "Broken off.", used: null };
    turns.push(turn);
    running = true;
    refuse("");
    draw();
    keeping.now();
    say("Answering");
    const shown = list.lastElementChild;
    const add = (text) => {
      const atEnd = log.scrollTop + log.clientHeight >= log.scrollHeight - 8;
      turn.content += text;
      shown.querySelector(".content").append(text);
      if (atEnd) log.scrollTop = log.scrollHeight; // unless a person reads further up
      keeping.soon();
    };
    const tell = (line, used) => {
      shown.querySelector(".note").textContent = line;
      if (used) measure(used);
    };
    const done = await stream.run(messages, options, add, tell);
    if (!done) return false;
    running = false;
    const { found } = done;
    if (found?.refused) {
      refuse(found.refused);
      store.turns = before;
    } else if (found) {
      turn.note = summaryOf(found, options);
      turn.used = found.prompt + found.tokens;
    }
    draw();
    keeping.now();
    say(found?.refused ? "" : `Answer: ${turn.content.slice(0, SPOKEN)}`);
    return !found?.refused;
  }

  // A person's message from turn `at` on, in place of whatever follows there.
  async function ask(at, text) {
    const before = store.turns;
    store.turns = [...before.slice(0, at), { role: "user", content: text }];
    return answer(settings.options(), before);
  }

  async function edited(at, text) {
    if (!text.trim() || !valid()) return;
    message.focus();
    await ask(at, text);
  }

  async function retry() {
    if (!valid()) return;
    message.focus();
    const before = store.turns;
    store.turns = before.slice(0, -1);
    await answer({ ...settings.options(), seed: anySeed() }, before);
  }

  async function start() {
    const text = message.value;
    if (running || !speaks) return;
    if (!text.trim()) {
      refuse("Type a message first.");
      message.focus();
      return;
    }
    if (!valid()) return;
    message.value = "";
    if (!(await ask(store.turns.length, text))) message.value ||= text;
  }

  async function change(to) {
    refuse((await to) ? "" : ELSEWHERE);
    draw();
    message.focus();
  }

  const stop = () => running && stream.stop();

  message.addEventListener("keydown", (event) => {
    // An input method's Enter ends a word.
    if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.isComposing) return;
    event.preventDefault();
    start();
  });
  hush.addEventListener("click", stop);
  choice.addEventListener("change", () => change(store.open(choice.value)));
  renew.addEventListener("click", () => change(store.renew()));
  discard.addEventListener("click", () => {
    store.turns = [];
    store.keep();
    change(store.renew());
  });
  store.start().then(draw);
  return {
    start,
    stop,
    holds: () => store.list().length > 0,
    fitTo(facts) {
      ({ chat: speaks, context } = facts);
      measure();
      working(running);
    },
  };
}
