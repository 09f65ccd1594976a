// Where a row is greatest, in two passes of this file: the first finds the best of each chunk of a
// row, many workgroups a row; FINAL takes the best of those. All is compared by an image in u32 that
// keeps the order; of floats −0 and denormals are 0 (GPUs may flush them). The lowest index wins a
// tie.

const WHOLE: bool = false;  // knob: x is i32, not f32
const FINAL: bool = false;  // knob: x holds (image, index) pairs and y takes an index a row
const CHUNK: u32 = 1024u;   // knob: elements a chunk, in the first pass
const LANES: u32 = 64u;     // knob: invocations a chunk; 1 needs no barrier
const ROWS: u32 = 1u;       // knob: chunks a workgroup

struct Params {
  rows: u32,
  D: u32,       // elements of a row: floats, or with FINAL pairs
  chunks: u32,  // of a row; with FINAL 1
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

var<workgroup> greatest: array<atomic<u32>, ROWS>;
var<workgroup> nearest: array<atomic<u32>, ROWS>;  // ~index, so that the lowest is the greatest

// 0 for the least integer alone. NaN is the greatest, as in PyTorch.
fn image(bits: u32) -> u32 {
  if (WHOLE) { return bits ^ 0x80000000u; }
  if ((bits & 0x7fffffffu) > 0x7f800000u) { return 0xffffffffu; }
  if (((bits >> 23u) & 255u) == 0u) { return 0x80000000u; }
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
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
  let length = select(min(CHUNK, p.D - first), p.D, FINAL);
  let inside = n < p.rows * p.chunks;

  var best = 0u;
  var at = first;
  for (var i = first + local.x; i < select(0u, first + length, inside); i += LANES) {
    let k = row * p.D + i;
    var v = 0u;
    if (FINAL) { v = x[2u * k]; } else { v = image(x[k]); }
    if (v > best) {
      best = v;
      if (FINAL) { at = x[2u * k + 1u]; } else { at = i; }
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
  if (FINAL) {
    y[row] = at;
  } else {
    y[2u * n] = best;
    y[2u * n + 1u] = at;
  }
}
