// y[M, N] = x[M, K] · dequantize(w)[N, K]ᵀ for many rows of x; w in 4- or 8-bit symmetric groups
// along K.
//
//   BIAS  + bias[N]
//   GLU   y[M, N/2] = act(v[:, n]) · v[:, n + N/2]
//   ADD   + add, as y is
//   SLICE less than K, and none of these: y is the sums over each SLICE of K, [K / SLICE, M, N], for
//         sum_slices.wgsl
//
// A workgroup of 16 × 16 owns 16·ROWS × 128 elements of the product, with GLU 64 columns and the 64
// that go with them, and walks along K in steps of 16, which lie in one group: the tiles of x and of w,
// dequantized once, go through workgroup memory (12 KiB at ROWS = 4), and while they are multiplied
// the next ones are on their way to registers. An invocation owns ROWS × 8 elements, 16 rows and 16
// columns apart, so that neighbours read and write neighbours. By measurement (one H100): taller ones
// multiply no faster, as fewer of them fit. Layouts: quant/.

const BITS: u32 = 4u;        // knob: 4 (offset binary) | 8 (two's complement)
const HIGH_FIRST: bool = false;  // knob: of 4 bits, the high nibble is the even k
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const ROWS: u32 = 4u;        // knob: rows of y an invocation owns, 8 at most
const N: u32 = 4u;           // knob: columns
const K: u32 = 32u;          // knob: weights of a column
const GROUP: u32 = 32u;      // knob: weights to a scale, a multiple of 16
const SLICE: u32 = 32u;      // knob: of K, what a workgroup adds up, a multiple of 16

struct Params {
  M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(4) var<storage, read> add: array<f32>;   // any buffer without ADD
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

const LANES = 256u;
const NEAR = 2u;             // invocations side by side that own rows, not columns, side by side
const COLUMNS = 8u;
const STEP = 4u;             // vec4s along K a tile holds
const TALL = 16u * ROWS;
const WIDE = 16u * COLUMNS;
const HALVES = select(1u, 2u, GLU > 0u);
const ACROSS = N / HALVES;              // elements of a row of y
const OWN = WIDE / HALVES;              // of them a workgroup's
const SLICES = (K + SLICE - 1u) / SLICE;
const WORDS = STEP * BITS / 8u;         // of a column of the tile
const HELD = 8u / BITS;                 // vec4s of weights in a word
const X_LOADS = (STEP * TALL + LANES - 1u) / LANES;  // of an invocation, vec4s
const W_LOADS = WORDS * WIDE / LANES;                // words

// [k / 4][row] and [k / 4][column], in eights moved about by k: neighbours write to other banks.
var<workgroup> x_tile: array<vec4<f32>, STEP * TALL>;
var<workgroup> w_tile: array<vec4<f32>, STEP * WIDE>;

// A step's part of the tiles, on its way to them.
struct Load {
  x: array<vec4<f32>, X_LOADS>,
  words: array<u32, W_LOADS>,
  scales: array<f32, W_LOADS>,
}

fn scale_at(i: u32) -> f32 {
  if (HALF) { return unpack2x16float(scales[i / 2u])[i % 2u]; }
  return bitcast<f32>(scales[i]);
}

// Four weights from a word's low bits, which become the last ones of 2²³ + …: exact, and without a
// conversion.
fn unpack(word: u32) -> vec4<f32> {
  if (BITS == 4u) {
    let codes = vec4<u32>(word) & vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u);
    let v = (bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
      - vec4<f32>(8388616.0, 8388736.0, 8390656.0, 8421376.0))
      * vec4<f32>(1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4096.0);
    if (HIGH_FIRST) { return v.yxwz; }
    return v;
  }
  let w = word ^ 0x80808080u;  // two's complement to offset binary
  let codes = vec4<u32>(w, w, w >> 16u, w >> 16u) & vec4<u32>(0xffu, 0xff00u, 0xffu, 0xff00u);
  return (bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
    - vec4<f32>(8388736.0, 8421376.0, 8388736.0, 8421376.0))
    * vec4<f32>(1.0, 1.0 / 256.0, 1.0, 1.0 / 256.0);
}

