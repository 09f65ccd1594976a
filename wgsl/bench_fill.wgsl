// words[i] = base + (hash(i) & mask): random codes (mask all ones), or one number everywhere (none).
// The hash is lowbias32 (Chris Wellons, github.com/skeeto/hash-prospector).

const WIDTH: u32 = 256u;  // knob: invocations per workgroup

struct Params {
  n: u32,     // words
  base: u32,
  mask: u32,
  seed: u32,
}

@group(0) @binding(0) var<storage, read_write> words: array<u32>;
@group(0) @binding(1) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local;
  if (i >= p.n) { return; }
  var h = i ^ p.seed;
  h = (h ^ (h >> 16u)) * 0x7feb352du;
  h = (h ^ (h >> 15u)) * 0x846ca68bu;
  words[i] = p.base + ((h ^ (h >> 16u)) & p.mask);
}
