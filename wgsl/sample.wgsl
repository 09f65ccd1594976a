// token[row] ~ mass[row, :] within top-k, top-p and min-p, in integers alone: their sums do not
// depend on an order, so every device draws the same. sample_masses.wgsl made them.
//
// Three selections follow, each "the first position at which a running sum exceeds a goal". Top-k:
// position away, counts, goal k − 1. Top-p: position −away, masses, goal (1 − p) · total. The draw:
// position v, masses of what is kept, goal random · total.
//
// Few tokens matter as a rule. k groups have a token as near as the k-th nearest of the groups, so
// the k-th of all tokens is no further; the groups that near are gathered, their tokens that near
// listed, and of a short list every token adds up those at its position or before. Top-p alone
// lists the tokens of some groups and sees whether the others' mass leaves the answer among them.
//
// Else positions are found digit by digit, most significant first, by histograms of 512 bins over
// all tokens (a radix selection), groups none of which counts passed over. Where nothing but min-p
// filters, the draw's first digit is the group, whose sum is known. One workgroup a row.

const LANES: u32 = 256u;  // knob: invocations a row, a power of two
const QUADS: u32 = 64u;   // knob: of tokens, in a group; a power of two that makes 512 groups or less
const LIST: u32 = 512u;   // knob: tokens of a list; each adds up all
const ROUGH: u32 = 18u;   // knob: low bits of the groups' k-th distance that stay open: 18, 9 or 0
const WIDE: u32 = 128u;   // knob: groups whose tokens are listed for top-p alone
const STEP: bool = false; // knob: of one row, also flag the token it followed and move on

struct Params {
  rows: u32,
  V: u32,
}

@group(0) @binding(0) var<storage, read> away: array<vec4<u32>>;
@group(0) @binding(1) var<storage, read> mass: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> known: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> picked: array<vec2<u32>>;
@group(0) @binding(4) var<storage, read> settings: array<u32>;  // ops/sampling.py
@group(0) @binding(5) var<storage, read_write> token: array<u32>;
@group(0) @binding(6) var<storage, read_write> seen: array<u32>;      // any buffer without STEP,
@group(0) @binding(7) var<storage, read_write> position: array<u32>;  // as this one
@group(0) @binding(8) var<uniform> p: Params;

const BINS = 512u;
const PART = 16u;              // bins that are added up to one
const PARTS = BINS / PART;     // which lie behind them, and behind those as many of the groups'
const FAR = 134217727u;        // 2²⁷ − 1: of no mass, so neither counted nor drawn
const NONE = 0xffffffffu;
const NEAREST = 0u;            // top-k among the nearest of each group
const TOP_K = 1u;
const TOP_P = 2u;
const DRAW = 3u;

var<workgroup> low: array<atomic<u32>, BINS + 2 * PARTS>;
var<workgroup> high: array<atomic<u32>, BINS + 2 * PARTS>;
var<workgroup> gathered: atomic<u32>;  // groups
var<workgroup> listed: atomic<u32>;    // tokens
var<workgroup> near: array<u32, BINS>;
var<workgroup> list: array<vec2<u32>, LIST>;  // away, v
var<workgroup> weight: array<u32, LIST>;
var<workgroup> firsts: array<atomic<u32>, 4>;  // what each kind found in the list
var<workgroup> short: u32;  // 1: the list will do

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

fn tally(bin: u32, more: vec2<u32>) {
  let before = atomicAdd(&low[bin], more.x);
  let carried = plus(vec2<u32>(before, more.y), vec2<u32>(more.x, 0u)).y;
  if (carried > 0u) { atomicAdd(&high[bin], carried); }
}

// How many of `count` bins from `first` on do not exceed the goal together, and their sum.
struct Place {
  bins: u32,
  sum: vec2<u32>,
}

fn place(first: u32, count: u32, goal: vec2<u32>) -> Place {
  var found = Place(0u, vec2<u32>(0u));
  var running = vec2<u32>(0u);
  for (var i = 0u; i < count; i++) {
    running = plus(running, vec2<u32>(atomicLoad(&low[first + i]), atomicLoad(&high[first + i])));
    if (!less(goal, running)) { found = Place(i + 1u, running); }
  }
  return found;
}

fn position_of(kind: u32, u: u32, v: u32) -> u32 {
  return select(select(u, FAR - u, kind == TOP_P), v, kind == DRAW);
}

// A digit of positions: its bits from `shift` up to `above`, behind the digits chosen before.
struct Digit {
  chosen: u32,
  above: u32,
  shift: u32,
}

fn add(digit: Digit, at: u32, more: vec2<u32>) {
  if (at >> digit.above != digit.chosen) { return; }
  tally((at >> digit.shift) - (digit.chosen << (digit.above - digit.shift)), more);
}

fn four(row: u32, q: u32, end: u32) -> vec4<u32> {
  if (q >= end) { return vec4<u32>(FAR); }
  return away[row * ((p.V + 3u) / 4u) + q];
}

