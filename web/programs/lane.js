// The worker's side of programs: the one that is open. Each job brings the file, so that a worker
// that was started anew opens it again.

import { asJson, Lane, plain } from "../lane.js";

export const source = ["programs/listing.py", "programs/programs.py"];

export function lane(python) {
  const made = new Lane(
    "programs",
    async () => {
      const { pyodide, device } = await python;
      return { model: pyodide.pyimport("programs").Programs(device) };
    },
    {
      aside: {},
      async see(model, { key, file }) {
        const start = performance.now();
        const answer = plain(await model.load(key, file));
        if (!answer.refused) made.stand(model, file.name, {}, (performance.now() - start) / 1000);
        return answer;
      },
      // data: the bytes of each input's file or image, none where it has no such
      run: async (model, { key, file, method, inputs, data }) =>
        plain(await model.run(key, file, asJson({ method, inputs }), data)),
      draw: async (model, { method, delegate }) => plain(await model.draw(method, delegate)),
      reset: async (model) => plain(await model.reset()),
      peek: async (model, { data }) => plain(model.peek(data)),
    },
  );
  return made;
}
