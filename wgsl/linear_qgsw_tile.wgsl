// y[M, N] = x[M, K] · dequantize(w)[N, K]ᵀ (+ bias[N]), w in 4- or 8-bit symmetric groups along K.
// One invocation owns ROWS × 4 elements of y: weights are unpacked once, as 4 × 4 matrices, and used
// ROWS times. No barrier, no shared memory, and nothing but acc is indexed by a variable: that is
// what a GPU imitated on the CPU wants, and every other can do it. Layouts: quant/.

const BITS: u32 = 4u;        // knob: 4 (offset binary) | 8 (two's complement)
const HIGH_FIRST: bool = false;  // knob: of 4 bits, the high nibble is the even k
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ROWS: u32 = 16u;       // knob: rows of y an invocation owns; 1 for decode
const WIDTH: u32 = 16u;      // knob: invocations per workgroup

struct Params {
  M: u32,
  N: u32,
  K: u32,
  group: u32,  // a multiple of 16
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

// Four weights of four columns: x · block is four dot products.
fn block(words: vec4<u32>) -> mat4x4<f32> {
  return mat4x4<f32>(unpack(words.x), unpack(words.y), unpack(words.z), unpack(words.w));
}

fn packed_at(i: vec4<u32>) -> vec4<u32> {
  return vec4<u32>(packed[i.x], packed[i.y], packed[i.z], packed[i.w]);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let across = (p.N + 3u) / 4u;
  let n0 = id % across * 4u;
  let m0 = id / across * ROWS;
  if (m0 >= p.M) { return; }

  // Past an edge: recompute the last row or column, store nothing.
  let n = min(vec4<u32>(n0, n0 + 1u, n0 + 2u, n0 + 3u), vec4<u32>(p.N - 1u));
  var acc: array<vec4<f32>, ROWS>;
  for (var g = 0u; g < p.K / p.group; g++) {
    let s = n + g * p.N;
    let scale = vec4<f32>(scale_at(s.x), scale_at(s.y), scale_at(s.z), scale_at(s.w));
    for (var k = g * p.group; k < (g + 1u) * p.group; k += 16u) {
      let at = n * (p.K / 32u * BITS) + k * BITS / 32u;
      let first = packed_at(at);
      let second = packed_at(at + 1u);
      let w0 = block(first);
      var w1 = block(first >> vec4<u32>(16u));
      var w2 = block(second);
      var w3 = block(second >> vec4<u32>(16u));
      if (BITS == 8u) {
        w1 = block(second);
        w2 = block(packed_at(at + 2u));
        w3 = block(packed_at(at + 3u));
      }
      for (var r = 0u; r < ROWS; r++) {
        let i = (min(m0 + r, p.M - 1u) * p.K + k) / 4u;
        acc[r] += (x[i] * w0 + x[i + 1u] * w1 + x[i + 2u] * w2 + x[i + 3u] * w3) * scale;
      }
    }
  }
  for (var r = 0u; r < ROWS && m0 + r < p.M; r++) {
    for (var c = 0u; c < 4u && n0 + c < p.N; c++) {
      var v = acc[r][c];
      if (BIAS) { v += bias[n0 + c]; }
      y[(m0 + r) * p.N + n0 + c] = v;
    }
  }
}
