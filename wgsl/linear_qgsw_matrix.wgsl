// y[M, N] = factor[M] · x[M, K] · dequantize(w)[N, K]ᵀ for many rows of x, by the GPU's matrix units:
// float16 products, float32 sums; w in 4-bit symmetric groups along K, low nibble first.
//
//   BIAS  + bias[N]
//   GLU   y[M, N/2] = act(v[:, n]) · v[:, n + N/2]
//   ADD   + add, as y is
//
// x comes as halve_rows writes it: eight values of a row are four words, each the float16 of k and,
// above it, of k + 4. A word of w holds nibbles in that order, too, once it is masked.
//
// Four subgroups of 32 own 32·DOWN × 32·ACROSS elements of the product, each a quarter of them, with GLU
// half of its columns and those that go with them, and walk along K
// in steps of STEP through panels in workgroup memory: 16 values along K of a subgroup's rows or columns,
// three vec4s apart, so that eight neighbours lie in different banks. While a step is multiplied the next
// one is on its way to registers. Matrices lie in registers only where every index is a literal: hence no
// loops over them. Offsets and strides within a panel are literals, too: Tint guards any other with a
// select, and the driver then no longer knows that rows are 16 bytes apart.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const N: u32 = 4u;           // knob: columns
const K: u32 = 64u;          // knob: weights of a column, a multiple of STEP
const GROUP: u32 = 32u;      // knob: weights to a scale, a multiple of 32
const DOWN: u32 = 4u;        // knob: tiles of 16 × 16 a subgroup owns along M, 2 | 4
const ACROSS: u32 = 4u;      // knob: and along N, 2 | 4
const STEP: u32 = 32u;       // knob: 32 | 64, along K

