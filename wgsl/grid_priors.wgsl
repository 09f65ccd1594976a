// y[row · W + column] = ((column + offset) · stride, (row + offset) · stride): the middles of a
// detector's cells. One invocation per cell.

const WIDTH: u32 = 64u;  // knob: invocations per workgroup

struct Params {
  n: u32,
  W: u32,
  stride: f32,
  offset: f32,
}

@group(0) @binding(0) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(1) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.n) { return; }
  y[i] = (vec2<f32>(f32(i % p.W), f32(i / p.W)) + p.offset) * p.stride;
}
