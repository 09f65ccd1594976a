// Where a row is greatest, in two passes of this file: the first finds the best of each chunk of a
// row, many workgroups a row; FINAL takes the best of those. All is compared by an image in u32 that
// keeps the order; of floats −0 and denormals are 0 (GPUs may flush them). The lowest index wins a
// tie.
//
// With SEEN it is the first step of sampling: tokens seen already are penalized on the way, x /
// penalty where x > 0 and x · penalty where not, and all are written to scores. A product that is
// stored cannot be fused with the subtraction that comes next, so its bits are the same everywhere.

const WHOLE: bool = false;  // knob: x is i32, not f32
const FINAL: bool = false;  // knob: x holds (image, index) pairs
const INDEX: bool = false;  // knob: y takes an index a chunk, not a pair
const SEEN: bool = false;   // knob: penalize
const FED: bool = false;    // knob: of one row, the token `fed` counts as seen, too
const CHUNK: u32 = 1024u;   // knob: elements a chunk, in the first pass
const LANES: u32 = 64u;     // knob: invocations a chunk; 1 needs no barrier
const ROWS: u32 = 1u;       // knob: chunks a workgroup

struct Params {
  rows: u32,
  D: u32,       // elements of a row: floats, or with FINAL pairs
  chunks: u32,  // of a row; with FINAL 1
  flags: u32,   // elements of seen: those of x, or of one row that all rows share
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<storage, read> fed: array<u32>;           // any buffer without FED
@group(0) @binding(3) var<storage, read> seen: array<u32>;          // any buffer without SEEN, as
@group(0) @binding(4) var<storage, read> settings: array<u32>;      // this one: ops/sampling.py,
@group(0) @binding(5) var<storage, read_write> scores: array<u32>;  // and this
@group(0) @binding(6) var<uniform> p: Params;

var<workgroup> greatest: array<atomic<u32>, ROWS>;
var<workgroup> nearest: array<atomic<u32>, ROWS>;  // ~index, so that the lowest is the greatest

// 0 for the least integer alone. NaN is the greatest, as in PyTorch.
fn image(bits: u32) -> u32 {
  if (WHOLE) { return bits ^ 0x80000000u; }
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if (((bits >> 23u) & 255u) == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// Of four elements at k, tokens v of their row.
fn penalize(bits: vec4<u32>, k: vec4<u32>, v: vec4<u32>) -> vec4<u32> {
  let f = k % p.flags;
  var known = vec4<u32>(seen[f.x], seen[f.y], seen[f.z], seen[f.w]) != vec4<u32>(0u);
  if (FED) { known |= v == vec4<u32>(fed[0]); }
  let s = bitcast<vec4<f32>>(bits);
  let factor = select(vec4<u32>(settings[6]), vec4<u32>(settings[7]), s > vec4<f32>(0.0));
  let found = select(bits, bitcast<vec4<u32>>(s * bitcast<vec4<f32>>(factor)), known);
  scores[k.x] = found.x;
  scores[k.y] = found.y;
  scores[k.z] = found.z;
  scores[k.w] = found.w;
  return found;
}

@compute @workgroup_size(LANES, ROWS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let n = (group.x + group.y * groups.x) * ROWS + local.y;
  let row = n / p.chunks;
  let first = select(n % p.chunks * CHUNK, 0u, FINAL);
  let end = select(min(first + CHUNK, p.D), p.D, FINAL);
  let inside = n < p.rows * p.chunks;

  var best = 0u;
  var at = first;
  // Four loads under way at once; past the end the last element again.
  for (var i = first + local.x; i < select(0u, end, inside); i += 4u * LANES) {
    let v = min(i + LANES * vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(end - 1u));
    let k = row * p.D + v;
    let w = select(k, 2u * k, FINAL);
    var bits = vec4<u32>(x[w.x], x[w.y], x[w.z], x[w.w]);
    if (SEEN) { bits = penalize(bits, k, v); }
    if (!FINAL) { bits = vec4<u32>(image(bits.x), image(bits.y), image(bits.z), image(bits.w)); }
    let most = max(max(bits.x, bits.y), max(bits.z, bits.w));
    if (most > best) {
      best = most;
      let low = select(v.y, v.x, bits.x == most);
      at = select(select(v.w, v.z, bits.z == most), low, max(bits.x, bits.y) == most);
    }
  }
  if (LANES > 1u) {
    // Mesa's llvmpipe leaves workgroup memory as it was.
    atomicStore(&greatest[local.y], 0u);
    atomicStore(&nearest[local.y], 0u);
    workgroupBarrier();
    atomicMax(&greatest[local.y], best);
    workgroupBarrier();
    let most = atomicLoad(&greatest[local.y]);
    if (best == most) { atomicMax(&nearest[local.y], ~at); }
    workgroupBarrier();
    best = most;
    at = ~atomicLoad(&nearest[local.y]);
  }
  if (local.x > 0u || !inside) { return; }
  if (FINAL) { at = x[2u * (row * p.D + at) + 1u]; }
  if (INDEX) {
    y[n] = at;
  } else {
    y[2u * n] = best;
    y[2u * n + 1u] = at;
  }
}
