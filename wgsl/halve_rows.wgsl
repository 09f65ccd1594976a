// Rows of x[M, K] as float16 for linear_qgsw_matrix: eight values are four words, each k and, above
// it, k + 4. Each row is divided by a power of 2, its factor, so that its largest magnitude lies in
// [512, 1024): nothing overflows, and what is 2⁻²⁴ of it still counts.

const LANES: u32 = 128u;     // knob: invocations per workgroup

struct Params {
  M: u32,
  K: u32,  // a multiple of 8
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> halves: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> factor: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> largest: array<f32, LANES>;

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
  for (var i = lane; i < p.K / 4u; i += LANES) { most = max(most, abs(x[start + i])); }
  largest[lane] = max(max(most.x, most.y), max(most.z, most.w));
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { largest[lane] = max(largest[lane], largest[lane + half]); }
  }
  workgroupBarrier();
  let exponent = max(bitcast<u32>(largest[0]) >> 23u, 10u) - 9u;  // of the factor, biased by 127
  let inverse = bitcast<f32>((254u - exponent) << 23u);
  for (var i = lane; i < p.K / 8u; i += LANES) {
    let a = x[start + 2u * i] * inverse;
    let b = x[start + 2u * i + 1u] * inverse;
    halves[start / 2u + i] = vec4<u32>(
      pack2x16float(vec2<f32>(a.x, b.x)), pack2x16float(vec2<f32>(a.y, b.y)),
      pack2x16float(vec2<f32>(a.z, b.z)), pack2x16float(vec2<f32>(a.w, b.w)));
  }
  if (lane == 0u) { factor[m] = bitcast<f32>(exponent << 23u); }
}
