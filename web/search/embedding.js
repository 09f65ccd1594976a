// New passages embedded in parts: after each it is kept, told how far it is, and asked whether to go on.

// Passages between two reports: as many as an adapter does in half a second, beginning with few
// since a slow one is not known yet.
const [FIRST, SECONDS, MOST] = [4, 0.5, 256];
// In the texts' own order, so that whoever stops finds their beginning; within such a stretch the
// short ones first, since passages of like length share a batch with little padding.
const STRETCH = 512;

function inOrder(texts) {
  const order = [];
  for (let i = 0; i < texts.length; i += STRETCH)
    order.push(...texts.slice(i, i + STRETCH).sort((a, b) => a.length - b.length));
  return order;
}

const letters = (texts) => texts.reduce((sum, text) => sum + text.length, 0);

// Remembers the vectors of `texts`; false if the job became stale on the way. Time left is told by
// letters, since long passages take longer.
export async function embedded(texts, { vectors, embed, stale, report, turn }) {
  const order = inOrder(texts);
  const all = letters(order);
  const start = performance.now();
  let [done, read, size] = [0, 0, FIRST];
  while (done < order.length) {
    const passed = (performance.now() - start) / 1000;
    const speed = done ? { pace: done / passed, left: (passed * (all - read)) / read } : {};
    report({ stage: "embed", done, total: order.length, ...speed });
    await turn(); // a newer job's message gets its turn, on numpy too
    if (stale()) return false;
    const part = order.slice(done, done + size);
    await vectors.recall(part); // another tab may have been faster
    const fresh = part.filter((text) => !vectors.known.has(text));
    const before = performance.now();
    if (fresh.length) {
      const flat = await embed(fresh);
      const width = flat.length / fresh.length;
      await vectors.add(fresh, fresh.map((_, i) => flat.slice(i * width, (i + 1) * width)));
    }
    done += part.length;
    read += letters(part);
    const pace = part.length / Math.max((performance.now() - before) / 1000, 1e-3);
    size = Math.min(Math.max(1, Math.floor(pace * SECONDS)), MOST);
  }
  return true;
}
