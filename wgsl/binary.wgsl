// y = f(a, b), element by element, with broadcasting: y is contiguous with four dimensions, the
// operands are read through strides (0 where they repeat). An invocation owns one element, or where
// y is of bytes the four of a word. Bytes lie four to a word, the first lowest.

const OP: u32 = 0u;       // knob: a case of f (0 add | 1 mul | 2 sub | 3 div | 4 swiglu | 5 geglu …) or of g
const FLOAT: bool = true; // knob: computed in f32, or in i32
const SCALAR: bool = false;  // knob: b is the one number p.scalar or p.whole; the buffer is any
const A: u32 = 0u;        // knob: dtype of a: 0 float32 | 1 int32 | 2 uint8 | 3 int8 | 4 bool
const B: u32 = 0u;        // knob: dtype of b
const Y: u32 = 0u;        // knob: dtype of y
const PER: u32 = 1u;      // knob: elements an invocation, 4 where y is of bytes
const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  d0: u32, d1: u32, d2: u32, d3: u32,  // shape of y, outermost first
  a0: u32, a1: u32, a2: u32, a3: u32,  // strides of a, in elements
  b0: u32, b1: u32, b2: u32, b3: u32,  // strides of b
  scalar: f32,
  whole: i32,
}

@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;

const NAN = 0x7fc00000u;
const GREATEST = 3.4028234e38;

// GPUs may compute as if there were no NaN, so it is found by its bits.
fn is_nan(v: f32) -> bool { return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u; }

// Of a negative base WGSL's pow knows nothing; whole exponents have a meaning there, and −∞ is as ∞.
fn power(v: f32, w: f32) -> f32 {
  if (w == 0.0 || v == 1.0 || (v == -1.0 && abs(w) > GREATEST)) { return 1.0; }
  if (w == 1.0) { return v; }
  if (w == 2.0) { return v * v; }
  if (w == 0.5) { return sqrt(abs(v)); }
  let odd = floor(w) == w && floor(0.5 * w) * 2.0 != w;
  if (v == 0.0) {
    let base = select(abs(v), v, odd);
    return select(base, 1.0 / base, w < 0.0);
  }
  let magnitude = pow(abs(v), w);
  return select(magnitude, -magnitude, v < 0.0 && odd);
}

fn exponent(v: f32) -> i32 { return i32((bitcast<u32>(v) >> 23u) & 255u); }

// What is left of v when w is taken away as often as it fits, of v's sign. Exact: w times a power of
// two is taken from what is less than twice that.
fn rest(v: f32, w: f32) -> f32 {
  let b = abs(w);
  var r = abs(v);
  for (var i = 0; i < 255 && r >= b; i++) {
    let far = exponent(r) - exponent(b);
    let half = far / 2;  // of a power that need not be a float32 itself
    var t = b * bitcast<f32>(u32(half + 127) << 23u) * bitcast<f32>(u32(far - half + 127) << 23u);
    if (t > r) { t *= 0.5; }
    r -= t;
  }
  return select(r, -r, v < 0.0);
}

// v / w towards zero, or with `down` downwards; a denormal is 0, as GPUs may have it.
fn quotient(v: f32, w: f32, down: bool) -> f32 {
  if (exponent(w) == 0 || abs(v) > GREATEST) { return v / w; }
  let r = rest(v, w);
  let q = round((v - r) / w);  // whole, but for what a GPU's division is off
  return select(q, q - 1.0, down && r != 0.0 && (r < 0.0) != (w < 0.0));
}

fn remainder(v: f32, w: f32) -> f32 {
  let r = rest(v, w);
  return select(r, r + w, r != 0.0 && (r < 0.0) != (w < 0.0));
}

