// Causal attention of a few query rows over a long KV cache, first half (flash decoding): the keys
// are split in chunks of 64, each a workgroup's, and sdpa_combine puts the chunks together. A
// workgroup owns 4·QUADS rows that share a K/V head (row r is head r % group of that head's,
// position r / group), as the components of vectors, so that K and V are read once for all of them.
// With a WINDOW the chunks begin at the first key that the first row sees.
// Of each row and chunk it leaves the greatest score, Σ exp(score − greatest), and that sum of V;
// where, ops/chunks.py says.
//   q [B, S, heads, D]   k, v [B, keys, heads / group, D]

const D4: u32 = 16u;          // knob: head_dim / 4, 64 at most
const HALF: bool = false;     // knob: k and v hold f16 pairs, not f32
const LIVE: bool = true;      // knob: past is pos[0], not p.past
const WINDOW: u32 = 0u;       // knob: keys a row sees at most; 0 for no limit
const QUADS: u32 = 1u;        // knob: rows a workgroup owns / 4, 2 at most
const KEYS: u32 = 64u;        // knob: keys of a chunk, one an invocation; a multiple of 64

struct Params {
  count: u32,   // rows of all heads: B · S · heads
  heads: u32,
  group: u32,   // query heads a K/V head serves
  S: u32,       // query rows
  keys: u32,    // rows of k and v
  past: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pos: array<i32>;  // any buffer without LIVE
@group(0) @binding(4) var<storage, read_write> chunks: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> p: Params;

const LEAST = -3.4028234e38;
const PARTS = KEYS / D4;      // the keys of a chunk are shared out again when V is summed

var<workgroup> rows: array<vec4<f32>, 4u * QUADS * KEYS>;   // q [row][d / 4]; later sums of V
var<workgroup> weights: array<vec4<f32>, QUADS * KEYS>;     // [quad][key], four rows each
var<workgroup> live: u32;

// Four halves of the eight that `words` are.
fn widen(words: vec4<u32>, second: bool) -> vec4<f32> {
  let pair = select(words.xy, words.zw, second);
  return vec4<f32>(unpack2x16float(pair.x), unpack2x16float(pair.y));
}

fn k_at(i: u32) -> vec4<f32> {
  if (HALF) { return widen(k[i / 2u], i % 2u == 1u); }
  return bitcast<vec4<f32>>(k[i]);
}

fn v_at(i: u32) -> vec4<f32> {
  if (HALF) { return widen(v[i / 2u], i % 2u == 1u); }
  return bitcast<vec4<f32>>(v[i]);
}

// Row r of the K/V head, counted as q counts rows.
fn row_of(r: u32, b: u32, head: u32) -> u32 {
  return (b * p.S + r / p.group) * p.heads + head * p.group + r % p.group;
}

// A vec4 of a key, or nothing past its end.
fn part_at(key: u32, i: u32) -> vec4<f32> {
  if (i >= D4) { return vec4<f32>(0.0); }
  return k_at(key + i);
}

// What that adds to the scores of a quad's four rows.
fn scored(part: vec4<f32>, u: u32, i: u32) -> vec4<f32> {
  let at = 4u * u * D4 + min(i, D4 - 1u);
  return part * mat4x4<f32>(rows[at], rows[at + D4], rows[at + 2u * D4], rows[at + 3u * D4]);
}

fn greatest_of(u: u32) -> vec4<f32> {
  var most = vec4<f32>(LEAST);
  for (var j = u * KEYS; j < u * KEYS + KEYS; j += 4u) {
    most = max(most, max(max(weights[j], weights[j + 1u]), max(weights[j + 2u], weights[j + 3u])));
  }
  return most;
}

// A vec4 column of V weighed for four rows.
struct Four { x: vec4<f32>, y: vec4<f32>, z: vec4<f32>, w: vec4<f32>, }

fn plus(sum: Four, value: vec4<f32>, u: u32, j: u32) -> Four {
  var w = vec4<f32>(0.0);
  if (j < KEYS) { w = weights[u * KEYS + j]; }  // 0 past the context
  return Four(sum.x + value * w.x, sum.y + value * w.y, sum.z + value * w.z, sum.w + value * w.w);
}

fn keep(sum: Four, u: u32, lane: u32) {
  let at = 4u * u * KEYS + lane;
  rows[at] = sum.x;
  rows[at + KEYS] = sum.y;
  rows[at + 2u * KEYS] = sum.z;
  rows[at + 3u * KEYS] = sum.w;
}

// How many of the first keys the query row at position s does not see.
fn unseen(s: u32, past: u32) -> u32 {
  if (WINDOW == 0u) { return 0u; }
  return past + s + 1u - min(past + s + 1u, WINDOW);
}

// Which of a quad's rows, the first of which is r0, see a key.
fn seen(key: u32, r0: u32, past: u32) -> vec4<bool> {
  let last = past + (r0 + vec4<u32>(0u, 1u, 2u, 3u)) / p.group;
  var sees = vec4<u32>(key) <= min(last, vec4<u32>(past + p.S - 1u));
  if (WINDOW > 0u) { sees &= vec4<u32>(key + WINDOW) > last; }
  return sees;
}

@compute @workgroup_size(KEYS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  if (lane == 0u) {
    live = p.past;
    if (LIVE) { live = u32(pos[0]); }
  }
  let past = workgroupUniformLoad(&live);
  let kv_heads = p.heads / p.group;
  let b = workgroup.z / kv_heads;
  let head = workgroup.z % kv_heads;
  let r0 = workgroup.y * 4u * QUADS;
  let count = p.S * p.group;
  let k0 = unseen(0u, past) + workgroup.x * KEYS;
  let context = past + p.S;
  if (k0 >= context) { return; }  // the grid may be laid out for a later step

  for (var i = lane; i < 4u * QUADS * D4; i += KEYS) {
    rows[i] = q[row_of(min(r0 + i / D4, count - 1u), b, head) * D4 + i % D4] * p.scale;
  }
  workgroupBarrier();

  // One key an invocation; past the context the last one again, which weighs nothing.
  let first = (b * p.keys * kv_heads + head) * D4;
  let stride = kv_heads * D4;
  let key = first + min(k0 + lane, context - 1u) * stride;
  // No arrays of one invocation's own: where a loop is not unrolled, a GPU keeps them in memory.
  var score = vec4<f32>(0.0);
  var score1 = vec4<f32>(0.0);  // of the second quad
  for (var i = 0u; i < D4; i += 4u) {  // four loads under way at once
    let a = part_at(key, i);
    let b = part_at(key, i + 1u);
    let c = part_at(key, i + 2u);
    let d = part_at(key, i + 3u);
    score += scored(a, 0u, i) + scored(b, 0u, i + 1u) + scored(c, 0u, i + 2u)
      + scored(d, 0u, i + 3u);
    if (QUADS > 1u) {
      score1 += scored(a, 1u, i) + scored(b, 1u, i + 1u) + scored(c, 1u, i + 2u)
        + scored(d, 1u, i + 3u);
    }
  }
  let sees = seen(k0 + lane, r0, past);
  let sees1 = seen(k0 + lane, r0 + 4u, past);
  weights[lane] = select(vec4<f32>(LEAST), score, sees);
  if (QUADS > 1u) { weights[KEYS + lane] = select(vec4<f32>(LEAST), score1, sees1); }
  workgroupBarrier();
  let greatest = greatest_of(0u);
  var greatest1 = greatest;
  if (QUADS > 1u) { greatest1 = greatest_of(1u); }
  workgroupBarrier();
  weights[lane] = select(vec4<f32>(0.0), exp(score - greatest), sees);
  if (QUADS > 1u) { weights[KEYS + lane] = select(vec4<f32>(0.0), exp(score1 - greatest1), sees1); }
  workgroupBarrier();

  // A vec4 column of V an invocation, and every PARTS-th key.
  let column = lane % D4;
  let part = lane / D4;
  var acc = Four();
  var acc1 = Four();
  if (part < PARTS) {
    for (var j = part; j < min(KEYS, context - k0); j += 4u * PARTS) {
      let here = first + column;
      let a = v_at(here + (k0 + j) * stride);
      let b = v_at(here + min(k0 + j + PARTS, context - 1u) * stride);
      let c = v_at(here + min(k0 + j + 2u * PARTS, context - 1u) * stride);
      let d = v_at(here + min(k0 + j + 3u * PARTS, context - 1u) * stride);
      acc = plus(plus(acc, a, 0u, j), b, 0u, j + PARTS);
      acc = plus(plus(acc, c, 0u, j + 2u * PARTS), d, 0u, j + 3u * PARTS);
      if (QUADS > 1u) {
        acc1 = plus(plus(acc1, a, 1u, j), b, 1u, j + PARTS);
        acc1 = plus(plus(acc1, c, 1u, j + 2u * PARTS), d, 1u, j + 3u * PARTS);
      }
    }
  }
  keep(acc, 0u, lane);
  if (QUADS > 1u) { keep(acc1, 1u, lane); }
  workgroupBarrier();
  let left = workgroup.x * p.count * (D4 + 1u);
  for (var i = lane; i < 4u * QUADS * D4; i += KEYS) {
    let r = i / D4;
    if (r0 + r >= count) { break; }
    var total = rows[r * KEYS + i % D4];
    for (var j = 1u; j < PARTS; j++) { total += rows[r * KEYS + j * D4 + i % D4]; }
    chunks[left + row_of(r0 + r, b, head) * D4 + i % D4] = total;
  }
  if (lane < 4u * QUADS && r0 + lane < count) {
    let u = lane / 4u;
    var sum = vec4<f32>(0.0);
    for (var j = u * KEYS; j < u * KEYS + KEYS; j += 4u) {
      sum += weights[j] + weights[j + 1u] + weights[j + 2u] + weights[j + 3u];
    }
    let most = select(greatest, greatest1, u == 1u)[lane % 4u];
    chunks[left + p.count * D4 + row_of(r0 + lane, b, head)] =
      vec4<f32>(most, sum[lane % 4u], 0.0, 0.0);
  }
}
