// y[M, N] = x[M, K] · dequantize(w)[N, K]ᵀ (+ bias[N]) for many rows of x; w in 4- or 8-bit
// symmetric groups along K. A workgroup of 16 × 16 owns 16·ROWS × 64 elements of y and walks along
// K in steps of 32, which lie in one group: the tiles of x and of w, dequantized once, go through
// workgroup memory (16 KiB at ROWS = 4: what every adapter has). An invocation owns ROWS × 4
// elements, 16 rows and 16 columns apart, so that neighbours read and write neighbours.
// Layouts: quant/.

const BITS: u32 = 4u;        // knob: 4 (offset binary) | 8 (two's complement)
const HIGH_FIRST: bool = false;  // knob: of 4 bits, the high nibble is the even k
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ROWS: u32 = 4u;        // knob: rows of y an invocation owns, 4 at most

struct Params {
  M: u32,
  N: u32,
  K: u32,
  group: u32,  // a multiple of 32
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;

const STEP = 8u;             // vec4s along K a tile holds
const TALL = 16u * ROWS;
const WIDE = 64u;

var<workgroup> x_tile: array<vec4<f32>, STEP * TALL>;  // [k / 4][row]
var<workgroup> w_tile: array<vec4<f32>, STEP * WIDE>;  // [k / 4][column]

fn scale_at(i: u32) -> f32 {
  if (HALF) { return unpack2x16float(scales[i / 2u])[i % 2u]; }
  return bitcast<f32>(scales[i]);
}

// Four weights from a word's low bits: masked where they lie and scaled down as floats, which is
// exact; shifts of vectors and conversions from u32 cost more on a GPU imitated on the CPU.
fn unpack(word: u32) -> vec4<f32> {
  if (BITS == 4u) {
    let codes = vec4<u32>(word) & vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u);
    let v = vec4<f32>(vec4<i32>(codes)) * vec4<f32>(1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4096.0) - 8.0;
    if (HIGH_FIRST) { return v.yxwz; }
    return v;
  }
  let w = word ^ 0x80808080u;  // two's complement to offset binary
  let codes = vec4<u32>(w & 0xffu, w & 0xff00u, w & 0xff0000u, w >> 24u);
  return vec4<f32>(vec4<i32>(codes)) * vec4<f32>(1.0, 1.0 / 256.0, 1.0 / 65536.0, 1.0) - 128.0;
}

// Past an edge: the last row or column again, which nobody stores.
fn load_tiles(m0: u32, n0: u32, k0: u32, local: u32) {
  for (var i = local; i < STEP * TALL; i += 256u) {
    let m = min(m0 + i / STEP, p.M - 1u);
    x_tile[i % STEP * TALL + i / STEP] = x[(m * p.K + k0) / 4u + i % STEP];
  }
  for (var i = local; i < BITS * WIDE; i += 256u) {  // 32 weights of a column are BITS words
    let column = i / BITS;
    let word = i % BITS;
    let n = min(n0 + column, p.N - 1u);
    let v = packed[(n * p.K + k0) / 32u * BITS + word];
    let scale = scale_at(k0 / p.group * p.N + n);
    for (var part = 0u; part < 8u / BITS; part++) {
      w_tile[(word * (8u / BITS) + part) * WIDE + column] = unpack(v >> (16u * part)) * scale;
    }
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
  let n0 = id % across * WIDE;
  let m0 = id / across * TALL;
  if (m0 >= p.M) { return; }

  var acc: array<vec4<f32>, ROWS>;
  for (var k0 = 0u; k0 < p.K; k0 += 4u * STEP) {
    load_tiles(m0, n0, k0, local.y * 16u + local.x);
    workgroupBarrier();
    for (var i = 0u; i < STEP; i++) {
      let at = i * WIDE + local.x;
      let w = mat4x4<f32>(w_tile[at], w_tile[at + 16u], w_tile[at + 32u], w_tile[at + 48u]);
      for (var r = 0u; r < ROWS; r++) { acc[r] += x_tile[i * TALL + local.y + r * 16u] * w; }
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
      y[m * p.N + n] = v;
    }
  }
}