// Four tokens, unless their group has none that counts.
fn load(row: u32, q: u32, end: u32, cut: u32) -> vec4<u32> {
  let each = ((p.V + 3u) / 4u + QUADS - 1u) / QUADS;
  if (q >= end || known[row * each + q / QUADS].x > cut) { return vec4<u32>(FAR); }
  return four(row, q, end);
}

fn add_four(kind: u32, cut: u32, digit: Digit, u: vec4<u32>, row: u32, q: u32) {
  if (all(u > vec4<u32>(cut))) { return; }
  var m = vec4<u32>(1u);
  if (kind > TOP_K) { m = mass[row * ((p.V + 3u) / 4u) + q]; }
  let v = 4u * q;
  if (u.x <= cut) { add(digit, position_of(kind, u.x, v), vec2<u32>(m.x, 0u)); }
  if (u.y <= cut) { add(digit, position_of(kind, u.y, v + 1u), vec2<u32>(m.y, 0u)); }
  if (u.z <= cut) { add(digit, position_of(kind, u.z, v + 2u), vec2<u32>(m.z, 0u)); }
  if (u.w <= cut) { add(digit, position_of(kind, u.w, v + 3u), vec2<u32>(m.w, 0u)); }
}

// The first position at which the sum over tokens no further than `cut` exceeds the goal, but for
// the open bits of NEAREST; NONE if none does.
fn first_beyond(kind: u32, cut: u32, amount: u32, row: u32, lane: u32) -> u32 {
  let across = (p.V + 3u) / 4u;
  let each = (across + QUADS - 1u) / QUADS;
  let top = select(18u, firstTrailingBit(QUADS) + 2u, kind == DRAW);
  let summed = kind == DRAW && settings[3] == 0u && settings[4] == 0u;
  var digit = Digit(0u, top + 9u, top);
  var goal = vec2<u32>(amount - 1u, 0u);
  for (var level = 0u; level <= (top - select(0u, ROUGH, kind == NEAREST) + 8u) / 9u; level++) {
    for (var b = lane; b < BINS + 2u * PARTS; b += LANES) {
      atomicStore(&low[b], 0u);
      atomicStore(&high[b], 0u);
    }
    workgroupBarrier();
    if (kind == NEAREST || (summed && level == 0u)) {
      for (var g = lane; g < each; g += LANES) {
        let here = known[row * each + g];
        if (here.x <= cut) {
          add(digit, select(g << top, here.x, kind == NEAREST),
              select(here.yz, vec2<u32>(1u, 0u), kind == NEAREST));
        }
      }
    } else {
      var start = 0u;
      var end = across;
      if (kind == DRAW && level > 0u) {  // the chosen range alone
        start = select((digit.chosen << digit.above) / 4u, across, digit.chosen == NONE);
        end = min(across, start + max(1u << digit.above, 4u) / 4u);
      }
      for (var q = start + lane; q < end; q += 4u * LANES) {  // four loads under way at once
        let q1 = q + LANES;
        let q2 = q + 2u * LANES;
        let q3 = q + 3u * LANES;
        let u = load(row, q, end, cut);
        let u1 = load(row, q1, end, cut);
        let u2 = load(row, q2, end, cut);
        let u3 = load(row, q3, end, cut);
        add_four(kind, cut, digit, u, row, q);
        add_four(kind, cut, digit, u1, row, q1);
        add_four(kind, cut, digit, u2, row, q2);
        add_four(kind, cut, digit, u3, row, q3);
      }
    }
    workgroupBarrier();
    for (var b = lane; b < BINS; b += LANES) {
      tally(BINS + b / PART, vec2<u32>(atomicLoad(&low[b]), atomicLoad(&high[b])));
    }
    workgroupBarrier();
    if (level == 0u && kind > TOP_K) {
      goal = part(place(BINS, PARTS, vec2<u32>(NONE)).sum, amount);
    }
    let parts = place(BINS, PARTS, goal);
    goal = minus(goal, parts.sum);
    let rest = place(parts.bins * PART, PART, goal);
    goal = minus(goal, rest.sum);
    let bin = (digit.chosen << (digit.above - digit.shift)) + parts.bins * PART + rest.bins;
    let shift = max(digit.shift, 9u) - 9u;
    digit = Digit(select(bin, NONE, parts.bins == PARTS), digit.shift, shift);
    workgroupBarrier();
  }
  return digit.chosen;
}

fn enlist(u: vec4<u32>, bound: u32, q: u32) {
  for (var j = 0u; j < 4u; j++) {
    if (u[j] > bound) { continue; }
    let i = atomicAdd(&listed, 1u);
    if (i < LIST) { list[i] = vec2<u32>(u[j], 4u * q + j); }
  }
}

