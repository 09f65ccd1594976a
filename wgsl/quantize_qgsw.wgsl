// packed, scales = quantize(rows of a weight) into 4- or 8-bit symmetric groups along K, the same
// bits as numpy's: quant/groups.py states the layouts and the rounding, quant/search.py the search
// and its numbers. One invocation a group, no barrier. Floats hold nothing here that they would
// have to round, no denormal, and no quotient that is not settled by exact products afterwards.

const BITS: u32 = 4u;         // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;     // knob: scales are f16 pairs, not f32
const SEARCH: bool = true;    // knob: of the least squared error, not plain rounding
const DTYPE: u32 = 32u;       // knob: data is 32 (f32) | 16 (f16) | 8 (bf16, by its exponent)
const WIDTH: u32 = 64u;       // knob: invocations per workgroup

struct Params {
  first: u32,   // groups of the weight before this piece
  count: u32,   // groups of this piece
  across: u32,  // groups of a row, K / group
  group: u32,
  N: u32,
  limit: u32,   // the bits of the largest weight whose scale can be stored
}

@group(0) @binding(0) var<storage, read> data: array<vec2<u32>>;
@group(0) @binding(1) var<storage, read> table: array<vec4<i32>>;  // the search's d, then its W
@group(0) @binding(2) var<storage, read_write> packed: array<u32>;
@group(0) @binding(3) var<storage, read_write> scales: array<atomic<u32>>;
// The first group with NaN or infinity; the bits of the largest weight beyond the limit.
@group(0) @binding(4) var<storage, read_write> status: array<atomic<u32>>;
@group(0) @binding(5) var<uniform> p: Params;

const TOP: f32 = f32((1u << (BITS - 1u)) - 1u);
const INVERSE: u32 = select(0x810204u, 0x924925u, BITS == 4u);  // f32(1 / TOP): 24 bits, and their
const INVERSE_UNIT: i32 = select(-30, -26, BITS == 4u);         // unit's exponent
const DIGITS: i32 = select(15, 11, HALF);                       // of a stored scale, and the
const LEAST: i32 = select(-140, -24, HALF);                     // exponent of its least unit

struct Scale {
  m: u32,          // magnitude m · 2**u
  u: i32,
  negative: bool,
}

fn power(t: i32) -> f32 { return bitcast<f32>(u32(clamp(t, -126, 100) + 127) << 23u); }

// The f32 bits of four weights.
fn load(quad: u32) -> vec4<u32> {
  if (DTYPE == 32u) { return vec4<u32>(data[2u * quad], data[2u * quad + 1u]); }
  let pair = data[quad];
  let h = vec4<u32>(pair.x & 0xffffu, pair.x >> 16u, pair.y & 0xffffu, pair.y >> 16u);
  if (DTYPE == 8u) { return h << vec4<u32>(16u); }
  let exponent = (h >> vec4<u32>(10u)) & vec4<u32>(31u);
  let fraction = (h & vec4<u32>(1023u)) << vec4<u32>(13u);
  let denormal = bitcast<vec4<u32>>(vec4<f32>(vec4<i32>(fraction)) * power(-37));
  let bias = select(vec4<u32>(112u), vec4<u32>(224u), exponent == vec4<u32>(31u));
  let normal = ((exponent + bias) << vec4<u32>(23u)) | fraction;
  let sign = (h & vec4<u32>(0x8000u)) << vec4<u32>(16u);
  return sign | select(normal, denormal, exponent == vec4<u32>(0u));
}

