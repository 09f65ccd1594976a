// The one part that has to be JavaScript: replaying a plan. A dispatch recorded through Pyodide's
// FFI costs 10–13 µs, from this loop 0.3–0.6 µs. Command buffers are single-use in WebGPU, so every
// run encodes again. device/browser.py is the only caller.

// Dispatches of a long run that are submitted by themselves: the GPU begins with them while the
// browser's GPU process, which takes some 10 µs for each, records the others.
const FIRST = 24;

const MAP_READ = 0x1, COPY_SRC = 0x4, COPY_DST = 0x8, QUERY_RESOLVE = 0x200;

// queue.writeBuffer wants multiples of 4 bytes: the last odd ones go padded.
export function write(gpu, buffer, offset, data) {
  const bytes = data instanceof ArrayBuffer ? new Uint8Array(data)
    : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const whole = bytes.byteLength & ~3;
  if (whole) gpu.queue.writeBuffer(buffer, offset, bytes, 0, whole);
  if (whole < bytes.byteLength) {
    const tail = new Uint8Array(4);
    tail.set(bytes.subarray(whole));
    gpu.queue.writeBuffer(buffer, offset + whole, tail);
  }
}

export async function read(gpu, buffer, offset, size) {
  const staging = gpu.createBuffer({ size: Math.max(4, (size + 3) & ~3), usage: MAP_READ | COPY_DST });
  const encoder = gpu.createCommandEncoder();
  encoder.copyBufferToBuffer(buffer, offset, staging, 0, (size + 3) & ~3);
  gpu.queue.submit([encoder.finish()]);
  try {
    await staging.mapAsync(1);
    return new Uint8Array(staging.getMappedRange().slice(0, size));
  } finally {
    staging.destroy();
  }
}

export function copy(gpu, source, target, size) {
  const encoder = gpu.createCommandEncoder();
  if (source) encoder.copyBufferToBuffer(source, 0, target, 0, size);
  else encoder.clearBuffer(target, 0, size);
  gpu.queue.submit([encoder.finish()]);
}

// `steps` is JSON, [[label, pipeline, slots, [offset, size] | null, [x, y, z]], …]: one string costs
// less than thousands of small proxies. Resolves to a recording, rejects with the faulty step's label.
export async function record(gpu, buffers, pipelines, steps) {
  const uniforms = buffers.length - 1;
  const list = [];
  for (const [label, pipeline, slots, uniform, grid] of JSON.parse(steps)) {
    const entries = slots.map((slot, binding) => ({ binding, resource: { buffer: buffers[slot] } }));
    if (uniform) {
      const [offset, size] = uniform;
      entries.push({ binding: slots.length, resource: { buffer: buffers[uniforms], offset, size } });
    }
    gpu.pushErrorScope("validation");
    const layout = pipelines[pipeline].getBindGroupLayout(0);
    const group = gpu.createBindGroup({ label, layout, entries });
    list.push({ label, pipeline: pipelines[pipeline], group, grid, error: gpu.popErrorScope() });
  }
  for (const step of list) {
    const error = await step.error;
    delete step.error;
    if (error) throw new Error(`${step.label}: ${error.message}`);
  }
  return new Recording(gpu, buffers, list);
}

class Recording {
  constructor(gpu, buffers, steps) {
    Object.assign(this, { gpu, buffers, steps, idle: [] });
  }

  // places is JSON, {writes: [[slot, offset, bytes], …] into `payload`, grids: [[step, [x, y, z]], …],
  // reads: [[slot, bytes], …], times, timed}. Everything is submitted when this returns; it resolves
  // to the bytes read, each read's of all times one after the other, each padded to 4, and where
  // timed to two u64 of nanoseconds for each of the times, when it began and ended.
  run(payload, places) {
    const { reads, times, timed } = this.#apply(payload, places);
    const ahead = times > 1 || timed || this.steps.length < 4 * FIRST ? 0 : FIRST;
    if (ahead) {
      const first = this.gpu.createCommandEncoder();
      encode(first, this.steps.slice(0, ahead), 0);
      this.gpu.queue.submit([first.finish()]);
    }
    const encoder = this.gpu.createCommandEncoder();
    const back = this.#readback(reads, times, timed ? 16 * times : 0);
    const querySet = timed && this.gpu.createQuerySet({ type: "timestamp", count: 2 * times });
    for (let time = 0; time < times; time++) {
      encode(encoder, this.steps, ahead, timed ? { timestampWrites: stamp(querySet, time) } : {});
      back.copy(encoder, time);
    }
    if (!timed) return this.#finish(encoder, back.staging, back.size);
    const stamps = this.gpu.createBuffer({ size: 16 * times, usage: QUERY_RESOLVE | COPY_SRC });
    encoder.resolveQuerySet(querySet, 0, 2 * times, stamps, 0);
    encoder.copyBufferToBuffer(stamps, 0, back.staging, back.size - 16 * times, 16 * times);
    return this.#finish(encoder, back.staging, back.size, [querySet, stamps]);
  }

