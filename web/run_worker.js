// The worker of `tensortab run`: Pyodide, and the frames it exchanges with browser_run.py.
//
// A frame is u32 little-endian n, n bytes of JSON, then a payload. JSON of frames that come in:
//   {type: "open", mounts: [[path, url], …], folders: [path, …]}   payload: none
//   {type: "run", path, argv, folder}                              payload: the file's source
//   {type: "call", source}                                         payload: main's argument
// and of frames that go out:
//   {type: "ready"}, {type: "failed", text}, {type: "stdout" | "stderr"} + bytes,
//   {type: "exit", code}, {type: "result"} + pickle, {type: "lost", text}, {type: "device"}

import { boot } from "./boot.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const DOWNLOADS = 8; // mounted files fetched at a time
let pyodide;
let guest;

function send(head, payload = new Uint8Array()) {
  const json = encoder.encode(JSON.stringify(head));
  const frame = new Uint8Array(4 + json.length + payload.length);
  new DataView(frame.buffer).setUint32(0, json.length, true);
  frame.set(json, 4);
  frame.set(payload, 4 + json.length);
  postMessage(frame.buffer, [frame.buffer]);
}

function parse(frame) {
  const size = new DataView(frame).getUint32(0, true);
  const head = JSON.parse(decoder.decode(new Uint8Array(frame, 4, size)));
  return [head, new Uint8Array(frame, 4 + size)];
}

// Whoever awaits a map on a device that is gone may wait for ever: the loss itself is watched.
function watchDevices() {
  if (!globalThis.GPUAdapter) return;
  const request = GPUAdapter.prototype.requestDevice;
  GPUAdapter.prototype.requestDevice = async function (...args) {
    const device = await request.apply(this, args);
    send({ type: "device" });
    device.lost.then(({ reason, message }) => {
      if (reason !== "destroyed") send({ type: "lost", text: message });
    });
    return device;
  };
}

function stream(type) {
  return {
    write(bytes) {
      send({ type }, bytes);
      return bytes.length;
    },
  };
}

async function mount(mounts, folders) {
  for (const folder of folders) pyodide.FS.mkdirTree(folder);
  const queue = [...mounts];
  const work = async () => {
    for (let next = queue.pop(); next; next = queue.pop()) {
      const [path, url] = next;
      const response = await fetch(url);
      if (!response.ok) throw new Error(`--mount ${path}: ${response.status} ${response.statusText}`);
      // canOwn: the file system keeps this very array, outside the Python heap.
      pyodide.FS.writeFile(path, new Uint8Array(await response.arrayBuffer()), { canOwn: true });
    }
  };
  await Promise.all(Array.from({ length: DOWNLOADS }, work));
}

const actions = {
  async open({ mounts, folders }) {
    watchDevices();
    pyodide = await boot();
    pyodide.setStdout(stream("stdout"));
    pyodide.setStderr(stream("stderr"));
    await mount(mounts, folders);
    guest = pyodide.pyimport("tensortab.guest");
    guest.stream_lines();
    send({ type: "ready" });
  },
  async run({ path, argv, folder }, source) {
    for (const each of [path.replace(/[^/]*$/, ""), folder]) pyodide.FS.mkdirTree(each);
    pyodide.FS.writeFile(path, source); // where tracebacks look for its lines
    const list = pyodide.toPy(argv);
    const code = await guest.run_file(path, decoder.decode(source), list, folder);
    list.destroy();
    send({ type: "exit", code });
  },
  async call({ source }, payload) {
    const data = pyodide.toPy(payload);
    const result = await guest.call(source, data);
    const view = result.getBuffer("u8");
    send({ type: "result" }, view.data);
    view.release();
    data.destroy();
    result.destroy();
  },
};

onmessage = async ({ data }) => {
  const [head, payload] = parse(data);
  try {
    await actions[head.type](head, payload);
  } catch (error) {
    // Emscripten's file system throws objects that are no Error and say nothing as strings.
    send({ type: "failed", text: error.errno ? `file system error ${error.errno}` : `${error}` });
  }
};
