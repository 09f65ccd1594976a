// y[n, o, i, j] = Σ_c,kh,kw x[n, c, …] · w[o, c, kh, kw] (+ bias[o]), kept in low … high; in groups.
// One invocation owns CHANNELS channels at four consecutive positions of y. Where a tap of the
// window lies is worked out once for all input channels, so that the inner loop is loads and
// multiplications. No barrier: the choice for software, few channels and depthwise convolution.

const TRANSPOSED: bool = false;  // knob: y's positions are spread over x's with the stride
const BIAS: bool = false;        // knob: add bias[o]
const CLAMP: bool = false;       // knob: keep y in low … high
const CHANNELS: u32 = 4u;        // knob: channels of y an invocation owns, all in one group
const WIDTH: u32 = 64u;          // knob: invocations per workgroup

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

// Where four positions of y meet x under tap k of the window, in one dimension; x's size if nowhere.
fn meet(o: vec4<u32>, k: u32, size: u32, stride: u32, pad: u32, dilation: u32) -> vec4<u32> {
  if (!TRANSPOSED) {
    return min(o * stride + k * dilation - pad, vec4<u32>(size));  // below 0 wraps to far above
  }
  let t = o + pad - k * dilation;
  return select(vec4<u32>(size), min(t / stride, vec4<u32>(size)), t % stride == vec4<u32>(0u));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let cells = p.OH * p.OW;
  let across = (cells + 3u) / 4u;
  let slices = (p.O + CHANNELS - 1u) / CHANNELS;
  let cell0 = id % across * 4u;
  let o0 = id / across % slices * CHANNELS;
  let g = id / (across * slices) % p.groups;
  let n = id / (across * slices * p.groups);
  if (n >= p.N) { return; }

  // Past an edge: recompute the last position or channel, store nothing.
  let cell = min(vec4<u32>(cell0, cell0 + 1u, cell0 + 2u, cell0 + 3u), vec4<u32>(cells - 1u));
  let i = cell / p.OW;
  let j = cell % p.OW;
  let plane = p.H * p.W;
  let x0 = (n * p.groups + g) * p.C * plane;
  let w0 = g * p.C * p.O * p.KH * p.KW;

  var acc: array<vec4<f32>, CHANNELS>;
  for (var kh = 0u; kh < p.KH; kh++) {
    let h = meet(i, kh, p.H, p.stride_h, p.pad_h, p.dilation_h);
    for (var kw = 0u; kw < p.KW; kw++) {
      let v = meet(j, kw, p.W, p.stride_w, p.pad_w, p.dilation_w);
      let inside = (h < vec4<u32>(p.H)) & (v < vec4<u32>(p.W));
      if (!any(inside)) { continue; }
      var at = select(vec4<u32>(0u), h * p.W + v, inside) + x0;
      var w_at = w0 + kh * p.KW + kw;
      for (var c = 0u; c < p.C; c++) {
        let found = vec4<f32>(x[at.x], x[at.y], x[at.z], x[at.w]);
        let here = select(vec4<f32>(0.0), found, inside);
        for (var r = 0u; r < CHANNELS; r++) { acc[r] += w[w_at + min(o0 + r, p.O - 1u) * p.w_o] * here; }
        at += plane;
        w_at += p.w_c;
      }
    }
  }
  for (var r = 0u; r < CHANNELS && o0 + r < p.O; r++) {
    let o = g * p.O + o0 + r;
    var v = acc[r];
    if (BIAS) { v += bias[o]; }
    if (CLAMP) { v = clamp(v, vec4<f32>(p.low), vec4<f32>(p.high)); }
    let first = (n * p.groups * p.O + o) * cells + cell0;
    for (var c = 0u; c < 4u && cell0 + c < cells; c++) { y[first + c] = v[c]; }
  }
}
