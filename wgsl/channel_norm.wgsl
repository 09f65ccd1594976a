// y[n, c, …] = (x[n, c, …] − mean[c]) / √(var[c] + eps) · weight[c] + bias[c]: normalized by
// statistics that are known before. One invocation per element.

const WEIGHT: bool = true;  // knob: multiply with weight[c]
const BIAS: bool = true;    // knob: add bias[c]
const WIDTH: u32 = 64u;     // knob: invocations per workgroup

struct Params {
  n: u32,      // elements
  C: u32,
  cells: u32,  // elements of a channel
  eps: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> variance: array<f32>;
@group(0) @binding(3) var<storage, read> weight: array<f32>;  // any buffer without WEIGHT
@group(0) @binding(4) var<storage, read> bias: array<f32>;    // any buffer without BIAS
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.n) { return; }
  let c = i / p.cells % p.C;
  var v = (x[i] - mean[c]) * inverseSqrt(variance[c] + p.eps);
  if (WEIGHT) { v *= weight[c]; }
  if (BIAS) { v += bias[c]; }
  y[i] = v;
}
