// y[M, N] = factor[M] · x[M, K] · dequantize(w)[N, K]ᵀ (+ bias[N]) for many rows of x, by the GPU's
// matrix units: float16 products, float32 sums; w in 4-bit symmetric groups along K, low nibble first.
//
// x comes as halve_rows writes it: eight values of a row are four words, each the float16 of k and,
// above it, of k + 4. A word of w holds nibbles in that order, too, once it is masked.
//
// Four subgroups of 32 own 32·TILES × 32·TILES elements of y, each a quarter of them, and walk along K
// in steps of STEP through workgroup memory, whose rows are 16 bytes longer than needed, so that eight
// of them lie in different banks. While a step is multiplied the next one is on its way to registers.
// Matrices lie in registers only where every index is a literal: hence no loops over them.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const TILES: u32 = 4u;       // knob: tiles of 16 × 16 a subgroup owns each way, 2 | 4
const STEP: u32 = 32u;       // knob: 32 | 64, along K

struct Params {
  M: u32,
  N: u32,
  K: u32,
  group: u32,  // a multiple of 32
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;       // eight values each
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> packed: array<vec4<u32>>;  // 32 weights of a column each
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;          // any buffer without BIAS
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

const LANES = 128u;
const SPAN = 16u * TILES;               // of a subgroup's part of y
const SIDE = 2u * SPAN;                 // of the workgroup's
const ROW = STEP / 4u + 2u;             // vec4s a row takes
const EIGHTS = STEP / 8u;               // of a row
const LOADS = SIDE * EIGHTS / LANES;    // of an invocation
const PARTS = STEP / 32u;               // of a column

var<workgroup> x_tile: array<vec4<f16>, SIDE * ROW>;
var<workgroup> w_tile: array<vec4<f16>, SIDE * ROW>;
var<workgroup> corner: array<f32, 4u * 256u>;  // a tile of each subgroup, on its way to y

fn scale_at(i: u32) -> f16 {
  if (HALF) { return bitcast<vec2<f16>>(scales[i / 2u])[i % 2u]; }
  return f16(bitcast<f32>(scales[i]));
}

// Nibbles 0, 4, 1, 5 of a word: as the last bits of 1024 + …, which is exact.
fn unpack(word: u32, scale: f16) -> vec4<f16> {
  let codes = vec2<u32>(word, word >> 4u) & vec2<u32>(0xf000fu);
  return (bitcast<vec4<f16>>(codes | vec2<u32>(0x64006400u)) - vec4<f16>(1032.0h)) * scale;
}

fn store_weights(at: u32, words: vec4<u32>, scale: f16) {
  for (var i = 0u; i < 4u; i++) {
    w_tile[at + 2u * i] = unpack(words[i], scale);
    w_tile[at + 2u * i + 1u] = unpack(words[i] >> 8u, scale);
  }
}

fn left(row: u32, k: u32) -> Left {
  return subgroupMatrixLoad<Left, row_major>(&x_tile, row * ROW + k / 4u, ROW);
}

fn right(column: u32, k: u32) -> Right {
  return subgroupMatrixLoad<Right, col_major>(&w_tile, column * ROW + k / 4u, ROW);
}

// A row of tiles += a · its columns.
fn add(acc: ptr<function, array<Result, 4>>, a: Left, b0: Right, b1: Right, b2: Right, b3: Right) {
  (*acc)[0] = subgroupMatrixMultiplyAccumulate(a, b0, (*acc)[0]);
  (*acc)[1] = subgroupMatrixMultiplyAccumulate(a, b1, (*acc)[1]);
  if (TILES == 4u) {
    (*acc)[2] = subgroupMatrixMultiplyAccumulate(a, b2, (*acc)[2]);
    (*acc)[3] = subgroupMatrixMultiplyAccumulate(a, b3, (*acc)[3]);
  }
}

struct Acc { r0: array<Result, 4>, r1: array<Result, 4>, r2: array<Result, 4>, r3: array<Result, 4>, }

fn multiply(acc: ptr<function, Acc>, m: u32, n: u32, k: u32) {
  let b0 = right(n, k);
  let b1 = right(n + 16u, k);
  let b2 = right(n + 32u % SPAN, k);  // with two tiles: not used
  let b3 = right(n + 48u % SPAN, k);
  add(&(*acc).r0, left(m, k), b0, b1, b2, b3);
  add(&(*acc).r1, left(m + 16u, k), b0, b1, b2, b3);
  if (TILES == 4u) {
    add(&(*acc).r2, left(m + 32u, k), b0, b1, b2, b3);
    add(&(*acc).r3, left(m + 48u, k), b0, b1, b2, b3);
  }
}

fn drain(tile: Result, m: u32, n: u32, subgroup: u32, lane: u32) {
  subgroupMatrixStore<row_major>(&corner, subgroup * 256u, tile, 16u);
  workgroupBarrier();
  for (var i = lane; i < 256u; i += 32u) {
    let row = m + i / 16u;
    let column = n + i % 16u;
    if (row < p.M && column < p.N) {
      var v = corner[subgroup * 256u + i] * factor[row];
      if (BIAS) { v += bias[column]; }
      y[row * p.N + column] = v;
    }
  }
  workgroupBarrier();
}

fn drain_row(acc: array<Result, 4>, m: u32, n: u32, subgroup: u32, lane: u32) {
  drain(acc[0], m, n, subgroup, lane);
  drain(acc[1], m, n + 16u, subgroup, lane);
  if (TILES == 4u) {
    drain(acc[2], m, n + 32u, subgroup, lane);
    drain(acc[3], m, n + 48u, subgroup, lane);
  }
}

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  // Workgroups side by side share columns of w. Past an edge: what happens to lie there, or the
  // buffer's end; nobody stores it.
  let id = workgroup.x + workgroup.y * workgroups.x;
  let down = (p.M + SIDE - 1u) / SIDE;
  let m0 = id % down * SIDE;
  let n0 = id / down * SIDE;
  if (n0 >= p.N) { return; }

