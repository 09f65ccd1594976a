// y[…, c, h·R + a, w·R + b] = x[…, (c·R + a)·R + b, h, w], words as they are; with INT8 bytes, four
// to a word, dequantized and quantized anew. One invocation per four consecutive elements of y.

const INT8: bool = false;  // knob: int8 x and y, each with its scale and zero point
const WIDTH: u32 = 64u;    // knob: invocations per workgroup

struct Params {
  n: u32,            // elements of y
  H: u32,            // of x
  W: u32,
  R: u32,
  scale: f32,        // of x
  zero_point: i32,
  inverse: f32,      // 1 / the scale of y
  y_zero_point: i32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

// Where in x element i of y comes from.
fn source(i: u32) -> u32 {
  let column = i % (p.W * p.R);
  let row = i / (p.W * p.R) % (p.H * p.R);
  let c = i / (p.W * p.R * p.H * p.R);
  return (((c * p.R + row % p.R) * p.R + column % p.R) * p.H + row / p.R) * p.W + column / p.R;
}

fn requantized(at: u32) -> u32 {
  let code = i32(x[at / 4u] << (24u - at % 4u * 8u)) >> 24u;
  let v = f32(code - p.zero_point) * p.scale;
  let q = clamp(round(v * p.inverse) + f32(p.y_zero_point), -128.0, 127.0);
  return bitcast<u32>(i32(q)) & 0xffu;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = ((group.x + group.y * groups.x) * WIDTH + local.x) * 4u;
  var word = 0u;
  for (var j = 0u; j < 4u && i + j < p.n; j++) {
    let at = source(i + j);
    if (INT8) { word |= requantized(at) << (j * 8u); } else { y[i + j] = x[at]; }
  }
  if (INT8 && i < p.n) { y[i / 4u] = word; }
}
