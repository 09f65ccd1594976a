// The worker's side of writing: the embedded model, or one that a person picked.

import { asJson, Lane, plain, reporter } from "../lane.js";
import { embedded } from "../model_files.js";

export const source = "write/write.py";

let cancelled = false; // opening a picked folder
const located = (python, picked) =>
  picked ? { name: picked.name, location: picked.files } : embedded(python);

export const lane = (python) =>
  new Lane(
    "write",
    async (files, progress) => {
      const { name, location } = await located(python, files);
      const { pyodide, device } = await python;
      const model = await pyodide.pyimport("write").Writer.open(location, device, progress);
      return { model, name };
    },
    {
      aside: {
        // Beside whatever runs: the model that was there answers until the new one stands.
        async open(model, { id, files }, lane) {
          cancelled = false;
          const start = performance.now();
          const { name, location } = await located(python, files);
          const answer = plain(await model.swap(location, reporter({ id }), () => cancelled));
          if (!answer.refused && !answer.cancelled) lane.ready(name, (performance.now() - start) / 1000);
          return answer;
        },
        async cancel() {
          cancelled = true;
          return null;
        },
      },
      async write(model, { id, prompt, options }, stale) {
        const emit = (text, tokens, read) => postMessage({ type: "progress", id, text, tokens, read });
        return plain(await model.write(asJson({ prompt, options }), stale, emit));
      },
    },
  );
