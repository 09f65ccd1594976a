// y[M, N] = factor[M] · x[M, K] · dequantize(w)[N, K]ᵀ for many rows of x, by the GPU's matrix units:
// float16 products, float32 sums; w in 4-bit symmetric groups along K, low nibble first.
//
//   BIAS  + bias[N]
//   GLU   y[M, N/2] = act(v[:, n]) · v[:, n + N/2]
//   ADD   + add, as y is
//
// or of a slice of K each y[s, M, N] = factor · x · wᵀ, for sum_slices to add up.
//
// x comes as halve_rows writes it: in tiles of 16 × 16, so that a subgroup loads its matrices straight
// from memory, two ahead; eight values of a row are four words, each the float16 of k and, above it, of
// k + 4. A word of w holds nibbles in that order, too, once it is masked.
//
// A workgroup's ACROSS × 2 subgroups of 32 own DOWN × ACROSS tiles of the product each, with GLU half
// of the columns and those that go with them, and walk along K in steps of 64. All share the step's w
// through workgroup memory, in panels of 32 columns, nine vec4s apart, so that eight neighbours lie in
// different banks. There are two sets of panels: while one is multiplied the next step is unpacked into
// the other, a word after every 16 of K, and the words of the one after that are on their way to registers.
//
// Matrices lie in registers only where every index is a literal: hence no loops over them. Offsets and
// strides within a panel are literals, too: Tint guards any other with a select, and the driver then no
// longer knows that rows are 16 bytes apart. What is loaded past the end of K, w or x is never used.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const N: u32 = 4u;           // knob: columns, a multiple of 4, with GLU of 8
const K: u32 = 64u;          // knob: weights of a column
const GROUP: u32 = 32u;      // knob: weights to a scale, a multiple of 32
const DOWN: u32 = 4u;        // knob: tiles of 16 × 16 a subgroup owns along M, 2 | 4
const ACROSS: u32 = 4u;      // knob: and along N, 2 | 4; as many subgroups share its columns

struct Params {
  M: u32,
  slice: u32,  // of K, what a workgroup adds up: a multiple of 128, or K. A knob would be unrolled.
}

@group(0) @binding(0) var<storage, read> x: array<array<vec4<u32>, 32>>;  // tiles, eight values each
@group(0) @binding(1) var<storage, read> factor: array<f32>;
@group(0) @binding(2) var<storage, read> packed: array<vec4<u32>>;        // 32 weights of a column each
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<vec4<f32>>;          // any buffer without BIAS
@group(0) @binding(5) var<storage, read> add: array<vec4<f32>>;           // any buffer without ADD
@group(0) @binding(6) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(7) var<uniform> p: Params;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

const SUBGROUPS = 2u * ACROSS;
const LANES = 32u * SUBGROUPS;
const HIGH = 16u * DOWN;                // of a subgroup's part of y
const WIDE = 16u * ACROSS;
const LENGTH = select(N, N / 2u, GLU > 0u);         // of a row of y
const OWN = select(WIDE, WIDE / 2u, GLU > 0u);      // columns of y, of a subgroup's part
const K16 = K / 16u;
const PITCH = 9u;                       // vec4s from column to column of a panel, eight of them used
const TILE = 16u * PITCH;               // and from tile to tile
const ROW = 4u * ACROSS + 2u;           // vec4s from row to row of what is drained,
const SPAN = OWN / 4u;                  // so many of them y's

var<workgroup> panels: array<array<vec4<u32>, 2u * TILE>, SUBGROUPS>;

// What an invocation has of w in a step: 32 weights of a column.
struct Weights {
  words: vec4<u32>,
  scale: u32,      // as it comes: looked at sooner, it would be waited for
  column: u32,     // in w
  half: u32,       // of a step, 0 | 32
  panel: u32,      // where they go
  at: u32,
}

