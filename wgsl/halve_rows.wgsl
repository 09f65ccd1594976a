// Rows of x[M, K] as float16 for linear_qgsw_matrix, in tiles of 16 rows × 16 values, tiles of the same
// rows side by side; eight values of a row are four words, each k and, above it, k + 4. Rows that a last
// tile lacks are left as they are. Each row is divided by a power of 2, its factor, so that its largest
// magnitude lies in [512, 1024): nothing overflows, and what is 2⁻²⁴ of it still counts.
//
//   NORM  x · rsqrt(mean(x²) + eps) · (offset + norm) in the place of x
//
// A row is read once and stays in registers.

enable subgroups;

const LANES: u32 = 128u;     // knob: invocations per workgroup
const NORM: bool = false;    // knob: norm[k] is used
const K: u32 = 16u;          // knob: values of a row, a multiple of 16

struct Params {
  M: u32,
  eps: f32,
  offset: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;    // any buffer without NORM
@group(0) @binding(2) var<storage, read_write> halves: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read_write> factor: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

const EIGHTS = K / 8u;
const EACH = (EIGHTS + LANES - 1u) / LANES;  // eights of an invocation

var<workgroup> largest: array<f32, LANES>;   // of a subgroup each
var<workgroup> squares: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(num_subgroups) subgroups: u32,
) {
  let m = workgroup.x + workgroup.y * workgroups.x;
  if (m >= p.M) { return; }
  let start = m * (K / 4u);
  var low: array<vec4<f32>, EACH>;
  var high: array<vec4<f32>, EACH>;
  for (var j = 0u; j < EACH; j++) {
    let i = lane + j * LANES;
    if (i < EIGHTS) {
      low[j] = x[start + 2u * i];
      high[j] = x[start + 2u * i + 1u];
    }
  }
  var most = vec4<f32>(0.0);
  var sum = 0.0;
  for (var j = 0u; j < EACH; j++) {
    if (NORM) {
      sum += dot(low[j], low[j]) + dot(high[j], high[j]);
      let i = min(lane + j * LANES, EIGHTS - 1u);
      low[j] *= p.offset + norm[2u * i];
      high[j] *= p.offset + norm[2u * i + 1u];
    }
    most = max(most, max(abs(low[j]), abs(high[j])));
  }
  let own = subgroupMax(max(max(most.x, most.y), max(most.z, most.w)));
  largest[subgroup] = own;
  if (NORM) {
    let own_squares = subgroupAdd(sum);
    squares[subgroup] = own_squares;
  }
  workgroupBarrier();
  var top = 0.0;
  sum = 0.0;
  for (var i = 0u; i < subgroups; i++) {
    top = max(top, largest[i]);
    if (NORM) { sum += squares[i]; }
  }
  var scale = 1.0;
  if (NORM) { scale = inverseSqrt(sum / f32(K) + p.eps); }
  let exponent = max(bitcast<u32>(top * scale) >> 23u, 10u) - 9u;  // of the factor, biased by 127
  let inverse = bitcast<f32>((254u - exponent) << 23u);
  for (var j = 0u; j < EACH; j++) {
    let i = lane + j * LANES;
    if (i < EIGHTS) {
      let a = low[j] * scale * inverse;
      let b = high[j] * scale * inverse;
      halves[(m / 16u * (K / 16u) + i / 2u) * 32u + m % 16u * 2u + i % 2u] = vec4<u32>(
        pack2x16float(vec2<f32>(a.x, b.x)), pack2x16float(vec2<f32>(a.y, b.y)),
        pack2x16float(vec2<f32>(a.z, b.z)), pack2x16float(vec2<f32>(a.w, b.w)));
    }
  }
  if (lane == 0u) { factor[m] = bitcast<f32>(exponent << 23u); }
}
