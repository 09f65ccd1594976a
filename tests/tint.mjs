// Which of the WGSL sources on stdin, JSON [[name, source], …], Tint refuses: JSON {name: messages}.
// Dawn's null backend claims every feature and runs nothing, so no GPU is needed. argv: dawn.node.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const { create, globals } = createRequire(import.meta.url)(process.argv[2]);
Object.assign(globalThis, globals);
// Held to the end: what Dawn's other objects are made of does not outlive it.
globalThis.gpu = create(["backend=null", "enable-dawn-features=allow_unsafe_apis"]);
const adapter = await gpu.requestAdapter();
const requiredFeatures = ["shader-f16", "subgroups", "chromium-experimental-subgroup-matrix"];
const device = await adapter.requestDevice({ requiredFeatures });
const refused = {};
for (const [name, code] of JSON.parse(readFileSync(0, "utf8"))) {
  device.pushErrorScope("validation");
  device.createShaderModule({ code });
  const error = await device.popErrorScope();
  if (error) refused[name] = error.message;
}
console.log(JSON.stringify(refused));
process.exit(0); // else Dawn's threads keep Node alive
