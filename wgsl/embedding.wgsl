// y[i, :] = table[ids[i], :], ids clamped to the table; with PART the table is rows first … of a
// larger one, and ids elsewhere give zeros. One invocation per element.

const PART: bool = false;   // knob: the table is a part
const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  count: u32,  // ids
  V: u32,      // rows of the table
  D: u32,      // elements of a row
  first: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> table: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.count * p.D) { return; }
  let id = ids[i / p.D] - i32(p.first);
  let row = clamp(id, 0, i32(p.V) - 1);
  y[i] = select(table[u32(row) * p.D + i % p.D], 0.0, PART && id != row);
}
