// What floats sampling knows, as integers: for each token its distance and its mass,
//
//   away(v)  how far its score is below the greatest, in 2⁻²² of a factor 2 in probability
//   mass(v)  2³¹ · 2^(−away / 2²²), or 0 from a factor 2³² on
//
// and for each group of tokens the least distance among them and, where nothing but min-p filters,
// the sum of the masses it keeps: by these sample.wgsl passes over most of them. A row is padded to
// a multiple of four with tokens of no mass.
//
// The greatest score is that of the best chunk (argmax.wgsl's pairs), which every group looks for
// anew; after the groups of tokens comes one a row that writes which token it is, and draws the
// row's random word. Where the likeliest is taken that is all there is to do.

const LANES: u32 = 64u;   // knob: invocations a group; 1 needs no barrier
const GROUPS: u32 = 1u;   // knob: groups a workgroup
const QUADS: u32 = 64u;   // knob: of tokens, in a group

struct Params {
  rows: u32,
  V: u32,
  chunks: u32,  // of a row
}

@group(0) @binding(0) var<storage, read> scores: array<u32>;       // f32 [rows, V]
@group(0) @binding(1) var<storage, read> best: array<vec2<u32>>;   // [rows, chunks]
@group(0) @binding(2) var<storage, read> settings: array<u32>;     // ops/sampling.py
@group(0) @binding(3) var<storage, read> position: array<u32>;
@group(0) @binding(4) var<storage, read_write> away: array<vec4<u32>>;
@group(0) @binding(5) var<storage, read_write> mass: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> known: array<vec4<u32>>;   // [rows, groups]: least
                                                                          // away, sum low and high
@group(0) @binding(7) var<storage, read_write> picked: array<vec2<u32>>;  // [rows]: likeliest token,
                                                                          // random word
@group(0) @binding(8) var<uniform> p: Params;

var<workgroup> greatest: array<atomic<u32>, GROUPS>;
var<workgroup> lowest: array<atomic<u32>, GROUPS>;
var<workgroup> least: array<atomic<u32>, GROUPS>;
var<workgroup> sum_low: array<atomic<u32>, GROUPS>;
var<workgroup> sum_high: array<atomic<u32>, GROUPS>;

const FAR = 134217727u;  // 2²⁷ − 1: of no mass
const NONE = 0xffffffffu;
const LEAST = 0xff800000u;  // −∞; the difference of two would be NaN

// A product as (low, high).
fn times(a: u32, b: u32) -> vec2<u32> {
  let low_low = (a & 65535u) * (b & 65535u);
  let high_low = (a >> 16u) * (b & 65535u) + (low_low >> 16u);
  let low_high = (a & 65535u) * (b >> 16u) + (high_low & 65535u);
  return vec2<u32>(a * b, (a >> 16u) * (b >> 16u) + (high_low >> 16u) + (low_high >> 16u));
}

// The fraction's power by a polynomial of degree 5, to 8e-8, in units of 2⁻³¹.
fn mass_at(u: u32) -> u32 {
  if (u >= FAR) { return 0u; }
  let f = u << 10u;  // the fraction, in units of 2⁻³²
  var m = 19732393u - times(2016033u, f).y;
  m = 118712300u - times(m, f).y;
  m = 515765849u - times(m, f).y;
  m = 1488511653u - times(m, f).y;
  m = 2147483487u - times(m, f).y;
  let n = u >> 22u;
  return (m + ((1u << n) >> 1u)) >> n;
}

// Philox-4x32-10, its first word. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3".
fn random(row: u32) -> u32 {
  var c = vec4<u32>(position[0], row, 0u, 0u);
  var key = vec2<u32>(settings[0], settings[1]);
  for (var i = 0u; i < 10u; i++) {
    let a = times(c.x, 0xD2511F53u);
    let b = times(c.z, 0xCD9E8D57u);
    c = vec4<u32>(b.y ^ c.y ^ key.x, b.x, a.y ^ c.w ^ key.y, a.x);
    key += vec2<u32>(0x9E3779B9u, 0xBB67AE85u);
  }
  return c.x;
}

