// y[i] = x[Σ i·s + index[Σ i·t] · pick] over the four dimensions of i: gather and index_select. An
// index below 0 counts from the end, one out of range is clamped. Words of any meaning. One invocation
// per element.

const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  d0: u32, d1: u32, d2: u32, d3: u32,  // shape of y, outermost first
  s0: u32, s1: u32, s2: u32, s3: u32,  // strides of x but for the indexed dimension, in elements
  t0: u32, t1: u32, t2: u32, t3: u32,  // strides of index
  pick: u32,  // stride of x along the indexed dimension
  N: u32,     // its size
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> index: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

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
  let n = i32(p.N);
  var row = index[i0 * p.t0 + i1 * p.t1 + i2 * p.t2 + i3 * p.t3];
  row = clamp(select(row, row + n, row < 0), 0, n - 1);
  y[i] = x[i0 * p.s0 + i1 * p.s1 + i2 * p.s2 + i3 * p.s3 + u32(row) * p.pick];
}
