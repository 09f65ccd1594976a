// y = the largest, its place in x's plane, or the mean of what lies under a window that slides over
// the planes of x [planes, H, W]. One invocation per element of y.

const OP: u32 = 0u;              // knob: 0 largest | 1 place of the largest (i32) | 2 mean
const INCLUDE_PAD: bool = true;  // knob: a mean counts the padding, as zeros
const WIDTH: u32 = 64u;          // knob: invocations per workgroup

struct Params {
  n: u32,         // elements of y
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
  divisor: u32,   // of a mean; 0: what the window covers
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;  // f32, or i32 for places
@group(0) @binding(2) var<uniform> p: Params;

// GPUs may compare as if there were no NaN, so it is found by its bits.
fn is_nan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }

// The taps of a window that begins at `start` from which on, and up to which, they lie on x.
fn inside(start: i32, size: u32, taps: u32, dilation: u32) -> vec2<u32> {
  let first = (u32(max(-start, 0)) + dilation - 1u) / dilation;
  return vec2<u32>(first, min(taps, (u32(i32(size) - start) + dilation - 1u) / dilation));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let id = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (id >= p.n) { return; }
  let h0 = i32(id / p.OW % p.OH * p.stride_h) - i32(p.pad_h);
  let w0 = i32(id % p.OW * p.stride_w) - i32(p.pad_w);
  let plane = id / (p.OW * p.OH) * p.H * p.W;

  var best = 0.0;
  var place = -1;
  var sum = 0.0;
  var count = 0u;
  let rows = inside(h0, p.H, p.KH, p.dilation_h);
  let columns = inside(w0, p.W, p.KW, p.dilation_w);
  for (var kh = rows.x; kh < rows.y; kh++) {
    let h = h0 + i32(kh * p.dilation_h);
    for (var kw = columns.x; kw < columns.y; kw++) {
      let w = w0 + i32(kw * p.dilation_w);
      let at = h * i32(p.W) + w;
      let v = x[plane + u32(at)];
      if (place < 0 || is_nan(v) || (v > best && !is_nan(best))) {
        best = v;
        place = at;
      }
      sum += v;
      count++;
    }
  }
  if (OP == 0u) { y[id] = bitcast<u32>(best); }
  if (OP == 1u) { y[id] = bitcast<u32>(place); }
  if (OP == 2u) {
    if (INCLUDE_PAD) {
      count = u32(min(h0 + i32(p.KH), i32(p.H + p.pad_h)) - h0) *
              u32(min(w0 + i32(p.KW), i32(p.W + p.pad_w)) - w0);
    }
    y[id] = bitcast<u32>(sum / f32(select(count, p.divisor, p.divisor != 0u)));
  }
}
