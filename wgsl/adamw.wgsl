// A step of AdamW, in place, element by element: a moment, or the parameter of both moments.
//   first   state = beta · state + (1 − beta) · g
//   second  state = beta · state + (1 − beta) · g²
//   step    state = decay · state − lr · (m / correction1) / (√(v / correction2) + eps)
// One invocation per element.

const OP: u32 = 0u;      // knob: 0 first moment | 1 second moment | 2 step
const WIDTH: u32 = 64u;  // knob: invocations per workgroup

struct Params {
  n: u32,
  keep: f32,  // beta, or decay
  gain: f32,  // 1 − beta, or lr
  correction1: f32,
  correction2: f32,
  eps: f32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;  // g; for a step m
@group(0) @binding(1) var<storage, read> b: array<f32>;  // for a step v, else any buffer
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.n) { return; }
  let old = p.keep * state[i];
  switch OP {
    case 0u: { state[i] = old + p.gain * a[i]; }
    case 1u: { state[i] = old + p.gain * a[i] * a[i]; }
    default: { state[i] = old - p.gain * (a[i] / p.correction1) / (sqrt(b[i] / p.correction2) + p.eps); }
  }
}
