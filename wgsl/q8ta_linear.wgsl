// y[M, N] = (x[M, K] − zero point) · w[N, K]ᵀ · scale · scales[N] (+ bias[N]) of int8 x and w; a float,
// or quantized. The sums are integers, so exact: Σ x·w − zero point · Σ w, four products at a time.
// LANES invocations share ROWS × 4 elements of y and walk along K together; with LANES = 1 there is
// no barrier, which a GPU imitated on the CPU wants.

const BIAS: bool = false;   // knob: add bias[n]
const RELU: bool = false;   // knob: max(y, 0)
const CODES: bool = false;  // knob: y is int8, four to a word; N is a multiple of 4
const ALIGNED: bool = false;  // knob: K is a multiple of 4, so that rows begin with a word
const ROWS: u32 = 4u;       // knob: rows of y an invocation owns; LANES at most where they share
const LANES: u32 = 1u;      // knob: invocations that share a tile
const WIDTH: u32 = 16u;     // knob: tiles per workgroup; 1 where they share

struct Params {
  M: u32,
  N: u32,
  K: u32,
  scale: f32,
  zero_point: i32,
  inverse: f32,        // 1 / the scale of y
  y_zero_point: i32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(4) var<storage, read_write> y: array<u32>;  // int8, or f32
@group(0) @binding(5) var<uniform> p: Params;

var<workgroup> partial: array<array<vec4<i32>, ROWS>, LANES>;

// Four bytes from byte i on; rows of bytes need not begin with a word.
fn x_word(i: u32) -> u32 {
  if (ALIGNED) { return x[i / 4u]; }
  let shift = i % 4u * 8u;
  let word = x[i / 4u] >> shift;
  if (shift == 0u) { return word; }
  return word | (x[i / 4u + 1u] << (32u - shift));
}

fn w_word(i: u32) -> u32 {
  if (ALIGNED) { return w[i / 4u]; }
  let shift = i % 4u * 8u;
  let word = w[i / 4u] >> shift;
  if (shift == 0u) { return word; }
  return word | (w[i / 4u + 1u] << (32u - shift));
}

fn dots(a: u32, b: vec4<u32>) -> vec4<i32> {
  return vec4<i32>(dot4I8Packed(a, b.x), dot4I8Packed(a, b.y), dot4I8Packed(a, b.z), dot4I8Packed(a, b.w));
}

fn finish(sum: vec4<i32>, m: u32, n0: u32, n: vec4<u32>) {
  var v = vec4<f32>(sum) * p.scale * vec4<f32>(scales[n.x], scales[n.y], scales[n.z], scales[n.w]);
  if (BIAS) { v += vec4<f32>(bias[n.x], bias[n.y], bias[n.z], bias[n.w]); }
  if (RELU) { v = max(v, vec4<f32>(0.0)); }
  let at = m * p.N + n0;
  if (CODES) {
    let q = clamp(round(v * p.inverse) + f32(p.y_zero_point), vec4<f32>(-128.0), vec4<f32>(127.0));
    let bytes = (bitcast<vec4<u32>>(vec4<i32>(q)) & vec4<u32>(0xffu)) << vec4<u32>(0u, 8u, 16u, 24u);
    y[at / 4u] = bytes.x | bytes.y | bytes.z | bytes.w;
  } else {
    for (var c = 0u; c < 4u && n0 + c < p.N; c++) { y[at + c] = bitcast<u32>(v[c]); }
  }
}

@compute @workgroup_size(LANES, WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.y;
  let across = (p.N + 3u) / 4u;
  let n0 = id % across * 4u;
  let m0 = id / across * ROWS;

  // Past an edge: recompute the last row or column, store nothing.
  let n = min(vec4<u32>(n0, n0 + 1u, n0 + 2u, n0 + 3u), vec4<u32>(p.N - 1u));
  var acc: array<vec4<i32>, ROWS>;
  var sums = vec4<i32>(0);
  for (var k = lane * 4u; k < p.K; k += LANES * 4u) {
    let at = n * p.K + k;
    var words = vec4<u32>(w_word(at.x), w_word(at.y), w_word(at.z), w_word(at.w));
    if (!ALIGNED && k + 4u > p.K) { words &= vec4<u32>((1u << ((p.K - k) * 8u)) - 1u); }
    sums += dots(0x01010101u, words);
    for (var r = 0u; r < ROWS; r++) { acc[r] += dots(x_word(min(m0 + r, p.M - 1u) * p.K + k), words); }
  }
  for (var r = 0u; r < ROWS; r++) { acc[r] -= p.zero_point * sums; }
  if (LANES == 1u) {
    for (var r = 0u; r < ROWS && m0 + r < p.M; r++) { finish(acc[r], m0 + r, n0, n); }
    return;
  }
  for (var r = 0u; r < ROWS; r++) { partial[lane][r] = acc[r]; }
  workgroupBarrier();
  if (lane >= ROWS || m0 + lane >= p.M) { return; }
  var total = vec4<i32>(0);
  for (var i = 0u; i < LANES; i++) { total += partial[i][lane]; }
  finish(total, m0 + lane, n0, n);
}
