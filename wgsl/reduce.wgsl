// One number of many elements of x: LANES invocations share one, a workgroup holds ROWS of them. The
// elements lie where the strides of two reduced dimensions lead to, from where those of four kept ones
// begin. LANES = 1 has no barrier, which a GPU imitated on the CPU wants.

alias T = f32;            // knob: f32 | i32
const OP: u32 = 0u;       // knob: 0 sum | 1 mean | 2 amax | 3 amin | 4 prod
const FLOAT: bool = true; // knob: whether T is f32
const LANES: u32 = 64u;   // knob: invocations an element of y, a power of two
const ROWS: u32 = 1u;     // knob: elements of y a workgroup

struct Params {
  count: u32,                          // elements of y
  d1: u32, d2: u32, d3: u32,           // shape of y but for the outermost dimension
  s0: u32, s1: u32, s2: u32, s3: u32,  // strides of x along y's dimensions, in elements
  n: u32,                              // elements of x that make one of y: n / r1 · r1
  r1: u32,                             // the inner reduced dimension
  t0: u32, t1: u32,                    // strides of x along the reduced dimensions
}

@group(0) @binding(0) var<storage, read> x: array<T>;
@group(0) @binding(1) var<storage, read_write> y: array<T>;
@group(0) @binding(2) var<uniform> p: Params;

var<workgroup> partial: array<T, LANES * ROWS>;

// GPUs may compare as if there were no NaN, so it is found by its bits.
fn is_nan(v: T) -> bool { return FLOAT && (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }

fn join(a: T, b: T) -> T {
  if (OP == 2u || OP == 3u) {
    if (is_nan(a)) { return a; }
    if (is_nan(b)) { return b; }
  }
  switch OP {
    case 2u: { return max(a, b); }
    case 3u: { return min(a, b); }
    case 4u: { return a * b; }
    default: { return a + b; }
  }
}

@compute @workgroup_size(LANES, ROWS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let row = (group.x + group.y * groups.x) * ROWS + local.y;
  let i = min(row, p.count - 1u);  // past the end: compute the last one, store nothing
  let q3 = i / p.d3;
  let q2 = q3 / p.d2;
  let i0 = q2 / p.d1;
  let first = i0 * p.s0 + (q2 - i0 * p.d1) * p.s1 + (q3 - q2 * p.d2) * p.s2 + (i - q3 * p.d3) * p.s3;

  var total = T(0);
  if (OP == 4u) { total = T(1); }
  if (OP == 2u || OP == 3u) { total = x[first]; }
  for (var k = lane; k < p.n; k += LANES) {
    let outer = k / p.r1;
    total = join(total, x[first + outer * p.t0 + (k - outer * p.r1) * p.t1]);
  }
  if (LANES > 1u) {
    let start = local.y * LANES;
    partial[start + lane] = total;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
      workgroupBarrier();
      if (lane < half) { partial[start + lane] = join(partial[start + lane], partial[start + lane + half]); }
    }
    total = partial[start];
  }
  if (lane > 0u || row >= p.count) { return; }
  if (OP == 1u) { total /= T(p.n); }
  y[row] = total;
}
