// y[first + i] = x[i] as float32, exactly: x holds float16 or bfloat16, two to a word, the first in
// the low bits. One invocation per word.

const BRAIN: bool = true;   // knob: bfloat16, not float16
const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  count: u32,  // elements
  first: u32,  // element of y
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;  // float32 bits: NaNs stay as they are
@group(0) @binding(2) var<uniform> p: Params;

// bfloat16 is a float32's upper half.
fn widened(half: u32) -> u32 {
  if (BRAIN) { return half << 16u; }
  let sign = (half & 0x8000u) << 16u;
  let exponent = (half >> 10u) & 31u;
  let fraction = half & 1023u;
  if (exponent == 31u) { return sign | 0x7f800000u | (fraction << 13u); }
  // Denormals by hand: unpack2x16float may flush them.
  if (exponent == 0u) { return sign | bitcast<u32>(f32(fraction) * 5.9604644775390625e-8); }
  return sign | ((exponent + 112u) << 23u) | (fraction << 13u);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (2u * i >= p.count) { return; }
  let word = x[i];
  y[p.first + 2u * i] = widened(word & 0xffffu);
  if (2u * i + 1u < p.count) { y[p.first + 2u * i + 1u] = widened(word >> 16u); }
}
