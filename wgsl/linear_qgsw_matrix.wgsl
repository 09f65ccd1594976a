// y[M, N] = factor[M] · x[M, K] · dequantize(w)[N, K]ᵀ for many rows of x, by the GPU's matrix units:
// float16 products, float32 sums; w in 4-bit symmetric groups along K, low nibble first.
//
//   BIAS  + bias[N]
//   GLU   y[M, N/2] = act(v[:, n]) · v[:, n + N/2]
//   ADD   + add, as y is
//   SLICE y[s, M, N] = factor · x · wᵀ over the s-th SLICE of K, for sum_slices to add up
//
// x comes as halve_rows writes it: eight values of a row are four words, each the float16 of k and,
// above it, of k + 4. A word of w holds nibbles in that order, too, once it is masked.
//
// Four subgroups of 32 own 32·DOWN × 32·ACROSS elements of the product, each a quarter of them, with GLU
// half of its columns and those that go with them, and walk along K
// in steps of STEP through panels in workgroup memory: 32 values along K of a subgroup's rows or columns,
// five vec4s apart, so that eight neighbours lie in different banks. While a step is multiplied the next
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
const K: u32 = 64u;          // knob: weights of a column
const SLICE: u32 = 64u;      // knob: how many of them a workgroup adds up, a part of K, of STEPs
const GROUP: u32 = 32u;      // knob: weights to a scale, a multiple of 32
const DOWN: u32 = 4u;        // knob: tiles of 16 × 16 a subgroup owns along M, 2 | 4
const ACROSS: u32 = 4u;      // knob: and along N, 2 | 4; 4 where STEP is 32
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
const PITCH = 5u;                       // vec4s from row to row of a panel, four of them used
const TILE = 16u * PITCH;               // and from tile to tile
const PARTS = STEP / 32u;               // panels of a row or column in a step
const EIGHTHS = STEP / 8u;              // of a row
const X_LOADS = 2u * HIGH * EIGHTHS / LANES;        // of an invocation
const W_LOADS = 2u * WIDE * PARTS / LANES;
const ROW = 4u * ACROSS + 2u;           // vec4s from row to row of what is drained
const DRAINED = 16u * OWN / 32u;        // elements of y that a lane drains of a row of tiles,
const EACH = 8u;                        // and so many at a time

// Four vec4s more than rows: the panels of one row lie in different banks, too.
var<workgroup> x_panels: array<array<vec4<u32>, HIGH * PITCH + 4u>, 2u * PARTS>;
var<workgroup> w_panels: array<array<vec4<u32>, WIDE * PITCH + 4u>, 4>;

struct Step {
  x: array<vec4<u32>, X_LOADS>,
  words: array<vec4<u32>, W_LOADS>,
  scales: array<u32, W_LOADS>,  // as they come: looked at sooner, they would be waited for
}

// Of an invocation's i-th load of w: the column, of 2 · WIDE, and the 32 weights of a step.
fn column_of(local: u32, i: u32) -> u32 { return local / PARTS + i * (LANES / PARTS); }

// And where its scale is.
fn scale_at(k0: u32, column: u32, local: u32) -> u32 {
  return (k0 + local % PARTS * 32u) / GROUP * N + column;
}

// Of a subgroup's columns the first OWN are side by side, and so are those that go with them.
fn column_in_w(n0: u32, j: u32) -> u32 {
  return min(n0 + j / WIDE * OWN + j % OWN, LENGTH - 1u) + j % WIDE / OWN * LENGTH;
}

fn fetch(next: ptr<function, Step>, k0: u32, m0: u32, n0: u32, local: u32) {
  let at = (m0 + local / EIGHTHS) * (K / 8u) + k0 / 8u + local % EIGHTHS;
  for (var i = 0u; i < X_LOADS; i++) { (*next).x[i] = x[at + i * (LANES / EIGHTHS * (K / 8u))]; }
  for (var i = 0u; i < W_LOADS; i++) {
    let column = column_in_w(n0, column_of(local, i));
    (*next).words[i] = packed[column * (K / 32u) + k0 / 32u + local % PARTS];
    (*next).scales[i] = scales[scale_at(k0, column, local) / select(1u, 2u, HALF)];
  }
}

