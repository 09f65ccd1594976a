// y[b, m, n] = Σ_k a[b, m, k] · w[b, k, n] (+ bias[n]) for many rows; with TRANSPOSED w is [b, n, k].
// A workgroup of 16 × 16 owns 16·ROWS × 64 elements of y and walks along K in steps of 32: the
// tiles of a and w go through workgroup memory (16 KiB at ROWS = 4: what every adapter has). An
// invocation owns ROWS × 4 elements, 16 rows and 16 columns apart, so that neighbours read and
// write neighbours. The batch strides are the caller's (0: one matrix for the whole batch).

const TRANSPOSED: bool = false;  // knob: w is [b, n, k]
const BIAS: bool = false;        // knob: add bias[n]
const ROWS: u32 = 4u;            // knob: rows of y an invocation owns, 4 at most

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

const STEP = 8u;                 // vec4s along K a tile holds
const TALL = 16u * ROWS;
const WIDE = 64u;

var<workgroup> a_tile: array<vec4<f32>, STEP * TALL>;  // [k / 4][row]
var<workgroup> w_tile: array<vec4<f32>, STEP * WIDE>;  // [k / 4][column]

// Past the last row or column: that one again, which nobody stores. Past the last k: zeros.
fn load_tiles(b: u32, m0: u32, n0: u32, k0: u32, local: u32) {
  for (var i = local; i < STEP * TALL; i += 256u) {
    let k = k0 + i % STEP * 4u;
    let at = b * p.a_batch + min(m0 + i / STEP, p.M - 1u) * p.K + k;
    var v = vec4<f32>(0.0);
    for (var j = 0u; j < 4u && k + j < p.K; j++) { v[j] = a[at + j]; }
    a_tile[i % STEP * TALL + i / STEP] = v;
  }
  for (var i = local; i < STEP * WIDE; i += 256u) {
    // Neighbours along the dimension in which w is contiguous.
    let column = select(i % WIDE, i / STEP, TRANSPOSED);
    let slice = select(i / WIDE, i % STEP, TRANSPOSED);
    let n = min(n0 + column, p.N - 1u);
    let k = k0 + slice * 4u;
    let at = b * p.w_batch + select(k * p.N + n, n * p.K + k, TRANSPOSED);
    let step = select(p.N, 1u, TRANSPOSED);
    var v = vec4<f32>(0.0);
    for (var j = 0u; j < 4u && k + j < p.K; j++) { v[j] = w[at + j * step]; }
    w_tile[slice * WIDE + column] = v;
  }
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = workgroup.x + workgroup.y * workgroups.x;
  let across = (p.N + WIDE - 1u) / WIDE;
  let down = (p.M + TALL - 1u) / TALL;
  let n0 = id % across * WIDE;
  let m0 = id / across % down * TALL;
  let b = id / (across * down);
  if (b >= p.B) { return; }

  var acc: array<vec4<f32>, ROWS>;
  for (var k0 = 0u; k0 < p.K; k0 += 4u * STEP) {
    load_tiles(b, m0, n0, k0, local.y * 16u + local.x);
    workgroupBarrier();
    for (var i = 0u; i < STEP; i++) {
      let at = i * WIDE + local.x;
      let block = mat4x4<f32>(w_tile[at], w_tile[at + 16u], w_tile[at + 32u], w_tile[at + 48u]);
      for (var r = 0u; r < ROWS; r++) { acc[r] += a_tile[i * TALL + local.y + r * 16u] * block; }
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < ROWS; r++) {
    let m = m0 + local.y + r * 16u;
    for (var c = 0u; c < 4u; c++) {
      let n = n0 + local.x + c * 16u;
      if (m >= p.M || n >= p.N) { continue; }
      var v = acc[r][c];
      if (BIAS) { v += bias[n]; }
      y[(b * p.M + m) * p.N + n] = v;
    }
  }
}
