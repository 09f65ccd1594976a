// y[n, o, i, j] = Σ (x − zero point) · w · scale · scales[o] (+ bias[o]) over a window, of int8 x and w;
// a float, or quantized. The sums are integers, so exact: Σ x·w − zero point · Σ w, four channels at
// a time; beyond x lie zero points. One invocation owns CHANNELS channels at four consecutive
// positions of y. Where a tap of the window lies is worked out once for all input channels.

const TRANSPOSED: bool = false;  // knob: y's positions are spread over x's with the stride
const BIAS: bool = false;        // knob: add bias[o]
const RELU: bool = false;        // knob: max(y, 0)
const CODES: bool = false;       // knob: y is int8, four to a word; OH · OW is a multiple of 4
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
  w_o: u32,       // bytes of w from one channel of y to the next
  w_tap: u32,     // the same for taps; x's channels lie side by side
  scale: f32,
  zero_point: i32,
  inverse: f32,   // 1 / the scale of y
  y_zero_point: i32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> w: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;  // any buffer without BIAS
@group(0) @binding(4) var<storage, read_write> y: array<u32>;  // int8, or f32
@group(0) @binding(5) var<uniform> p: Params;

// Where four positions of y meet x under tap k of the window, in one dimension; x's size if nowhere.
fn meet(o: vec4<u32>, k: u32, size: u32, stride: u32, pad: u32, dilation: u32) -> vec4<u32> {
  if (!TRANSPOSED) {
    return min(o * stride + k * dilation - pad, vec4<u32>(size));  // below 0 wraps to far above
  }
  let t = o + pad - k * dilation;
  return select(vec4<u32>(size), min(t / stride, vec4<u32>(size)), t % stride == vec4<u32>(0u));
}

// Byte i.x of x, i.y, …, in the low bits.
fn bytes(i: vec4<u32>) -> vec4<u32> {
  let words = vec4<u32>(x[i.x / 4u], x[i.y / 4u], x[i.z / 4u], x[i.w / 4u]);
  return (words >> (i % 4u * 8u)) & vec4<u32>(0xffu);
}

// `count` bytes of w from byte i on, at most four; the others 0.
fn weights(i: u32, count: u32) -> u32 {
  let shift = i % 4u * 8u;
  var word = w[i / 4u] >> shift;
  if (shift != 0u) { word |= w[i / 4u + 1u] << (32u - shift); }
  if (count < 4u) { word &= (1u << (count * 8u)) - 1u; }
  return word;
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
  let beyond = vec4<u32>((bitcast<u32>(p.zero_point) & 0xffu) * 0x01010101u);

  var acc: array<vec4<i32>, CHANNELS>;
  var sums: array<i32, CHANNELS>;
  for (var kh = 0u; kh < p.KH; kh++) {
    let h = meet(i, kh, p.H, p.stride_h, p.pad_h, p.dilation_h);
    for (var kw = 0u; kw < p.KW; kw++) {
      let v = meet(j, kw, p.W, p.stride_w, p.pad_w, p.dilation_w);
      let inside = (h < vec4<u32>(p.H)) & (v < vec4<u32>(p.W));
      if (!any(inside)) { continue; }
      let at = select(vec4<u32>(0u), h * p.W + v, inside) + x0;
      for (var c = 0u; c < p.C; c += 4u) {
        let count = min(p.C - c, 4u);
        var here = vec4<u32>(0u);
        for (var q = 0u; q < count; q++) { here |= bytes(at + (c + q) * plane) << vec4<u32>(q * 8u); }
        here = select(beyond, here, inside);
        for (var r = 0u; r < CHANNELS; r++) {
          let o = g * p.O + min(o0 + r, p.O - 1u);
          let word = weights(o * p.w_o + (kh * p.KW + kw) * p.w_tap + c, count);
          sums[r] += dot4I8Packed(0x01010101u, word);
          acc[r] += vec4<i32>(dot4I8Packed(here.x, word), dot4I8Packed(here.y, word),
                              dot4I8Packed(here.z, word), dot4I8Packed(here.w, word));
        }
      }
    }
  }
  for (var r = 0u; r < CHANNELS && o0 + r < p.O; r++) {
    let o = g * p.O + o0 + r;
    var v = vec4<f32>(acc[r] - p.zero_point * sums[r]) * p.scale * scales[o];
    if (BIAS) { v += bias[o]; }
    if (RELU) { v = max(v, vec4<f32>(0.0)); }
    let first = (n * p.groups * p.O + o) * cells + cell0;
    if (CODES) {
      let q = clamp(round(v * p.inverse) + f32(p.y_zero_point), vec4<f32>(-128.0), vec4<f32>(127.0));
      let codes = (bitcast<vec4<u32>>(vec4<i32>(q)) & vec4<u32>(0xffu)) << vec4<u32>(0u, 8u, 16u, 24u);
      y[first / 4u] = codes.x | codes.y | codes.z | codes.w;
    } else {
      for (var c = 0u; c < 4u && cell0 + c < cells; c++) { y[first + c] = bitcast<u32>(v[c]); }
    }
  }
}
