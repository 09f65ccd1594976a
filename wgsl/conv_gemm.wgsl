// y[n, o, i, j] = Σ_c,kh,kw x[n, c, …] · w[o, c, kh, kw] (+ bias[o]), kept in low … high; in groups.
// As a matrix product: a workgroup of 16 × 16 owns 16·ROWS channels by 64 positions of y. Tap by
// tap of the window it walks along x's channels in steps of 16, and the tiles of w and x go through
// workgroup memory. An invocation loads one position of x, whose place under a tap is worked out
// once for all channels, and owns ROWS × 4 elements of y, 16 channels and 16 positions apart.

const TRANSPOSED: bool = false;  // knob: y's positions are spread over x's with the stride
const BIAS: bool = false;        // knob: add bias[o]
const CLAMP: bool = false;       // knob: keep y in low … high
const ROWS: u32 = 4u;            // knob: channels of y an invocation owns, 4 at most

struct Params {
  N: u32,
  groups: u32,
  C: u32,         // channels of x in a group
  O: u32,         // channels of y in a group
  H: u32,
  W: u32,
  OH: u32,
  OW: u32,
  KH: u32,
  KW: u32,
  stride_h: u32,
  stride_w: u32,
  pad_h: u32,
  pad_w: u32,
  dilation_h: u32,
  dilation_w: u32,
  w_o: u32,       // elements of w from one channel of y to the next
  w_c: u32,       // the same for x's channels
  low: f32,
  high: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> w: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;

const STEP = 4u;                 // vec4s along x's channels a tile holds
const TALL = 16u * ROWS;
const WIDE = 64u;

var<workgroup> w_tile: array<vec4<f32>, STEP * TALL>;  // [c / 4][channel of y]
var<workgroup> x_tile: array<vec4<f32>, STEP * WIDE>;  // [c / 4][position]

// Where a position of y meets x under tap k of the window, in one dimension; x's size if nowhere.
fn meet(o: u32, k: u32, size: u32, stride: u32, pad: u32, dilation: u32) -> u32 {
  if (!TRANSPOSED) {
    return min(o * stride + k * dilation - pad, size);  // below 0 wraps to far above
  }
  let t = o + pad - k * dilation;
  return select(size, min(t / stride, size), t % stride == 0u);
}

@compute @workgroup_size(16, 16)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let id = workgroup.x + workgroup.y * workgroups.x;
  let cells = p.OH * p.OW;
  let across = (cells + WIDE - 1u) / WIDE;
  let slices = (p.O + TALL - 1u) / TALL;
  let cell0 = id % across * WIDE;
  let o0 = id / across % slices * TALL;
  let g = id / (across * slices) % p.groups;
  let n = id / (across * slices * p.groups);
  if (n >= p.N) { return; }

  // Past the last position or channel: that one again, which nobody stores.
  let cell = min(cell0 + lane % WIDE, cells - 1u);
  let i = cell / p.OW;
  let j = cell % p.OW;
  let plane = p.H * p.W;
  let x0 = (n * p.groups + g) * p.C * plane;
  let w0 = g * p.C * p.O * p.KH * p.KW;

  var acc: array<vec4<f32>, ROWS>;
  for (var tap = 0u; tap < p.KH * p.KW; tap++) {
    let h = meet(i, tap / p.KW, p.H, p.stride_h, p.pad_h, p.dilation_h);
    let v = meet(j, tap % p.KW, p.W, p.stride_w, p.pad_w, p.dilation_w);
    let inside = h < p.H && v < p.W;
    let at = x0 + select(0u, h * p.W + v, inside);
    for (var c0 = 0u; c0 < p.C; c0 += 4u * STEP) {
      let c = c0 + lane / WIDE * 4u;
      var here = vec4<f32>(0.0);
      for (var q = 0u; q < 4u && c + q < p.C; q++) { here[q] = x[at + (c + q) * plane]; }
      x_tile[lane] = select(vec4<f32>(0.0), here, inside);
      if (lane < STEP * TALL) {
        let first = w0 + tap + min(o0 + lane / STEP, p.O - 1u) * p.w_o;
        let d = c0 + lane % STEP * 4u;
        var weight = vec4<f32>(0.0);
        for (var q = 0u; q < 4u && d + q < p.C; q++) { weight[q] = w[first + (d + q) * p.w_c]; }
        w_tile[lane % STEP * TALL + lane / STEP] = weight;
      }
      workgroupBarrier();
      for (var k = 0u; k < STEP; k++) {
        let b = k * WIDE + local.x;
        let block = mat4x4<f32>(x_tile[b], x_tile[b + 16u], x_tile[b + 32u], x_tile[b + 48u]);
        for (var r = 0u; r < ROWS; r++) { acc[r] += w_tile[k * TALL + local.y + r * 16u] * block; }
      }
      workgroupBarrier();
    }
  }
  for (var r = 0u; r < ROWS; r++) {
    let o = o0 + local.y + r * 16u;
    if (o >= p.O) { break; }
    var v = acc[r];
    if (BIAS) { v += bias[g * p.O + o]; }
    if (CLAMP) { v = clamp(v, vec4<f32>(p.low), vec4<f32>(p.high)); }
    let first = ((n * p.groups + g) * p.O + o) * cells;
    for (var c = 0u; c < 4u; c++) {
      let position = cell0 + local.x + c * 16u;
      if (position < cells) { y[first + position] = v[c]; }
    }
  }
}
