// What floats sampling knows, as integers: for each token its distance and its mass,
//
//   away(v)  how far its score is below the greatest, in 2⁻²² of a factor 2 in probability
//   mass(v)  2³¹ · 2^(−away / 2²²), or 0 from a factor 2³² on
//
// and nearest(g), the least distance in each group of 256 tokens, by which sample.wgsl passes over
// most of them. A row is padded to a multiple of four with tokens of no mass.

const LANES: u32 = 64u;   // knob: invocations a group; 1 needs no barrier
const GROUPS: u32 = 1u;   // knob: groups a workgroup

struct Params {
  rows: u32,
  V: u32,
}

@group(0) @binding(0) var<storage, read> scores: array<u32>;    // f32 [rows, V]
@group(0) @binding(1) var<storage, read> likeliest: array<u32>; // a token a row
@group(0) @binding(2) var<storage, read> settings: array<u32>;  // ops/sampling.py
@group(0) @binding(3) var<storage, read_write> away: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read_write> mass: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> nearest: array<u32>;  // [rows, groups]
@group(0) @binding(6) var<uniform> p: Params;

const QUADS = 64u;  // of tokens, in a group

var<workgroup> least: array<atomic<u32>, GROUPS>;

const FAR = 134217727u;  // 2²⁷ − 1: of no mass
const LEAST = 0xff800000u;  // −∞; the difference of two would be NaN

// The high word of a product.
fn high(a: u32, b: u32) -> u32 {
  let low_low = (a & 65535u) * (b & 65535u);
  let high_low = (a >> 16u) * (b & 65535u) + (low_low >> 16u);
  let low_high = (a & 65535u) * (b >> 16u) + (high_low & 65535u);
  return (a >> 16u) * (b >> 16u) + (high_low >> 16u) + (low_high >> 16u);
}

// The fraction's power by a polynomial of degree 5, to 8e-8, in units of 2⁻³¹.
fn mass_at(u: u32) -> u32 {
  if (u >= FAR) { return 0u; }
  let f = u << 10u;  // the fraction, in units of 2⁻³²
  var m = 19732393u - high(2016033u, f);
  m = 118712300u - high(m, f);
  m = 515765849u - high(m, f);
  m = 1488511653u - high(m, f);
  m = 2147483487u - high(m, f);
  let n = u >> 22u;
  return (m + ((1u << n) >> 1u)) >> n;
}

@compute @workgroup_size(LANES, GROUPS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let n = (group.x + group.y * groups.x) * GROUPS + local.y;
  let across = (p.V + 3u) / 4u;
  let each = (across + QUADS - 1u) / QUADS;  // groups of a row
  let row = min(n / each, p.rows - 1u);
  let start = n % each * QUADS;
  let inside = n < p.rows * each && settings[2] != 0u;  // greedy: nothing will be drawn
  let top = bitcast<f32>(scores[row * p.V + likeliest[row]]);
  let steep = bitcast<f32>(settings[2]);

  var closest = FAR;
  for (var q = start + local.x; q < select(0u, min(start + QUADS, across), inside); q += LANES) {
    var u = vec4<u32>(FAR);
    for (var j = 0u; j < 4u; j++) {
      let v = q * 4u + j;
      if (v >= p.V) { continue; }
      let bits = scores[row * p.V + v];
      if (bits != LEAST) { u[j] = u32(min((top - bitcast<f32>(bits)) * steep, f32(FAR))); }
    }
    away[row * across + q] = u;
    mass[row * across + q] = vec4<u32>(mass_at(u.x), mass_at(u.y), mass_at(u.z), mass_at(u.w));
    closest = min(closest, min(min(u.x, u.y), min(u.z, u.w)));
  }
  if (LANES > 1u) {
    // Mesa's llvmpipe leaves workgroup memory as it was.
    atomicStore(&least[local.y], FAR);
    workgroupBarrier();
    atomicMin(&least[local.y], closest);
    workgroupBarrier();
    closest = atomicLoad(&least[local.y]);
  }
  if (local.x == 0u && inside) { nearest[n] = closest; }
}
