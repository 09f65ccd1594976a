// y[y0 + i0·t0 + i1·t1 + i2·t2 + i3·t3] = x[x0 + i0·s0 + i1·s1 + i2·s2 + i3·s3]: permute, narrow,
// concat, and whatever else is a matter of strides. Words of 4 bytes, so any 4-byte dtype. One
// invocation per element.

const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  d0: u32, d1: u32, d2: u32, d3: u32,  // how many to copy, outermost first
  s0: u32, s1: u32, s2: u32, s3: u32,  // strides of x, in elements
  t0: u32, t1: u32, t2: u32, t3: u32,  // strides of y
  x0: u32,  // where both begin
  y0: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

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
  let at = p.x0 + i0 * p.s0 + i1 * p.s1 + i2 * p.s2 + i3 * p.s3;
  y[p.y0 + i0 * p.t0 + i1 * p.t1 + i2 * p.t2 + i3 * p.t3] = x[at];
}
