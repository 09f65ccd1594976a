// y = softmax(q · kᵀ · scale + mask) · v for many query rows. A workgroup of 16 × TALL owns 4·TALL
// rows that share a K/V head (row r is head r % group of that head's, position r / group) and walks
// over the keys 32 at a time with a running maximum and sum (online softmax; Dao et al., arXiv
// 2205.14135): only a tile of scores ever exists. The invocation (x, y) owns the rows y, y + TALL,
// y + 2·TALL, y + 3·TALL, as the four components of a vector: of the scores the keys x and x + 16,
// of the result the vec4 columns x, x + 16, …. 12 KiB of workgroup memory, whatever head_dim is.
// Strides are in vec4s, so [B, heads, S, D] and [B, S, heads, D] are the same to it; y lies as q
// does, v as k does.

const D4: u32 = 16u;          // knob: head_dim / 4
const HALF: bool = false;     // knob: k and v hold f16 pairs, not f32
const LIVE: bool = false;     // knob: past is pos[0], not p.past
const CAUSAL: bool = false;   // knob: row s sees keys 0 … past + s, not all
const MASK: bool = false;     // knob: add mask to the scores
const WINDOW: u32 = 0u;       // knob: with CAUSAL, keys a row sees at most; 0 for no limit
const TALL: u32 = 8u;         // knob: query rows a workgroup owns / 4; 8 at most

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
const ROWS = 4u * TALL;
const KEYS = 32u;                // a tile of keys
const STEP = 8u;                 // vec4s of head_dim a tile holds
const COLUMNS = (D4 + 15u) / 16u;  // vec4 columns of y an invocation owns

var<workgroup> q_tile: array<vec4<f32>, STEP * ROWS>;   // [d / 4][row]
var<workgroup> k_tile: array<vec4<f32>, STEP * KEYS>;   // [d / 4][key]
var<workgroup> weights: array<vec4<f32>, TALL * KEYS>;  // [y][key], four rows each
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

// Past an edge: the last row or key again, which nobody stores or weighs; past head_dim: zeros.
fn load_tiles(r0: u32, k0: u32, d0: u32, b: u32, head: u32, lane: u32) {
  for (var i = lane; i < STEP * ROWS; i += 16u * TALL) {
    let d = d0 + i % STEP;
    let row = row_at(min(r0 + i / STEP, p.S * p.group - 1u), b, head);
    var part = vec4<f32>(0.0);
    if (d < D4) { part = q[row + d]; }
    q_tile[i % STEP * ROWS + i / STEP] = part;
  }
  for (var i = lane; i < STEP * KEYS; i += 16u * TALL) {
    let d = d0 + i % STEP;
    let key = min(k0 + i / STEP, p.keys - 1u);
    var part = vec4<f32>(0.0);
    if (d < D4) { part = k_at(b * p.k_b + head * p.k_h + key * p.k_s + d); }
    k_tile[i % STEP * KEYS + i / STEP] = part;
  }
}

@compute @workgroup_size(16, TALL)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let kv_heads = p.heads / p.group;
  let b = workgroup.z / kv_heads;
  let head = workgroup.z % kv_heads;
  let rows = p.S * p.group;
  let r0 = workgroup.x * ROWS;
  if (r0 >= rows) { return; }

  let lane = local.y * 16u + local.x;
  if (lane == 0u) {
    live = p.past;
    if (LIVE) { live = u32(pos[0]); }
  }
  let past = workgroupUniformLoad(&live);
  let end = seen((min(r0 + ROWS, rows) - 1u) / p.group, past);
  let row = min(r0 + local.y + TALL * vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(rows - 1u));
  let s = row / p.group;
  let ends = vec4<u32>(seen(s.x, past), seen(s.y, past), seen(s.z, past), seen(s.w, past));
  let starts =
    vec4<u32>(unseen(s.x, past), unseen(s.y, past), unseen(s.z, past), unseen(s.w, past));
  let biases = b * p.m_b + (head * p.group + row % p.group) * p.m_h + s * p.m_s;

  var acc: array<mat4x4<f32>, COLUMNS>;  // a column of the matrix for each of the four rows
  var greatest = vec4<f32>(LEAST);
  var sum = vec4<f32>(0.0);
  for (var k0 = unseen(r0 / p.group, past); k0 < end; k0 += KEYS) {
    var near = vec4<f32>(0.0);  // scores of the key x
    var far = vec4<f32>(0.0);   // and of the key x + 16
    for (var d0 = 0u; d0 < D4; d0 += STEP) {
      load_tiles(r0, k0, d0, b, head, lane);
      workgroupBarrier();
      for (var i = 0u; i < STEP; i++) {
        let at = i * ROWS + local.y;
        let four = mat4x4<f32>(
          q_tile[at], q_tile[at + TALL], q_tile[at + 2u * TALL], q_tile[at + 3u * TALL],
        );
        near += k_tile[i * KEYS + local.x] * four;
        far += k_tile[i * KEYS + local.x + 16u] * four;
      }
      workgroupBarrier();
    }
    near *= p.scale;
    far *= p.scale;
    let key = k0 + local.x;
    if (MASK) {
      let m = biases + min(key, p.keys - 1u) * p.m_k;
      near += vec4<f32>(mask[m.x], mask[m.y], mask[m.z], mask[m.w]);
      let n = biases + min(key + 16u, p.keys - 1u) * p.m_k;
      far += vec4<f32>(mask[n.x], mask[n.y], mask[n.z], mask[n.w]);
    }
    let own = local.y * KEYS + local.x;
    let sees_near = (vec4<u32>(key) < ends) & (vec4<u32>(key) >= starts);
    let sees_far = (vec4<u32>(key + 16u) < ends) & (vec4<u32>(key + 16u) >= starts);
    weights[own] = select(vec4<f32>(LEAST), near, sees_near);
    weights[own + 16u] = select(vec4<f32>(LEAST), far, sees_far);
    workgroupBarrier();
    var largest = greatest;
    for (var j = 0u; j < KEYS; j++) { largest = max(largest, weights[local.y * KEYS + j]); }
    workgroupBarrier();
    let none = vec4<f32>(0.0);
    weights[own] = select(none, exp(near - largest), sees_near);
    weights[own + 16u] = select(none, exp(far - largest), sees_far);
    workgroupBarrier();

    let shrink = exp(greatest - largest);
    greatest = largest;
    sum *= shrink;
    for (var c = 0u; c < COLUMNS; c++) {
      let m = acc[c];
      acc[c] = mat4x4<f32>(m[0] * shrink.x, m[1] * shrink.y, m[2] * shrink.z, m[3] * shrink.w);
    }
    let values = b * p.k_b + head * p.k_h + k0 * p.k_s;
    for (var j = 0u; j < min(KEYS, end - k0); j++) {
      let w = weights[local.y * KEYS + j];
      sum += w;
      for (var c = 0u; c < COLUMNS; c++) {
        let u = v_at(values + j * p.k_s + min(local.x + 16u * c, D4 - 1u));
        acc[c] += mat4x4<f32>(u * w.x, u * w.y, u * w.z, u * w.w);
      }
    }
  }

  let norm = select(vec4<f32>(0.0), 1.0 / sum, sum > vec4<f32>(0.0));  // nothing but −∞: zeros
  for (var r = 0u; r < 4u; r++) {
    if (r0 + local.y + TALL * r >= rows) { continue; }
    let at = row_at(row[r], b, head);
    for (var c = 0u; c < COLUMNS; c++) {
      let column = local.x + 16u * c;
      if (column < D4) { y[at + column] = acc[c][r] * norm[r]; }
    }
  }
}
