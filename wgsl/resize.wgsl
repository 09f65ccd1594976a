// y[…, i, j] = x at i·scale_h, j·scale_w (nearest), or between its four neighbours (bilinear).
// One invocation per element of y.

const BILINEAR: bool = false;    // knob: between neighbours
const HALF_PIXEL: bool = false;  // knob: elements are squares, and their middles are what is scaled
const WIDTH: u32 = 64u;          // knob: invocations per workgroup

struct Params {
  n: u32,        // elements of y
  H: u32,
  W: u32,
  OH: u32,
  OW: u32,
  scale_h: f32,  // steps in x for one in y
  scale_w: f32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

fn source(i: u32, scale: f32) -> f32 {
  if (HALF_PIXEL) { return max(scale * (f32(i) + 0.5) - 0.5, 0.0); }
  return scale * f32(i);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (id >= p.n) { return; }
  let h = source(id / p.OW % p.OH, p.scale_h);
  let w = source(id % p.OW, p.scale_w);
  let plane = id / (p.OW * p.OH) * p.H * p.W;
  let top = min(u32(h), p.H - 1u);
  let left = min(u32(w), p.W - 1u);
  let upper = plane + top * p.W;
  if (!BILINEAR) {
    y[id] = x[upper + left];
    return;
  }
  let lower = plane + min(top + 1u, p.H - 1u) * p.W;
  let right = min(left + 1u, p.W - 1u);
  let down = clamp(h - f32(top), 0.0, 1.0);
  let across = clamp(w - f32(left), 0.0, 1.0);
  let above = mix(x[upper + left], x[upper + right], across);
  let below = mix(x[lower + left], x[lower + right], across);
  y[id] = mix(above, below, down);
}
