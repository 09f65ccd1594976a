// y[M, N] = x[M, K] · dequantize(w)[N, K]ᵀ for many rows of x; w in 4- or 8-bit symmetric groups
// along K.
//
//   BIAS  + bias[N]
//   GLU   y[M, N/2] = act(v[:, n]) · v[:, n + N/2]
//   ADD   + add, as y is
//   SLICE less than K: y is the sums over each SLICE of K, [K / SLICE, M, N], for sum_slices.wgsl
//
// A workgroup of DOWN × ACROSS invocations owns 4·FOURS·DOWN × 8·ACROSS elements of the product, with
// GLU half of its columns and those that go with them, and walks along K in steps of STEP, which lie in one
// group: the tiles of x and of w, dequantized once and with K outermost, go through workgroup memory
// (16 KiB at most), and while they are multiplied the next ones are on their way to registers. With two
// BUFFERS a step has one barrier. An invocation owns 4 or 8 rows and 8 columns: outer products of what it
// reads for each k. Fours of rows and of columns, DOWN and ACROSS apart, are a vec4 in workgroup memory;
// so neighbours read and write neighbours. Layouts: quant/.

const BITS: u32 = 4u;        // knob: 4 (offset binary) | 8 (two's complement)
const HIGH_FIRST: bool = false;  // knob: of 4 bits, the high nibble is the even k
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const N: u32 = 4u;           // knob: columns
const K: u32 = 32u;          // knob: weights of a column
const GROUP: u32 = 32u;      // knob: weights to a scale, a multiple of 32
const SLICE: u32 = 32u;      // knob: of K, what a workgroup adds up, a multiple of 32
const DOWN: u32 = 16u;       // knob: invocations one below the other, a multiple of 4
const ACROSS: u32 = 16u;     // knob: and side by side, a multiple of 8; DOWN · ACROSS is one of 32
const FOURS: u32 = 2u;       // knob: fours of rows an invocation owns, 1 | 2
const STEP: u32 = 8u;        // knob: 8 | 16, along K
const BUFFERS: u32 = 2u;     // knob: tiles in workgroup memory, 1 | 2
const DEEP: u32 = 2u;        // knob: along K, what an invocation fetches of a row at once, 2 | 4
alias Some = vec2<f32>;      // knob: vec2<f32> | vec4<f32>, DEEP of them

