// y[i, :] = dequantize(table)[ids[i], :], ids clamped to the table; the table in 4- or 8-bit
// symmetric groups along D. With PART it is rows first … of a larger one, and ids elsewhere give
// zeros. One invocation per four elements. Layouts: quant/.

const BITS: u32 = 4u;             // knob: 4 (offset binary) | 8 (two's complement)
const HALF: bool = false;         // knob: scales are f16 pairs, not f32
const BY_ROW: bool = false;       // knob: scales are [V, D/group], not [D/group, V]
const HIGH_FIRST: bool = false;   // knob: a byte's high nibble is the even element
const PART: bool = false;         // knob: the table is a part
const WIDTH: u32 = 64u;           // knob: invocations per workgroup

struct Params {
  count: u32,  // ids
  V: u32,      // rows of the table
  D: u32,      // elements of a row, a multiple of 4
  group: u32,  // a multiple of 4
  first: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<i32>;
@group(0) @binding(1) var<storage, read> packed: array<u32>;
@group(0) @binding(2) var<storage, read> scales: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> p: Params;

fn scale_at(i: u32) -> f32 {
  if (HALF) { return unpack2x16float(scales[i / 2u])[i % 2u]; }
  return bitcast<f32>(scales[i]);
}

// Four elements from a word's low bits.
fn unpack(word: u32) -> vec4<f32> {
  let w = vec4<u32>(word);
  if (BITS == 8u) {
    return vec4<f32>(bitcast<vec4<i32>>(w << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
  }
  let shifts = select(vec4<u32>(0u, 4u, 8u, 12u), vec4<u32>(4u, 0u, 12u, 8u), HIGH_FIRST);
  return vec4<f32>((w >> shifts) & vec4<u32>(15u)) - 8.0;
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  let across = p.D / 4u;
  if (i >= p.count * across) { return; }
  let id = ids[i / across] - i32(p.first);
  let row = u32(clamp(id, 0, i32(p.V) - 1));
  let quad = row * across + i % across;
  let g = i % across * 4u / p.group;
  let scale = scale_at(select(g * p.V + row, row * (p.D / p.group) + g, BY_ROW));
  var word = 0u;
  if (BITS == 4u) {
    word = packed[quad / 2u] >> (quad % 2u * 16u);
  } else {
    word = packed[quad];
  }
  y[i] = select(unpack(word) * scale, vec4<f32>(0.0), PART && id != i32(row));
}
