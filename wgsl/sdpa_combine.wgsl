// The second half of sdpa_split: y[row, :] from what its chunks of keys left. With m_c, l_c and a_c
// a chunk's greatest score, sum of exponentials and sum of V,
//   y = Σ_c exp(m_c − m) a_c / Σ_c exp(m_c − m) l_c,   m = max m_c.
// A workgroup per row; an invocation per vec4 column and share of the chunks.

const D4: u32 = 16u;          // knob: head_dim / 4, LANES at most
const LIVE: bool = true;      // knob: past is pos[0], not p.past
const WINDOW: u32 = 0u;       // knob: keys a row sees at most; 0 for no limit
const KEYS: u32 = 64u;        // knob: keys of a chunk, as in sdpa_split
const LANES: u32 = 128u;      // knob: invocations per workgroup

struct Params {
  count: u32,   // rows: B · S · heads
  heads: u32,
  S: u32,
  chunks: u32,  // at most
  past: u32,
}

@group(0) @binding(0) var<storage, read> stats: array<vec2<f32>>;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> pos: array<i32>;  // any buffer without LIVE
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> p: Params;

const LEAST = -3.4028234e38;
const PARTS = LANES / D4;

var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> totals: array<f32, LANES>;

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let row = workgroup.x + workgroup.y * workgroups.x;
  if (row >= p.count) { return; }
  let lane = local.x;
  let column = lane % D4;
  let part = lane / D4;
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  let last = past + row / p.heads % p.S;
  let skipped = select(0u, past + 1u - min(past + 1u, WINDOW), WINDOW > 0u);
  let chunks = (last - skipped) / KEYS + 1u;  // that hold a key the row sees, and earlier rows'
  let first = row * p.chunks;

  var greatest = LEAST;
  for (var c = lane; c < chunks; c += LANES) { greatest = max(greatest, stats[first + c].x); }
  totals[lane] = greatest;
  workgroupBarrier();
  for (var c = 0u; c < min(chunks, LANES); c++) { greatest = max(greatest, totals[c]); }
  workgroupBarrier();
  var sum = vec4<f32>(0.0);
  var total = 0.0;
  if (part < PARTS) {
    for (var c = part; c < chunks; c += PARTS) {
      let of_chunk = stats[first + c];
      let weight = exp(of_chunk.x - greatest);
      total += weight * of_chunk.y;
      sum += weight * partial[(first + c) * D4 + column];
    }
  }
  sums[lane] = sum;
  totals[lane] = total;
  workgroupBarrier();
  if (lane >= D4) { return; }
  for (var i = 1u; i < PARTS; i++) {
    sum += sums[i * D4 + lane];
    total += totals[i * D4 + lane];
  }
  y[row * D4 + lane] = sum / total;
}
