// y = x for tokens not seen yet, else x / penalty where x > 0 and x · penalty where not. One
// invocation per element. A dispatch of its own: a product that is stored cannot be fused with the
// subtraction that comes next, so its bits are the same everywhere.

const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  n: u32,
  flags: u32,  // elements of seen: n, or those of one row that all rows share
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> seen: array<u32>;
@group(0) @binding(2) var<storage, read> settings: array<u32>;  // ops/sampling.py
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.n) { return; }
  var v = x[i];
  if (seen[i % p.flags] != 0u) {
    v *= bitcast<f32>(select(settings[6], settings[7], v > 0.0));
  }
  y[i] = v;
}
