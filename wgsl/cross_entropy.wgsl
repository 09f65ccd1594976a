// Cross entropy of softmax(logits[rows, V]) and a label a row: its loss, or the gradient of its
// loss by the logits, both divided by `count`; 0 for a label outside. LANES invocations share a row;
// with LANES = 1 there is no barrier, which a GPU imitated on the CPU wants.

const GRADIENT: bool = false;  // knob: y[rows, V] = softmax − one-hot, not the loss y[rows]
const LANES: u32 = 64u;        // knob: invocations a row, a power of two
const ROWS: u32 = 1u;          // knob: rows a workgroup

struct Params {
  rows: u32,
  V: u32,
  count: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<i32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

var<workgroup> partial: array<vec2<f32>, LANES * ROWS>;

// The greatest of two, and the sums of exp(v − greatest).
fn added(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let most = max(a.x, b.x);
  return vec2<f32>(most, a.y * exp(a.x - most) + b.y * exp(b.x - most));
}

fn joined(v: vec2<f32>, lane: u32, first: u32) -> vec2<f32> {
  if (LANES == 1u) { return v; }
  partial[first + lane] = v;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) {
      partial[first + lane] = added(partial[first + lane], partial[first + lane + half]);
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
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let start = min(row, p.rows - 1u) * p.V;  // past the end: compute the last row, store nothing
  var most = -3.4028234e38;  // not −∞: the difference of two would be NaN
  for (var i = lane; i < p.V; i += LANES) { most = max(most, logits[start + i]); }
  var sum = 0.0;
  for (var i = lane; i < p.V; i += LANES) { sum += exp(logits[start + i] - most); }
  let whole = joined(vec2<f32>(most, sum), lane, local.y * LANES);
  if (row >= p.rows) { return; }

  let label = u32(labels[row]);  // one below 0 is a great one
  let inside = label < p.V;
  let valid = select(0.0, 1.0 / p.count, inside);
  if (!GRADIENT) {
    let loss = log(whole.y) + (whole.x - logits[start + min(label, p.V - 1u)]);
    if (lane == 0u) { y[row] = select(0.0, loss * valid, inside); }
    return;
  }
  for (var i = lane; i < p.V; i += LANES) {
    let share = exp(logits[start + i] - whole.x) / whole.y;
    y[start + i] = (share - select(0.0, 1.0, i == label)) * valid;
  }
}
