// y = softmax(q · kᵀ · scale + mask) · v for many query rows. A workgroup of 8 · TALL owns TALL rows,
// 4 · QUADS times, that share a K/V head (row r is head r % group of that head's, position r / group)
// and walks over the keys, KEYS at a time, with a running maximum and sum (online softmax; Dao et
// al., arXiv 2205.14135): only a tile of scores ever exists. Strides are in vec4s, so [B, heads, S, D]
// and [B, S, heads, D] are the same to it; y lies as q does, v as k does.
//
// The invocation (x, y) owns the rows y, y + TALL, … in all that follows: of the scores the keys x,
// x + 8, …, of y the vec4 columns x, x + 8, …. With 8 rows, 4 keys and 2 columns of it (head_dim 64) a
// vec4 along head_dim takes 12 loads from workgroup memory and 128 FMAs, a key then 4 and 64: a tile of
// 32 keys 320 loads of an invocation and 4096 FMAs, where an SM serves one such load a cycle or two and
// four FMAs a cycle. 64 sums, 32 scores and what is loaded are about 150 registers, 12 subgroups an SM.
// Neighbours in a subgroup are 8 rows × 4 keys; rows of tiles that are stored by columns are longer by
// one: no bank serves two. q is read again for every tile, 16 KiB in 4096 FMAs: 4 % of what L2 gives.
// 14 KiB of workgroup memory, and v in two pieces: 18 KiB and in one were slower, 21.1 TFLOP/s against
// 24.4 (one H100, 2048 rows).

const D4: u32 = 16u;          // knob: head_dim / 4
const HALF: bool = false;     // knob: k and v hold f16 pairs, not f32
const LIVE: bool = false;     // knob: past is pos[0], not p.past
const CAUSAL: bool = false;   // knob: row s sees keys 0 … past + s, not all
const MASK: bool = false;     // knob: add mask to the scores
const WINDOW: u32 = 0u;       // knob: with CAUSAL, keys a row sees at most; 0 for no limit
const QUADS: u32 = 2u;        // knob: query rows an invocation owns / 4
const TALL: u32 = 8u;         // knob: invocations along rows, a multiple of 8
const KEYS: u32 = 32u;        // knob: a tile of keys, 32 | 64
const STEP: u32 = 8u;         // knob: vec4s of head_dim a tile of q and k holds, 8 | 16
const SPACE: u32 = 1024u;     // knob: vec4s of workgroup memory at most

struct Params {
  B: u32,
  heads: u32,
  group: u32,  // query heads a K/V head serves
  S: u32,      // query rows
  keys: u32,   // there are in k
  past: u32,
  q_b: u32, q_h: u32, q_s: u32,  // strides of q and y, in vec4s
  k_b: u32, k_h: u32, k_s: u32,  // strides of k and v, in vec4s
  m_b: u32, m_h: u32, m_s: u32, m_k: u32,  // strides of mask, in elements
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> mask: array<f32>;  // any buffer without MASK
@group(0) @binding(4) var<storage, read> pos: array<i32>;   // any buffer without LIVE
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(6) var<uniform> p: Params;

const LEAST = -3.4028234e38;
const LANES = 8u * TALL;
const ROWS = 4u * QUADS * TALL;
const EACH = KEYS / 8u;           // keys of a tile an invocation owns
const COLUMNS = (D4 + 7u) / 8u;   // vec4s of a row of y
const Q_LOADS = STEP * ROWS / LANES;
const K_LOADS = STEP * KEYS / LANES;
const V_LOADS = (V_KEYS * D4 + LANES - 1u) / LANES;

// Workgroup memory holds, one after the other, q and k [d / 4][row or key, and one], and weights
// [key][row / TALL / 4][row % TALL], of four rows each, with as many rows of v as there is room for;
// behind these what invocations of the same rows tell each other, [x][as above].
const QUAD = QUADS * TALL;
const K_AT = STEP * (ROWS + 1u);
const V_AT = KEYS * QUAD;
const ROOM = (SPACE - V_AT - 8u * QUAD) / D4;
const V_KEYS = min(KEYS, 4u << (u32(ROOM >= 8u) + u32(ROOM >= 16u) + u32(ROOM >= 32u) + u32(ROOM >= 64u)));
const TOLD = max(K_AT + STEP * (KEYS + 1u), V_AT + V_KEYS * D4);

var<workgroup> tile: array<vec4<f32>, TOLD + 8u * QUAD>;

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

// Where row r of K/V head `shared_by` begins in q and y.
fn row_at(r: u32, b: u32, shared_by: u32) -> u32 {
  return b * p.q_b + (shared_by * p.group + r % p.group) * p.q_h + r / p.group * p.q_s;
}

// How many keys the query row at position s sees.
fn seen(s: u32, past: u32) -> u32 {
  if (CAUSAL) { return min(past + s + 1u, p.keys); }
  return p.keys;
}

// How many of the first keys the query row at position s does not see.
fn unseen(s: u32, past: u32) -> u32 {
  if (WINDOW == 0u) { return 0u; }
  return past + s + 1u - min(past + s + 1u, WINDOW);
}

fn sees(s: vec4<u32>, key: u32, past: u32) -> vec4<bool> {
  return vec4<bool>(
    key < seen(s.x, past) && key >= unseen(s.x, past), key < seen(s.y, past) && key >= unseen(s.y, past),
    key < seen(s.z, past) && key >= unseen(s.z, past), key < seen(s.w, past) && key >= unseen(s.w, past));
}

@compute @workgroup_size(8 * TALL)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let kv_heads = p.heads / p.group;
  let b = workgroup.x / kv_heads;
  let head = workgroup.x % kv_heads;
  let last = p.S * p.group - 1u;  // row; past an edge: the last row or key again, for nobody
  let r0 = (workgroups.y - 1u - workgroup.y) * ROWS;  // those that see most keys go first
  let x = lane / 8u % 8u;
  let row = lane % 8u + lane / 64u * 8u;
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  let start = unseen(r0 / p.group, past);
  let end = seen(min(r0 + ROWS - 1u, last) / p.group, past);
  let all_see = seen(r0 / p.group, past);
  let all_from = unseen(min(r0 + ROWS - 1u, last) / p.group, past);

