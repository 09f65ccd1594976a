// The worker's side of looking inside: it asks the other views' lanes for what they hold.

import { Lane, plain } from "../lane.js";

export const source = ["inside/reading.py", "inside/inside.py", "inside/cell.py"];

// held: (view) => what that view's lane holds, or null
export function lane(python, held) {
  let cell = null;
  const about = (view, work) => {
    const subject = held(view);
    return subject ? work(subject).then(plain) : { missing: true };
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
        async interrupt() {
          cell?.stop();
          return null;
        },
      },
      look: async (inside, { view, part }) => about(view, (subject) => inside.look(subject, part)),
      profile: async (inside, { view, part }) =>
        about(view, (subject) => inside.profile(subject, part)),
      read: async (inside, { text }) =>
        about("write", (writer) => inside.read(writer, text.toWellFormed())),
      attention: async (inside, { layer }) => plain(inside.attention(layer)),
      following: async (inside, { token }) => plain(inside.following(token)),
      async run(_, { id, source: text }) {
        const emit = (kind, said) => postMessage({ type: "progress", id, kind, said });
        return plain(await cell.run(text.toWellFormed(), held("write"), emit));
      },
    },
  );
}
