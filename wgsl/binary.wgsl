// y = f(a, b), element by element, with broadcasting: y is contiguous with four dimensions, the
// operands are read through strides (0 where they repeat). One invocation per element.

const OP: u32 = 0u;       // knob: 0 add | 1 mul | 2 sub | 3 div | 4 swiglu | 5 geglu
const SCALAR: bool = false;  // knob: b is the one number p.scalar; the buffer is any
const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  d0: u32, d1: u32, d2: u32, d3: u32,  // shape of y, outermost first
  a0: u32, a1: u32, a2: u32, a3: u32,  // strides of a, in elements
  b0: u32, b1: u32, b2: u32, b3: u32,  // strides of b
  scalar: f32,
}

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn f(v: f32, w: f32) -> f32 {
  switch OP {
    case 0u: { return v + w; }
    case 1u: { return v * w; }
    case 2u: { return v - w; }
    case 3u: { return v / w; }
    case 4u: {
      let u = max(v, -80.0);  // here and below as in unary.wgsl
      return u / (1.0 + exp(-u)) * w;
    }
    default: {
      let u = 0.79788456 * (v + 0.044715 * v * v * v);
      return 0.5 * v * (1.0 + tanh(clamp(u, -10.0, 10.0))) * w;
    }
  }
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.d0 * p.d1 * p.d2 * p.d3) { return; }
  let q3 = i / p.d3;
  let q2 = q3 / p.d2;
  let i0 = q2 / p.d1;
  let i1 = q2 - i0 * p.d1;
  let i2 = q3 - q2 * p.d2;
  let i3 = i - q3 * p.d3;
  let at_a = i0 * p.a0 + i1 * p.a1 + i2 * p.a2 + i3 * p.a3;
  let at_b = i0 * p.b0 + i1 * p.b1 + i2 * p.b2 + i3 * p.b3;
  var v = p.scalar;
  if (!SCALAR) { v = b[at_b]; }
  y[i] = f(a[at_a], v);
}
