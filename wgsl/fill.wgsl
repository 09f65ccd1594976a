// y[i] = the same word everywhere, or start + i · step. One invocation per word.

const RAMP: u32 = 0u;     // knob: 0 the word p.start | 1 a ramp of f32 | 2 a ramp of i32
const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  n: u32,      // words
  start: u32,  // bits of the first element
  step: u32,   // bits of the step
}

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.n) { return; }
  var word = p.start;
  if (RAMP == 1u) { word = bitcast<u32>(bitcast<f32>(p.start) + f32(i) * bitcast<f32>(p.step)); }
  if (RAMP == 2u) { word += i * p.step; }
  y[i] = word;
}
