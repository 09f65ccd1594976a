// y = x, as fast as memory goes; or x read and, in all likelihood, nothing written.

const WIDTH: u32 = 256u;     // knob: invocations per workgroup
const EACH: u32 = 4u;        // knob: vec4s an invocation
const WRITES: bool = true;   // knob: without it, one vec4 where what was read adds up to nothing

struct Params {
  n: u32,  // vec4s
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4<u32>>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let first = (group.x + group.y * groups.x) * WIDTH * EACH + local;
  var all = vec4<u32>(0u);
  for (var i = 0u; i < EACH; i++) {
    let at = first + i * WIDTH;
    if (at < p.n) {
      let v = x[at];
      if (WRITES) { y[at] = v; }
      all |= v;
    }
  }
  if (!WRITES && all.x + all.y + all.z + all.w == 0u && first < p.n) { y[first] = all; }
}
