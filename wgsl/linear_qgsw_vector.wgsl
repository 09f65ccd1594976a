// y = f(x · dequantize(w)[N, K]ᵀ) for one row x[K]; w in 4- or 8-bit symmetric groups along K.
//
//   NORM  x is x · (offset + norm) / √(mean(x²) + eps) first: Σ x² is gathered while x is read
//   BIAS  + bias[N]
//   GLU   y[N/2] = act(v[n]) · v[n + N/2]
//   ADD   + add, as long as y
//
// An invocation owns four columns of w, side by side, or with GLU two and the two that go with them,
// and 16 bytes of each at a time. ACROSS invocations side by side own 4 · ACROSS columns and the
// same part of x; along K a workgroup has LANES / ACROSS of them. A GPU reads memory by lines of a
// cache: invocations that share x and lie side by side in scales touch few. Layouts: quant/.
// Subgroups of any size.

enable subgroups;

const BITS: u32 = 4u;        // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const EVEN: bool = false;    // knob: N is even, N/2 too with GLU, so that scales are read two at a time
const NORM: bool = false;    // knob: normalize x
const BIAS: bool = false;    // knob: add bias
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const ACROSS: u32 = 4u;      // knob: invocations side by side along N, a power of two
const LANES: u32 = 256u;     // knob: invocations per workgroup, 4 · ACROSS or more

struct Params {
  N: u32,
  K: u32,
  group: u32,  // a multiple of 32
  eps: f32,
  offset: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;  // any buffer without NORM
@group(0) @binding(2) var<storage, read> packed: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;        // any buffer without BIAS
@group(0) @binding(5) var<storage, read> add: array<f32>;         // any buffer without ADD
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;

const QUADS = 32u / BITS;    // vec4s of x that 16 bytes of a column are multiplied with

var<workgroup> partial: array<vec4<f32>, LANES>;
var<workgroup> squares: array<f32, LANES>;

struct Words { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, }

// The four columns of an invocation; past the edge, others again.
fn columns(quad: u32) -> vec4<u32> {
  var n = vec2<u32>(4u * quad, 4u * quad + 2u);
  if (GLU > 0u) { n = vec2<u32>(2u * quad, 2u * quad + p.N / 2u); }
  if (EVEN) {
    n = min(n, vec2<u32>(p.N - 2u));
    return vec4<u32>(n.x, n.x + 1u, n.y, n.y + 1u);
  }
  return min(vec4<u32>(n.x, n.x + 1u, n.y, n.y + 1u), vec4<u32>(p.N - 1u));
}

fn load(first: vec4<u32>, slot: u32) -> Words {
  let at = first + slot;
  return Words(packed[at.x], packed[at.y], packed[at.z], packed[at.w]);
}

fn scale_at(i: u32) -> f32 {
  if (HALF) { return unpack2x16float(scales[i / 2u])[i % 2u]; }
  return bitcast<f32>(scales[i]);
}

fn scales_at(n: vec4<u32>, k: u32) -> vec4<f32> {
  let at = n + k / p.group * p.N;
  if (HALF && EVEN) {
    let near = unpack2x16float(scales[at.x / 2u]);
    return vec4<f32>(near, unpack2x16float(scales[at.z / 2u]));
  }
  return vec4<f32>(scale_at(at.x), scale_at(at.y), scale_at(at.z), scale_at(at.w));
}

// Four weights, each times the power of 2 at which its bits lie. The bits become the last ones of
// 2²³ + …, which needs no conversion and is exact.
fn unpack(word: u32) -> vec4<f32> {
  if (BITS == 4u) {
    let codes = vec4<u32>(word) & vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u);
    return bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
      - vec4<f32>(8388616.0, 8388736.0, 8390656.0, 8421376.0);
  }
  let w = word ^ 0x80808080u;  // two's complement to offset binary
  let codes = vec4<u32>(w, w, w >> 16u, w >> 16u) & vec4<u32>(0xffu, 0xff00u, 0xffu, 0xff00u);
  return bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
    - vec4<f32>(8388736.0, 8421376.0, 8388736.0, 8421376.0);
}