  let d = lane % STEP;
  let along = lane / STEP;
  var q_from: array<u32, Q_LOADS>;
  for (var i = 0u; i < Q_LOADS; i++) {
    q_from[i] = row_at(min(r0 + along + i * (LANES / STEP), last), b, head) + d;
  }
  let k_from = b * p.k_b + head * p.k_h;
  var s: array<vec4<u32>, QUADS>;  // positions of the rows
  var biases: array<vec4<u32>, QUADS>;
  for (var h = 0u; h < QUADS; h++) {
    let r = min(r0 + row + TALL * (4u * h + vec4<u32>(0u, 1u, 2u, 3u)), vec4<u32>(last));
    s[h] = r / p.group;
    biases[h] = b * p.m_b + (head * p.group + r % p.group) * p.m_h + s[h] * p.m_s;
  }

  var acc: array<array<vec4<f32>, COLUMNS>, 4u * QUADS>;
  var greatest: array<vec4<f32>, QUADS>;
  var sum: array<vec4<f32>, QUADS>;  // of the invocation's keys alone
  for (var h = 0u; h < QUADS; h++) { greatest[h] = vec4<f32>(LEAST); }
  for (var k0 = start; k0 < end; k0 += KEYS) {
    var score = array<array<vec4<f32>, EACH>, QUADS>();
    for (var d0 = 0u; d0 < D4; d0 += STEP) {
      var q_part = array<vec4<f32>, Q_LOADS>();
      var k_part = array<vec4<f32>, K_LOADS>();
      if (D4 % STEP == 0u || d0 + d < D4) {
        for (var i = 0u; i < Q_LOADS; i++) { q_part[i] = q[q_from[i] + d0]; }
        for (var i = 0u; i < K_LOADS; i++) {
          let key = min(k0 + along + i * (LANES / STEP), end - 1u);
          k_part[i] = k_at(k_from + key * p.k_s + d0 + d);
        }
      }
      workgroupBarrier();
      for (var i = 0u; i < Q_LOADS; i++) {
        tile[d * (ROWS + 1u) + along + i * (LANES / STEP)] = q_part[i];
      }
      for (var i = 0u; i < K_LOADS; i++) {
        tile[K_AT + d * (KEYS + 1u) + along + i * (LANES / STEP)] = k_part[i];
      }
      workgroupBarrier();
      for (var i = 0u; i < STEP; i++) {
        var keys = array<vec4<f32>, EACH>();
        for (var j = 0u; j < EACH; j++) { keys[j] = tile[K_AT + i * (KEYS + 1u) + x + 8u * j]; }
        for (var h = 0u; h < QUADS; h++) {
          let at = i * (ROWS + 1u) + row + 4u * h * TALL;
          let four = transpose(mat4x4<f32>(
            tile[at], tile[at + TALL], tile[at + 2u * TALL], tile[at + 3u * TALL]));
          for (var j = 0u; j < EACH; j++) {
            let w = keys[j];
            score[h][j] = fma(four[0], vec4<f32>(w.x), fma(four[1], vec4<f32>(w.y),
              fma(four[2], vec4<f32>(w.z), fma(four[3], vec4<f32>(w.w), score[h][j]))));
          }
        }
      }
    }

    let edge = k0 < all_from || k0 + KEYS > all_see;
    for (var h = 0u; h < QUADS; h++) {
      var largest = vec4<f32>(LEAST);
      for (var j = 0u; j < EACH; j++) {
        let key = k0 + x + 8u * j;
        score[h][j] *= p.scale;
        if (MASK) {
          let m = biases[h] + min(key, p.keys - 1u) * p.m_k;
          score[h][j] += vec4<f32>(mask[m.x], mask[m.y], mask[m.z], mask[m.w]);
        }
        if (edge) { score[h][j] = select(vec4<f32>(LEAST), score[h][j], sees(s[h], key, past)); }
        largest = max(largest, score[h][j]);
      }
      tile[TOLD + x * QUAD + h * TALL + row] = largest;
    }
    workgroupBarrier();
    for (var h = 0u; h < QUADS; h++) {
      var largest = greatest[h];
      for (var i = 0u; i < 8u; i++) { largest = max(largest, tile[TOLD + i * QUAD + h * TALL + row]); }
      let shrink = exp(greatest[h] - largest);
      greatest[h] = largest;
      sum[h] *= shrink;
      for (var i = 0u; i < 4u; i++) {
        for (var c = 0u; c < COLUMNS; c++) { acc[4u * h + i][c] *= shrink[i]; }
      }
      for (var j = 0u; j < EACH; j++) {
        var weight = exp(score[h][j] - largest);
        if (edge) { weight = select(vec4<f32>(0.0), weight, sees(s[h], k0 + x + 8u * j, past)); }
        sum[h] += weight;
        tile[(x + 8u * j) * QUAD + h * TALL + row] = weight;
      }
    }
    for (var part = 0u; part < KEYS / V_KEYS; part++) {
      let v0 = part * V_KEYS;
      var v_part = array<vec4<f32>, V_LOADS>();
      for (var i = 0u; i < V_LOADS; i++) {
        let at = lane + i * LANES;
        v_part[i] = v_at(k_from + min(k0 + v0 + at / D4, end - 1u) * p.k_s + at % D4);
      }
      if (part > 0u) { workgroupBarrier(); }
      for (var i = 0u; i < V_LOADS; i++) {
        let at = lane + i * LANES;
        if (at < V_KEYS * D4) { tile[V_AT + at] = v_part[i]; }
      }
      workgroupBarrier();
      for (var j = 0u; j < V_KEYS; j++) {
        var values = array<vec4<f32>, COLUMNS>();
        for (var c = 0u; c < COLUMNS; c++) { values[c] = tile[V_AT + j * D4 + min(x + 8u * c, D4 - 1u)]; }
        for (var h = 0u; h < QUADS; h++) {
          let weight = tile[(v0 + j) * QUAD + h * TALL + row];
          for (var i = 0u; i < 4u; i++) {
            for (var c = 0u; c < COLUMNS; c++) {
              acc[4u * h + i][c] = fma(vec4<f32>(weight[i]), values[c], acc[4u * h + i][c]);
            }
          }
        }
      }
    }
  }

  for (var h = 0u; h < QUADS; h++) { tile[TOLD + x * QUAD + h * TALL + row] = sum[h]; }
  workgroupBarrier();
  for (var h = 0u; h < QUADS; h++) {
    var total = vec4<f32>(0.0);
    for (var i = 0u; i < 8u; i++) { total += tile[TOLD + i * QUAD + h * TALL + row]; }
    let norm = select(vec4<f32>(0.0), 1.0 / total, total > vec4<f32>(0.0));  // nothing but −∞: zeros
    for (var i = 0u; i < 4u; i++) {
      let r = r0 + row + TALL * (4u * h + i);
      if (r > last) { continue; }
      let at = row_at(r, b, head);
      for (var c = 0u; c < COLUMNS; c++) {
        if (x + 8u * c < D4) { y[at + x + 8u * c] = acc[4u * h + i][c] * norm[i]; }
      }
    }
  }
}
