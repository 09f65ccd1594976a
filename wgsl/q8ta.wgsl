// y = quantize(f(dequantize(a), dequantize(b))), element by element: one scale and zero point for a
// whole tensor, bytes four to a word. A float a or y is not quantized. One invocation per four
// consecutive elements.

const OP: u32 = 0u;            // knob: 0 a | 1 max(a, 0) | 2 a + alpha · b
const A_CODES: bool = true;    // knob: a is codes, not float
const Y_CODES: bool = true;    // knob: y is codes, not float
const SIGNED: bool = true;     // knob: codes are int8, not uint8
const WIDTH: u32 = 64u;        // knob: invocations per workgroup

struct Params {
  n: u32,
  a_scale: f32,
  a_zero_point: i32,
  b_scale: f32,
  b_zero_point: i32,
  alpha: f32,
  inverse: f32,        // 1 / the scale of y
  y_zero_point: i32,
  low: i32,            // codes of y
  high: i32,
}

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;  // any buffer but for OP 2
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

fn dequantized(word: u32, scale: f32, zero_point: i32) -> vec4<f32> {
  let bytes = vec4<u32>(word << 24u, word << 16u, word << 8u, word);
  let low = vec4<i32>(bytes >> vec4<u32>(24u));
  let codes = select(low, vec4<i32>(bytes) >> vec4<u32>(24u), SIGNED);
  return vec4<f32>(codes - zero_point) * scale;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (group.x + group.y * groups.x) * WIDTH + local.x;
  let i = id * 4u;
  if (i >= p.n) { return; }
  var v = vec4<f32>(0.0);
  if (A_CODES) {
    v = dequantized(a[id], p.a_scale, p.a_zero_point);
  } else {
    for (var j = 0u; j < 4u && i + j < p.n; j++) { v[j] = bitcast<f32>(a[i + j]); }
  }
  if (OP == 1u) { v = max(v, vec4<f32>(0.0)); }
  if (OP == 2u) { v += p.alpha * dequantized(b[id], p.b_scale, p.b_zero_point); }
  if (Y_CODES) {
    let q = round(v * p.inverse) + f32(p.y_zero_point);
    let codes = bitcast<vec4<u32>>(vec4<i32>(clamp(q, vec4<f32>(f32(p.low)), vec4<f32>(f32(p.high)))));
    let bytes = (codes & vec4<u32>(0xffu)) << vec4<u32>(0u, 8u, 16u, 24u);
    y[id] = bytes.x | bytes.y | bytes.z | bytes.w;
  } else {
    for (var j = 0u; j < 4u && i + j < p.n; j++) { y[i + j] = bitcast<u32>(v[j]); }
  }
}