fn powers() -> vec4<f32> {
  if (BITS == 4u) { return vec4<f32>(1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4096.0); }
  return vec4<f32>(1.0, 1.0 / 256.0, 1.0, 1.0 / 256.0);
}

// Products with 16 bytes of a column, summed by the place of the weights' bits.
fn multiply(w: vec4<u32>, v: array<vec4<f32>, 8>) -> vec4<f32> {
  if (BITS == 8u) {
    return unpack(w.x) * v[0] + unpack(w.y) * v[1] + unpack(w.z) * v[2] + unpack(w.w) * v[3];
  }
  return unpack(w.x) * v[0] + unpack(w.x >> 16u) * v[1] + unpack(w.y) * v[2]
    + unpack(w.y >> 16u) * v[3] + unpack(w.z) * v[4] + unpack(w.z >> 16u) * v[5]
    + unpack(w.w) * v[6] + unpack(w.w >> 16u) * v[7];
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let first = (workgroup.x + workgroup.y * workgroups.x) * ACROSS;
  let n = columns(first + lane % ACROSS);
  let across = p.K * BITS / 128u;  // 16 bytes each, of a column
  let start = n * across;

  var a = vec4<f32>(0.0);
  var b = vec4<f32>(0.0);
  var c = vec4<f32>(0.0);
  var d = vec4<f32>(0.0);
  var square = vec4<f32>(0.0);
  var next = load(start, min(lane / ACROSS, across - 1u));
  for (var slot = lane / ACROSS; slot < across; slot += LANES / ACROSS) {
    let words = next;
    next = load(start, min(slot + LANES / ACROSS, across - 1u));
    let scale = scales_at(n, slot * (128u / BITS));
    var v = array<vec4<f32>, 8>();
    for (var j = 0u; j < QUADS; j++) { v[j] = x[slot * QUADS + j]; }
    if (NORM) {
      for (var j = 0u; j < QUADS; j++) {
        square += v[j] * v[j];
        v[j] *= p.offset + norm[slot * QUADS + j];
      }
    }
    a += multiply(words.a, v) * scale.x;
    b += multiply(words.b, v) * scale.y;
    c += multiply(words.c, v) * scale.z;
    d += multiply(words.d, v) * scale.w;
  }
  let one = powers();
  var sum = vec4<f32>(dot(a, one), dot(b, one), dot(c, one), dot(d, one));
  var sum_of_squares = dot(square, vec4<f32>(1.0));

  // Invocations of a subgroup are neighbours in a workgroup of one dimension.
  let size = u32(subgroupAdd(1.0));
  for (var i = ACROSS; i < size; i *= 2u) {
    sum += subgroupShuffleXor(sum, i);
    if (NORM) { sum_of_squares += subgroupShuffleXor(sum_of_squares, i); }
  }
  let whole = max(size, ACROSS);
  if (lane % whole < ACROSS) {
    partial[lane / whole * ACROSS + lane % whole] = sum;
    if (NORM && lane % whole == 0u) { squares[lane / whole] = sum_of_squares; }
  }
  workgroupBarrier();

  // An invocation per column of y.
  let width = select(4u, 2u, GLU > 0u);
  let at = first * width + lane;
  if (lane >= width * ACROSS || at >= select(p.N, p.N / 2u, GLU > 0u)) { return; }
  var v = vec4<f32>(0.0);
  var total = 0.0;
  for (var i = 0u; i < LANES / whole; i++) {
    v += partial[i * ACROSS + lane / width];
    if (NORM) { total += squares[i]; }
  }
  if (NORM) { v *= inverseSqrt(total / f32(p.K) + p.eps); }
  var result = v[lane % width];
  if (BIAS) { result += bias[at]; }
  if (GLU > 0u) {
    var up = v[lane % width + 2u];
    if (BIAS) { up += bias[at + p.N / 2u]; }
    result = activate(result) * up;
  }
  if (ADD) { result += add[at]; }
  y[at] = result;
}