// Four weights over 2**e, exact but where they are too small to matter.
fn normalised(bits: vec4<u32>, e: i32) -> vec4<f32> {
  let field = (bits >> vec4<u32>(23u)) & vec4<u32>(255u);
  let hidden = select(vec4<u32>(0x800000u), vec4<u32>(0u), field == vec4<u32>(0u));
  let m = vec4<f32>(vec4<i32>((bits & vec4<u32>(0x7fffffu)) | hidden));
  let t = max(vec4<i32>(max(field, vec4<u32>(1u))) - 150 - e, vec4<i32>(-100));
  let size = bitcast<vec4<u32>>(m * bitcast<vec4<f32>>(vec4<u32>(t + 127) << vec4<u32>(23u)));
  return bitcast<vec4<f32>>(size | (bits & vec4<u32>(0x80000000u)));
}

// value / 2**shift, half to even; value < 2**30.
fn halved(value: u32, shift: u32) -> u32 {
  let below = (1u << shift) >> 1u;
  return (value + below - min(below, 1u) + select(0u, (value >> shift) & 1u, shift > 0u)) >> shift;
}

// The nearest scale that can be stored to value · 2**exponent.
fn stored(value: u32, exponent: i32, negative: bool) -> Scale {
  let unit = max(i32(firstLeadingBit(value)) + exponent - DIGITS + 1, LEAST);
  let shift = u32(clamp(unit - exponent, 0, 31));
  if (!HALF) { return Scale((value + ((1u << shift) >> 1u)) >> shift, unit, negative); }
  let m = halved(value, shift);
  if (unit > 5 || (unit == 5 && m > 2047u)) { return Scale(2047u, 5, negative); }
  return Scale(m, unit, negative);
}

// Of the largest element m · 2**(e - 23): its product with f32(1 / TOP), rounded as an f32 first.
fn plain_scale(m: u32, e: i32) -> Scale {
  let middle = (m >> 12u) * (INVERSE & 4095u) + (m & 4095u) * (INVERSE >> 12u);
  let low = (m & 4095u) * (INVERSE & 4095u) + ((middle & 4095u) << 12u);
  let high = (m >> 12u) * (INVERSE >> 12u) + (middle >> 12u) + (low >> 24u);
  let sticky = min(low & 0x1fffffu, 1u);
  let product = (high << 3u) | ((low >> 21u) & 7u) | sticky;
  let exponent = e - 23 + INVERSE_UNIT + 21;
  let unit = max(i32(firstLeadingBit(product)) + exponent - 23, -149);
  var s = stored(halved(product, u32(clamp(unit - exponent, 0, 31))), unit, false);
  if (f32(s.m) * (2.0 * TOP + 1.0) * power(s.u - e) < f32(m) * power(-22)) { s.m += 1u; }
  return s;
}

// |scale| over 2**e; where it is 0 or far above the group, what leaves no code but 0.
fn size_of(s: Scale, e: i32) -> f32 {
  return select(min(f32(s.m) * power(s.u - e), power(100)), power(100), s.m == 0u);
}

// The codes of normalised weights (of the scale's sign) under a scale's size: half to even.
fn codes(w: vec4<f32>, size: f32) -> vec4<f32> {
  let c = clamp(round(w * (1.0 / size)), vec4<f32>(-TOP - 2.0), vec4<f32>(TOP + 2.0));
  let above = (c + 0.5) * size;
  let below = (c - 0.5) * size;
  let odd = c != 2.0 * round(c * 0.5);
  let up = (w > above) | ((w == above) & odd);
  let down = (w < below) | ((w == below) & odd);
  let settled = c + select(vec4<f32>(0.0), vec4<f32>(1.0), up) - select(vec4<f32>(0.0), vec4<f32>(1.0), down);
  return clamp(settled, vec4<f32>(-TOP - 1.0), vec4<f32>(TOP));
}

fn rounded(y: vec4<f32>) -> vec4<f32> {
  return clamp(round(y), vec4<f32>(-TOP - 1.0), vec4<f32>(TOP));
}

// What four candidates leave of one weight, squared.
fn rest(x: f32, g: vec4<f32>) -> vec4<f32> {
  let y = x * g;
  let r = round((y - rounded(y)) * f32(1u << (8u - BITS / 4u)));
  return r * r;
}