struct Params {
  M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<Some>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(4) var<storage, read> add: array<f32>;   // any buffer without ADD
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

const LANES = DOWN * ACROSS;
const HALVES = select(1u, 2u, GLU > 0u);
const LENGTH = N / HALVES;              // of a row of y
const OWN = 8u * ACROSS / HALVES;       // of them a workgroup's
const SECOND = select(4u * ACROSS, LENGTH, GLU > 0u);  // columns from an invocation's first four to its others
const SLICES = (K + SLICE - 1u) / SLICE;
const X_FOURS = FOURS * DOWN;           // vec4s of a k's tile
const W_FOURS = 2u * ACROSS;
const PARTS = STEP / DEEP;
const X_NEAR = min(8u, X_FOURS);        // fours that neighbours fetch: together, a row of banks
const W_NEAR = 8u;
const X_BLOCKS = X_FOURS * PARTS;       // 4 × DEEP elements each
const W_BLOCKS = W_FOURS * PARTS;
const X_LOADS = (X_BLOCKS + LANES - 1u) / LANES;    // blocks of an invocation
const W_LOADS = (W_BLOCKS + LANES - 1u) / LANES;

var<workgroup> x_tile: array<array<array<vec4<f32>, X_FOURS>, STEP>, BUFFERS>;
var<workgroup> w_tile: array<array<array<vec4<f32>, W_FOURS>, STEP>, BUFFERS>;

// A step's part of the tiles, on its way to them.
struct Load {
  x: array<Some, 4u * X_LOADS>,
  words: array<u32, 4u * W_LOADS>,
}

alias Scales = array<f32, 4u * W_LOADS>;
alias Four = array<vec4<f32>, 4>;

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

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

// The first column of w of a four of the tile.
fn column_of(n0: u32, four: u32) -> u32 {
  return n0 + four % ACROSS + four / ACROSS * SECOND;
}

// Where K is not cut evenly among invocations some fetch x, others w.
fn w_block(lane: u32, j: u32) -> u32 {
  return (lane + LANES / 2u) % LANES + j * LANES;
}

// Past an edge: what happens to lie there, or the buffer's end; nobody stores it.
fn load(next: ptr<function, Load>, m0: u32, n0: u32, k0: u32, lane: u32) {
  for (var j = 0u; j < X_LOADS; j++) {
    let i = lane + j * LANES;
    if (i < X_BLOCKS) {
      let four = i % X_NEAR + i / (X_NEAR * PARTS) * X_NEAR;
      let m = m0 + four % DOWN + four / DOWN * (4u * DOWN);
      let at = (m * K + k0) / DEEP + i / X_NEAR % PARTS;
      for (var r = 0u; r < 4u; r++) { (*next).x[4u * j + r] = x[at + r * (DOWN * K / DEEP)]; }
    }
  }
  for (var j = 0u; j < W_LOADS; j++) {
    let i = w_block(lane, j);
    if (i < W_BLOCKS) {
      let n = column_of(n0, i % W_NEAR + i / (W_NEAR * PARTS) * W_NEAR);
      let at = (n * K + k0 + i / W_NEAR % PARTS * DEEP) * BITS / 32u;
      for (var c = 0u; c < 4u; c++) { (*next).words[4u * j + c] = packed[at + c * (ACROSS * K * BITS / 32u)]; }
    }
  }
}

fn load_scales(next: ptr<function, Scales>, n0: u32, k0: u32, lane: u32) {
  for (var j = 0u; j < W_LOADS; j++) {
    let i = w_block(lane, j);
    if (i < W_BLOCKS) {
      let at = k0 / GROUP * N + column_of(n0, i % W_NEAR + i / (W_NEAR * PARTS) * W_NEAR);
      for (var c = 0u; c < 4u; c++) { (*next)[4u * j + c] = scale_at(at + c * ACROSS); }
    }
  }
}

// Four rows' sums += x · w. Literal indices: sums stay in registers.
fn multiply(acc: ptr<function, Four>, x4: vec4<f32>, w4: vec4<f32>) {
  (*acc)[0] = fma(vec4<f32>(x4.x), w4, (*acc)[0]);
  (*acc)[1] = fma(vec4<f32>(x4.y), w4, (*acc)[1]);
  (*acc)[2] = fma(vec4<f32>(x4.z), w4, (*acc)[2]);
  (*acc)[3] = fma(vec4<f32>(x4.w), w4, (*acc)[3]);
}

fn store(v: f32, other: f32, m: u32, n: u32, slice: u32) {
  if (n >= LENGTH) { return; }
  var sum = v;
  if (SLICES > 1u) {
    y[(slice * p.M + m) * N + n] = sum;
    return;
  }
  if (BIAS) { sum += bias[n]; }
  if (GLU > 0u) {
    var up = other;
    if (BIAS) { up += bias[n + LENGTH]; }
    sum = activate(sum) * up;
  }
  let at = m * LENGTH + n;
  if (ADD) { sum += add[at]; }
  y[at] = sum;
}

fn store_row(v: vec4<f32>, other: vec4<f32>, m: u32, n: u32, slice: u32) {
  if (m >= p.M) { return; }
  store(v.x, other.x, m, n, slice);
  store(v.y, other.y, m, n + ACROSS, slice);
  store(v.z, other.z, m, n + 2u * ACROSS, slice);
  store(v.w, other.w, m, n + 3u * ACROSS, slice);
  if (GLU == 0u) {
    store(other.x, 0.0, m, n + 4u * ACROSS, slice);
    store(other.y, 0.0, m, n + 5u * ACROSS, slice);
    store(other.z, 0.0, m, n + 6u * ACROSS, slice);
    store(other.w, 0.0, m, n + 7u * ACROSS, slice);
  }
}

fn store_rows(v: Four, other: Four, m: u32, n: u32, slice: u32) {
  store_row(v[0], other[0], m, n, slice);
  store_row(v[1], other[1], m + DOWN, n, slice);
  store_row(v[2], other[2], m + 2u * DOWN, n, slice);
  store_row(v[3], other[3], m + 3u * DOWN, n, slice);
}

@compute @workgroup_size(DOWN * ACROSS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // Workgroups side by side share columns of w, the larger of the two.
  let id = workgroup.x + workgroup.y * workgroups.x;
  let down = (p.M + 4u * X_FOURS - 1u) / (4u * X_FOURS);
  let across = (LENGTH + OWN - 1u) / OWN;
  let m0 = id % down * (4u * X_FOURS);
  let n0 = id / down % across * OWN;
  let slice = id / down / across;
  if (slice >= SLICES) { return; }
  // Of 32 invocations 4 × 8; of each four two read the same of x, two the same of w, so that
  // NVIDIA's take one go for sixteen, not two.
  let row = (lane / 2u % 2u + lane / 16u % 2u * 2u + lane / (4u * ACROSS) * 4u) % DOWN;
  let column = lane % 2u + lane / 4u % 4u * 2u + lane / 32u % (ACROSS / 8u) * 8u;

  var upper_left: Four;
  var upper_right: Four;
  var lower_left: Four;  // with FOURS = 1: not used, and so below
  var lower_right: Four;
  let end = min((slice + 1u) * SLICE, K);
  var next: Load;
  var scale: Scales;
  load(&next, m0, n0, slice * SLICE, lane);
  load_scales(&scale, n0, slice * SLICE, lane);
  for (var k0 = slice * SLICE; k0 < end; k0 += BUFFERS * STEP) {
    for (var buffer = 0u; buffer < BUFFERS; buffer++) {
      if (BUFFERS == 1u) { workgroupBarrier(); }
      // Here and not in a function: of its parameters Tint knows no range, and bounds every index.
      for (var j = 0u; j < X_LOADS; j++) {
        let i = lane + j * LANES;
        if (i < X_BLOCKS) {
          let four = i % X_NEAR + i / (X_NEAR * PARTS) * X_NEAR;
          for (var k = 0u; k < DEEP; k++) {
            x_tile[buffer][i / X_NEAR % PARTS * DEEP + k][four] = vec4<f32>(
              next.x[4u * j][k], next.x[4u * j + 1u][k], next.x[4u * j + 2u][k], next.x[4u * j + 3u][k]);
          }
        }
      }
      for (var j = 0u; j < W_LOADS; j++) {
        let i = w_block(lane, j);
        if (i < W_BLOCKS) {
          let four = i % W_NEAR + i / (W_NEAR * PARTS) * W_NEAR;
          let part = i / W_NEAR % PARTS * DEEP;
          let w0 = unpack(next.words[4u * j] >> (part * BITS % 32u)) * scale[4u * j];
          let w1 = unpack(next.words[4u * j + 1u] >> (part * BITS % 32u)) * scale[4u * j + 1u];
          let w2 = unpack(next.words[4u * j + 2u] >> (part * BITS % 32u)) * scale[4u * j + 2u];
          let w3 = unpack(next.words[4u * j + 3u] >> (part * BITS % 32u)) * scale[4u * j + 3u];
          for (var k = 0u; k < DEEP; k++) {
            w_tile[buffer][part + k][four] = vec4<f32>(w0[k], w1[k], w2[k], w3[k]);
          }
        }
      }
      workgroupBarrier();
      let ahead = min(k0 + (buffer + 1u) * STEP, K - STEP);
      load(&next, m0, n0, ahead, lane);
      if (ahead % GROUP == 0u) { load_scales(&scale, n0, ahead, lane); }
      for (var k = 0u; k < STEP; k++) {
        let left = w_tile[buffer][k][column];
        let right = w_tile[buffer][k][ACROSS + column];
        let upper = x_tile[buffer][k][row];
        multiply(&upper_left, upper, left);
        multiply(&upper_right, upper, right);
        if (FOURS == 2u) {
          let lower = x_tile[buffer][k][(FOURS - 1u) * DOWN + row];
          multiply(&lower_left, lower, left);
          multiply(&lower_right, lower, right);
        }
      }
    }
  }
  store_rows(upper_left, upper_right, m0 + row, n0 + column, slice);
  if (FOURS == 2u) { store_rows(lower_left, lower_right, m0 + 4u * DOWN + row, n0 + column, slice); }
}
