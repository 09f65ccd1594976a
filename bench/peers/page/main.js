// One job in this tab: `run({kind, …})` gives what it measured. The kinds are the functions below.
import { decoder, product } from "./ort.js";
import { generate } from "./transformers.js";
import { complete } from "./wllama.js";

// The first request may find a GPU process that is still starting.
async function adapter() {
  for (let i = 0; i < 20; i++) {
    const found = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  throw Error("no WebGPU adapter");
}

async function about() {
  const { info, features } = await adapter();
  return {
    browser: navigator.userAgent,
    device: [info.vendor, info.architecture, info.device, info.description].filter(Boolean).join(" "),
    f16: features.has("shader-f16"),
    threads: crossOriginIsolated ? navigator.hardwareConcurrency : 1,
  };
}

const kinds = { about, decoder, product, generate, complete };

globalThis.run = async (job) => {
  await adapter();
  return kinds[job.kind](job);
};
