// token[row] ~ mass[row, :] within top-k, top-p and min-p, in integers alone: their sums do not
// depend on an order, so every device draws the same. sample_masses.wgsl made them.
//
// Three selections follow, each "the first position at which a running sum exceeds a goal", found
// digit by digit of the position, most significant first, by histograms of 512 bins (a radix
// selection). Top-k: position away, counts, goal k − 1. Top-p: position −away, masses, goal
// (1 − p) · total. The draw: position v, masses of what is kept, goal random · total.
//
// Groups of 256 tokens none of which counts are passed over, by the nearest of each. Top-k begins
// among those: k groups have a token as near as the k-th nearest of them, so it is no further.
// One workgroup a row.

const LANES: u32 = 256u;  // knob: invocations a row, a power of two up to 512; 1 needs no barrier

struct Params {
  rows: u32,
  V: u32,
}

@group(0) @binding(0) var<storage, read> away: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> mass: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> nearest: array<u32>;
@group(0) @binding(3) var<storage, read> likeliest: array<u32>;
@group(0) @binding(4) var<storage, read> settings: array<u32>;  // ops/sampling.py
@group(0) @binding(5) var<storage, read> position: array<u32>;
@group(0) @binding(6) var<storage, read_write> token: array<u32>;
@group(0) @binding(7) var<uniform> p: Params;

const BINS = 512u;
const PER = BINS / LANES;  // bins a lane adds up
const FAR = 134217727u;    // 2²⁷ − 1: of no mass, so neither counted nor drawn
const NONE = 0xffffffffu;
const QUADS = 64u;         // of tokens, in a group
const NEAREST = 0u;        // top-k among the nearest of each group
const TOP_K = 1u;
const TOP_P = 2u;
const DRAW = 3u;

var<workgroup> low: array<atomic<u32>, BINS>;
var<workgroup> high: array<atomic<u32>, BINS>;
var<workgroup> sums: array<vec2<u32>, LANES>;
var<workgroup> found: u32;         // the digits chosen so far
var<workgroup> left: vec2<u32>;    // what of the goal lies in the chosen bin

// What a pass over the row looks for.
struct Search {
  kind: u32,
  cut: u32,     // tokens no further away count
  chosen: u32,  // the digits of the position before this one
  shift: u32,   // where this one's bits are
}

fn sync() {
  if (LANES > 1u) { workgroupBarrier(); }
}

// 64-bit numbers as (low, high).
fn plus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  let lo = a.x + b.x;
  return vec2<u32>(lo, a.y + b.y + select(0u, 1u, lo < a.x));
}

fn minus(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
  return vec2<u32>(a.x - b.x, a.y - b.y - select(0u, 1u, a.x < b.x));
}

fn less(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.y < b.y || (a.y == b.y && a.x < b.x);
}

fn times(a: u32, b: u32) -> vec2<u32> {
  let low_low = (a & 65535u) * (b & 65535u);
  let high_low = (a >> 16u) * (b & 65535u) + (low_low >> 16u);
  let low_high = (a & 65535u) * (b >> 16u) + (high_low & 65535u);
  return vec2<u32>(a * b, (a >> 16u) * (b >> 16u) + (high_low >> 16u) + (low_high >> 16u));
}

