// y[row, :] = softmax(x[row, :]): LANES invocations share a row, a workgroup holds ROWS rows.
// The greatest element is subtracted first, so large logits do not overflow; a row of −∞ (all
// masked) gives zeros, not NaN; one with ∞ or NaN is NaN.

const LANES: u32 = 64u;   // knob: invocations a row, a power of two
const ROWS: u32 = 1u;     // knob: rows a workgroup

struct Params {
  rows: u32,
  D: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

const LEAST = -3.4028234e38;
const INFINITE = 0x7f800000u;

var<workgroup> partial: array<f32, LANES * ROWS>;

fn row_reduce(v: f32, lane: u32, first: u32, greatest: bool) -> f32 {
  if (LANES == 1u) { return v; }
  workgroupBarrier();
  partial[first + lane] = v;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      let a = partial[first + lane];
      let b = partial[first + lane + half];
      partial[first + lane] = select(a + b, max(a, b), greatest);
    }
  }
  workgroupBarrier();
  return partial[first];
}

// NaN as ∞: by its bits, as GPUs may compute as if there were no NaN.
fn seen(v: f32) -> f32 {
  let bits = bitcast<u32>(v);
  return select(v, bitcast<f32>(bits & INFINITE), (bits & 0x7fffffffu) > INFINITE);
}

@compute @workgroup_size(LANES, ROWS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let first = local.y * LANES;
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let start = min(row, p.rows - 1u) * p.D;  // past the end: compute the last row, store nothing

  var greatest = LEAST;
  for (var i = lane; i < p.D; i += LANES) { greatest = max(greatest, seen(x[start + i])); }
  greatest = row_reduce(greatest, lane, first, true);
  var sum = 0.0;
  for (var i = lane; i < p.D; i += LANES) { sum += exp(x[start + i] - greatest); }
  sum = row_reduce(sum, lane, first, false);
  if (row >= p.rows) { return; }

  let scale = select(0.0, 1.0 / sum, sum > 0.0);
  let bits = bitcast<u32>(greatest);
  let nan = bitcast<f32>(bits | 1u);
  for (var i = lane; i < p.D; i += LANES) {
    y[start + i] = select(exp(x[start + i] - greatest) * scale, nan, bits == INFINITE);
  }
}