struct Params {
  M: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<u32>>;       // eight values each
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> packed: array<vec4<u32>>;  // 32 weights of a column each
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;          // any buffer without BIAS
@group(0) @binding(5) var<storage, read> add: array<f32>;           // any buffer without ADD
@group(0) @binding(6) var<storage, read_write> y: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

const LANES = 128u;
const HIGH = 16u * DOWN;                // of a subgroup's part of y
const WIDE = 16u * ACROSS;
const HALVES = select(1u, 2u, GLU > 0u);
const LENGTH = N / HALVES;              // of a row of y
const OWN = WIDE / HALVES;              // columns of y, of a subgroup's part
const PITCH = 3u;                       // vec4s from row to row of a panel, two of them used
const TILE = 16u * PITCH;               // and from tile to tile
const PANELS = STEP / 16u;              // of a step
const EIGHTS = STEP / 8u;               // of a row
const X_LOADS = 2u * HIGH * EIGHTS / LANES;         // of an invocation
const W_LOADS = (2u * WIDE * PANELS / 2u + LANES - 1u) / LANES;

var<workgroup> x_panels: array<array<vec4<u32>, HIGH * PITCH>, 2u * PANELS>;
var<workgroup> w_panels: array<array<vec4<u32>, WIDE * PITCH>, 2u * PANELS>;

fn scale_at(i: u32) -> f16 {
  if (HALF) { return bitcast<vec2<f16>>(scales[i / 2u])[i % 2u]; }
  return f16(bitcast<f32>(scales[i]));
}

// Nibbles 0, 4, 1, 5 of a word: as the last bits of 1024 + …, which is exact.
fn unpack(word: u32, scale: f16) -> vec2<u32> {
  let codes = vec2<u32>(word, word >> 4u) & vec2<u32>(0xf000fu);
  return bitcast<vec2<u32>>((bitcast<vec4<f16>>(codes | vec2<u32>(0x64006400u)) - vec4<f16>(1032.0h)) * scale);
}

// Eight weights.
fn eight(word: u32, scale: f16) -> vec4<u32> {
  return vec4<u32>(unpack(word, scale), unpack(word >> 8u, scale));
}

// A row of tiles += a · its columns.
fn add_row(acc: ptr<function, array<Result, 4>>, a: Left, b0: Right, b1: Right, b2: Right, b3: Right) {
  (*acc)[0] = subgroupMatrixMultiplyAccumulate(a, b0, (*acc)[0]);
  (*acc)[1] = subgroupMatrixMultiplyAccumulate(a, b1, (*acc)[1]);
  if (ACROSS == 4u) {
    (*acc)[2] = subgroupMatrixMultiplyAccumulate(a, b2, (*acc)[2]);
    (*acc)[3] = subgroupMatrixMultiplyAccumulate(a, b3, (*acc)[3]);
  }
}

struct Acc { r0: array<Result, 4>, r1: array<Result, 4>, r2: array<Result, 4>, r3: array<Result, 4>, }

// Sixteen values along K.
fn multiply(acc: ptr<function, Acc>, m: u32, n: u32) {
  let rows = &x_panels[m % (2u * PANELS)];
  let columns = &w_panels[n % (2u * PANELS)];
  let b0 = subgroupMatrixLoad<Right, col_major>(columns, 0u, PITCH);
  let b1 = subgroupMatrixLoad<Right, col_major>(columns, TILE, PITCH);
  var b2 = b0;  // with two tiles: not used
  var b3 = b1;
  if (ACROSS == 4u) {
    b2 = subgroupMatrixLoad<Right, col_major>(columns, TILE * (ACROSS - 2u), PITCH);
    b3 = subgroupMatrixLoad<Right, col_major>(columns, TILE * (ACROSS - 1u), PITCH);
  }
  let a0 = subgroupMatrixLoad<Left, row_major>(rows, 0u, PITCH);
  let a1 = subgroupMatrixLoad<Left, row_major>(rows, TILE, PITCH);
  add_row(&(*acc).r0, a0, b0, b1, b2, b3);
  add_row(&(*acc).r1, a1, b0, b1, b2, b3);
  if (DOWN == 4u) {
    let a2 = subgroupMatrixLoad<Left, row_major>(rows, TILE * (DOWN - 2u), PITCH);
    let a3 = subgroupMatrixLoad<Left, row_major>(rows, TILE * (DOWN - 1u), PITCH);
    add_row(&(*acc).r2, a2, b0, b1, b2, b3);
    add_row(&(*acc).r3, a3, b0, b1, b2, b3);
  }
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

fn drained(panel: u32, i: u32) -> f32 {
  return bitcast<f32>(x_panels[panel % 4u][i / 4u][i % 4u]);
}

// A tile goes to y through the subgroup's part of workgroup memory, with GLU after the one that goes with it.
fn drain(tile: Result, up: Result, m: u32, n: u32, subgroup: u32, lane: u32) {
  subgroupMatrixStore<row_major>(&x_panels[subgroup % 4u], 0u, tile, 4u);
  workgroupBarrier();
  var v = array<f32, 8>();
  for (var i = 0u; i < 8u; i++) { v[i] = drained(subgroup, lane + 32u * i); }
  workgroupBarrier();
  if (GLU > 0u) {
    subgroupMatrixStore<row_major>(&x_panels[subgroup % 4u], 0u, up, 4u);
    workgroupBarrier();
  }
  for (var i = 0u; i < 8u; i++) {
    let row = m + (lane + 32u * i) / 16u;
    let column = n + lane % 16u;
    if (row < p.M && column < LENGTH) {
      var sum = v[i] * factor[row];
      if (BIAS) { sum += bias[column]; }
      if (GLU > 0u) {
        var other = drained(subgroup, lane + 32u * i) * factor[row];
        if (BIAS) { other += bias[column + LENGTH]; }
        sum = activate(sum) * other;
      }
      let at = row * LENGTH + column;
      if (ADD) { sum += add[at]; }
      y[at] = sum;
    }
  }
  if (GLU > 0u) { workgroupBarrier(); }
}

fn drain_row(acc: array<Result, 4>, m: u32, n: u32, subgroup: u32, lane: u32) {
  if (GLU > 0u && ACROSS == 4u) {
    drain(acc[0], acc[2], m, n, subgroup, lane);
    drain(acc[1], acc[3], m, n + 16u, subgroup, lane);
    return;
  }
  drain(acc[0], acc[1], m, n, subgroup, lane);
  if (GLU == 0u) { drain(acc[1], acc[1], m, n + 16u, subgroup, lane); }
  if (ACROSS == 4u) {
    drain(acc[2], acc[2], m, n + 32u, subgroup, lane);
    drain(acc[3], acc[3], m, n + 48u, subgroup, lane);
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
  let down = (p.M + 2u * HIGH - 1u) / (2u * HIGH);
  let m0 = id % down * (2u * HIGH);
  let n0 = id / down * (2u * OWN);
  if (n0 >= LENGTH) { return; }

  let eighth = local % EIGHTS;
  let x_from = (m0 + local / EIGHTS) * (K / 8u) + eighth;
  let x_apart = LANES / EIGHTS * (K / 8u);

  var acc: Acc;
  var values = array<vec4<u32>, X_LOADS>();
  var words = array<vec4<u32>, W_LOADS>();
  var scale = array<f16, W_LOADS>();
  for (var step = 0u; step < K / STEP + 1u; step++) {
    if (step > 0u) {
      workgroupBarrier();
      for (var i = 0u; i < X_LOADS; i++) {
        let row = local / EIGHTS + i * (LANES / EIGHTS);
        x_panels[eighth / 2u * 2u + row / HIGH][row % HIGH * PITCH + eighth % 2u] = values[i];
      }
      for (var i = 0u; i < W_LOADS; i++) {
        let column = local % (2u * WIDE);
        let part = local / (2u * WIDE) + i * (LANES / (2u * WIDE));
        if (part >= STEP / 32u) { break; }
        let panel = part * 4u + column / WIDE;
        let at = column % WIDE * PITCH;
        w_panels[panel][at] = eight(words[i].x, scale[i]);
        w_panels[panel][at + 1u] = eight(words[i].y, scale[i]);
        w_panels[panel + 2u][at] = eight(words[i].z, scale[i]);
        w_panels[panel + 2u][at + 1u] = eight(words[i].w, scale[i]);
      }
      workgroupBarrier();
    }
    let k0 = min(step * STEP, K - STEP);
    for (var i = 0u; i < X_LOADS; i++) { values[i] = x[x_from + i * x_apart + k0 / 8u]; }
    for (var i = 0u; i < W_LOADS; i++) {
      // Of a subgroup's columns the first OWN are side by side, and so are those that go with them.
      let j = local % (2u * WIDE);
      let column = min(n0 + j / WIDE * OWN + j % OWN, LENGTH - 1u) + j % WIDE / OWN * LENGTH;
      let part = local / (2u * WIDE) + i * (LANES / (2u * WIDE));
      words[i] = packed[column * (K / 32u) + k0 / 32u + part];
      scale[i] = scale_at((k0 + part * 32u) / GROUP * N + column);
    }
    if (step > 0u) {
      for (var i = 0u; i < PANELS; i++) {
        multiply(&acc, 2u * i + subgroup % 2u, 2u * i + subgroup / 2u);
      }
    }
  }
  workgroupBarrier();
  let m = m0 + subgroup % 2u * HIGH;
  let n = n0 + subgroup / 2u * OWN;
  drain_row(acc.r0, m, n, subgroup, lane);
  drain_row(acc.r1, m + 16u, n, subgroup, lane);
  if (DOWN == 4u) {
    drain_row(acc.r2, m + 32u, n, subgroup, lane);
    drain_row(acc.r3, m + 48u, n, subgroup, lane);
  }
}