// The scores of quad q of a row, −∞ past its end. Loops over the four: unrolled, all of this costs
// half as much again on a GPU imitated on the CPU.
fn four(row: u32, q: u32) -> vec4<u32> {
  var bits = vec4<u32>(LEAST);
  for (var j = 0u; j < 4u; j++) {
    let v = 4u * q + j;
    if (v < p.V) { bits[j] = scores[row * p.V + v]; }
  }
  return bits;
}

// 64-bit numbers as (low, high).
fn plus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let lo = a.x + b.x;
  return vec2<u32>(lo, a.y + b.y + select(0u, 1u, lo < a.x));
}

@compute @workgroup_size(LANES, GROUPS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let first = (group.x + group.y * groups.x) * GROUPS;
  let n = first + local.y;
  let across = (p.V + 3u) / 4u;
  let each = (across + QUADS - 1u) / QUADS;  // groups of a row
  let count = p.rows * each;
  let row = min(select(n / each, n - count, n >= count), p.rows - 1u);
  let start = n % each * QUADS;
  let greedy = settings[2] == 0u;  // nothing will be drawn
  let end = select(0u, min(start + QUADS, across), n < count && !greedy);
  let steep = bitcast<f32>(settings[2]);

  var q = start + local.x;
  var bits = four(row, q);  // under way while the best is looked for
  if (greedy && first + GROUPS <= count) { return; }
  var most = 0u;
  var index = NONE;
  for (var c = local.x; c < p.chunks; c += LANES) {
    let pair = best[row * p.chunks + c];
    if (pair.x > most) {
      most = pair.x;
      index = pair.y;
    }
  }
  if (LANES > 1u) {
    // Mesa's llvmpipe leaves workgroup memory as it was.
    atomicStore(&greatest[local.y], 0u);
    atomicStore(&lowest[local.y], NONE);
    atomicStore(&least[local.y], FAR);
    atomicStore(&sum_low[local.y], 0u);
    atomicStore(&sum_high[local.y], 0u);
    workgroupBarrier();
    atomicMax(&greatest[local.y], most);
    workgroupBarrier();
    if (most == atomicLoad(&greatest[local.y])) { atomicMin(&lowest[local.y], index); }
    most = atomicLoad(&greatest[local.y]);
  }

  // Its image turned back, a denormal as 0: that is too little for any distance.
  let top = bitcast<f32>(select(~most, most & 0x7fffffffu, most >= 0x80000000u));
  let reach = select(settings[5], FAR - 1u, settings[4] != 0u);  // top-p asks for the sum of all
  let summed = select(4u, 0u, settings[3] != 0u);  // of a quad
  var closest = FAR;
  var total = vec2<u32>(0u);
  for (; q < end; q += LANES) {
    let mine = bits;
    bits = four(row, q + LANES);
    var u = vec4<u32>(FAR);
    for (var j = 0u; j < 4u; j++) {
      if (mine[j] != LEAST) { u[j] = u32(min((top - bitcast<f32>(mine[j])) * steep, f32(FAR))); }
    }
    let m = vec4<u32>(mass_at(u.x), mass_at(u.y), mass_at(u.z), mass_at(u.w));
    away[row * across + q] = u;
    mass[row * across + q] = m;
    closest = min(closest, min(min(u.x, u.y), min(u.z, u.w)));
    for (var j = 0u; j < summed; j++) {
      if (u[j] <= reach) { total = plus(total, vec2<u32>(m[j], 0u)); }
    }
  }
  if (LANES > 1u) {
    atomicMin(&least[local.y], closest);
    if (summed > 0u) {
      let before = atomicAdd(&sum_low[local.y], total.x);
      atomicAdd(&sum_high[local.y], plus(vec2<u32>(before, total.y), vec2<u32>(total.x, 0u)).y);
    }
    workgroupBarrier();
    index = atomicLoad(&lowest[local.y]);
    closest = atomicLoad(&least[local.y]);
    total = vec2<u32>(atomicLoad(&sum_low[local.y]), atomicLoad(&sum_high[local.y]));
  }
  if (local.x > 0u) { return; }
  if (n < count) {
    known[n] = vec4<u32>(closest, total, 0u);
  } else if (n < count + p.rows) {
    var word = 0u;
    if (!greedy) { word = random(row); }
    picked[row] = vec2<u32>(index, word);
  }
}