// The column of w that is column j of the tile; past the edge the last one again, which nobody stores.
fn column_of(n0: u32, j: u32) -> u32 {
  return min(n0 + j % OWN, ACROSS - 1u) + j / OWN * ACROSS;
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

// Past an edge: the last row again, which nobody stores.
fn load(m0: u32, n0: u32, k0: u32, lane: u32) -> Load {
  var next = Load();
  for (var j = 0u; j < X_LOADS; j++) {
    let i = lane + j * LANES;
    let m = min(m0 + i / STEP, p.M - 1u);
    next.x[j] = x[(m * K + k0) / 4u + i % STEP];
  }
  for (var j = 0u; j < W_LOADS; j++) {
    let i = lane + j * LANES;
    let n = column_of(n0, i / WORDS);
    next.words[j] = packed[(n * K + k0) * BITS / 32u + i % WORDS];
    next.scales[j] = scale_at(k0 / GROUP * N + n);
  }
  return next;
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // Workgroups side by side share columns of w, the larger of the two.
  let id = workgroup.x + workgroup.y * workgroups.x;
  let down = (p.M + TALL - 1u) / TALL;
  let m0 = id % down * TALL;
  let across = (ACROSS + OWN - 1u) / OWN;
  let n0 = id / down % across * OWN;
  let slice = id / down / across;
  if (slice >= SLICES) { return; }
  let column = lane / NEAR % 16u;
  let row = lane % NEAR + lane / (16u * NEAR) * NEAR;

  var acc = array<array<f32, COLUMNS>, ROWS>();
  let end = min((slice + 1u) * SLICE, K);
  var next = load(m0, n0, slice * SLICE, lane);
  for (var k0 = slice * SLICE; k0 < end; k0 += 4u * STEP) {
    // Here and not in a function: of its parameters Tint knows no range, and bounds every index.
    for (var j = 0u; j < X_LOADS; j++) {
      let i = lane + j * LANES;
      let part = i % STEP;
      if (i < STEP * TALL) { 
        x_tile[part * TALL + i / STEP / 8u * 8u + ((i / STEP) ^ (2u * part)) % 8u] = next.x[j];
      }
    }
    for (var j = 0u; j < W_LOADS; j++) {
      let i = lane + j * LANES;
      for (var half = 0u; half < HELD; half++) {
        let part = i % WORDS * HELD + half;
        w_tile[part * WIDE + i / WORDS / 8u * 8u + ((i / WORDS) ^ (2u * part)) % 8u] =
          unpack(next.words[j] >> (16u * half)) * next.scales[j];
      }
    }
    workgroupBarrier();
    next = load(m0, n0, min(k0 + 4u * STEP, K - 4u * STEP), lane);
    for (var i = 0u; i < STEP; i++) {
      var w = array<vec4<f32>, COLUMNS>();
      for (var c = 0u; c < COLUMNS; c++) {
        w[c] = w_tile[i * WIDE + (column ^ (2u * i)) % 16u + c * 16u];
      }
      for (var r = 0u; r < ROWS; r++) {
        let v = x_tile[i * TALL + (row ^ (2u * i)) % 16u + r * 16u];
        for (var c = 0u; c < COLUMNS; c++) {
          acc[r][c] = fma(v.x, w[c].x, fma(v.y, w[c].y, fma(v.z, w[c].z, fma(v.w, w[c].w, acc[r][c]))));
        }
      }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < ROWS; r++) {
    let m = m0 + row + r * 16u;
    for (var c = 0u; c < COLUMNS / HALVES; c++) {
      let n = n0 + column + c * 16u;
      if (m >= p.M || n >= ACROSS) { continue; }
      var v = acc[r][c];
      if (BIAS) { v += bias[n]; }
      if (GLU > 0u) {
        var up = acc[r][c + COLUMNS / 2u];
        if (BIAS) { up += bias[n + ACROSS]; }
        v = activate(v) * up;
      }
      let at = (slice * p.M + m) * ACROSS + n;
      if (ADD) { v += add[at]; }
      y[at] = v;
    }
  }
}
