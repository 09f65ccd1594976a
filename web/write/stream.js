// An answer of the model's, as it comes. Of two the newer one wins, and the older one is no more heard of.
//
//   const stream = streamer(engine);
//   const run = await stream.run(prompt, options, add, tell);
//
// prompt  a text, or messages: [{role, content}, …]
// add     (text) => void: the next piece
// tell    (line, used) => void: how many tokens how fast by now, and how much of the context they take
// run     null where a newer one took over; else {found}, with null for found if the engine failed
// stop    ends it within a burst; the run itself tells what there is

import { count, number, seconds } from "../format.js";

const ENDS = {
  end: "the model ended it",
  limit: "as many as asked for",
  context: "the model's context is full",
  stopped: "stopped",
};

export function streamer(engine) {
  let turn = 0;
  return {
    async run(prompt, options, add, tell) {
      const mine = ++turn;
      const start = { at: 0, tokens: 0 };
      tell(engine.models.write.facts ? "Reading the prompt" : "Waiting for the model", null);
      const found = await engine.ask("write", { type: "write", prompt, options }, (piece) => {
        if (mine !== turn) return;
        const { text, tokens, read } = piece;
        add(text);
        const now = performance.now();
        if (!start.at) {
          Object.assign(start, { at: now, tokens });
          performance.mark("first text"); // for bench/warm.py
        }
        const passed = (now - start.at) / 1000;
        const speed = passed > 0 ? rate(tokens - start.tokens, passed) : "";
        tell(count(tokens, "token") + speed, read + tokens);
      });
      return mine === turn ? { found } : null;
    },
    stop: () => engine.ask("write", { type: "stop" }),
  };
}

const rate = (tokens, passed) => ` · ${number(tokens / passed, 1)} tokens/s`;

export function summaryOf({ prompt, reused, tokens, first, rest, end }, { seed, temperature }) {
  const speed = tokens > 1 && rest > 0 ? rate(tokens - 1, rest) : "";
  const known = reused ? `, ${number(reused)} of them known` : "";
  const drawn = temperature === 0 ? "" : ` · seed ${seed}`;
  return (
    `${count(tokens, "token")} after ${number(prompt)} of prompt${known}${speed} · ` +
    `first after ${seconds(first)} · ${ENDS[end]}${drawn}`
  );
}