// List the tokens no further than `bound`, as far as there is room.
fn gather(bound: u32, row: u32, lane: u32) {
  let across = (p.V + 3u) / 4u;
  let each = (across + QUADS - 1u) / QUADS;
  for (var g = lane; g < each; g += LANES) {
    let here = known[row * each + g];
    if (here.x <= bound) { near[atomicAdd(&gathered, 1u)] = g; }
    if (settings[3] == 0u) { tally(BINS + PARTS + g % PARTS, here.yz); }
  }
  workgroupBarrier();
  let end = atomicLoad(&gathered) * QUADS;
  for (var i = lane; i < end && atomicLoad(&listed) <= LIST; i += 4u * LANES) {
    let k = i + LANES * vec4<u32>(0u, 1u, 2u, 3u);
    let n = min(k, vec4<u32>(end - 1u)) / QUADS;
    let q = vec4<u32>(near[n.x], near[n.y], near[n.z], near[n.w]) * QUADS + k % QUADS;
    let reach = select(vec4<u32>(across), q, k < vec4<u32>(end));
    let u = four(row, reach.x, across);
    let u1 = four(row, reach.y, across);
    let u2 = four(row, reach.z, across);
    let u3 = four(row, reach.w, across);
    enlist(u, bound, q.x);
    enlist(u1, bound, q.y);
    enlist(u2, bound, q.z);
    enlist(u3, bound, q.w);
  }
  workgroupBarrier();
}

// What first_beyond finds, of the list. With top-p alone the tokens that are not in it come first,
// and 0 stands for them.
fn first_listed(kind: u32, cut: u32, amount: u32, lane: u32) -> u32 {
  let n = atomicLoad(&listed);
  for (var i = lane; i < n; i += LANES) {
    let mine = list[i];
    var at = position_of(kind, mine.x, mine.y);
    var total = vec2<u32>(0u);
    var running = vec2<u32>(0u);
    for (var j = 0u; j < n; j++) {
      let other = list[j];
      let more = select(0u, select(weight[j], 1u, kind == TOP_K), other.x <= cut);
      let before = position_of(kind, other.x, other.y) <= at;
      total = plus(total, vec2<u32>(more, 0u));
      running = plus(running, vec2<u32>(select(0u, more, before), 0u));
    }
    var goal = vec2<u32>(amount - 1u, 0u);
    if (kind == TOP_P && settings[3] == 0u) {
      let whole = place(BINS + PARTS, PARTS, vec2<u32>(NONE)).sum;
      let rest = minus(whole, total);
      running = plus(running, rest);
      goal = part(whole, amount);
      if (less(goal, rest)) { at = 0u; }
    } else if (kind != TOP_K) {
      goal = part(total, amount);
    }
    if (mine.x <= cut && less(goal, running)) { atomicMin(&firsts[kind], at); }
  }
  workgroupBarrier();
  return atomicLoad(&firsts[kind]);
}

// A token of a row; NONE where all are at −∞.
fn draw(row: u32, lane: u32) -> u32 {
  let word = picked[row].y;
  let top_k = settings[3];
  let drop = settings[4];
  if (top_k == 0u && drop == 0u) { return first_beyond(DRAW, settings[5], word, row, lane); }
  if (lane == 0u) {
    atomicStore(&gathered, 0u);
    atomicStore(&listed, 0u);
    for (var i = 0u; i < 4u; i++) { atomicStore(&firsts[i], NONE); }
  }
  let groups = select(top_k, WIDE, top_k == 0u);
  let found = first_beyond(NEAREST, FAR - 1u, groups, row, lane);
  let bound = min(FAR - 1u, select(((found + 1u) << ROUGH) - 1u, NONE, found == NONE));
  gather(bound, row, lane);
  let n = atomicLoad(&listed);
  if (lane == 0u) { short = select(0u, 1u, n <= LIST); }
  if (workgroupUniformLoad(&short) == 1u) {
    // By other subgroups than those that look for top-k in a short list.
    for (var i = LANES - 1u - lane; i < n; i += LANES) {
      weight[i] = mass[row * ((p.V + 3u) / 4u) + list[i].y / 4u][list[i].y % 4u];
    }
    var cut = bound;
    if (top_k != 0u) {
      cut = min(cut, first_listed(TOP_K, cut, top_k, lane));
    } else {
      workgroupBarrier();
    }
    if (drop != 0u) {
      cut = FAR - first_listed(TOP_P, cut, drop, lane);
      if (lane == 0u) { short = select(0u, 1u, cut <= bound); }
    }
    if (workgroupUniformLoad(&short) == 1u) {
      return first_listed(DRAW, min(cut, settings[5]), word, lane);
    }
  }
  var cut = FAR - 1u;
  if (top_k != 0u) { cut = min(bound, first_beyond(TOP_K, bound, top_k, row, lane)); }
  if (drop != 0u) { cut = min(cut, FAR - first_beyond(TOP_P, cut, drop, row, lane)); }
  return first_beyond(DRAW, min(cut, settings[5]), word, row, lane);
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

  var chosen = picked[row].x;
  if (settings[2] != 0u) {
    let drawn = draw(row, lane);
    if (drawn != NONE) { chosen = drawn; }
  }
  if (lane > 0u) { return; }
  if (STEP) {
    if (token[0] < p.V) { seen[token[0]] = 1u; }
    position[0] += 1u;
  }
  token[row] = chosen;
}
