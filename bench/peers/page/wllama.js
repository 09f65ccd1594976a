// wllama (llama.cpp): its own clock for the prompt and for each token after it.
import { repeated } from "./measure.js";

export async function complete(job) {
  const { Wllama } = await import(`/${job.folder}/index.js`);
  const wasm = new URL(`/${job.folder}/wllama.wasm`, location.href).href;
  const lines = [];
  const keep = (...values) => lines.push(values.join(" "));
  const logger = { debug: keep, log: keep, warn: keep, error: keep };
  const engine = new Wllama({ default: wasm }, { logger });
  const file = await (await fetch(`/${job.model}`)).blob();
  await engine.loadModel([file], {
    n_ctx: job.capacity,
    n_batch: job.batch,
    n_ubatch: job.batch,
    n_parallel: 1,
    n_gpu_layers: job.gpu ? 99999 : 0,
  });
  let turn = 0; // no prompt begins as the one before it, so nothing of it is in the cache
  const result = await repeated(job, async (count) => {
    // Every letter is a token.
    const letter = (_, i) => String.fromCharCode(97 + ((i * 7 + turn * 3 + (i * i >> 3)) % 26));
    const { timings, choices } = await engine.createCompletion({
      prompt: Array.from({ length: job.prompt }, letter).join(""),
      max_tokens: count,
      temperature: 0,
      top_k: 1,
      ignore_eos: true,
      cache_prompt: false,
    });
    turn += 1;
    if (timings.prompt_n < job.prompt || timings.predicted_n !== count)
      throw Error(`${timings.prompt_n} + ${timings.predicted_n} tokens`);
    return {
      prefill: (timings.prompt_ms / timings.prompt_n) * job.prompt,
      decode: (timings.predicted_ms / timings.predicted_n) * (count - 1),
      tokens: [choices[0].text],
    };
  });
  const placed = lines.filter((line) => /model buffer size/.test(line));
  if (job.gpu && !placed.some((line) => /WebGPU/.test(line)))
    throw Error(`not on the GPU: ${placed.join("; ")}`);
  return { ...result, threads: engine.getNumThreads() };
}
