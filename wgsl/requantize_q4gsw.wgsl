// y[N, ⌈K/2⌉] = the 4-bit codes of w[N, K] for scales that stay: clamp(round(w / scale), −8, 7) + 8,
// even k in the low nibble; the code of 0 where the scale is 0. One invocation per word of y.

const WIDTH: u32 = 64u;  // knob: invocations per workgroup

struct Params {
  n: u32,      // bytes of y
  K: u32,
  group: u32,
  N: u32,      // scales of a group: rows of w, or more
}

@group(0) @binding(0) var<storage, read> w: array<f32>;
@group(0) @binding(1) var<storage, read> scales: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

fn code(row: u32, k: u32) -> u32 {
  let scale = scales[k / p.group * p.N + row];
  if (scale == 0.0) { return 8u; }
  return u32(clamp(round(w[row * p.K + k] / scale), -8.0, 7.0) + 8.0);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (id * 4u >= p.n) { return; }
  let across = (p.K + 1u) / 2u;
  var word = 0u;
  for (var j = 0u; j < 4u && id * 4u + j < p.n; j++) {
    let at = id * 4u + j;
    let row = at / across;
    let k = at % across * 2u;
    var byte = code(row, k);
    if (k + 1u < p.K) { byte |= code(row, k + 1u) << 4u; }
    word |= byte << (j * 8u);
  }
  y[id] = word;
}
