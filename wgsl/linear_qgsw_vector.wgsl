// y = f(x · dequantize(w)[N, K]ᵀ) for one row x[K]; w in 4- or 8-bit symmetric groups along K.
//
//   NORM  x is x · norm / √(mean(x²) + eps) first: Σ x² is gathered while x is read
//   BIAS  + bias[N]
//   GLU   y[N/2] = act(v[n]) · v[n + N/2]
//   ADD   + add, as long as y
//
// A workgroup owns BLOCKS times four columns of w, side by side, or with GLU two and the two that go
// with them. It walks along K together, LANES times 16 bytes of every column at a time, each
// invocation 16 bytes of four columns; what they are multiplied with lies in workgroup memory, and
// the next 16 bytes are under way meanwhile. Layouts: quant/. Subgroups of any size.

enable subgroups;

const BITS: u32 = 4u;        // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const EVEN: bool = false;    // knob: N is even, N/2 too with GLU, so that scales are read two at a time
const NORM: bool = false;    // knob: normalize x
const BIAS: bool = false;    // knob: add bias
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const BLOCKS: u32 = 1u;      // knob: LANES / 4 at most
const LANES: u32 = 64u;      // knob: invocations per workgroup

struct Params {
  N: u32,
  K: u32,
  group: u32,  // a multiple of 32
  eps: f32,
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
const PITCH = QUADS + 1u;    // of xs: without the gap, lanes would wait for the same memory bank

var<workgroup> xs: array<vec4<f32>, LANES * PITCH>;
var<workgroup> partial: array<vec4<f32>, BLOCKS * LANES>;  // a subgroup's sums each
var<workgroup> squares: array<f32, LANES>;

struct Words { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, }

// The first of each pair of a block's columns.
fn pairs(block: u32) -> vec2<u32> {
  if (GLU > 0u) { return vec2<u32>(2u * block, 2u * block + p.N / 2u); }
  return vec2<u32>(4u * block, 4u * block + 2u);
}

// A block's columns; past the edge, others again.
fn columns(block: u32) -> vec4<u32> {
  let n = pairs(block);
  if (EVEN) {
    let inside = min(n, vec2<u32>(p.N - 2u));
    return vec4<u32>(inside.x, inside.x + 1u, inside.y, inside.y + 1u);
  }
  return min(vec4<u32>(n.x, n.x + 1u, n.y, n.y + 1u), vec4<u32>(p.N - 1u));
}

fn load(n: vec4<u32>, across: u32, slot: u32) -> Words {
  let at = n * across + min(slot, across - 1u);
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

// Four weights, each times the power of 2 at which its bits lie; xs holds x over that power. The
// bits become the last ones of 2²³ + …, which needs no conversion and is exact.
fn unpack(word: u32) -> vec4<f32> {
  if (BITS == 4u) {
    let codes = vec4<u32>(word) & vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u);
    return bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
      - vec4<f32>(8388616.0, 8388736.0, 8390656.0, 8421376.0);
  }
  let w = word ^ 0x80808080u;  // two's complement to offset binary
  let codes = vec4<u32>(w & 0xffu, w & 0xff00u, (w >> 16u) & 0xffu, (w >> 16u) & 0xff00u);
  return bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
    - vec4<f32>(8388736.0, 8421376.0, 8388736.0, 8421376.0);
}

fn powers() -> vec4<f32> {
  if (BITS == 4u) { return vec4<f32>(1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4096.0); }
  return vec4<f32>(1.0, 1.0 / 256.0, 1.0, 1.0 / 256.0);
}

fn dot_column(w: vec4<u32>, at: u32) -> f32 {
  if (BITS == 8u) {
    return dot(unpack(w.x), xs[at]) + dot(unpack(w.y), xs[at + 1u])
      + dot(unpack(w.z), xs[at + 2u]) + dot(unpack(w.w), xs[at + 3u]);
  }
  return dot(unpack(w.x), xs[at]) + dot(unpack(w.x >> 16u), xs[at + 1u])
    + dot(unpack(w.y), xs[at + 2u]) + dot(unpack(w.y >> 16u), xs[at + 3u])
    + dot(unpack(w.z), xs[at + 4u]) + dot(unpack(w.z >> 16u), xs[at + 5u])
    + dot(unpack(w.w), xs[at + 6u]) + dot(unpack(w.w >> 16u), xs[at + 7u]);
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.7978845608 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let first = (workgroup.x + workgroup.y * workgroups.x) * BLOCKS;
  let outputs = select(p.N, p.N / 2u, GLU > 0u);
  let across = p.K * BITS / 128u;  // 16 bytes each, of a column
  let chunks = (across + LANES - 1u) / LANES;
  let size = u32(subgroupAdd(1.0));

  var acc = vec4<f32>(0.0);
  var sum_of_squares = 0.0;
  var next = load(columns(first), across, lane);
  for (var i = 0u; i < BLOCKS * chunks; i++) {
    let block = i / chunks;
    let chunk = i % chunks;
    let slot = chunk * LANES + lane;
    let words = next;
    let n = columns(first + block);
    let scale = scales_at(n, min(slot, across - 1u) * 128u / BITS);
    if (i == 0u || chunks > 1u) {
      workgroupBarrier();
      for (var j = lane; j < LANES * QUADS; j += LANES) {
        let q = chunk * LANES * QUADS + j;
        var v = vec4<f32>(0.0);
        if (q < p.K / 4u) { v = x[q]; }
        if (NORM) {
          if (block == 0u) { sum_of_squares += dot(v, v); }
          v *= norm[min(q, p.K / 4u - 1u)];
        }
        xs[j / QUADS * PITCH + j % QUADS] = v * powers();
      }
      workgroupBarrier();
    }
    let ahead = i + 1u;
    next = load(columns(first + ahead / chunks), across, ahead % chunks * LANES + lane);
    let at = lane * PITCH;
    let sums = vec4<f32>(
      dot_column(words.a, at), dot_column(words.b, at),
      dot_column(words.c, at), dot_column(words.d, at));
    acc += sums * scale;
    if (chunk + 1u == chunks) {
      let sum = subgroupAdd(acc);
      if (lane % size == 0u) { partial[block * LANES + lane / size] = sum; }
      acc = vec4<f32>(0.0);
    }
  }
  // Invocations of a subgroup are neighbours in a workgroup of one dimension.
  if (NORM) {
    let sum = subgroupAdd(sum_of_squares);
    if (lane % size == 0u) { squares[lane / size] = sum; }
  }
  workgroupBarrier();

  // An invocation per column of y.
  let width = select(4u, 2u, GLU > 0u);
  let block = lane / width;
  let n = pairs(first + block).x + lane % width;
  if (block >= BLOCKS || n >= outputs) { return; }
  var v = vec4<f32>(0.0);
  var total = 0.0;
  for (var i = 0u; i < LANES / size; i++) {
    v += partial[block * LANES + i];
    if (NORM) { total += squares[i]; }
  }
  if (NORM) { v *= inverseSqrt(total / f32(p.K) + p.eps); }
  var result = v[lane % width];
  if (BIAS) { result += bias[n]; }
  if (GLU > 0u) {
    var up = v[lane % width + 2u];
    if (BIAS) { up += bias[n + p.N / 2u]; }
    result = activate(result) * up;
  }
  if (ADD) { result += add[n]; }
  y[n] = result;
}
