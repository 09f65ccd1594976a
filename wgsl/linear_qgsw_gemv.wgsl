// y[M, N] = x[M, K] · dequantize(w)[N, K]ᵀ (+ bias[N]) for a few rows of x; w in 4- or 8-bit
// symmetric groups along K. A workgroup owns all M rows of four columns of y: LANES invocations
// walk along K together, each taking 16 bytes of every column at a time, and add up at the end,
// subgroup by subgroup. Correct for subgroups of any size; where there are none, the same file
// serves with subgroupAdd declared as the identity in the place of the next line: an invocation is
// a subgroup then. Layouts: quant/.

enable subgroups;

const BITS: u32 = 4u;        // knob: 4 (offset binary) | 8 (two's complement)
const HIGH_FIRST: bool = false;  // knob: of 4 bits, the high nibble is the even k
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const BIAS: bool = false;    // knob: add bias[n]
const ROWS: u32 = 1u;        // knob: rows of y a workgroup owns, M or more and LANES at most
const LANES: u32 = 64u;      // knob: invocations per workgroup

struct Params {
  M: u32,
  N: u32,
  K: u32,
  group: u32,  // a multiple of 32
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> packed: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;

var<workgroup> partial: array<array<vec4<f32>, ROWS>, LANES>;  // a subgroup's sums each

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

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let n0 = (workgroup.x + workgroup.y * workgroups.x) * 4u;
  if (n0 >= p.N) { return; }

  // Past an edge: recompute the last row or column, store nothing.
  let n = min(vec4<u32>(n0, n0 + 1u, n0 + 2u, n0 + 3u), vec4<u32>(p.N - 1u));
  let per_column = p.K * BITS / 128u;
  let first = n * per_column;
  var acc: array<vec4<f32>, ROWS>;
  for (var i = lane; i < per_column; i += LANES) {
    let k = i * (128u / BITS);
    let s = n + k / p.group * p.N;
    let scale = vec4<f32>(scale_at(s.x), scale_at(s.y), scale_at(s.z), scale_at(s.w));
    let a = packed[first.x + i];
    let b = packed[first.y + i];
    let c = packed[first.z + i];
    let d = packed[first.w + i];
    for (var j = 0u; j < 4u; j++) {
      let words = vec4<u32>(a[j], b[j], c[j], d[j]);
      for (var part = 0u; part < 8u / BITS; part++) {
        let w = block(words >> vec4<u32>(part * 16u));
        let at = k / 4u + j * (8u / BITS) + part;
        for (var r = 0u; r < ROWS; r++) {
          acc[r] += (x[min(r, p.M - 1u) * (p.K / 4u) + at] * w) * scale;
        }
      }
    }
  }

  // Invocations of a subgroup are neighbours in a workgroup of one dimension.
  let size = u32(subgroupAdd(vec4<f32>(1.0)).x);
  for (var r = 0u; r < ROWS; r++) {
    let sum = subgroupAdd(acc[r]);
    if (lane % size == 0u) { partial[lane / size][r] = sum; }
  }
  workgroupBarrier();
  if (lane >= min(ROWS, p.M)) { return; }
  var sum = partial[0][lane];
  for (var i = 1u; i < LANES / size; i++) { sum += partial[i][lane]; }
  for (var c = 0u; c < 4u && n0 + c < p.N; c++) {
    var v = sum[c];
    if (BIAS) { v += bias[n0 + c]; }
    y[lane * p.N + n0 + c] = v;
  }
}
