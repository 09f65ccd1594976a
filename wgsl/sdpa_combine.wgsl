// y[row, :] from what the chunks of keys left of it (ops/chunks.py says where that lies). With m_c,
// l_c and a_c a chunk's greatest score, sum of exponentials and sum of V,
//   y = Σ_c exp(m_c − m) a_c / Σ_c exp(m_c − m) l_c,   m = max m_c.
// A workgroup per row; an invocation per vec4 column and share of the chunks. Few chunks are read
// whether they are live or not, which needs no knowledge of the position.

const D4: u32 = 16u;          // knob: head_dim / 4, LANES at most
const KEYS: u32 = 64u;        // knob: keys of a chunk that lie side by side
const CHUNKS: u32 = 16u;      // knob: chunks at most
const WINDOW: u32 = 0u;       // knob: keys a row sees at most; 0 for no limit
const OVER: bool = false;     // knob: y takes the place of chunk 0, and the binding y is any buffer
const LIVE: bool = true;      // knob: past is pos[0], not p.past
const LANES: u32 = 256u;      // knob: invocations per workgroup

struct Params {
  count: u32,   // rows: B · S · heads
  heads: u32,
  S: u32,
  past: u32,
}

@group(0) @binding(0) var<storage, read_write> chunks: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> pos: array<i32>;  // any buffer without LIVE
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> p: Params;

const LEAST = -3.4028234e38;
const PARTS = LANES / D4;
const ROUNDS = (CHUNKS + PARTS - 1u) / PARTS;
const FEW = 4u;  // rounds

var<workgroup> sums: array<vec4<f32>, LANES>;
var<workgroup> stats: array<vec2<f32>, LANES>;  // the greatest score, the sum of exponentials

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
  let live = min((last - skipped) / KEYS + 1u, CHUNKS);

  var rounds = ROUNDS;
  if (ROUNDS > FEW) { rounds = (live + PARTS - 1u) / PARTS; }
  var most = LEAST;
  var sum = vec4<f32>(0.0);
  var total = 0.0;
  for (var i = 0u; i < rounds; i++) {
    let c = i * PARTS + part;
    let first = min(c, CHUNKS - 1u) * p.count * (D4 + 1u);
    let stat = chunks[first + p.count * D4 + row];
    let value = chunks[first + row * D4 + column];
    let sees = c < live && part < PARTS;
    let now = max(most, select(LEAST, stat.x, sees));
    let shrink = exp(most - now);
    let weight = exp(stat.x - now);
    sum = sum * shrink + select(vec4<f32>(0.0), weight * value, sees);
    total = total * shrink + select(0.0, weight * stat.y, sees);
    most = now;
  }
  sums[lane] = sum;
  stats[lane] = vec2<f32>(most, total);
  workgroupBarrier();
  if (lane >= D4) { return; }
  for (var i = 1u; i < PARTS; i++) { most = max(most, stats[i * D4 + lane].x); }
  sum = vec4<f32>(0.0);
  total = 0.0;
  for (var i = 0u; i < PARTS; i++) {
    let weight = exp(stats[i * D4 + lane].x - most);
    sum += weight * sums[i * D4 + lane];
    total += weight * stats[i * D4 + lane].y;
  }
  let at = row * D4 + lane;
  if (OVER) { chunks[at] = sum / total; } else { y[at] = sum / total; }
}
