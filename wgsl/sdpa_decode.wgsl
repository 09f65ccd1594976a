// One row of queries over a KV cache, from the joined product qkv[B, 1, heads + 2 · kv_heads, D]:
// what update_caches does (NORM, TURN, then k and v go to row `past` of their caches), and for each
// chunk of the keys that the row sees, of each query head
//   the greatest score, Σ exp(score − greatest), and that sum of V
// Which keys a chunk has and where all this lies: ops/chunks.py. sdpa_combine puts chunks together.
//
// A workgroup has a chunk and HEADS query heads that share a K/V head. ACROSS invocations, a
// cluster, share a key, eight elements each; of four keys at a time they keep sums of V of their
// own (online softmax), and what the workgroup's clusters have is added up once, at the end. Before
// it waits for anything, a workgroup asks for its first keys, which it knows without a position
// unless there is a WINDOW. The row's own key never comes from memory.

enable subgroups;

const D8: u32 = 8u;          // knob: head_dim / 8
const ACROSS: u32 = 8u;      // knob: invocations a key, a power of two, D8 or more
const SUBGROUP: u32 = 32u;   // knob: invocations a subgroup has at least, a power of two; 1 for none
const HEADS: u32 = 2u;       // knob: query heads a workgroup, 1 | 2
const LANES: u32 = 256u;     // knob: invocations per workgroup, no less than ACROSS and SUBGROUP
const KEYS: u32 = 128u;      // knob: keys of a chunk that lie side by side, a power of two
const CHUNKS: u32 = 8u;      // knob: chunks at most
const WINDOW: u32 = 0u;      // knob: keys the row sees at most; 0 for no limit
const NORM: bool = false;    // knob: normalize q and k
const TURN: bool = true;     // knob: turn q and k
const HALF: bool = true;     // knob: the caches hold f16 pairs, not f32
const LIVE: bool = true;     // knob: past is pos[0], not p.past