// total · fraction / 2³².
fn part(total: vec2<u32>, fraction: u32) -> vec2<u32> {
  return plus(times(total.y, fraction), vec2<u32>(times(total.x, fraction).y, 0u));
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

fn add(search: Search, u: u32, m: u32, v: u32) {
  let at = select(select(u, FAR - u, search.kind == TOP_P), v, search.kind == DRAW);
  if (u > search.cut || at >> (search.shift + 9u) != search.chosen) { return; }
  let more = select(m, 1u, search.kind <= TOP_K);
  let bin = (at >> search.shift) & (BINS - 1u);
  let before = atomicAdd(&low[bin], more);
  if (before + more < before) { atomicAdd(&high[bin], 1u); }
}

// Four tokens, unless their group has none that counts.
fn load(row: u32, q: u32, end: u32, cut: u32) -> vec4<u32> {
  let across = (p.V + 3u) / 4u;
  if (q >= end || nearest[row * ((across + QUADS - 1u) / QUADS) + q / QUADS] > cut) {
    return vec4<u32>(FAR);
  }
  return away[row * across + q];
}

fn add_four(search: Search, u: vec4<u32>, first: u32, q: u32) {
  if (all(u > vec4<u32>(search.cut))) { return; }
  var m = vec4<u32>(1u);
  if (search.kind > TOP_K) { m = mass[first + q]; }
  add(search, u.x, m.x, 4u * q);
  add(search, u.y, m.y, 4u * q + 1u);
  add(search, u.z, m.z, 4u * q + 2u);
  add(search, u.w, m.w, 4u * q + 3u);
}

// The first position at which the sum over tokens no further than `cut` exceeds the goal; NONE if
// none does.
fn first_beyond(kind: u32, cut: u32, amount: u32, row: u32, lane: u32) -> u32 {
  let across = (p.V + 3u) / 4u;
  let first = row * across;
  var chosen = 0u;
  var goal = vec2<u32>(amount - 1u, 0u);
  let levels = select(3u, 2u, kind == DRAW && p.V <= BINS * BINS);
  for (var level = levels; level > 0u; level--) {
    let shift = 9u * level - 9u;
    for (var b = lane; b < BINS; b += LANES) {
      atomicStore(&low[b], 0u);
      atomicStore(&high[b], 0u);
    }
    sync();
    var start = 0u;
    var end = across;
    if (kind == DRAW && level < levels) {  // the chosen range alone
      start = min(chosen, p.V) << (shift + 7u);
      end = select(min(across, start + ((BINS / 4u) << shift)), 0u, chosen == NONE);
    }
    let search = Search(kind, cut, chosen, shift);
    let groups = select(0u, (across + QUADS - 1u) / QUADS, kind == NEAREST);
    for (var g = lane; g < groups; g += LANES) {
      add(search, nearest[row * ((across + QUADS - 1u) / QUADS) + g], 1u, g);
    }
    if (kind == NEAREST) { end = 0u; }
    for (var q = start + lane; q < end; q += 4u * LANES) {  // four loads under way at once
      let q1 = q + LANES;
      let q2 = q + 2u * LANES;
      let q3 = q + 3u * LANES;
      let u = load(row, q, end, cut);
      let u1 = load(row, q1, end, cut);
      let u2 = load(row, q2, end, cut);
      let u3 = load(row, q3, end, cut);
      add_four(search, u, first, q);
      add_four(search, u1, first, q1);
      add_four(search, u2, first, q2);
      add_four(search, u3, first, q3);
    }
    sync();

    var sum = vec2<u32>(0u);
    for (var b = lane * PER; b < lane * PER + PER; b++) {
      sum = plus(sum, vec2<u32>(atomicLoad(&low[b]), atomicLoad(&high[b])));
    }
    sums[lane] = sum;
    if (lane == 0u) { found = NONE; }
    sync();
    var running = sum;  // of this lane and all before it
    for (var step = 1u; step < LANES; step *= 2u) {
      var before = vec2<u32>(0u);
      if (lane >= step) { before = sums[lane - step]; }
      running = plus(running, before);
      sync();
      sums[lane] = running;
      sync();
    }
    if (level == levels && kind > TOP_K) { goal = part(sums[LANES - 1u], amount); }
    running = minus(running, sum);
    for (var b = lane * PER; b < lane * PER + PER; b++) {
      let next = plus(running, vec2<u32>(atomicLoad(&low[b]), atomicLoad(&high[b])));
      if (!less(goal, running) && less(goal, next)) {
        found = chosen * BINS + b;
        left = minus(goal, running);
      }
      running = next;
    }
    sync();
    chosen = found;
    goal = left;
    sync();
  }
  return chosen;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = group.x + group.y * groups.x;
  let lane = local.x;
  if (row >= p.rows) { return; }

  var chosen = likeliest[row];
  if (settings[2] != 0u) {
    var cut = FAR - 1u;
    if (settings[3] != 0u) {
      cut = min(cut, first_beyond(NEAREST, cut, settings[3], row, lane));
      cut = min(cut, first_beyond(TOP_K, cut, settings[3], row, lane));
    }
    if (settings[4] != 0u) {
      cut = min(cut, FAR - first_beyond(TOP_P, cut, settings[4], row, lane));
    }
    cut = min(cut, settings[5]);
    let drawn = first_beyond(DRAW, cut, random(row), row, lane);
    if (drawn != NONE) { chosen = drawn; }
  }
  if (lane == 0u) { token[row] = chosen; }
}
