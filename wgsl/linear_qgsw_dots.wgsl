// y[M, N] = x[M, K] · dequantize(w)[N, K]ᵀ for many rows of x, as integers (integer_rows.wgsl);
// w in 4- or 8-bit symmetric groups along K.
//
//   BIAS  + bias[N]
//   GLU   y[M, N/2] = act(v[:, n]) · v[:, n + N/2]
//   ADD   + add, as y is
//   SLICE less than K, and none of these: y is the sums over each SLICE of K, [K / SLICE, M, N],
//         for sum_slices.wgsl
//
// A workgroup of 16 × DOWN invocations owns DOWN·ROWS × 16·COLUMNS elements of the product, with
// GLU half of its columns and those that go with them, and walks along K in blocks of 32, which lie
// in one group: a block of x and of w goes through workgroup memory, and while it is multiplied the
// next one is on its way to registers. An invocation owns ROWS × COLUMNS elements, DOWN rows and 16
// columns apart, so that neighbours read and write neighbours; its columns' block stays in
// registers while its rows go past. In a block four weights are multiplied with four bytes in one
// instruction, high bytes and low ones apart; its sum becomes a float and is multiplied with both
// scales. Weights of four bits become the high ones of bytes: 16 times too large, which x's scale
// knows. Layouts: quant/.

const BITS: u32 = 4u;        // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const N: u32 = 4u;           // knob: columns
const K: u32 = 32u;          // knob: weights of a column
const GROUP: u32 = 32u;      // knob: weights to a scale, a multiple of 32
const SLICE: u32 = 32u;      // knob: of K, what a workgroup adds up, a multiple of 32
const DOWN: u32 = 16u;       // knob: invocations one below the other, an even number
const ROWS: u32 = 8u;        // knob: rows of y an invocation owns
const COLUMNS: u32 = 4u;     // knob: and columns, an even number

