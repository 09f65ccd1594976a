// The worker's side of looking inside: it asks the other views' lanes for what they hold.

import { Lane, plain } from "../lane.js";

export const source = ["inside/reading.py", "inside/inside.py", "inside/cell.py"];

// held: (view) => the Python object that view's lane holds, or null
export function lane(python, held) {
  let cell = null;
  const about = async (view, work) => {
    const subject = held(view);
    return subject ? plain(await work(subject)) : { missing: true };
  };
  return new Lane(
    "inside",
    async () => {
      const { pyodide, device } = await python;
      cell = pyodide.pyimport("cell").Cell(device);
      return { model: pyodide.pyimport("inside").Inside(device) };
    },
    {
      aside: {
        // Beside the cell that runs: it ends where it next awaits.
        async interrupt() {
          cell?.stop();
          return null;
        },
      },
      look: (inside, { subject, part }) => about(subject, (held) => inside.look(held, part)),
      profile: (inside, { subject, part }) => about(subject, (held) => inside.profile(held, part)),
      read: (inside, { text }) => about("write", (held) => inside.read(held, text.toWellFormed())),
      attention: async (inside, { layer }) => plain(inside.attention(layer)),
      async run(_, { id, text }) {
        const { pyodide } = await python;
        const emit = (kind, said) => postMessage({ type: "progress", id, kind, said });
        const views = pyodide.toPy({});
        for (const view of ["write", "search", "programs"]) views.set(view, held(view) ?? undefined); // null would be no None
        const answer = plain(await cell.run(text.toWellFormed(), views, emit));
        views.destroy();
        return answer;
      },
    },
  );
}
