// The worker's side of writing: a language model, and jobs for it.

import { asJson, Lane, plain, reporter } from "../lane.js";
import { Loading } from "./loading.js";

export const source = "write/write.py";

export function lane(python) {
  const loading = new Loading(python);
  return new Lane(
    "write",
    async (place, report) => {
      const tell = ({ stage, done, total }) => report(stage, done, total || 1);
      const opened = await loading.open(place, tell);
      if (opened.model) return opened;
      if (!place?.kept) throw new Error(opened.refused ?? "given up");
      // What was used last cannot be had any more: the embedded model can.
      return { ...(await loading.open(null, tell)), more: { missed: { ...place, ...opened } } };
    },
    {
      aside: {
        // Beside whatever runs: the model that was there answers until the new one stands.
        async open(_, { id, place }, lane) {
          const start = performance.now();
          const tell = (what) => postMessage({ type: "progress", id, ...what });
          const { model, name, ...answer } = await loading.open(place, tell, true);
          if (model) lane.stand(model, name, {}, (performance.now() - start) / 1000);
          return answer;
        },
        cancel: () => loading.cancel(),
        retry: () => loading.retry(),
        stopKeeping: () => loading.stopKeeping(),
      },
      async write(model, { id, prompt, options }, stale) {
        const emit = (text, tokens, read) => postMessage({ type: "progress", id, text, tokens, read });
        return plain(await model.write(asJson({ prompt, options }), stale, emit));
      },
    },
  );
}
