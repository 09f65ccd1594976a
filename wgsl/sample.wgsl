// token[row] ~ mass[row, :] within top-k, top-p and min-p, in integers alone: their sums do not
// depend on an order, so every device draws the same. sample_masses.wgsl made them.
//
// Three selections follow, each "the first position at which a running sum exceeds a goal". Top-k:
// position away, counts, goal k − 1. Top-p: position −away, masses, goal (1 − p) · total. The draw:
// position v, masses of what is kept, goal random · total.
//
// Few tokens matter as a rule. k groups have a token as near as the k-th nearest of the groups, so
// the k-th of all tokens is no further: the groups that near are gathered, and their tokens that near
// listed. In a short list every token adds up those at its position or before. Top-p alone lists the
// tokens of the nearest groups and sees whether the others' mass leaves the answer among them.
//
// Else positions are found digit by digit, most significant first, by histograms of 512 bins over
// the groups gathered (a radix selection). Where nothing but min-p filters, the draw's first digit
// is the group, whose sum is known. One workgroup a row.

const LANES: u32 = 256u;  // knob: invocations a row, a power of two
const QUADS: u32 = 64u;   // knob: of tokens, in a group; a power of two that makes 512 groups or less
const LIST: u32 = 256u;   // knob: tokens of a list; each adds up all
const ROUGH: u32 = 18u;   // knob: low bits of the groups' k-th distance that stay open: 18, 9 or 0
const WIDE: u32 = 64u;    // knob: groups whose tokens are listed for top-p alone
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

const PART = 8u;               // sums that are added up to one
const PARTS = PART * PART;
const BINS = PART * PARTS;
const NEAR = BINS;             // behind the bins: parts of what the gathered groups' masses add up
const REST = NEAR + PART;      // to, the others',
const PARTIAL = REST + PART;   // the bins',
const WHOLE = PARTIAL + PARTS; // and those parts'
const FAR = 134217727u;        // 2²⁷ − 1: of no mass, so neither counted nor drawn
const NONE = 0xffffffffu;
const ALL = vec2<u32>(NONE);   // a goal that nothing exceeds
const NEAREST = 0u;            // top-k among the nearest of each group
const TOP_K = 1u;
const TOP_P = 2u;
const DRAW = 3u;

var<workgroup> low: array<atomic<u32>, PARTIAL>;  // what grows, and then what it has come to
var<workgroup> high: array<atomic<u32>, PARTIAL>;
var<workgroup> sums: array<vec2<u32>, WHOLE + PART>;
var<workgroup> gathered: atomic<u32>;
var<workgroup> groups: array<u32, BINS>;
var<workgroup> listed: atomic<u32>;
var<workgroup> list: array<vec2<u32>, LIST>;  // away, v
var<workgroup> weight: array<u32, LIST>;
var<workgroup> firsts: array<atomic<u32>, 4>;  // what each kind found in the list
var<workgroup> short: u32;  // 1: the list will do

var<private> own: vec4<u32>;  // known of the group of the lane's number: loaded once, early

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

// How many of PART sums from `first` on do not exceed the goal together, and what they are.
struct Place {
  count: u32,
  sum: vec2<u32>,
}

fn place(first: u32, goal: vec2<u32>) -> Place {
  var found = Place(0u, vec2<u32>(0u));
  var running = vec2<u32>(0u);
  for (var i = 0u; i < PART; i++) {
    running = plus(running, sums[first + i]);
    if (!less(goal, running)) { found = Place(i + 1u, running); }
  }
  return found;
}

// The mass of all tokens, with top-p alone.
fn whole() -> vec2<u32> {
  return plus(place(NEAR, ALL).sum, place(REST, ALL).sum);
}

fn settle(first: u32, end: u32, lane: u32) {
  workgroupBarrier();
  for (var b = first + lane; b < end; b += LANES) {
    sums[b] = vec2<u32>(atomicLoad(&low[b]), atomicLoad(&high[b]));
  }
  workgroupBarrier();
}

