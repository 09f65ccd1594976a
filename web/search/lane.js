// The worker's side of searching: all-MiniLM-L6-v2, which the server has or fetches.

import { asJson, Lane, plain, reporter } from "../lane.js";
import { fetched } from "../model_files.js";

const SENTENCES = "all-MiniLM-L6-v2";
export const source = "search/search.py";

export const lane = (python) =>
  new Lane(
    "search",
    async (_, progress) => {
      const { pyodide, device } = await python;
      const url = await fetched(SENTENCES, progress);
      const model = await pyodide.pyimport("search").Search.open(url, device, progress);
      return { model, name: SENTENCES };
    },
    {
      aside: {},
      async rank(model, { id, query, lines }, stale) {
        const found = await model.rank(asJson({ query, lines }), stale, reporter({ id }));
        return found && plain(found);
      },
    },
  );