// Whether f(v, w) is NaN, and comparing makes no sense.
fn undefined(v: f32, w: f32) -> bool {
  let neither = is_nan(v) || is_nan(w);
  switch OP {
    case 12u: {
      if (w == 0.0 || v == 1.0) { return false; }
      return neither || (v < 0.0 && v >= -GREATEST && floor(w) != w);
    }
    case 13u: { return neither || (abs(v) > GREATEST && w != 0.0); }
    case 15u: { return neither || abs(v) > GREATEST || exponent(w) == 0; }
    default: { return neither; }
  }
}

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
    case 5u: {
      let u = 0.79788456 * (v + 0.044715 * v * v * v);
      return 0.5 * v * (1.0 + tanh(clamp(u, -10.0, 10.0))) * w;
    }
    case 10u: { return min(v, w); }
    case 11u: { return max(v, w); }
    case 12u: { return power(v, w); }
    case 13u: { return quotient(v, w, true); }
    case 14u: { return quotient(v, w, false); }
    case 15u: { return remainder(v, w); }
    case 20u: { return f32(v == w); }
    case 21u: { return f32(v != w); }
    case 22u: { return f32(v < w); }
    case 23u: { return f32(v <= w); }
    case 24u: { return f32(v > w); }
    default: { return f32(v >= w); }
  }
}

fn g(v: i32, w: i32) -> i32 {
  switch OP {
    case 0u: { return v + w; }
    case 1u: { return v * w; }
    case 2u: { return v - w; }
    case 10u: { return min(v, w); }
    case 11u: { return max(v, w); }
    case 13u: { return v / w - i32(v % w != 0 && ((v < 0) != (w < 0))); }
    case 14u: { return v / w; }
    case 15u: { return v % w + select(0, w, v % w != 0 && ((v < 0) != (w < 0))); }
    case 20u: { return i32(v == w); }
    case 21u: { return i32(v != w); }
    case 22u: { return i32(v < w); }
    case 23u: { return i32(v <= w); }
    case 24u: { return i32(v > w); }
    case 25u: { return i32(v >= w); }
    case 30u: { return v & w; }
    case 31u: { return v | w; }
    default: { return v ^ w; }
  }
}

fn whole(word: u32, i: u32, kind: u32) -> i32 {
  if (kind < 2u) { return bitcast<i32>(word); }
  let byte = (word >> (8u * (i % 4u))) & 255u;
  return select(i32(byte), bitcast<i32>(byte << 24u) >> 24u, kind == 3u);
}

fn real(word: u32, i: u32, kind: u32) -> f32 {
  if (kind == 0u) { return bitcast<f32>(word); }
  return f32(whole(word, i, kind));
}

// The bits of element i of y.
fn result(i: u32) -> u32 {
  let q3 = i / p.d3;
  let q2 = q3 / p.d2;
  let i0 = q2 / p.d1;
  let i1 = q2 - i0 * p.d1;
  let i2 = q3 - q2 * p.d2;
  let i3 = i - q3 * p.d3;
  let at_a = i0 * p.a0 + i1 * p.a1 + i2 * p.a2 + i3 * p.a3;
  let at_b = i0 * p.b0 + i1 * p.b1 + i2 * p.b2 + i3 * p.b3;
  let v = a[select(at_a, at_a / 4u, A > 1u)];
  let w = b[select(at_b, at_b / 4u, B > 1u)];
  if (FLOAT) {
    var second = p.scalar;
    if (!SCALAR) { second = real(w, at_b, B); }
    let first = real(v, at_a, A);
    if (OP > 3u && undefined(first, second)) { return select(NAN, u32(OP == 21u), Y == 4u); }
    let u = f(first, second);
    return select(bitcast<u32>(u), u32(u != 0.0), Y == 4u);
  }
  var second = p.whole;
  if (!SCALAR) { second = whole(w, at_b, B); }
  return bitcast<u32>(g(whole(v, at_a, A), second));
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let first = ((group.x + group.y * groups.x) * WIDTH + local.x) * PER;
  let n = p.d0 * p.d1 * p.d2 * p.d3;
  if (first >= n) { return; }
  if (PER == 1u) {
    y[first] = result(first);
    return;
  }
  var word = 0u;
  for (var k = 0u; k < PER && first + k < n; k++) {
    word |= (result(first + k) & 255u) << (8u * k);
  }
  y[first / 4u] = word;
}