fn known_of(g: u32, row: u32, lane: u32) -> vec4<u32> {
  if (g == lane) { return own; }
  return known[row * ((p.V + 4u * QUADS - 1u) / (4u * QUADS)) + g];
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

// Four tokens, if k is a number and not past the end.
fn load(row: u32, q: u32, k: u32, end: u32) -> vec4<u32> {
  let across = (p.V + 3u) / 4u;
  if (k >= end || q >= across) { return vec4<u32>(FAR); }
  return away[row * across + q];
}

// The quads of the groups gathered, by numbers from 0 up to `end`.
fn gathered_quads(k: vec4<u32>, end: u32) -> vec4<u32> {
  let n = min(k, vec4<u32>(end - 1u)) / QUADS;
  return vec4<u32>(groups[n.x], groups[n.y], groups[n.z], groups[n.w]) * QUADS + k % QUADS;
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

// The first position at which the sum over tokens no further than `cut`, in the groups gathered,
// exceeds the goal, but for the open bits of NEAREST; NONE if none does.
fn first_beyond(kind: u32, cut: u32, amount: u32, row: u32, lane: u32) -> u32 {
  let top = select(18u, firstTrailingBit(QUADS) + 2u, kind == DRAW);
  let summed = kind == DRAW && settings[3] == 0u && settings[4] == 0u;
  var digit = Digit(0u, top + 9u, top);
  var goal = vec2<u32>(amount - 1u, 0u);
  for (var level = 0u; level <= (top - select(0u, ROUGH, kind == NEAREST) + 8u) / 9u; level++) {
    for (var b = lane; b < BINS; b += LANES) {
      atomicStore(&low[b], 0u);
      atomicStore(&high[b], 0u);
    }
    workgroupBarrier();
    if (kind == NEAREST || (summed && level == 0u)) {
      for (var g = lane; g < (p.V + 4u * QUADS - 1u) / (4u * QUADS); g += LANES) {
        let here = known_of(g, row, lane);
        if (here.x > cut) { continue; }
        if (kind == NEAREST) {
          add(digit, here.x, vec2<u32>(1u, 0u));
        } else {
          add(digit, g << top, here.yz);
        }
      }
    } else {
      let ranged = kind == DRAW && level > 0u;  // in the range chosen alone
      var end = atomicLoad(&gathered) * QUADS;
      if (ranged) { end = select(max(1u << digit.above, 4u) / 4u, 0u, digit.chosen == NONE); }
      for (var i = lane; i < end; i += 4u * LANES) {  // four loads under way at once
        let k = i + LANES * vec4<u32>(0u, 1u, 2u, 3u);
        var q = k + (digit.chosen << digit.above) / 4u;
        if (!ranged) { q = gathered_quads(k, end); }
        let u = load(row, q.x, k.x, end);
        let u1 = load(row, q.y, k.y, end);
        let u2 = load(row, q.z, k.z, end);
        let u3 = load(row, q.w, k.w, end);
        add_four(kind, cut, digit, u, row, q.x);
        add_four(kind, cut, digit, u1, row, q.y);
        add_four(kind, cut, digit, u2, row, q.z);
        add_four(kind, cut, digit, u3, row, q.w);
      }
    }
    settle(0u, BINS, lane);
    for (var s = lane; s < PARTS; s += LANES) { sums[PARTIAL + s] = place(s * PART, ALL).sum; }
    workgroupBarrier();
    for (var s = lane; s < PART; s += LANES) {
      sums[WHOLE + s] = place(PARTIAL + s * PART, ALL).sum;
    }
    workgroupBarrier();
    if (level == 0u && kind > TOP_K) { goal = part(place(WHOLE, ALL).sum, amount); }
    let coarse = place(WHOLE, goal);
    goal = minus(goal, coarse.sum);
    var bin = min(coarse.count, PART - 1u) * PART;
    let middle = place(PARTIAL + bin, goal);
    goal = minus(goal, middle.sum);
    bin = (bin + min(middle.count, PART - 1u)) * PART;
    let fine = place(bin, goal);
    goal = minus(goal, fine.sum);
    let found = (digit.chosen << (digit.above - digit.shift)) + bin + fine.count;
    let shift = max(digit.shift, 9u) - 9u;
    digit = Digit(select(found, NONE, coarse.count == PART), digit.shift, shift);
  }
  return digit.chosen;
}

// Gather the groups that have a token no further than `cut`.
fn gather(cut: u32, row: u32, lane: u32) {
  if (lane == 0u) { atomicStore(&gathered, 0u); }
  for (var b = NEAR + lane; b < PARTIAL; b += LANES) {
    atomicStore(&low[b], 0u);
    atomicStore(&high[b], 0u);
  }
  workgroupBarrier();
  for (var g = lane; g < (p.V + 4u * QUADS - 1u) / (4u * QUADS); g += LANES) {
    let here = known_of(g, row, lane);
    if (here.x <= cut) { groups[atomicAdd(&gathered, 1u)] = g; }
    if (settings[3] == 0u) { tally(select(REST, NEAR, here.x <= cut) + g % PART, here.yz); }
  }
  settle(NEAR, PARTIAL, lane);
}

fn enlist(u: vec4<u32>, cut: u32, q: u32) {
  if (all(u > vec4<u32>(cut))) { return; }
  for (var j = 0u; j < 4u; j++) {
    if (u[j] > cut) { continue; }
    let i = atomicAdd(&listed, 1u);
    if (i < LIST) { list[i] = vec2<u32>(u[j], 4u * q + j); }
  }
}

// List the tokens no further than `cut` of the groups gathered, until there are too many; none if
// with top-p alone the answer is among the others for sure.
fn make_list(cut: u32, row: u32, lane: u32) {
  var end = atomicLoad(&gathered) * QUADS;
  if (settings[3] == 0u && less(part(whole(), settings[4]), place(REST, ALL).sum)) {
    end = 0u;
  }
  for (var i = lane; i < end && atomicLoad(&listed) <= LIST; i += 4u * LANES) {
    let k = i + LANES * vec4<u32>(0u, 1u, 2u, 3u);
    let q = gathered_quads(k, end);
    let u = load(row, q.x, k.x, end);
    let u1 = load(row, q.y, k.y, end);
    let u2 = load(row, q.z, k.z, end);
    let u3 = load(row, q.w, k.w, end);
    enlist(u, cut, q.x);
    enlist(u1, cut, q.y);
    enlist(u2, cut, q.z);
    enlist(u3, cut, q.w);
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
      let all = whole();
      let rest = minus(all, total);
      running = plus(running, rest);
      goal = part(all, amount);
      if (less(goal, rest)) { at = 0u; }
    } else if (kind != TOP_K) {
      goal = part(total, amount);
    }
    if (mine.x <= cut && less(goal, running)) { atomicMin(&firsts[kind], at); }
  }
  workgroupBarrier();
  return atomicLoad(&firsts[kind]);
}

// A token of a row by its random word; NONE where all are at −∞.
fn draw(word: u32, row: u32, lane: u32) -> u32 {
  let top_k = settings[3];
  let drop = settings[4];
  if (top_k == 0u && drop == 0u) { return first_beyond(DRAW, settings[5], word, row, lane); }
  if (lane == 0u) {
    atomicStore(&listed, 0u);
    for (var i = 0u; i < 4u; i++) { atomicStore(&firsts[i], NONE); }
  }
  let found = first_beyond(NEAREST, FAR - 1u, select(top_k, WIDE, top_k == 0u), row, lane);
  let bound = min(FAR - 1u, select(((found + 1u) << ROUGH) - 1u, NONE, found == NONE));
  gather(bound, row, lane);
  make_list(bound, row, lane);
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
  var cut = bound;
  if (top_k != 0u) {
    cut = min(cut, first_beyond(TOP_K, cut, top_k, row, lane));
  } else {
    cut = FAR - 1u;
    gather(cut, row, lane);
  }
  if (drop != 0u) { cut = min(cut, FAR - first_beyond(TOP_P, cut, drop, row, lane)); }
  cut = min(cut, settings[5]);
  gather(cut, row, lane);
  return first_beyond(DRAW, cut, word, row, lane);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = workgroup.x + workgroup.y * workgroups.x;
  let lane = local.x;
  if (row >= p.rows) { return; }

  let each = (p.V + 4u * QUADS - 1u) / (4u * QUADS);
  own = known[row * each + min(lane, each - 1u)];
  let pick = picked[row];
  var fed = 0u;
  var at = 0u;
  if (STEP) {  // asked for before a token is drawn, which may take its time
    fed = token[0];
    at = position[0];
  }
  var chosen = pick.x;
  if (settings[2] != 0u) {
    let drawn = draw(pick.y, row, lane);
    if (drawn != NONE) { chosen = drawn; }
  }
  if (lane > 0u) { return; }
  if (STEP) {
    if (fed < p.V) { seen[fed] = 1u; }
    position[0] = at + 1u;
  }
  token[row] = chosen;
}
