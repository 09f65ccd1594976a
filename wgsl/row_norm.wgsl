// Normalize the rows of x[rows, D]: LANES invocations share a row, a workgroup holds ROWS rows.
//   layer  y = (x − mean) · rsqrt(var + eps) · weight + bias
//   rms    y = x · rsqrt(mean(x²) + eps) · (offset + weight)
//   l2     y = x / max(‖x‖, eps)
//   group  as layer, where `cells` elements after one another share a weight and a bias, and
//          `period` rows have weights of their own
//   mean, rstd  y[row] = mean, and rsqrt(var + eps)
// LANES = 1 has no barrier, which a GPU imitated on the CPU wants.

const OP: u32 = 0u;       // knob: 0 layer | 1 rms | 2 l2 | 3 group | 4 mean | 5 rstd
const LANES: u32 = 64u;   // knob: invocations a row, a power of two
const ROWS: u32 = 1u;     // knob: rows a workgroup

struct Params {
  rows: u32,
  D: u32,
  eps: f32,
  offset: f32,  // of rms; 0 for the others
  period: u32,  // of group only
  cells: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;  // [D]; any buffer but for layer, rms, group
@group(0) @binding(2) var<storage, read> bias: array<f32>;    // [D]; any buffer but for layer, group
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

var<workgroup> partial: array<f32, LANES * ROWS>;

// The sum of v over a row's lanes.
fn row_sum(v: f32, lane: u32, first: u32) -> f32 {
  if (LANES == 1u) { return v; }
  workgroupBarrier();
  partial[first + lane] = v;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[first + lane] += partial[first + lane + half]; }
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
  let first = local.y * LANES;
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let start = min(row, p.rows - 1u) * p.D;  // past the end: compute the last row, store nothing

  var mean = 0.0;
  if (OP != 1u && OP != 2u) {
    var sum = 0.0;
    for (var i = lane; i < p.D; i += LANES) { sum += x[start + i]; }
    mean = row_sum(sum, lane, first) / f32(p.D);
  }
  var squares = 0.0;
  var rest = 0.0;
  for (var i = lane; i < p.D; i += LANES) {
    let v = x[start + i] - mean;
    squares += v * v;
    rest += v;
  }
  squares = row_sum(squares, lane, first);
  if (OP == 0u) {
    // The mean of a long row is rounded; what is left of it corrects both (Chan et al., 1983).
    rest = row_sum(rest, lane, first) / f32(p.D);
    squares -= rest * rest * f32(p.D);
    mean += rest;
  }
  if (row >= p.rows) { return; }
  if (OP >= 4u) {
    if (lane == 0u) { y[row] = select(inverseSqrt(squares / f32(p.D) + p.eps), mean, OP == 4u); }
    return;
  }

  var scale = 1.0 / max(sqrt(squares), p.eps);
  if (OP != 2u) { scale = inverseSqrt(squares / f32(p.D) + p.eps); }
  for (var i = lane; i < p.D; i += LANES) {
    var v = (x[start + i] - mean) * scale;
    var c = i;
    if (OP == 3u) { c = row % p.period * (p.D / p.cells) + i / p.cells; }
    if (OP != 2u) { v *= p.offset + weight[c]; }
    if (OP == 0u || OP == 3u) { v += bias[c]; }
    y[start + i] = v;
  }
}
