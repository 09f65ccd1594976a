// What all engines are measured by.

// Ids that any vocabulary has, no two neighbours alike.
export const prompt = (length, vocab) =>
  Array.from({ length }, (_, i) => (i * 7919 + 13) % vocab);

export function argmax(values) {
  let best = 0;
  for (let i = 1; i < values.length; i++) if (values[i] > values[best]) best = i;
  return best;
}

// `generation` gives {prefill, decode, tokens}: milliseconds until the first token, and for the
// others. A first one, short, compiles the kernels.
export async function repeated(job, generation) {
  const started = performance.now();
  await generation(Math.min(job.new, 4));
  const first_ms = performance.now() - started;
  const reps = [];
  for (let i = 0; i < job.reps; i++) reps.push(await generation(job.new));
  return {
    first_ms,
    tokens: reps[0].tokens.slice(0, 16),
    reps: reps.map(({ prefill, decode }) => ({
      prefill_tok_s: (job.prompt / prefill) * 1e3,
      decode_tok_s: ((job.new - 1) / decode) * 1e3,
    })),
  };
}