struct Best {
  error: u32,
  g: f32,
}

fn better(best: Best, r: vec4<f32>, weight: vec4<i32>, g: vec4<f32>) -> Best {
  let n = vec4<u32>(r);
  let w = vec4<u32>(weight);
  let error = (n >> vec4<u32>(12u)) * w + (((n & vec4<u32>(4095u)) * w) >> vec4<u32>(12u));
  var found = best;
  for (var i = 0u; i < 4u; i++) {
    if (error[i] < found.error) { found = Best(error[i], g[i]); }
  }
  return found;
}

fn candidates(i: u32, gain: i32, negative: bool) -> vec4<f32> {
  const SHIFT = 6u + BITS;
  let g = (table[i] * gain + vec4<i32>(1 << (SHIFT - 1u))) >> vec4<u32>(SHIFT);
  return vec4<f32>(select(g, -g, negative)) * power(i32(BITS) - 23);
}

// The best scale of the best codes of a group whose largest element is ±m · 2**(e - 23).
fn found_scale(first: u32, m: u32, e: i32, negative: bool) -> Scale {
  let gain = (1 << 26u) / max(i32(round(f32(m) * power(-12))), 1);
  let g0 = candidates(0u, gain, negative);
  let g1 = candidates(1u, gain, negative);
  let g2 = candidates(2u, gain, negative);
  let g3 = candidates(3u, gain, negative);
  var r0 = vec4<f32>();
  var r1 = vec4<f32>();
  var r2 = vec4<f32>();
  var r3 = vec4<f32>();
  for (var i = 0u; i < p.group / 4u; i++) {
    let x = round(normalised(load(first + i), e) * 2048.0);
    r0 += rest(x.x, g0) + rest(x.y, g0) + rest(x.z, g0) + rest(x.w, g0);
    r1 += rest(x.x, g1) + rest(x.y, g1) + rest(x.z, g1) + rest(x.w, g1);
    r2 += rest(x.x, g2) + rest(x.y, g2) + rest(x.z, g2) + rest(x.w, g2);
    r3 += rest(x.x, g3) + rest(x.y, g3) + rest(x.z, g3) + rest(x.w, g3);
  }
  var best = better(Best(0xffffffffu, 0.0), r0, table[4], g0);
  best = better(best, r1, table[5], g1);
  best = better(best, r2, table[6], g2);
  best = better(best, r3, table[7], g3);

  var dots = vec4<i32>();
  var norms = vec4<i32>();
  for (var i = 0u; i < p.group / 4u; i++) {
    let x = round(normalised(load(first + i), e) * 2048.0);
    let c = rounded(x * best.g);
    dots += vec4<i32>(x * c);
    norms += vec4<i32>(c * c);
  }
  let dot = dots.x + dots.y + dots.z + dots.w;
  let norm = max(u32(norms.x + norms.y + norms.z + norms.w), 1u);
  // ⌊2**(BITS + 8) · |dot| / norm⌋, the fraction in two halves.
  const HALFWAY = BITS / 2u + 4u;
  let size = u32(abs(dot));
  let one = (size % norm) << HALFWAY;
  let two = (one % norm) << HALFWAY;
  let ratio = ((size / norm) << (2u * HALFWAY)) + ((one / norm) << HALFWAY) + two / norm;
  return stored(ratio, e - 19 - i32(BITS), dot < 0);
}

// What codes under a scale leave of four weights, squared and summed.
fn loss(w: vec4<f32>, size: f32) -> u32 {
  let unit = f32(1u << (11u + BITS / 2u));
  let kept = round(codes(w, size) * min(size * unit, power(100)));
  let off = vec4<i32>(clamp(round(w * unit) - kept, vec4<f32>(-4095.0), vec4<f32>(4095.0)));
  let square = off * off;
  return u32(square.x + square.y + square.z + square.w);
}