struct Params {
  M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;     // [M, K / 8]
@group(0) @binding(1) var<storage, read> factors: array<f32>;     // [K / 32, M]
@group(0) @binding(2) var<storage, read> packed: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(5) var<storage, read> add: array<f32>;   // any buffer without ADD
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;

const LANES = 16u * DOWN;
const NEAR = 2u;             // invocations side by side that own rows, not columns, side by side
const EIGHTS = 4u;           // of a block
const TALL = DOWN * ROWS;
const WIDE = 16u * COLUMNS;
const HALVES = select(1u, 2u, GLU > 0u);
const ACROSS = N / HALVES;              // elements of a row of y
const OWN = WIDE / HALVES;              // of them a workgroup's
const SLICES = (K + SLICE - 1u) / SLICE;
const VECS = BITS / 4u;                 // vec4s of a column's block
const X_LOADS = (EIGHTS * TALL + LANES - 1u) / LANES;  // of an invocation
const W_LOADS = (WIDE + LANES - 1u) / LANES;
const F_LOADS = (TALL + LANES - 1u) / LANES;
const PITCH = TALL + 2u;     // neighbours that write an eight each write to other banks

var<workgroup> x_tile: array<vec4<u32>, EIGHTS * PITCH>;  // [eight][row]
var<workgroup> w_tile: array<vec4<u32>, VECS * WIDE>;     // [vec4][column]
var<workgroup> x_scale: array<f32, TALL>;
var<workgroup> w_scale: array<f32, WIDE>;

// A block's part of the tiles, on its way to them.
struct Load {
  x: array<vec4<u32>, X_LOADS>,
  w: array<vec4<u32>, VECS * W_LOADS>,
  x_scale: array<f32, F_LOADS>,
  w_scale: array<f32, W_LOADS>,
}

// A block of a column: of each eight a first and a second word, to be multiplied with x's.
struct Column {
  first: vec4<u32>,
  second: vec4<u32>,
}

fn scale_at(i: u32) -> f32 {
  if (HALF) { return unpack2x16float(scales[i / 2u])[i % 2u]; }
  return bitcast<f32>(scales[i]);
}

// Of a block's first and last vec4, which with four bits are one.
fn expand(a: vec4<u32>, b: vec4<u32>) -> Column {
  if (BITS == 8u) { return Column(vec4<u32>(a.xz, b.xz), vec4<u32>(a.yw, b.yw)); }
  let high = vec4<u32>(0xf0f0f0f0u);
  let zero = vec4<u32>(0x80808080u);
  return Column(((a << vec4<u32>(4u)) & high) ^ zero, (a & high) ^ zero);
}

// The column of w that is column j of the tile; past the edge the last one again, never stored.
fn column_of(n0: u32, j: u32) -> u32 {
  return min(n0 + j % OWN, ACROSS - 1u) + j / OWN * ACROSS;
}

// Past an edge: the last row again, which nobody stores.
fn load(m0: u32, n0: u32, block: u32, lane: u32) -> Load {
  var next = Load();
  for (var j = 0u; j < X_LOADS; j++) {
    let i = lane + j * LANES;
    next.x[j] = x[min(m0 + i / EIGHTS, p.M - 1u) * (K / 8u) + block * EIGHTS + i % EIGHTS];
  }
  for (var j = 0u; j < F_LOADS; j++) {
    next.x_scale[j] = factors[block * p.M + min(m0 + lane + j * LANES, p.M - 1u)];
  }
  for (var j = 0u; j < W_LOADS; j++) {
    if (lane + j * LANES < WIDE) {
      let n = column_of(n0, lane + j * LANES);
      for (var v = 0u; v < VECS; v++) {
        next.w[j * VECS + v] = packed[(n * (K / 32u) + block) * VECS + v];
      }
      next.w_scale[j] = scale_at(block * 32u / GROUP * N + n);
    }
  }
  return next;
}

// A block's product, as an integer.
fn product(w: Column, a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>) -> f32 {
  let high = dot4I8Packed(w.first.x, a.x) + dot4I8Packed(w.second.x, a.y)
    + dot4I8Packed(w.first.y, b.x) + dot4I8Packed(w.second.y, b.y)
    + dot4I8Packed(w.first.z, c.x) + dot4I8Packed(w.second.z, c.y)
    + dot4I8Packed(w.first.w, d.x) + dot4I8Packed(w.second.w, d.y);
  let low = dot4I8Packed(w.first.x, a.z) + dot4I8Packed(w.second.x, a.w)
    + dot4I8Packed(w.first.y, b.z) + dot4I8Packed(w.second.y, b.w)
    + dot4I8Packed(w.first.z, c.z) + dot4I8Packed(w.second.z, c.w)
    + dot4I8Packed(w.first.w, d.z) + dot4I8Packed(w.second.w, d.w);
  return f32((high << 8u) + low);
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

@compute @workgroup_size(16u * DOWN)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // Workgroups side by side share columns of w, the larger of the two.
  let id = workgroup.x + workgroup.y * workgroups.x;
  let down = (p.M + TALL - 1u) / TALL;
  let across = (ACROSS + OWN - 1u) / OWN;
  let m0 = id % down * TALL;
  let n0 = id / down % across * OWN;
  let slice = id / down / across;
  if (slice >= SLICES) { return; }
  let column = lane / NEAR % 16u;
  let row = lane % NEAR + lane / (16u * NEAR) * NEAR;

  var acc = array<array<f32, COLUMNS>, ROWS>();
  let end = min((slice + 1u) * SLICE, K) / 32u;
  var next = load(m0, n0, slice * SLICE / 32u, lane);
  for (var block = slice * SLICE / 32u; block < end; block++) {
    // Here and not in a function: of its parameters Tint knows no range, and bounds every index.
    for (var j = 0u; j < X_LOADS; j++) {
      let i = lane + j * LANES;
      if (i < EIGHTS * TALL) { x_tile[i % EIGHTS * PITCH + i / EIGHTS] = next.x[j]; }
    }
    for (var j = 0u; j < F_LOADS; j++) {
      if (lane + j * LANES < TALL) { x_scale[lane + j * LANES] = next.x_scale[j]; }
    }
    for (var j = 0u; j < W_LOADS; j++) {
      let i = lane + j * LANES;
      if (i < WIDE) {
        for (var v = 0u; v < VECS; v++) { w_tile[v * WIDE + i] = next.w[j * VECS + v]; }
        w_scale[i] = next.w_scale[j];
      }
    }
    workgroupBarrier();
    next = load(m0, n0, min(block + 1u, K / 32u - 1u), lane);
    var w = array<Column, COLUMNS>();
    var ws = array<f32, COLUMNS>();
    for (var c = 0u; c < COLUMNS; c++) {
      let n = column + c * 16u;
      w[c] = expand(w_tile[n], w_tile[(VECS - 1u) * WIDE + n]);
      ws[c] = w_scale[n];
    }
    for (var r = 0u; r < ROWS; r++) {
      let m = row + r * DOWN;
      let a = x_tile[m];
      let b = x_tile[PITCH + m];
      let c = x_tile[2u * PITCH + m];
      let d = x_tile[3u * PITCH + m];
      let xs = x_scale[m];
      for (var i = 0u; i < COLUMNS; i++) {
        acc[r][i] = fma(product(w[i], a, b, c, d), xs * ws[i], acc[r][i]);
      }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < ROWS; r++) {
    let m = m0 + row + r * DOWN;
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
