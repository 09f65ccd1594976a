// y[M, K] = g[M, N] · dequantize(w)[N, K], w in 4-bit symmetric groups along K: the gradient of
// x · wᵀ by x. One invocation owns ROWS × 8 elements of y, the codes of a word: neighbours read
// neighbouring words, and a word is unpacked once for ROWS rows. No barrier. Layouts: quant/.

const ROWS: u32 = 8u;    // knob: rows of y an invocation owns
const WIDTH: u32 = 64u;  // knob: invocations per workgroup

struct Params {
  M: u32,
  N: u32,
  K: u32,
  group: u32,  // a multiple of 8
}

@group(0) @binding(0) var<storage, read> g: array<f32>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

// Four codes from a word's low bits, as linear_qgsw_tile unpacks them.
fn unpack(word: u32) -> vec4<f32> {
  let codes = vec4<u32>(word) & vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u);
  return vec4<f32>(vec4<i32>(codes)) * vec4<f32>(1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4096.0) - 8.0;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let across = p.K / 8u;
  let k = id % across * 8u;
  let m0 = id / across * ROWS;
  if (m0 >= p.M) { return; }
  var low: array<vec4<f32>, ROWS>;
  var high: array<vec4<f32>, ROWS>;
  for (var n = 0u; n < p.N; n++) {
    let word = packed[n * across + k / 8u];
    let scale = scales[k / p.group * p.N + n];
    let first = unpack(word) * scale;
    let second = unpack(word >> 16u) * scale;
    for (var r = 0u; r < ROWS; r++) {
      let v = g[min(m0 + r, p.M - 1u) * p.N + n];  // past the end: the last row again
      low[r] += v * first;
      high[r] += v * second;
    }
  }
  for (var r = 0u; r < ROWS && m0 + r < p.M; r++) {
    let at = (m0 + r) * p.K + k;
    for (var c = 0u; c < 4u; c++) {
      y[at + c] = low[r][c];
      y[at + 4u + c] = high[r][c];
    }
  }
}
