// y[M, N] = x[M, K] · dequantize(w)[N, K]ᵀ (+ bias[N]), w in 4- or 8-bit symmetric groups along K.
// One invocation owns ROWS × COLS elements of y: a weight is unpacked once and used ROWS times, an
// activation is loaded once and used COLS times. No barrier and no shared memory, which a GPU
// imitated on the CPU wants. Needs group % 8 == 0. Layouts: quant/.

const BITS: u32 = 4u;        // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ROWS: u32 = 4u;        // knob: rows of y an invocation owns; 1 for decode
const COLS: u32 = 4u;        // knob: columns of y an invocation owns
const WIDTH: u32 = 32u;      // knob: invocations per workgroup

struct Params {
  M: u32,
  N: u32,
  K: u32,
  group: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;

fn scale_at(i: u32) -> f32 {
  if (HALF) { return unpack2x16float(scales[i / 2u])[i % 2u]; }
  return bitcast<f32>(scales[i]);
}

fn nibbles(word: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u)) - 8.0;
}

fn octets(word: u32) -> vec4<f32> {
  return vec4<f32>(bitcast<vec4<i32>>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let tiles = (p.N + COLS - 1u) / COLS;
  let n0 = id % tiles * COLS;
  let m0 = id / tiles * ROWS;
  if (m0 >= p.M) { return; }

  // Past an edge: recompute the last row or column, store nothing.
  var x_at: array<u32, ROWS>;
  for (var r = 0u; r < ROWS; r++) { x_at[r] = min(m0 + r, p.M - 1u) * (p.K / 4u); }
  var n_at: array<u32, COLS>;
  for (var c = 0u; c < COLS; c++) { n_at[c] = min(n0 + c, p.N - 1u); }

  let words = p.K * BITS / 32u;
  var acc: array<array<f32, COLS>, ROWS>;
  for (var g = 0u; g < p.K / p.group; g++) {
    var scale: array<f32, COLS>;
    for (var c = 0u; c < COLS; c++) { scale[c] = scale_at(g * p.N + n_at[c]); }
    for (var k = g * p.group; k < (g + 1u) * p.group; k += 8u) {
      var low: array<vec4<f32>, COLS>;
      var high: array<vec4<f32>, COLS>;
      for (var c = 0u; c < COLS; c++) {
        let at = n_at[c] * words + k * BITS / 32u;
        let word = packed[at];
        if (BITS == 4u) {
          low[c] = nibbles(word) * scale[c];
          high[c] = nibbles(word >> 16u) * scale[c];
        } else {
          low[c] = octets(word) * scale[c];
          high[c] = octets(packed[at + 1u]) * scale[c];
        }
      }
      for (var r = 0u; r < ROWS; r++) {
        let x0 = x[x_at[r] + k / 4u];
        let x1 = x[x_at[r] + k / 4u + 1u];
        for (var c = 0u; c < COLS; c++) { acc[r][c] += dot(x0, low[c]) + dot(x1, high[c]); }
      }
    }
  }
  for (var r = 0u; r < ROWS && m0 + r < p.M; r++) {
    for (var c = 0u; c < COLS && n0 + c < p.N; c++) {
      var v = acc[r][c];
      if (BIAS) { v += bias[n0 + c]; }
      y[(m0 + r) * p.N + n0 + c] = v;
    }
  }
}
