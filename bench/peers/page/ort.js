// onnxruntime-web: a decoder, and one MatMulNBits alone.
import { argmax, prompt, repeated } from "./measure.js";

const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
const BYTES = { float32: 4, float16: 2, int64: 8 };

async function load(job) {
  const folder = new URL(`/${job.folder}/`, location.href).href;
  const ort = await import(`${folder}ort.${job.build}.min.mjs`);
  ort.env.wasm.wasmPaths = folder;
  return ort;
}

// By its bare name the provider would not learn of graph capture.
const GPU = { executionProviders: [{ name: "webgpu" }], preferredOutputLocation: "gpu-buffer" };

const open = (ort, job, options) =>
  ort.InferenceSession.create(`/${job.model}`, {
    ...GPU,
    externalData: [{ path: job.data.split("/").at(-1), data: `/${job.data}` }],
    ...options,
  });

// A tensor in a GPU buffer of its own.
function held(ort, device, dataType, dims) {
  const size = Math.max(16, dims.reduce((n, d) => n * d, BYTES[dataType]));
  const buffer = device.createBuffer({ size, usage: STORAGE | COPY_SRC | COPY_DST });
  return { buffer, tensor: ort.Tensor.fromGpuBuffer(buffer, { dataType, dims }) };
}

// Keys and values: in buffers that every step reads and appends to, so that nothing is copied.
function caches(ort, device, job) {
  const feeds = {};
  const fetches = {};
  for (let i = 0; i < job.layers; i++) {
    for (const part of ["key", "value"]) {
      const { tensor } = held(ort, device, job.dtype, [1, job.kv_heads, job.capacity, job.head_dim]);
      feeds[`past_key_values.${i}.${part}`] = tensor;
      fetches[`present.${i}.${part}`] = tensor;
    }
  }
  return { feeds, fetches };
}

const int64 = (ort, values) =>
  new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [1, values.length]);

// A step gives the next token. Where logits stay on the GPU nobody picks one: always 1.
async function plain(ort, job) {
  const location = Object.fromEntries(
    Array.from({ length: job.layers }, (_, i) => [`present.${i}.key`, `present.${i}.value`])
      .flat()
      .map((name) => [name, "gpu-buffer"]),
  );
  location.logits = job.logits === "gpu" ? "gpu-buffer" : "cpu";
  const session = await open(ort, job, { preferredOutputLocation: location });
  const device = await ort.env.webgpu.device;
  const { feeds, fetches } = caches(ort, device, job);
  const step = async (ids, total) => {
    const mask = int64(ort, new Array(total).fill(1));
    const inputs = { ...feeds, input_ids: int64(ort, ids), attention_mask: mask };
    const { logits } = await session.run(inputs, { ...fetches, logits: null });
    const token = job.logits === "gpu" ? 1 : argmax(logits.data);
    logits.dispose();
    return token;
  };
  return { device, step };
}

// Steps of one token are captured at the first and replayed from then on; the prompt's is not.
// A session that captures is bound to its buffers for good, so the prompt has another.
async function captured(ort, job) {
  const whole = await open(ort, job);
  const single = await open(ort, job, { enableGraphCapture: true });
  const device = await ort.env.webgpu.device;
  const { feeds, fetches } = caches(ort, device, job);
  const ids = { 1: held(ort, device, "int64", [1, 1]) };
  ids[job.prompt] ??= held(ort, device, "int64", [1, job.prompt]);
  const mask = held(ort, device, "int64", [1, job.capacity]);
  const logits = held(ort, device, job.dtype, [1, 1, job.vocab]);
  const size = logits.buffer.size;
  const read = device.createBuffer({ size, usage: MAP_READ | COPY_DST });
  const pick = async () => {
    const encoder = device.createCommandEncoder();
    encoder.copyBufferToBuffer(logits.buffer, 0, read, 0, size);
    device.queue.submit([encoder.finish()]);
    await read.mapAsync(GPUMapMode.READ);
    const kind = job.dtype === "float16" ? Float16Array : Float32Array;
    const token = argmax(new kind(read.getMappedRange()).subarray(0, job.vocab));
    read.unmap();
    return token;
  };
  const step = async (values, total) => {
    const own = ids[values.length];
    device.queue.writeBuffer(own.buffer, 0, BigInt64Array.from(values, BigInt));
    device.queue.writeBuffer(mask.buffer, 0, new BigInt64Array(job.capacity).fill(1n, 0, total));
    const inputs = { ...feeds, input_ids: own.tensor, attention_mask: mask.tensor };
    const session = values.length === 1 ? single : whole;
    try {
      await session.run(inputs, { ...fetches, logits: logits.tensor });
    } catch (error) {
      // In 1.30 a replay runs, and then fails to wrap the outputs, which are here already.
      if (session === whole || !/gpuBufferMetadata/.test(error)) throw error;
    }
    return job.logits === "gpu" ? 1 : pick();
  };
  return { device, step };
}

export async function decoder(job) {
  const ort = await load(job);
  const { device, step } = await (job.capture ? captured : plain)(ort, job);
  const wait = () => device.queue.onSubmittedWorkDone();
  return repeated(job, async (count) => {
    const started = performance.now();
    const tokens = [await step(prompt(job.prompt, job.vocab), job.prompt)];
    await wait();
    const first = performance.now();
    for (let i = 1; i < count; i++) tokens.push(await step([tokens.at(-1)], job.prompt + i));
    await wait();
    return { prefill: first - started, decode: performance.now() - first, tokens };
  });
}

// Kernels' times, as the profile of a session has them: "Api" events, in microseconds.
export async function product(job) {
  const lines = []; // the runtime's module prints to what console.log is when it is loaded
  console.log = (...values) => lines.push(values.join(" "));
  const ort = await load(job);
  const session = await open(ort, job, { enableProfiling: true });
  const device = await ort.env.webgpu.device;
  const x = held(ort, device, "float32", [job.M, job.K]);
  const y = held(ort, device, "float32", [job.M, job.N]);
  device.queue.writeBuffer(x.buffer, 0, Float32Array.from({ length: job.M * job.K }, Math.random));
  for (let i = 0; i < job.reps; i++) await session.run({ x: x.tensor }, { y: y.tensor });
  await device.queue.onSubmittedWorkDone();
  session.endProfiling();
  await new Promise((resolve) => setTimeout(resolve, 500));
  const events = lines
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line.replace(/,\s*$/, "")));
  const kernels = {};
  for (const { cat, name, dur } of events)
    if (cat === "Api") (kernels[name.split("&").at(-1)] ??= []).push(dur);
  return { kernels };
}
