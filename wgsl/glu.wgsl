// y[r, i] = act(x[r, i]) · x[r, i + I], i < I: a gated linear unit over both halves of a row. One
// invocation per element of y.

const OP: u32 = 1u;       // knob: 1 silu | 2 gelu by tanh
const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  n: u32,      // elements of y
  I: u32,      // of a row of y
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

// As in unary.wgsl.
fn activate(v: f32) -> f32 {
  if (OP == 1u) {
    let u = max(v, -80.0);
    return u / (1.0 + exp(-u));
  }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.n) { return; }
  let gate = i / p.I * 2u * p.I + i % p.I;
  y[i] = activate(x[gate]) * x[gate + p.I];
}
