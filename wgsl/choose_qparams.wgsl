// The scale of each row of x[rows, K], or its zero point as int8, four to a word: from the row's
// least and greatest element, 0 among them. LANES invocations share a row; with LANES = 1 there is
// no barrier, which a GPU imitated on the CPU wants.

const ZERO_POINT: bool = false;  // knob: the zero points of four rows, not the scale of one
const LANES: u32 = 64u;          // knob: invocations a row, a power of two
const ROWS: u32 = 1u;            // knob: rows, or four rows, per workgroup

struct Params {
  rows: u32,
  K: u32,
  low: i32,   // the least code
  high: i32,
  eps: f32,   // the least scale
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;  // f32, or int8
@group(0) @binding(2) var<uniform> p: Params;

var<workgroup> partial: array<vec2<f32>, LANES * ROWS>;

const INFINITE = 0x7f800000u;

// NaN as ∞: by its bits, as GPUs may compute as if there were no NaN.
fn seen(v: f32) -> f32 {
  let bits = bitcast<u32>(v);
  return select(v, bitcast<f32>(bits & INFINITE), (bits & 0x7fffffffu) > INFINITE);
}

// The extremes of a row's lanes, as (−least, greatest).
fn joined(v: vec2<f32>, lane: u32, first: u32) -> vec2<f32> {
  if (LANES == 1u) { return v; }
  workgroupBarrier();
  partial[first + lane] = v;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      partial[first + lane] = max(partial[first + lane], partial[first + lane + half]);
    }
  }
  workgroupBarrier();
  return partial[first];
}

@compute @workgroup_size(LANES, ROWS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let unit = (group.x + group.y * groups.x) * ROWS + local.y;
  let each = select(1u, 4u, ZERO_POINT);
  var word = 0u;
  for (var r = 0u; r < each; r++) {
    let row = min(unit * each + r, p.rows - 1u);  // past the end: the last row again
    var extremes = vec2<f32>(0.0);
    for (var k = lane; k < p.K; k += LANES) {
      let v = seen(x[row * p.K + k]);
      extremes = max(extremes, vec2<f32>(-v, v));
    }
    extremes = joined(extremes, lane, local.y * LANES);
    let scale = max((extremes.x + extremes.y) / f32(p.high - p.low), p.eps);
    if (ZERO_POINT) {
      var place = round(-extremes.x / scale);
      if (bitcast<u32>(scale) == INFINITE) { place = 0.0; }
      let code = clamp(f32(p.low) - place, f32(p.low), f32(p.high));
      word |= (bitcast<u32>(i32(code)) & 0xffu) << (r * 8u);
    } else {
      word = bitcast<u32>(scale);
    }
  }
  if (lane == 0u && unit * each < p.rows) { y[unit] = word; }
}
