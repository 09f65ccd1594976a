// y[m, k] = (clamp(round(x[m, k] · (1 / scale[m])) + zero point[m], low, high) − zero point[m]) · scale[m].
// One invocation per four consecutive elements.

const WIDTH: u32 = 64u;  // knob: invocations per workgroup

struct Params {
  n: u32,     // elements
  K: u32,
  low: i32,   // the least code
  high: i32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read> zero_points: array<u32>;  // int8, four to a word
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let first = ((group.x + group.y * groups.x) * WIDTH + local.x) * 4u;
  for (var i = first; i < min(first + 4u, p.n); i++) {
    let m = i / p.K;
    let scale = scales[m];
    let zero = f32(i32(zero_points[m / 4u] << (24u - m % 4u * 8u)) >> 24u);
    let code = clamp(round(x[i] * (1.0 / scale)) + zero, f32(p.low), f32(p.high));
    let faked = (code - zero) * scale;
    // By the bits, as GPUs may compute as if there were neither ∞ nor NaN.
    let bits = bitcast<u32>(scale);
    y[i] = select(faked, bitcast<f32>(bits | 1u), bits == 0x7f800000u);
  }
}
