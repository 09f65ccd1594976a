// Rotary position embedding of x[B, S, H, D]: at position past + s the pair (a, b) becomes
//   (a · cos − b · sin,  a · sin + b · cos)   with the row past + s of cos and sin, [positions, R/2].
// Pairs are (2j, 2j + 1) with INTERLEAVED, else (j, j + R/2), j < R/2; elements past R are copied.
// One invocation per pair, or two elements copied.

const INTERLEAVED: bool = false;  // knob: neighbours are pairs
const LIVE: bool = true;          // knob: past is pos[0], not p.past
const WIDTH: u32 = 64u;           // knob: invocations per workgroup

struct Params {
  B: u32,
  S: u32,
  H: u32,
  D: u32,
  half: u32,  // R / 2, pairs that are rotated
  past: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read> sines: array<f32>;
@group(0) @binding(3) var<storage, read> pos: array<i32>;  // any buffer without LIVE
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  let pairs = p.D / 2u;
  if (i >= p.B * p.S * p.H * pairs) { return; }
  let j = i % pairs;
  let row = i / pairs * p.D;
  if (j >= p.half) {
    y[row + 2u * j] = x[row + 2u * j];
    y[row + 2u * j + 1u] = x[row + 2u * j + 1u];
    return;
  }
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  let s = i / (pairs * p.H) % p.S;
  let at = (past + s) * p.half + j;
  let first = row + select(j, 2u * j, INTERLEAVED);
  let second = first + select(p.half, 1u, INTERLEAVED);
  let a = x[first];
  let b = x[second];
  y[first] = a * cosines[at] - b * sines[at];
  y[second] = a * sines[at] + b * cosines[at];
}
