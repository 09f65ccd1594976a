// y[b, m, n] = Σ_k a[b, m, k] · w[b, k, n] (+ bias[n]); with TRANSPOSED w is [b, n, k].
// One invocation owns ROWS × 4 elements of y: w is loaded once, as 4 × 4 matrices, and used ROWS
// times. No barrier, no shared memory, and nothing but acc is indexed by a variable: that is what a
// GPU imitated on the CPU wants, and every other can do it. The batch strides are the caller's (0:
// one matrix for the whole batch).

const TRANSPOSED: bool = false;  // knob: w is [b, n, k]
const BIAS: bool = false;        // knob: add bias[n]
const ROWS: u32 = 16u;           // knob: rows of y an invocation owns; 1 for decode
const WIDTH: u32 = 16u;          // knob: invocations per workgroup

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

fn w_at(i: vec4<u32>) -> vec4<f32> { return vec4<f32>(w[i.x], w[i.y], w[i.z], w[i.w]); }

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let across = (p.N + 3u) / 4u;
  let down = (p.M + ROWS - 1u) / ROWS;
  let n0 = id % across * 4u;
  let m0 = id / across % down * ROWS;
  let b = id / (across * down);
  if (b >= p.B) { return; }

  // Past an edge: recompute the last row or column, store nothing.
  let n = min(vec4<u32>(n0, n0 + 1u, n0 + 2u, n0 + 3u), vec4<u32>(p.N - 1u));
  let w0 = b * p.w_batch + n * select(1u, p.K, TRANSPOSED);
  let step = select(p.N, 1u, TRANSPOSED);  // from one k to the next
  let a0 = b * p.a_batch;

  var acc: array<vec4<f32>, ROWS>;
  let whole = p.K / 4u * 4u;
  for (var k = 0u; k < whole; k += 4u) {
    let at = w0 + k * step;
    let block = mat4x4<f32>(w_at(at), w_at(at + step), w_at(at + 2u * step), w_at(at + 3u * step));
    for (var r = 0u; r < ROWS; r++) {
      let i = a0 + min(m0 + r, p.M - 1u) * p.K + k;
      acc[r] += block * vec4<f32>(a[i], a[i + 1u], a[i + 2u], a[i + 3u]);
    }
  }
  for (var k = whole; k < p.K; k++) {
    let column = w_at(w0 + k * step);
    for (var r = 0u; r < ROWS; r++) { acc[r] += column * a[a0 + min(m0 + r, p.M - 1u) * p.K + k]; }
  }
  for (var r = 0u; r < ROWS && m0 + r < p.M; r++) {
    for (var c = 0u; c < 4u && n0 + c < p.N; c++) {
      var v = acc[r][c];
      if (BIAS) { v += bias[n0 + c]; }
      y[(b * p.M + m0 + r) * p.N + n0 + c] = v;
    }
  }
}
