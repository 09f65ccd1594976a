// Causal attention of a few query rows over a long KV cache, first half (flash decoding): the keys
// are split in chunks of 64, each a workgroup's, and sdpa_combine puts the chunks together. A
// workgroup owns 4·QUADS rows that share a K/V head (row r is head r % group of that head's,
// position r / group), as the components of vectors, so that K and V are read once for all of them.
// With a WINDOW the chunks begin at the first key that the first row sees.
// Of each row and chunk it leaves the greatest score, Σ exp(score − greatest), and that sum of V.
//   q [B, S, heads, D]   k, v [B, keys, heads / group, D]
//   stats [B, S, heads, chunks], partial [B, S, heads, chunks, D]

const D4: u32 = 16u;          // knob: head_dim / 4, 64 at most
const HALF: bool = false;     // knob: k and v hold f16 pairs, not f32
const LIVE: bool = true;      // knob: past is pos[0], not p.past
const WINDOW: u32 = 0u;       // knob: keys a row sees at most; 0 for no limit
const QUADS: u32 = 1u;        // knob: rows a workgroup owns / 4, 2 at most
const KEYS: u32 = 64u;        // knob: keys of a chunk, one an invocation; 64 or more

struct Params {
  heads: u32,
  group: u32,   // query heads a K/V head serves
  S: u32,       // query rows
  keys: u32,    // rows of k and v
  chunks: u32,  // at most
  past: u32,
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pos: array<i32>;  // any buffer without LIVE
@group(0) @binding(4) var<storage, read_write> stats: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> partial: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> p: Params;

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

// How many of the first keys the query row at position s does not see.
fn unseen(s: u32, past: u32) -> u32 {
  if (WINDOW == 0u) { return 0u; }
  return past + s + 1u - min(past + s + 1u, WINDOW);
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
  var score: array<vec4<f32>, QUADS>;
  for (var i = 0u; i < D4; i += 4u) {  // four loads under way at once
    var part = array<vec4<f32>, 4>();
    for (var t = 0u; t < 4u; t++) { part[t] = k_at(key + min(i + t, D4 - 1u)); }
    for (var t = 0u; t < min(4u, D4 - i); t++) {
      for (var u = 0u; u < QUADS; u++) {
        let at = 4u * u * D4 + i + t;
        score[u] += part[t]
          * mat4x4<f32>(rows[at], rows[at + D4], rows[at + 2u * D4], rows[at + 3u * D4]);
      }
    }
  }
  var sees: array<vec4<bool>, QUADS>;
  for (var u = 0u; u < QUADS; u++) {
    let s = (r0 + 4u * u + vec4<u32>(0u, 1u, 2u, 3u)) / p.group;
    sees[u] = vec4<u32>(k0 + lane) < min(past + s + 1u, vec4<u32>(context));
    if (WINDOW > 0u) { sees[u] &= vec4<u32>(k0 + lane + WINDOW) > past + s; }
    weights[u * KEYS + lane] = select(vec4<f32>(LEAST), score[u], sees[u]);
  }
  workgroupBarrier();
  var greatest: array<vec4<f32>, QUADS>;
  for (var u = 0u; u < QUADS; u++) {
    greatest[u] = vec4<f32>(LEAST);
    for (var j = 0u; j < KEYS; j++) { greatest[u] = max(greatest[u], weights[u * KEYS + j]); }
  }
  workgroupBarrier();
  for (var u = 0u; u < QUADS; u++) {
    weights[u * KEYS + lane] = select(vec4<f32>(0.0), exp(score[u] - greatest[u]), sees[u]);
  }
  workgroupBarrier();

  // A vec4 column of V an invocation, and every PARTS-th key.
  let column = lane % D4;
  let part = lane / D4;
  var acc: array<mat4x4<f32>, QUADS>;  // a column of the matrix for each of four rows
  if (part < PARTS) {
    for (var j0 = part; j0 < min(KEYS, context - k0); j0 += 4u * PARTS) {
      var value = array<vec4<f32>, 4>();
      for (var t = 0u; t < 4u; t++) {
        value[t] = v_at(first + min(k0 + j0 + t * PARTS, context - 1u) * stride + column);
      }
      for (var t = 0u; t < 4u; t++) {
        let j = j0 + t * PARTS;
        if (j >= KEYS) { break; }
        for (var u = 0u; u < QUADS; u++) {
          let w = weights[u * KEYS + j];  // 0 past the context
          acc[u] += mat4x4<f32>(value[t] * w.x, value[t] * w.y, value[t] * w.z, value[t] * w.w);
        }
      }
    }
  }
  for (var u = 0u; u < QUADS; u++) {
    for (var c = 0u; c < 4u; c++) { rows[(4u * u + c) * KEYS + lane] = acc[u][c]; }
  }
  workgroupBarrier();
  for (var i = lane; i < 4u * QUADS * D4; i += KEYS) {
    let r = i / D4;
    if (r0 + r >= count) { break; }
    var total = rows[r * KEYS + i % D4];
    for (var j = 1u; j < PARTS; j++) { total += rows[r * KEYS + j * D4 + i % D4]; }
    partial[(row_of(r0 + r, b, head) * p.chunks + workgroup.x) * D4 + i % D4] = total;
  }
  if (lane < 4u * QUADS && r0 + lane < count) {
    let u = lane / 4u;
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < KEYS; j++) { sum += weights[u * KEYS + j]; }
    stats[row_of(r0 + lane, b, head) * p.chunks + workgroup.x] =
      vec2<f32>(greatest[u][lane % 4u], sum[lane % 4u]);
  }
}
