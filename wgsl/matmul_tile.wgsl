// y[b, m, n] = Σ_k a[b, m, k] · w[b, k, n] (+ bias[n]); with TRANSPOSED w is [b, n, k].
// One invocation owns ROWS × COLS elements of y: an element loaded is used ROWS or COLS times.
// No barrier and no shared memory, which a GPU imitated on the CPU wants. The batch strides are
// the caller's (0: one matrix for the whole batch).

const TRANSPOSED: bool = false;  // knob: w is [b, n, k]
const BIAS: bool = false;        // knob: add bias[n]
const ROWS: u32 = 4u;            // knob: rows of y an invocation owns
const COLS: u32 = 4u;            // knob: columns of y an invocation owns
const WIDTH: u32 = 32u;          // knob: invocations per workgroup

struct Params {
  B: u32,
  M: u32,
  N: u32,
  K: u32,
  a_batch: u32,  // elements from one matrix of a to the next
  w_batch: u32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let across = (p.N + COLS - 1u) / COLS;
  let down = (p.M + ROWS - 1u) / ROWS;
  let n0 = id % across * COLS;
  let m0 = id / across % down * ROWS;
  let b = id / (across * down);
  if (b >= p.B) { return; }

  // Past an edge: recompute the last row or column, store nothing.
  var a_at: array<u32, ROWS>;
  for (var r = 0u; r < ROWS; r++) { a_at[r] = b * p.a_batch + min(m0 + r, p.M - 1u) * p.K; }
  var w_at: array<u32, COLS>;
  for (var c = 0u; c < COLS; c++) {
    let n = min(n0 + c, p.N - 1u);
    w_at[c] = b * p.w_batch + select(n, n * p.K, TRANSPOSED);
  }
  let w_step = select(p.N, 1u, TRANSPOSED);

  var acc: array<array<f32, COLS>, ROWS>;
  for (var k = 0u; k < p.K; k++) {
    var v: array<f32, COLS>;
    for (var c = 0u; c < COLS; c++) { v[c] = w[w_at[c] + k * w_step]; }
    for (var r = 0u; r < ROWS; r++) {
      let u = a[a_at[r] + k];
      for (var c = 0u; c < COLS; c++) { acc[r][c] += u * v[c]; }
    }
  }
  for (var r = 0u; r < ROWS && m0 + r < p.M; r++) {
    for (var c = 0u; c < COLS && n0 + c < p.N; c++) {
      var v = acc[r][c];
      if (BIAS) { v += bias[n0 + c]; }
      y[(b * p.M + m0 + r) * p.N + n0 + c] = v;
    }
  }
}