struct Params {
  count: u32,     // query heads in all: B · heads
  heads: u32,
  kv_heads: u32,
  R: u32,         // elements of a head that turn, a multiple of 16
  Smax: u32,
  past: u32,
  eps: f32,
  offset: f32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> turns: array<vec4<f32>>;   // [positions, R]: cos, then sin
@group(0) @binding(2) var<storage, read> q_norm: array<vec4<f32>>;  // [D]; any buffer without NORM
@group(0) @binding(3) var<storage, read> k_norm: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read> pos: array<i32>;           // any buffer without LIVE
@group(0) @binding(5) var<storage, read_write> k_cache: array<vec4<u32>>;
@group(0) @binding(6) var<storage, read_write> v_cache: array<vec4<u32>>;
@group(0) @binding(7) var<storage, read_write> chunks: array<vec4<f32>>;
@group(0) @binding(8) var<uniform> p: Params;

const LEAST = -3.4028234e38;
const D4 = 2u * D8;
const CLUSTERS = LANES / ACROSS;
const PASS = 4u * CLUSTERS;             // keys the workgroup takes at a time
const PARTS = HEADS + 2u;               // heads of qkv it reads: q, k and v
const ROUNDS = (PARTS + CLUSTERS - 1u) / CLUSTERS;
const UNIT = max(ACROSS, SUBGROUP);     // invocations whose sums of V are added without memory
const UNITS = LANES / UNIT;
const SPARE = select(1u, LANES, SUBGROUP < ACROSS);

struct Eight { lo: vec4<f32>, hi: vec4<f32>, }
struct Four { a: Eight, b: Eight, c: Eight, d: Eight, }
struct Words { lo: vec4<u32>, hi: vec4<u32>, }  // eight elements of a cache; of halves lo has all
struct Tile { a: Words, b: Words, c: Words, d: Words, }

var<workgroup> heads: array<vec4<f32>, PARTS * 2u * ACROSS>;         // [head][lo, hi][column]
var<workgroup> spare: array<vec4<f32>, SPARE>;
var<workgroup> sums: array<vec4<f32>, UNITS * HEADS * 2u * ACROSS>;  // [unit][head][lo, hi][column]
var<workgroup> greatest: array<vec4<f32>, UNITS>;                    // [unit], a component a head
var<workgroup> totals: array<vec4<f32>, UNITS>;

fn widen(w: Words) -> Eight {
  if (HALF) {
    return Eight(
      vec4<f32>(unpack2x16float(w.lo.x), unpack2x16float(w.lo.y)),
      vec4<f32>(unpack2x16float(w.lo.z), unpack2x16float(w.lo.w)));
  }
  return Eight(bitcast<vec4<f32>>(w.lo), bitcast<vec4<f32>>(w.hi));
}

fn narrow(v: Eight) -> Words {
  if (HALF) {
    let lo = vec2<u32>(pack2x16float(v.lo.xy), pack2x16float(v.lo.zw));
    let hi = vec2<u32>(pack2x16float(v.hi.xy), pack2x16float(v.hi.zw));
    return Words(vec4<u32>(lo, hi), vec4<u32>(0u));
  }
  return Words(bitcast<vec4<u32>>(v.lo), bitcast<vec4<u32>>(v.hi));
}

fn all_of(t: Tile) -> Four { return Four(widen(t.a), widen(t.b), widen(t.c), widen(t.d)); }

fn k_at(i: u32) -> Words {
  if (HALF) { return Words(k_cache[i], vec4<u32>(0u)); }
  return Words(k_cache[2u * i], k_cache[2u * i + 1u]);
}

fn v_at(i: u32) -> Words {
  if (HALF) { return Words(v_cache[i], vec4<u32>(0u)); }
  return Words(v_cache[2u * i], v_cache[2u * i + 1u]);
}

fn keys_at(i: vec4<u32>) -> Tile { return Tile(k_at(i.x), k_at(i.y), k_at(i.z), k_at(i.w)); }

fn values_at(i: vec4<u32>) -> Tile { return Tile(v_at(i.x), v_at(i.y), v_at(i.z), v_at(i.w)); }

// The sum of v over a key's invocations.
fn across(v: vec4<f32>, lane: u32) -> vec4<f32> {
  var sum = v;
  for (var i = 1u; i < min(ACROSS, SUBGROUP); i *= 2u) { sum += subgroupShuffleXor(sum, i); }
  if (SUBGROUP < ACROSS) {
    workgroupBarrier();
    spare[lane] = sum;
    workgroupBarrier();
    sum = vec4<f32>(0.0);
    for (var i = 0u; i < ACROSS; i += SUBGROUP) { sum += spare[lane / ACROSS * ACROSS + i]; }
  }
  return sum;
}

fn multiplied(a: Eight, b: Eight) -> f32 { return dot(a.lo, b.lo) + dot(a.hi, b.hi); }

fn scores(q: Eight, k: Four) -> vec4<f32> {
  return vec4<f32>(multiplied(q, k.a), multiplied(q, k.b), multiplied(q, k.c), multiplied(q, k.d));
}

fn largest(v: vec4<f32>) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

fn weighed(sum: Eight, shrink: f32, v: Four, w: vec4<f32>) -> Eight {
  return Eight(
    sum.lo * shrink + mat4x4<f32>(v.a.lo, v.b.lo, v.c.lo, v.d.lo) * w,
    sum.hi * shrink + mat4x4<f32>(v.a.hi, v.b.hi, v.c.hi, v.d.hi) * w);
}

fn shrunk(sum: Eight, by: f32) -> Eight { return Eight(sum.lo * by, sum.hi * by); }

// The sum over a unit's clusters.
fn gathered(sum: Eight) -> Eight {
  var lo = sum.lo;
  var hi = sum.hi;
  for (var i = ACROSS; i < SUBGROUP; i *= 2u) {
    lo += subgroupShuffleXor(lo, i);
    hi += subgroupShuffleXor(hi, i);
  }
  return Eight(lo, hi);
}

fn part(h: u32, place: u32) -> Eight {
  let at = h * 2u * ACROSS + place;
  return Eight(heads[at], heads[at + ACROSS]);
}

fn keep(sum: Eight, unit: u32, h: u32, place: u32) {
  let at = (unit * HEADS + h) * 2u * ACROSS + place;
  sums[at] = sum.lo;
  sums[at + ACROSS] = sum.hi;
}

// Key i of a chunk.
fn key_of(i: vec4<u32>, first: u32, chunk: u32) -> vec4<u32> {
  return first + (chunk + CHUNKS * (i / KEYS)) * KEYS + i % KEYS;
}

// The row's own k or v in its cache.
fn keep_row(words: Words, i: u32, is_k: bool) {
  let at = select(2u * i, i, HALF);
  if (is_k) { k_cache[at] = words.lo; } else { v_cache[at] = words.lo; }
  if (HALF) { return; }
  if (is_k) { k_cache[at + 1u] = words.hi; } else { v_cache[at + 1u] = words.hi; }
}

// The column of a head that turns with `column`.
fn partner(column: u32) -> u32 {
  let half = p.R / 16u;
  if (column < half) { return column + half; }
  return select(column, column - half, column < 2u * half);
}

fn qkv_at(i: u32) -> Eight { return Eight(qkv[i], qkv[i + 1u]); }

fn norm_at(column: u32, is_k: bool) -> Eight {
  let i = 2u * column;
  return Eight(select(q_norm[i], k_norm[i], is_k), select(q_norm[i + 1u], k_norm[i + 1u], is_k));
}

fn normed(v: Eight, norm: Eight, scale: f32) -> Eight {
  return Eight(v.lo * (scale * (p.offset + norm.lo)), v.hi * (scale * (p.offset + norm.hi)));
}

fn turned(own: Eight, other: Eight, column: u32, position: u32) -> Eight {
  let half = p.R / 16u;
  if (column >= 2u * half) { return own; }
  let at = position * (p.R / 4u) + 2u * (column % half);
  let sign = select(1.0, -1.0, column < half);
  return Eight(
    own.lo * turns[at] + other.lo * (sign * turns[at + 2u * half]),
    own.hi * turns[at + 1u] + other.hi * (sign * turns[at + 2u * half + 1u]));
}

// Nothing of the values of keys that the row does not see, which may be anything.
fn masked(t: Tile, sees: vec4<bool>) -> Tile {
  let none = Words();
  var seen = t;
  if (!sees.x) { seen.a = none; }
  if (!sees.y) { seen.b = none; }
  if (!sees.z) { seen.c = none; }
  if (!sees.w) { seen.d = none; }
  return seen;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let cluster = lane / ACROSS;
  let place = lane % ACROSS;
  let column = min(place, D8 - 1u);
  let b = workgroup.z / p.kv_heads;
  let kv = workgroup.z % p.kv_heads;
  let group = p.heads / p.kv_heads;
  let h0 = workgroup.y * HEADS;  // of the group
  let chunk = workgroup.x;
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  var first = 0u;
  if (WINDOW > 0u) { first = past + 1u - min(past + 1u, WINDOW); }

  let rows = (b * p.Smax * p.kv_heads + kv) * D8 + column;
  let stride = p.kv_heads * D8;
  let mine = cluster + CLUSTERS * vec4<u32>(0u, 1u, 2u, 3u);  // of the chunk's keys
  var key = key_of(mine, first, chunk);
  var keys = keys_at(rows + min(key, vec4<u32>(p.Smax - 1u)) * stride);
  var values = values_at(rows + min(key, vec4<u32>(p.Smax - 1u)) * stride);

  let is_last = (past - first) / KEYS % CHUNKS == chunk;
  for (var round = 0u; round < ROUNDS; round++) {
    let h = round * CLUSTERS + cluster;
    let of_q = kv * group + min(h0 + h, group - 1u);
    let of_kv = p.heads + kv + select(0u, p.kv_heads, h > HEADS);
    let start = (b * (p.heads + 2u * p.kv_heads) + select(of_kv, of_q, h < HEADS)) * D4;
    var own = qkv_at(start + 2u * column);
    var other = Eight();
    if (TURN) { other = qkv_at(start + 2u * partner(column)); }
    if (NORM) {
      let own_norm = norm_at(column, h == HEADS);
      let other_norm = norm_at(partner(column), h == HEADS);
      let square = select(0.0, multiplied(own, own), place < D8);
      let scale = inverseSqrt(across(vec4<f32>(square), lane).x / f32(4u * D4) + p.eps);
      if (h <= HEADS) {
        own = normed(own, own_norm, scale);
        other = normed(other, other_norm, scale);
      }
    }
    if (TURN && h <= HEADS) { own = turned(own, other, column, past); }
    if (h < HEADS) {
      own = Eight(own.lo * p.scale, own.hi * p.scale);
    } else {
      let words = narrow(own);
      own = widen(words);
      if (h < PARTS && is_last && h0 == 0u && place < D8) {
        keep_row(words, rows + past * stride, h == HEADS);
      }
    }
    if (h < PARTS) {
      let at = h * 2u * ACROSS + place;
      heads[at] = select(vec4<f32>(0.0), own.lo, place < D8);
      heads[at + ACROSS] = select(vec4<f32>(0.0), own.hi, place < D8);
    }
  }
  workgroupBarrier();

  let q0 = part(0u, place);
  let q1 = part(HEADS - 1u, place);
  var most = vec4<f32>(LEAST);  // a component a head, x and y
  var total = vec4<f32>(0.0);
  var sum0 = Eight();
  var sum1 = Eight();
  if (is_last) {  // the row's own key is where the first cluster begins
    let k = part(HEADS, place);
    let score = across(vec4<f32>(multiplied(q0, k), multiplied(q1, k), 0.0, 0.0), lane);
    if (cluster == 0u) {
      most = score;
      total = vec4<f32>(1.0);
      sum0 = part(HEADS + 1u, place);
      sum1 = sum0;
    }
  }
  let blocks = (past - first + KEYS - 1u) / KEYS;  // of all chunks
  let count = (blocks + CHUNKS - 1u - chunk) / CHUNKS * KEYS;
  for (var i = 0u; i < count; i += PASS) {
    let sees = key < vec4<u32>(past);
    let now_keys = keys;
    var now_values = values;
    if (i + PASS < count) {
      key = key_of(i + PASS + mine, first, chunk);
      let at = rows + min(key, vec4<u32>(past - 1u)) * stride;
      keys = keys_at(at);
      values = values_at(at);
    }
    // The first were asked for without the position, and only the last may go beyond it.
    if (i == 0u || i + PASS >= count) { now_values = masked(now_values, sees); }
    let k = all_of(now_keys);
    let least = vec4<f32>(LEAST);
    let score0 = select(least, across(scores(q0, k), lane), sees);
    var score1 = score0;
    if (HEADS > 1u) { score1 = select(least, across(scores(q1, k), lane), sees); }
    let now = max(most, vec4<f32>(largest(score0), largest(score1), LEAST, LEAST));
    let shrink = exp(most - now);
    most = now;
    let none = vec4<f32>(0.0);
    let w0 = select(none, exp(score0 - now.x), sees);
    let w1 = select(none, exp(score1 - now.y), sees);
    let one = vec4<f32>(1.0);
    total = total * shrink + vec4<f32>(dot(w0, one), dot(w1, one), 0.0, 0.0);
    let g = all_of(now_values);
    sum0 = weighed(sum0, shrink.x, g, w0);
    if (HEADS > 1u) { sum1 = weighed(sum1, shrink.y, g, w1); }
  }

  var of_unit = most;
  for (var i = ACROSS; i < SUBGROUP; i *= 2u) {
    of_unit = max(of_unit, subgroupShuffleXor(of_unit, i));
  }
  let shrink = exp(most - of_unit);
  total *= shrink;
  for (var i = ACROSS; i < SUBGROUP; i *= 2u) { total += subgroupShuffleXor(total, i); }
  let unit = lane / UNIT;
  sum0 = gathered(shrunk(sum0, shrink.x));
  if (HEADS > 1u) { sum1 = gathered(shrunk(sum1, shrink.y)); }
  if (lane % UNIT < ACROSS) {
    keep(sum0, unit, 0u, place);
    if (HEADS > 1u) { keep(sum1, unit, 1u, place); }
  }
  if (lane % UNIT == 0u) {
    greatest[unit] = of_unit;
    totals[unit] = total;
  }
  workgroupBarrier();

  let left = chunk * p.count * (D4 + 1u);
  for (var i = lane; i < HEADS * D4; i += LANES) {
    let h = i / D4;
    let e = i % D4;
    if (h0 + h >= group) { break; }
    var whole = LEAST;
    for (var u = 0u; u < UNITS; u++) { whole = max(whole, greatest[u][h]); }
    var sum = vec4<f32>(0.0);
    var all = 0.0;
    for (var u = 0u; u < UNITS; u++) {
      let weight = exp(greatest[u][h] - whole);
      sum += weight * sums[(u * HEADS + h) * 2u * ACROSS + e % 2u * ACROSS + e / 2u];
      all += weight * totals[u][h];
    }
    let row = b * p.heads + kv * group + h0 + h;
    chunks[left + row * D4 + e] = sum;
    if (e == 0u) { chunks[left + p.count * D4 + row] = vec4<f32>(whole, all, 0.0, 0.0); }
  }
}
