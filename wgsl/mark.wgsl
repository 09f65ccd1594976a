// seen[row, id] = 1 for every id of a row; ids outside of the table mark nothing. One invocation
// per id.

const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  count: u32,  // ids in all rows
  each: u32,   // ids of a row
  V: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read_write> seen: array<atomic<u32>>;  // an id may come twice
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.count) { return; }
  let id = u32(ids[i]);  // a negative one is beyond any table
  if (id < p.V) { atomicStore(&seen[i / p.each * p.V + id], 1u); }
}