// Eight weights. Odd nibbles are left where they are, 16 of 1024 + …: a sixteenth of it is 64 + ….
fn eight(word: u32, scale: f16) -> vec4<u32> {
  let words = vec2<u32>(word, word >> 8u);
  let even = bitcast<vec4<f16>>((words & vec2<u32>(0x000f000fu)) | vec2<u32>(0x64006400u)) - vec4<f16>(1032.0h);
  let odd = fma(bitcast<vec4<f16>>((words & vec2<u32>(0x00f000f0u)) | vec2<u32>(0x64006400u)),
    vec4<f16>(0.0625h), vec4<f16>(-72.0h));
  let e = bitcast<vec2<u32>>(even * scale);
  let o = bitcast<vec2<u32>>(odd * scale);
  return vec4<u32>(e.x, o.x, e.y, o.y);
}

fn keep(next: ptr<function, Step>, k0: u32, n0: u32, local: u32) {
  let eighth = local % EIGHTHS;
  for (var i = 0u; i < X_LOADS; i++) {
    let row = local / EIGHTHS + i * (LANES / EIGHTHS);
    x_panels[eighth / 4u * 2u + row / HIGH][row % HIGH * PITCH + eighth % 4u] = (*next).x[i];
  }
  for (var i = 0u; i < W_LOADS; i++) {
    let column = column_of(local, i);
    var scale = f16(bitcast<f32>((*next).scales[i]));
    if (HALF) {
      let odd = scale_at(k0, column_in_w(n0, column), local) % 2u;
      scale = bitcast<vec2<f16>>((*next).scales[i] >> (16u * odd)).x;
    }
    let panel = &w_panels[local % PARTS * 2u + column / WIDE];
    let at = column % WIDE * PITCH;
    (*panel)[at] = eight((*next).words[i].x, scale);
    (*panel)[at + 1u] = eight((*next).words[i].y, scale);
    (*panel)[at + 2u] = eight((*next).words[i].z, scale);
    (*panel)[at + 3u] = eight((*next).words[i].w, scale);
  }
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

fn products(acc: ptr<function, Acc>, a0: Left, a1: Left, a2: Left, a3: Left, b0: Right, b1: Right, b2: Right, b3: Right) {
  add_row(&(*acc).r0, a0, b0, b1, b2, b3);
  add_row(&(*acc).r1, a1, b0, b1, b2, b3);
  if (DOWN == 4u) {
    add_row(&(*acc).r2, a2, b0, b1, b2, b3);
    add_row(&(*acc).r3, a3, b0, b1, b2, b3);
  }
}

// Of two tiles the third is the first once more; nobody uses it.
const THIRD_DOWN = TILE * (DOWN - 2u);
const LAST_DOWN = TILE * (DOWN - 1u);
const THIRD_ACROSS = TILE * (ACROSS - 2u);
const LAST_ACROSS = TILE * (ACROSS - 1u);

// The products of a panel.
fn multiply(acc: ptr<function, Acc>, m: u32, n: u32) {
  let rows = &x_panels[m % (2u * PARTS)];
  let columns = &w_panels[n % 4u];
  products(acc,
    subgroupMatrixLoad<Left, row_major>(rows, 0u, PITCH),
    subgroupMatrixLoad<Left, row_major>(rows, TILE, PITCH),
    subgroupMatrixLoad<Left, row_major>(rows, THIRD_DOWN, PITCH),
    subgroupMatrixLoad<Left, row_major>(rows, LAST_DOWN, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, 0u, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, TILE, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, THIRD_ACROSS, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, LAST_ACROSS, PITCH));
  products(acc,
    subgroupMatrixLoad<Left, row_major>(rows, 2u, PITCH),
    subgroupMatrixLoad<Left, row_major>(rows, TILE + 2u, PITCH),
    subgroupMatrixLoad<Left, row_major>(rows, THIRD_DOWN + 2u, PITCH),
    subgroupMatrixLoad<Left, row_major>(rows, LAST_DOWN + 2u, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, 2u, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, TILE + 2u, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, THIRD_ACROSS + 2u, PITCH),
    subgroupMatrixLoad<Right, col_major>(columns, LAST_ACROSS + 2u, PITCH));
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

fn drained(row: u32, column: u32, subgroup: u32) -> f32 {
  return bitcast<f32>(w_panels[subgroup % 4u][row * ROW + column / 4u][column % 4u]);
}

// A row of tiles goes to y through the subgroup's part of workgroup memory; `first` is its row of y.
fn drain(acc: array<Result, 4>, first: u32, n: u32, subgroup: u32, lane: u32, slice: u32) {
  workgroupBarrier();
  let part = &w_panels[subgroup % 4u];
  subgroupMatrixStore<row_major>(part, 0u, acc[0], ROW);
  subgroupMatrixStore<row_major>(part, 4u, acc[1], ROW);
  if (ACROSS == 4u) {
    subgroupMatrixStore<row_major>(part, 4u * (ACROSS - 2u), acc[2], ROW);
    subgroupMatrixStore<row_major>(part, 4u * (ACROSS - 1u), acc[3], ROW);
  }
  workgroupBarrier();
  for (var done = 0u; done < DRAINED; done += EACH) {
    // All are read before any is written.
    var mine = array<f32, EACH>();
    var others = array<f32, EACH>();
    for (var i = 0u; i < EACH; i++) {
      let e = lane + 32u * (done + i);
      let scale = factor[first + e / OWN];
      mine[i] = drained(e / OWN, e % OWN, subgroup) * scale;
      if (GLU > 0u) { others[i] = drained(e / OWN, OWN + e % OWN, subgroup) * scale; }
    }
    for (var i = 0u; i < EACH; i++) {
      let e = lane + 32u * (done + i);
      let row = first + e / OWN;
      let column = n + e % OWN;
      if (row >= p.M || column >= LENGTH) { continue; }
      var sum = mine[i];
      if (BIAS) { sum += bias[column]; }
      if (GLU > 0u) {
        if (BIAS) { others[i] += bias[column + LENGTH]; }
        sum = activate(sum) * others[i];
      }
      let at = (slice * p.M + row) * LENGTH + column;
      if (ADD) { sum += add[at]; }
      y[at] = sum;
    }
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
  // Slices of a tile are side by side, and workgroups that share columns of w. Past an edge: what
  // happens to lie there, or the buffer's end; nobody stores it.
  let id = workgroup.x + workgroup.y * workgroups.x;
  let slice = id % (K / SLICE);
  let tile = id / (K / SLICE);
  let down = (p.M + 2u * HIGH - 1u) / (2u * HIGH);
  let m0 = tile % down * (2u * HIGH);
  let n0 = tile / down * (2u * OWN);
  if (n0 >= LENGTH) { return; }

  var acc: Acc;
  var next: Step;
  let start = slice * SLICE;
  fetch(&next, start, m0, n0, local);
  for (var k = 0u; k < SLICE; k += STEP) {
    workgroupBarrier();
    keep(&next, start + k, n0, local);
    workgroupBarrier();
    fetch(&next, start + min(k + STEP, SLICE - STEP), m0, n0, local);
    multiply(&acc, subgroup % 2u, subgroup / 2u);
    if (STEP == 64u) { multiply(&acc, 2u + subgroup % 2u, 2u + subgroup / 2u); }
  }
  let m = m0 + subgroup % 2u * HIGH;
  let n = n0 + subgroup / 2u * OWN;
  drain(acc.r0, m, n, subgroup, lane, slice);
  drain(acc.r1, m + 16u, n, subgroup, lane, slice);
  if (DOWN == 4u) {
    drain(acc.r2, m + 32u, n, subgroup, lane, slice);
    drain(acc.r3, m + 48u, n, subgroup, lane, slice);
  }
}
