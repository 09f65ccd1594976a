// Rows of x[M, K] as integers of 16 bits for linear_qgsw_dots. Each block of 32 elements has a scale,
// its largest magnitude / 32639; eight elements are four words of signed bytes: the high bytes of what
// is multiplied with a first and with a second word of w, then the low ones. An element is scale ·
// (256 · high + low), off by 1 / 65000 of its block's largest magnitude. A NaN makes its block NaN.
//
//   NORM  x · rsqrt(mean(x²) + eps) · (offset + norm) in the place of x

const BITS: u32 = 4u;        // knob: of w: 4 (even k first, then odd; w comes 16 times too large) | 8
const LANES: u32 = 128u;     // knob: invocations per workgroup, a power of two, 4 or more
const NORM: bool = false;    // knob: norm[k] is used

struct Params {
  M: u32,
  K: u32,  // a multiple of 32
  eps: f32,
  offset: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;  // any buffer without NORM
@group(0) @binding(2) var<storage, read_write> words: array<vec4<u32>>;  // [M, K / 8]
@group(0) @binding(3) var<storage, read_write> factors: array<f32>;      // [K / 32, M]
@group(0) @binding(4) var<uniform> p: Params;

const MOST = 32639.0;        // 127 · 256 + 127: what signed bytes, high and low, hold

var<workgroup> largest: array<u32, LANES>;
var<workgroup> squares: array<f32, LANES>;

// Of two words the halves in which rounding left an integer: of the first the low half.
fn halves(a: u32, b: u32) -> u32 { return (a & 0xffffu) | (b << 16u); }

// Eight elements as integers.
fn integers(v: vec4<f32>, w: vec4<f32>, factor: f32) -> vec4<u32> {
  // Added to 1.5 · 2²³ a number is rounded and lies in the last bits; 128 more, and the high byte is
  // right when the low one, 128 too large then, counts from −128.
  let a = bitcast<vec4<u32>>(v * factor + 12583040.0);
  let b = bitcast<vec4<u32>>(w * factor + 12583040.0);
  // Four elements' halves, as two words, for each of the two words that are multiplied with them.
  var first = vec2<u32>(halves(a.x, b.x), halves(a.y, b.y));
  var second = vec2<u32>(halves(a.z, b.z), halves(a.w, b.w));
  if (BITS == 8u) {
    first = vec2<u32>(halves(a.x, a.z), halves(b.x, b.z));
    second = vec2<u32>(halves(a.y, a.w), halves(b.y, b.w));
  }
  let even = vec2<u32>(0x00ff00ffu);
  let high = ((first >> vec2<u32>(8u)) & even) | (second & ~even);
  let low = ((first & even) | ((second << vec2<u32>(8u)) & ~even)) ^ vec2<u32>(0x80808080u);
  return vec4<u32>(high, low);
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let m = workgroup.x + workgroup.y * workgroups.x;
  if (m >= p.M) { return; }
  let start = m * (p.K / 4u);
  var scale = 1.0;
  if (NORM) {
    var sum = 0.0;
    for (var i = lane; i < p.K / 4u; i += LANES) { sum += dot(x[start + i], x[start + i]); }
    squares[lane] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (lane < half) { squares[lane] += squares[lane + half]; }
    }
    workgroupBarrier();
    scale = inverseSqrt(squares[0] / f32(p.K) + p.eps);
  }
  for (var first = 0u; first < p.K / 8u; first += LANES) {
    let i = min(first + lane, p.K / 8u - 1u);
    var a = x[start + 2u * i];
    var b = x[start + 2u * i + 1u];
    if (NORM) {
      a *= scale * (p.offset + norm[2u * i]);
      b *= scale * (p.offset + norm[2u * i + 1u]);
    }
    // As integers magnitudes compare as they do as floats, and a NaN is the greatest.
    let both = max(
      bitcast<vec4<u32>>(a) & vec4<u32>(0x7fffffffu), bitcast<vec4<u32>>(b) & vec4<u32>(0x7fffffffu));
    largest[lane] = max(max(both.x, both.y), max(both.z, both.w));
    workgroupBarrier();
    let block = lane / 4u * 4u;
    let most = bitcast<f32>(
      max(max(largest[block], largest[block + 1u]), max(largest[block + 2u], largest[block + 3u])));
    if (first + lane < p.K / 8u) {
      words[start / 2u + i] = integers(a, b, select(0.0, MOST / most, most > 1e-30));
      if (lane % 4u == 0u) {
        factors[i / 4u * p.M + m] = most / (MOST * select(1.0, 16.0, BITS == 4u));
      }
    }
    workgroupBarrier();
  }
}
