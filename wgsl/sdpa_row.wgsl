// y = softmax(q · kᵀ · scale + mask) · v: an invocation owns ROWS query rows of one head and walks
// over the keys four at a time with a running maximum and sum (online softmax), so that what it
// loads of k and v serves all its rows. No barrier and no shared memory, for a GPU imitated on the
// CPU. Query head h reads K/V head h / group. Strides are in vec4s, so [B, heads, S, D] and
// [B, S, heads, D] are the same to it; y lies as q does, v as k does.

const D4: u32 = 16u;          // knob: head_dim / 4
const HALF: bool = false;     // knob: k and v hold f16 pairs, not f32
const LIVE: bool = false;     // knob: past is pos[0], not p.past
const CAUSAL: bool = false;   // knob: row s sees keys 0 … past + s, not all
const MASK: bool = false;     // knob: add mask to the scores
const WINDOW: u32 = 0u;       // knob: with CAUSAL, keys a row sees at most; 0 for no limit
const ROWS: u32 = 4u;         // knob: query rows an invocation owns; keep ROWS · D4 at 64 or less
const WIDTH: u32 = 16u;       // knob: invocations per workgroup

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

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let blocks = (p.S + ROWS - 1u) / ROWS;
  if (id >= p.B * p.heads * blocks) { return; }
  let s0 = id % blocks * ROWS;
  let rows = min(ROWS, p.S - s0);
  let head = id / blocks % p.heads;
  let b = id / (blocks * p.heads);
  let queries = b * p.q_b + head * p.q_h;
  let first = b * p.k_b + head / p.group * p.k_h;
  let biases = b * p.m_b + head * p.m_h;
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  let end = seen(s0 + rows - 1u, past);

  var acc: array<vec4<f32>, ROWS * D4>;
  var greatest: array<f32, ROWS>;
  var sum: array<f32, ROWS>;
  for (var r = 0u; r < rows; r++) { greatest[r] = LEAST; }
  for (var k0 = unseen(s0, past); k0 < end; k0 += 4u) {
    // Past the end: the last key again, which weighs nothing.
    let ahead = k0 + vec4<u32>(0u, 1u, 2u, 3u);
    let key = min(ahead, vec4<u32>(end - 1u));
    let at = first + key * p.k_s;
    var weight = array<vec4<f32>, ROWS>();  // without the value, compilers keep the last pass's
    var shrink: array<f32, ROWS>;
    for (var i = 0u; i < D4; i++) {
      let block = mat4x4<f32>(k_at(at.x + i), k_at(at.y + i), k_at(at.z + i), k_at(at.w + i));
      for (var r = 0u; r < rows; r++) {
        weight[r] += q[queries + (s0 + r) * p.q_s + i] * block;
      }
    }
    for (var r = 0u; r < rows; r++) {
      var score = weight[r] * p.scale;
      if (MASK) {
        let m = biases + (s0 + r) * p.m_s + key * p.m_k;
        score += vec4<f32>(mask[m.x], mask[m.y], mask[m.z], mask[m.w]);
      }
      let before = ahead < vec4<u32>(unseen(s0 + r, past));
      let sees = (ahead < vec4<u32>(seen(s0 + r, past))) & !before;
      let most = select(vec4<f32>(LEAST), score, sees);
      let largest = max(greatest[r], max(max(most.x, most.y), max(most.z, most.w)));
      weight[r] = select(vec4<f32>(0.0), exp(score - largest), sees);
      shrink[r] = exp(greatest[r] - largest);
      greatest[r] = largest;
      sum[r] = sum[r] * shrink[r] + dot(weight[r], vec4<f32>(1.0));
    }
    for (var i = 0u; i < D4; i++) {
      let block = mat4x4<f32>(v_at(at.x + i), v_at(at.y + i), v_at(at.z + i), v_at(at.w + i));
      for (var r = 0u; r < rows; r++) {
        acc[r * D4 + i] = acc[r * D4 + i] * shrink[r] + block * weight[r];
      }
    }
  }
  for (var r = 0u; r < rows; r++) {
    let norm = select(0.0, 1.0 / sum[r], sum[r] > 0.0);  // nothing but −∞ gives zeros
    let row = queries + (s0 + r) * p.q_s;
    for (var i = 0u; i < D4; i++) { y[row + i] = acc[r * D4 + i] * norm; }
  }
}
