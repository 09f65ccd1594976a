// transformers.js: its own generate(), greedy.
import { prompt, repeated } from "./measure.js";

export async function generate(job) {
  const { env, AutoModelForCausalLM, Tensor } = await import(`/${job.folder}/transformers.min.js`);
  env.allowRemoteModels = false;
  env.allowLocalModels = true;
  env.localModelPath = "/peers/";
  env.useBrowserCache = false;
  env.useWasmCache = false;
  env.backends.onnx.wasm.wasmPaths = new URL(`/${job.beneath}/`, location.href).href;
  const model = await AutoModelForCausalLM.from_pretrained(job.shape, {
    device: "webgpu",
    dtype: job.dtype,
    local_files_only: true,
  });
  const int64 = (values) =>
    new Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);
  return repeated(job, async (count) => {
    const times = []; // of the prompt, which is put at once, and of each token
    const streamer = { put: () => times.push(performance.now()), end() {} };
    const started = performance.now();
    const output = await model.generate({
      input_ids: int64(prompt(job.prompt, job.vocab)),
      attention_mask: int64(new Array(job.prompt).fill(1)),
      max_new_tokens: count,
      min_new_tokens: count,
      do_sample: false,
      streamer,
    });
    const tokens = Array.from((output.sequences ?? output).data, Number).slice(job.prompt);
    if (tokens.length !== count) throw Error(`${tokens.length} tokens, expected ${count}`);
    const first = times.at(-count);
    return { prefill: first - started, decode: times.at(-1) - first, tokens };
  });
}
