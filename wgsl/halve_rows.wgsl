// Rows of x[M, K] as float16 for linear_qgsw_matrix: eight values are four words, each k and, above
// it, k + 4. Each row is divided by a power of 2, its factor, so that its largest magnitude lies in
// [512, 1024): nothing overflows, and what is 2⁻²⁴ of it still counts.
//
//   NORM  x · rsqrt(mean(x²) + eps) · (offset + norm) in the place of x

const LANES: u32 = 128u;     // knob: invocations per workgroup
const NORM: bool = false;    // knob: norm[k] is used

struct Params {
  M: u32,
  K: u32,  // a multiple of 8
  eps: f32,
  offset: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;    // any buffer without NORM
@group(0) @binding(2) var<storage, read_write> halves: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

var<workgroup> largest: array<f32, LANES>;
var<workgroup> squares: array<f32, LANES>;

fn gained(v: vec4<f32>, i: u32) -> vec4<f32> {
  if (NORM) { return v * (p.offset + norm[i]); }
  return v;
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
  var most = vec4<f32>(0.0);
  var sum = 0.0;
  for (var i = lane; i < p.K / 4u; i += LANES) {
    let v = x[start + i];
    most = max(most, abs(gained(v, i)));
    if (NORM) { sum += dot(v, v); }
  }
  largest[lane] = max(max(most.x, most.y), max(most.z, most.w));
  if (NORM) { squares[lane] = sum; }
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      largest[lane] = max(largest[lane], largest[lane + half]);
      if (NORM) { squares[lane] += squares[lane + half]; }
    }
  }
  workgroupBarrier();
  var scale = 1.0;
  if (NORM) { scale = inverseSqrt(squares[0] / f32(p.K) + p.eps); }
  let exponent = max(bitcast<u32>(largest[0] * scale) >> 23u, 10u) - 9u;  // of the factor, biased by 127
  let inverse = bitcast<f32>((254u - exponent) << 23u);
  for (var i = lane; i < p.K / 8u; i += LANES) {
    let a = gained(x[start + 2u * i], 2u * i) * scale * inverse;
    let b = gained(x[start + 2u * i + 1u], 2u * i + 1u) * scale * inverse;
    halves[start / 2u + i] = vec4<u32>(
      pack2x16float(vec2<f32>(a.x, b.x)), pack2x16float(vec2<f32>(a.y, b.y)),
      pack2x16float(vec2<f32>(a.z, b.z)), pack2x16float(vec2<f32>(a.w, b.w)));
  }
  if (lane == 0u) { factor[m] = bitcast<f32>(exponent << 23u); }
}
