// y = condition ? a : b, element by element with broadcasting: y is contiguous with four dimensions,
// the operands are read through strides (0 where they repeat). The condition is of bytes, four to a
// word; the others are words of any meaning. One invocation per element.

const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  d0: u32, d1: u32, d2: u32, d3: u32,  // shape of y, outermost first
  c0: u32, c1: u32, c2: u32, c3: u32,  // strides of the condition, in elements
  a0: u32, a1: u32, a2: u32, a3: u32,  // strides of a
  b0: u32, b1: u32, b2: u32, b3: u32,  // strides of b
}

@group(0) @binding(0) var<storage, read> condition: array<u32>;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.d0 * p.d1 * p.d2 * p.d3) { return; }
  let q3 = i / p.d3;
  let q2 = q3 / p.d2;
  let i0 = q2 / p.d1;
  let i1 = q2 - i0 * p.d1;
  let i2 = q3 - q2 * p.d2;
  let i3 = i - q3 * p.d3;
  let c = i0 * p.c0 + i1 * p.c1 + i2 * p.c2 + i3 * p.c3;
  if (((condition[c / 4u] >> (8u * (c % 4u))) & 255u) != 0u) {
    y[i] = a[i0 * p.a0 + i1 * p.a1 + i2 * p.a2 + i3 * p.a3];
  } else {
    y[i] = b[i0 * p.b0 + i1 * p.b1 + i2 * p.b2 + i3 * p.b3];
  }
}