  let x_from = (m0 + local / EIGHTS) * (p.K / 8u) + local % EIGHTS;
  let x_apart = LANES / EIGHTS * (p.K / 8u);
  let x_to = local / EIGHTS * ROW + local % EIGHTS * 2u;
  let column = min(n0 + local / PARTS, p.N - 1u);
  let part = local % PARTS;
  let w_from = column * (p.K / 32u) + part;
  let w_to = local / PARTS * ROW + part * 8u;
  let m = subgroup % 2u * SPAN;
  let n = subgroup / 2u * SPAN;

  var acc: Acc;
  var values = array<vec4<u32>, LOADS>();
  for (var i = 0u; i < LOADS; i++) { values[i] = x[x_from + i * x_apart]; }
  var words = packed[w_from];
  var scale = scale_at(part * 32u / p.group * p.N + column);
  for (var k0 = 0u; k0 < p.K; k0 += STEP) {
    for (var i = 0u; i < LOADS; i++) {
      let at = x_to + i * (LANES / EIGHTS * ROW);
      x_tile[at] = bitcast<vec4<f16>>(values[i].xy);
      x_tile[at + 1u] = bitcast<vec4<f16>>(values[i].zw);
    }
    store_weights(w_to, words, scale);
    workgroupBarrier();
    let next = min(k0 + STEP, p.K - STEP);
    for (var i = 0u; i < LOADS; i++) { values[i] = x[x_from + i * x_apart + next / 8u]; }
    words = packed[w_from + next / 32u];
    scale = scale_at((next + part * 32u) / p.group * p.N + column);
    multiply(&acc, m, n, 0u);
    multiply(&acc, m, n, 16u);
    if (STEP == 64u) {
      multiply(&acc, m, n, 32u);
      multiply(&acc, m, n, 48u);
    }
    workgroupBarrier();
  }
  drain_row(acc.r0, m0 + m, n0 + n, subgroup, lane);
  drain_row(acc.r1, m0 + m + 16u, n0 + n, subgroup, lane);
  if (TILES == 4u) {
    drain_row(acc.r2, m0 + m + 32u, n0 + n, subgroup, lane);
    drain_row(acc.r3, m0 + m + 48u, n0 + n, subgroup, lane);
  }
}
