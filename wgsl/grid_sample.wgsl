// y[n, c, i, j] = x[n, c] where points[n, i, j] = (column, row) points, each from −1 to 1 across x.
// One invocation per position and CHANNELS channels of y.

const NEAREST: bool = false;        // knob: the nearest element, not between four
const PADDING: u32 = 0u;            // knob: beyond x: 0 zeros | 1 its border | 2 its mirror image
const ALIGN_CORNERS: bool = false;  // knob: ±1 are the outer elements' middles, not their edges
const CHANNELS: u32 = 4u;           // knob: channels an invocation owns
const WIDTH: u32 = 64u;             // knob: invocations per workgroup

struct Params {
  N: u32,
  C: u32,
  H: u32,
  W: u32,
  cells: u32,  // positions of y in a plane
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> points: array<vec2<f32>>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

fn mirrored(v: f32, size: f32) -> f32 {
  let low = select(-0.5, 0.0, ALIGN_CORNERS);
  let span = select(size, size - 1.0, ALIGN_CORNERS);
  if (span == 0.0) { return 0.0; }
  let away = abs(v - low);
  let turns = floor(away / span);
  let rest = away - turns * span;
  return low + select(span - rest, rest, turns % 2.0 == 0.0);
}

// From −1 … 1 to x's elements, kept within what i32 can count. NaN, and ∞ where it would be
// reflected, lie at the first element, or beyond where there are zeros: found by their bits, as GPUs
// may compute as if there were neither.
fn place(v: f32, size: f32) -> f32 {
  let magnitude = bitcast<u32>(v) & 0x7fffffffu;
  if (magnitude > 0x7f800000u || (PADDING == 2u && magnitude == 0x7f800000u)) {
    return select(0.0, -2.0, PADDING == 0u);
  }
  var at = ((v + 1.0) * size - 1.0) * 0.5;
  if (ALIGN_CORNERS) { at = (v + 1.0) * 0.5 * (size - 1.0); }
  if (PADDING == 2u) { at = mirrored(at, size); }
  if (PADDING != 0u) { return clamp(at, 0.0, size - 1.0); }
  return clamp(at, -2.0, size + 1.0);
}

fn at(plane: u32, h: i32, w: i32) -> f32 {
  if (h < 0 || w < 0 || h >= i32(p.H) || w >= i32(p.W)) { return 0.0; }
  return x[plane + u32(h) * p.W + u32(w)];
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (group.x + group.y * groups.x) * WIDTH + local.x;
  let slices = (p.C + CHANNELS - 1u) / CHANNELS;
  let cell = id % p.cells;
  let c0 = id / p.cells % slices * CHANNELS;
  let n = id / (p.cells * slices);
  if (n >= p.N) { return; }
  let point = points[n * p.cells + cell];
  let w = place(point.x, f32(p.W));
  let h = place(point.y, f32(p.H));
  let left = i32(floor(w));
  let top = i32(floor(h));
  let across = w - floor(w);
  let down = h - floor(h);
  for (var c = c0; c < min(c0 + CHANNELS, p.C); c++) {
    let plane = (n * p.C + c) * p.H * p.W;
    var v = 0.0;
    if (NEAREST) {
      v = at(plane, i32(round(h)), i32(round(w)));
    } else {
      let above = mix(at(plane, top, left), at(plane, top, left + 1), across);
      let below = mix(at(plane, top + 1, left), at(plane, top + 1, left + 1), across);
      v = mix(above, below, down);
    }
    y[(n * p.C + c) * p.cells + cell] = v;
  }
}