// Those of the step at k.
fn fetch(next: ptr<function, Weights>, k: u32) {
  (*next).words = packed[(*next).column * (K / 32u) + (k + (*next).half) / 32u];
  (*next).scale = scales[((k + (*next).half) / GROUP * N + (*next).column) / select(1u, 2u, HALF)];
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

// One of the words, i, into a set of panels.
fn keep(next: ptr<function, Weights>, word: u32, i: u32, panels_from: u32) {
  var scale = f16(bitcast<f32>((*next).scale));
  if (HALF) { scale = bitcast<vec2<f16>>((*next).scale >> ((*next).column % 2u * 16u)).x; }
  panels[((*next).panel + panels_from) % SUBGROUPS][(*next).at + i] = eight(word, scale);
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
struct Rows { a0: Left, a1: Left, a2: Left, a3: Left, }

fn load(tile: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&x[tile], 0u, 2u); }

fn load_rows(a: ptr<function, Rows>, tile: u32) {
  (*a).a0 = load(tile);
  (*a).a1 = load(tile + K16);
  if (DOWN == 4u) {
    (*a).a2 = load(tile + 2u * K16);
    (*a).a3 = load(tile + 3u * K16);
  }
}

// The products of 16 values along K; rows become those `ahead`, as soon as they are used.
fn multiply(acc: ptr<function, Acc>, a: ptr<function, Rows>, ahead: u32, b0: Right, b1: Right, b2: Right, b3: Right) {
  add_row(&(*acc).r0, (*a).a0, b0, b1, b2, b3);
  (*a).a0 = load(ahead);
  add_row(&(*acc).r1, (*a).a1, b0, b1, b2, b3);
  (*a).a1 = load(ahead + K16);
  if (DOWN == 4u) {
    add_row(&(*acc).r2, (*a).a2, b0, b1, b2, b3);
    (*a).a2 = load(ahead + 2u * K16);
    add_row(&(*acc).r3, (*a).a3, b0, b1, b2, b3);
    (*a).a3 = load(ahead + 3u * K16);
  }
}

// The products of a step at k by its set of panels, the next one's weights into the other set, and
// those after on their way. Of two tiles across the third and fourth are anything; nobody uses them.
fn step(acc: ptr<function, Acc>, even: ptr<function, Rows>, odd: ptr<function, Rows>, next: ptr<function, Weights>,
    k: u32, tile: u32, own_panel: u32, here: u32) {
  let left = &panels[(own_panel + here) % SUBGROUPS];
  let right = &panels[(own_panel + here + 1u) % SUBGROUPS];
  let other = ACROSS - here;
  let ahead = tile + k / 16u + 2u;
  multiply(acc, even, ahead,
    subgroupMatrixLoad<Right, col_major>(left, 0u, PITCH),
    subgroupMatrixLoad<Right, col_major>(left, TILE, PITCH),
    subgroupMatrixLoad<Right, col_major>(right, 0u, PITCH),
    subgroupMatrixLoad<Right, col_major>(right, TILE, PITCH));
  keep(next, (*next).words.x, 0u, other);
  multiply(acc, odd, ahead + 1u,
    subgroupMatrixLoad<Right, col_major>(left, 2u, PITCH),
    subgroupMatrixLoad<Right, col_major>(left, TILE + 2u, PITCH),
    subgroupMatrixLoad<Right, col_major>(right, 2u, PITCH),
    subgroupMatrixLoad<Right, col_major>(right, TILE + 2u, PITCH));
  keep(next, (*next).words.y, 1u, other);
  if (K % 64u == 0u || k + 64u <= K) {
    multiply(acc, even, ahead + 2u,
      subgroupMatrixLoad<Right, col_major>(left, 4u, PITCH),
      subgroupMatrixLoad<Right, col_major>(left, TILE + 4u, PITCH),
      subgroupMatrixLoad<Right, col_major>(right, 4u, PITCH),
      subgroupMatrixLoad<Right, col_major>(right, TILE + 4u, PITCH));
    keep(next, (*next).words.z, 2u, other);
    multiply(acc, odd, ahead + 3u,
      subgroupMatrixLoad<Right, col_major>(left, 6u, PITCH),
      subgroupMatrixLoad<Right, col_major>(left, TILE + 6u, PITCH),
      subgroupMatrixLoad<Right, col_major>(right, 6u, PITCH),
      subgroupMatrixLoad<Right, col_major>(right, TILE + 6u, PITCH));
    keep(next, (*next).words.w, 3u, other);
    fetch(next, k + 128u);
  }
  workgroupBarrier();
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

fn activated(v: vec4<f32>) -> vec4<f32> {
  return vec4<f32>(activate(v.x), activate(v.y), activate(v.z), activate(v.w));
}

// A row of tiles goes to y through the subgroup's part of workgroup memory; `first` is its row of y.
fn drain(acc: array<Result, 4>, first: u32, n: u32, subgroup: u32, lane: u32, slice: u32) {
  workgroupBarrier();
  let part = &panels[subgroup % SUBGROUPS];
  subgroupMatrixStore<row_major>(part, 0u, acc[0], ROW);
  subgroupMatrixStore<row_major>(part, 4u, acc[1], ROW);
  if (ACROSS == 4u) {
    subgroupMatrixStore<row_major>(part, 4u * (ACROSS - 2u), acc[2], ROW);
    subgroupMatrixStore<row_major>(part, 4u * (ACROSS - 1u), acc[3], ROW);
  }
  workgroupBarrier();
  for (var i = 0u; i < SPAN / 2u; i++) {
    let e = lane + 32u * i;
    let at = e / SPAN * ROW + e % SPAN;
    let row = first + e / SPAN;
    let column = n / 4u + e % SPAN;
    if (row >= p.M || column >= LENGTH / 4u) { continue; }
    var sum = bitcast<vec4<f32>>(panels[subgroup % SUBGROUPS][at]) * factor[row];
    if (BIAS) { sum += bias[column]; }
    if (GLU > 0u) {
      var other = bitcast<vec4<f32>>(panels[subgroup % SUBGROUPS][at + SPAN]) * factor[row];
      if (BIAS) { other += bias[column + LENGTH / 4u]; }
      sum = activated(sum) * other;
    }
    let to = (slice * p.M + row) * (LENGTH / 4u) + column;
    if (ADD) { sum += add[to]; }
    y[to] = sum;
  }
}

@compute @workgroup_size(64u * ACROSS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  // Slices of a tile are side by side, and workgroups that share columns of w.
  let id = workgroup.x + workgroup.y * workgroups.x;
  let slices = K / p.slice;
  let down = (p.M + ACROSS * HIGH - 1u) / (ACROSS * HIGH);
  let m0 = id / slices % down * (ACROSS * HIGH);
  let n0 = id / slices / down * (2u * OWN);
  if (n0 >= LENGTH) { return; }
  let m = m0 + subgroup % ACROSS * HIGH;
  let n = n0 + subgroup / ACROSS * OWN;
  let tile = m / 16u * K16;
  let own_panel = subgroup / ACROSS * (ACROSS / 2u);

  // Of a subgroup's columns the first OWN are side by side, and so are those that go with them.
  let j = local / 2u;
  let column = min(n0 + j / WIDE * OWN + j % OWN, LENGTH - 1u) + j % WIDE / OWN * LENGTH;
  var next: Weights;
  next.column = column;
  next.half = local % 2u * 32u;
  next.panel = j / 32u;
  next.at = j % 32u * PITCH + local % 2u * 4u;

  let start = id % slices * p.slice;
  let end = start + p.slice;
  var acc: Acc;
  var even: Rows;
  var odd: Rows;
  load_rows(&even, tile + start / 16u);
  load_rows(&odd, tile + start / 16u + 1u);
  fetch(&next, start);
  keep(&next, next.words.x, 0u, 0u);
  keep(&next, next.words.y, 1u, 0u);
  keep(&next, next.words.z, 2u, 0u);
  keep(&next, next.words.w, 3u, 0u);
  fetch(&next, start + 64u);
  workgroupBarrier();
  for (var k = start; k < end; k += 128u) {
    step(&acc, &even, &odd, &next, k, tile, own_panel, 0u);
    if (K % 128u != 0u && k + 64u >= end) { break; }
    step(&acc, &even, &odd, &next, k + 64u, tile, own_panel, ACROSS);
  }
  let slice = id % slices;
  drain(acc.r0, m, n, subgroup, lane, slice);
  drain(acc.r1, m + 16u, n, subgroup, lane, slice);
  if (DOWN == 4u) {
    drain(acc.r2, m + 32u, n, subgroup, lane, slice);
    drain(acc.r3, m + 48u, n, subgroup, lane, slice);
  }
}
