// y[M, N] = Σ parts[s, M, N], what a product of 4- or 8-bit linears leaves of slices of K
// (ops/linear_sliced.py), and what comes after it:
//
//   BIAS  + bias[N]
//   GLU   y[M, N/2] = act(v[:, n]) · v[:, n + N/2]
//   ADD   + add, as y is
//
// One invocation per element of y.

const BIAS: bool = false;    // knob: add bias[n]
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const SLICES: u32 = 2u;      // knob: parts
const N: u32 = 4u;           // knob: columns of a part
const WIDTH: u32 = 64u;      // knob: invocations per workgroup

struct Params {
  M: u32,
}

@group(0) @binding(0) var<storage, read> parts: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(2) var<storage, read> add: array<f32>;   // any buffer without ADD
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

const LENGTH = select(N, N / 2u, GLU > 0u);  // of a row of y

fn total(m: u32, n: u32) -> f32 {
  var sum = 0.0;
  if (BIAS) { sum = bias[n]; }
  for (var s = 0u; s < SLICES; s++) { sum += parts[(s * p.M + m) * N + n]; }
  return sum;
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.M * LENGTH) { return; }
  let m = i / LENGTH;
  let n = i % LENGTH;
  var v = total(m, n);
  if (GLU > 0u) { v = activate(v) * total(m, n + LENGTH); }
  if (ADD) { v += add[i]; }
  y[i] = v;
}