  // The same once, a timed pass for every dispatch; the bytes begin with two u64 of nanoseconds for
  // each. `chunk` dispatches share a query set, which WebGPU limits to 4096 queries.
  profile(payload, places, chunk) {
    const { gpu, steps } = this;
    const { reads } = this.#apply(payload, places);
    const encoder = gpu.createCommandEncoder();
    const stamps = gpu.createBuffer({ size: Math.max(16, 16 * steps.length), usage: QUERY_RESOLVE | COPY_SRC });
    const sets = [];
    for (let first = 0; first < steps.length; first += chunk) {
      const part = steps.slice(first, first + chunk);
      const querySet = gpu.createQuerySet({ type: "timestamp", count: 2 * part.length });
      sets.push(querySet);
      part.forEach((step, i) => {
        const pass = encoder.beginComputePass({ label: step.label, timestampWrites: stamp(querySet, i) });
        dispatch(pass, step);
        pass.end();
      });
      encoder.resolveQuerySet(querySet, 0, 2 * part.length, stamps, 16 * first);
    }
    const back = this.#readback([[stamps, 16 * steps.length], ...reads], 1);
    back.copy(encoder, 0);
    return this.#finish(encoder, back.staging, back.size, [...sets, stamps]);
  }

  #apply(payload, places) {
    const { gpu, buffers, steps } = this;
    const { writes, grids, reads, times, timed } = JSON.parse(places);
    let at = 0;
    for (const [slot, offset, bytes] of writes) {
      write(gpu, buffers[slot], offset, payload.subarray(at, at + bytes));
      at += bytes;
    }
    for (const [step, grid] of grids) steps[step].grid = grid;
    return { reads: reads.map(([slot, bytes]) => [buffers[slot], bytes]), times, timed };
  }

  // A staging buffer for `times` times what is read, and for `more` bytes at its end.
  #readback(reads, times, more = 0) {
    const padded = reads.map(([buffer, bytes]) => [buffer, (bytes + 3) & ~3]).filter(([, bytes]) => bytes);
    const size = times * padded.reduce((sum, [, bytes]) => sum + bytes, 0) + more;
    const staging = size ? this.#stage(size) : null;
    const copy = (encoder, time) => {
      let to = 0;
      for (const [buffer, bytes] of padded) {
        encoder.copyBufferToBuffer(buffer, 0, staging, to + time * bytes, bytes);
        to += times * bytes;
      }
    };
    return { staging, size, copy };
  }

  async #finish(encoder, staging, size, used = []) {
    this.gpu.queue.submit([encoder.finish()]);
    for (const once of used) once.destroy();  // when the GPU is done with it
    if (!size) return new Uint8Array(0);
    await staging.mapAsync(1, 0, size);
    const result = new Uint8Array(staging.getMappedRange(0, size).slice());
    staging.unmap();
    this.idle.push(staging);
    return result;
  }

  // A buffer to read back through; several runs may be under way at once.
  #stage(size) {
    const found = this.idle.findIndex((buffer) => buffer.size >= size);
    if (found >= 0) return this.idle.splice(found, 1)[0];
    this.idle.pop()?.destroy();
    return this.gpu.createBuffer({ size, usage: MAP_READ | COPY_DST });
  }

  destroy() {
    for (const buffer of this.idle) buffer.destroy();
    this.idle = [];
  }
}

// The timestamps at both ends of the pass number `i` of a query set.
function stamp(querySet, i) {
  return { querySet, beginningOfPassWriteIndex: 2 * i, endOfPassWriteIndex: 2 * i + 1 };
}

// A pass of the steps from one on.
function encode(encoder, steps, from, descriptor = {}) {
  const pass = encoder.beginComputePass(descriptor);
  for (let i = from; i < steps.length; i++) dispatch(pass, steps[i]);
  pass.end();
}

function dispatch(pass, { pipeline, group, grid }) {
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(grid[0], grid[1], grid[2]);
}
