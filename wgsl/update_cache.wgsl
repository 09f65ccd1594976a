// cache[b, past + s, :] = value[b, s, :]: the newest rows of a KV cache. Each row is H·D elements.
// One invocation per 4-byte word of the rows written: an f32, or a pair of f16.

const HALF: bool = false;    // knob: cache holds f16 pairs, not f32
const LIVE: bool = true;     // knob: past is pos[0], not p.past
const WIDTH: u32 = 64u;      // knob: invocations per workgroup

struct Params {
  B: u32,
  S: u32,      // rows of value
  Smax: u32,   // rows of cache
  words: u32,  // of a row of cache
  past: u32,
}

@group(0) @binding(0) var<storage, read> value: array<f32>;
@group(0) @binding(1) var<storage, read> pos: array<i32>;  // any buffer without LIVE
@group(0) @binding(2) var<storage, read_write> cache: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.B * p.S * p.words) { return; }
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  let row = i / p.words;
  let at = (row / p.S * p.Smax + past + row % p.S) * p.words + i % p.words;
  if (HALF) {
    cache[at] = pack2x16float(vec2<f32>(value[2u * i], value[2u * i + 1u]));
  } else {
    cache[at] = bitcast<u32>(value[i]);
  }
}