fn searched_scale(first: u32, m: u32, e: i32, negative: bool) -> Scale {
  let plain = plain_scale(m, e);
  let found = found_scale(first, m, e, negative);
  let sign = select(1.0, -1.0, found.negative);
  let plain_size = size_of(plain, e);
  let found_size = size_of(found, e);
  var errors = vec2<u32>();
  for (var i = 0u; i < p.group / 4u; i++) {
    let w = normalised(load(first + i), e);
    errors += vec2<u32>(loss(w * sign, found_size), loss(w, plain_size));
  }
  if (errors.x < errors.y) { return found; }
  return plain;
}

fn store_scale(s: Scale, at: u32) {
  let bits = (u32(s.u - LEAST) << select(23u, 10u, HALF)) + (s.m << select(9u, 0u, HALF));
  let signed = bits | select(0u, select(0x80000000u, 0x8000u, HALF), s.negative);
  if (!HALF) {
    atomicStore(&scales[at], signed);
    return;
  }
  // The word's other half is another invocation's.
  let shift = at % 2u * 16u;
  atomicAnd(&scales[at / 2u], 0xffff0000u >> shift);
  atomicOr(&scales[at / 2u], signed << shift);
}

fn pack(c: vec4<f32>) -> u32 {
  if (BITS == 4u) {
    let n = vec4<u32>(vec4<i32>(c) + 8) << vec4<u32>(0u, 4u, 8u, 12u);
    return n.x | n.y | n.z | n.w;
  }
  let n = (bitcast<vec4<u32>>(vec4<i32>(c)) & vec4<u32>(255u)) << vec4<u32>(0u, 8u, 16u, 24u);
  return n.x | n.y | n.z | n.w;
}

// A group that is refused: the first NaN or infinity, its place and bits left where codes would be.
fn refuse(first: u32, group: u32, at: u32) {
  for (var i = 0u; i < p.group; i++) {
    let bits = load(first + i / 4u)[i % 4u];
    if ((bits & 0x7fffffffu) >= 0x7f800000u) {
      atomicMin(&status[0], group);
      packed[at] = i;
      packed[at + 1u] = bits;
      return;
    }
  }
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (workgroup.x + workgroup.y * workgroups.x) * WIDTH + local.x;
  if (i >= p.count) { return; }
  let first = i * (p.group / 4u);
  let group = p.first + i;
  let words = p.group * BITS / 32u;

  // Magnitudes in the high bits, so that the largest wins, of ±largest the positive.
  var keys = vec4<u32>();
  for (var q = 0u; q < p.group / 4u; q++) {
    let bits = load(first + q);
    keys = max(keys, (bits << vec4<u32>(1u)) | (vec4<u32>(1u) - (bits >> vec4<u32>(31u))));
  }
  let key = max(max(keys.x, keys.y), max(keys.z, keys.w));
  let largest = key >> 1u;
  if (largest > p.limit) {
    atomicMax(&status[1], largest);
    if (largest >= 0x7f800000u) { refuse(first, group, group * words); }
    return;
  }

  var m = largest & 0x7fffffu;
  if (largest >= 0x800000u) { m |= 0x800000u; }
  let lead = i32(firstLeadingBit(m));
  let e = lead + i32(max(largest >> 23u, 1u)) - 150;
  m <<= u32(23 - lead);
  var s: Scale;
  if (SEARCH) { s = searched_scale(first, m, e, key % 2u == 0u); } else { s = plain_scale(m, e); }
  store_scale(s, group % p.across * p.N + group / p.across);

  let size = size_of(s, e);
  let sign = select(1.0, -1.0, s.negative);
  for (var word = 0u; word < words; word++) {
    let quad = first + word * (8u / BITS);
    var code = pack(codes(normalised(load(quad), e) * sign, size));
    if (BITS == 4u) {
      code |= pack(codes(normalised(load(quad + 1u), e) * sign, size)) << 16u;
    }
    packed[group * words + word] = code;
  }
}
