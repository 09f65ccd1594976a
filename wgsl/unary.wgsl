// y = f(x), element by element, of any two dtypes. An invocation owns one element, or where y is of
// bytes the four of a word. Bytes lie four to a word, the first lowest.

const OP: u32 = 0u;       // knob: a case of f; FLOAT says of which one
const FLOAT: bool = true; // knob: computed in f32, or in i32
const X: u32 = 0u;        // knob: dtype of x: 0 float32 | 1 int32 | 2 uint8 | 3 int8 | 4 bool
const Y: u32 = 0u;        // knob: dtype of y, the same
const PER: u32 = 1u;      // knob: elements an invocation, 4 where y is of bytes
const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  n: u32,
  s: f32, t: f32,  // numbers an op takes
  i: i32, j: i32,  // the same in i32
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> y: array<u32>;
@group(0) @binding(2) var<uniform> p: Params;

// Abramowitz & Stegun 7.1.26 gives 1.5e-7, what float32 holds; WGSL has no erf.
fn erf(v: f32) -> f32 {
  let a = abs(v);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  return sign(v) * (1.0 - poly * exp(-a * a));
}

fn f(v: f32) -> f32 {
  switch OP {
    case 0u: {
      return 0.5 * v * (1.0 + erf(v * 0.70710678));
    }
    case 2u: {
      let u = max(v, -80.0);  // below, exp(-v) overflows; there the result is 0 but for 1e-33
      return u / (1.0 + exp(-u));
    }
    case 10u: { return v; }
    case 11u: { return abs(v); }
    case 12u: { return -v; }
    case 13u: { return exp(v); }
    case 14u: { return sqrt(v); }
    case 15u: { return inverseSqrt(v); }
    case 16u: { return sin(v); }
    case 17u: { return cos(v); }
    case 18u: { return tanh(clamp(v, -10.0, 10.0)); }  // see below
    case 19u: { return round(v); }
    case 20u: { return 1.0 / (1.0 + exp(-max(v, -80.0))); }  // sigmoid
    case 21u: { return min(max(v, p.s), p.t); }  // clamp; relu and hardtanh are of its kind
    case 22u: { return v * clamp(v / 6.0 + 0.5, 0.0, 1.0); }  // hardswish
    case 23u: { return select(v * p.s, v, v > 0.0); }  // leaky_relu
    case 24u: { return log(v); }
    case 25u: { return floor(v); }
    default: {
      // tanh overflows to NaN on some GPUs for large arguments; past 10 it is 1 in float32.
      let u = 0.79788456 * (v + 0.044715 * v * v * v);
      return 0.5 * v * (1.0 + tanh(clamp(u, -10.0, 10.0)));
    }
  }
}

const NAN = 0x7fc00000u;

// GPUs may compute as if there were no NaN, so it is found by its bits.
fn is_nan(bits: u32) -> bool { return (bits & 0x7fffffffu) > 0x7f800000u; }

fn g(v: i32) -> i32 {
  switch OP {
    case 11u: { return abs(v); }
    case 12u: { return -v; }
    case 21u: { return min(max(v, p.i), p.j); }
    case 30u: { return select(~v, 1 - v, Y == 4u); }  // of a bool the other one
    case 31u: { return select(0, 1, v == 0); }  // logical_not
    default: { return v; }
  }
}

fn whole(word: u32, i: u32) -> i32 {
  if (X < 2u) { return bitcast<i32>(word); }
  let byte = (word >> (8u * (i % 4u))) & 255u;
  return select(i32(byte), bitcast<i32>(byte << 24u) >> 24u, X == 3u);
}

// The bits of element i of y.
fn result(i: u32) -> u32 {
  let word = x[select(i, i / 4u, X > 1u)];
  if (FLOAT) {
    var v = bitcast<f32>(word);
    if (X != 0u) { v = f32(whole(word, i)); }
    if (X == 0u && Y == 4u) { return u32((word & 0x7fffffffu) != 0u); }  // NaN and denormals are true
    if (X == 0u && is_nan(word)) { return select(0u, NAN, Y == 0u); }
    // Of log no GPU has to know where it ends: at −∞.
    if (OP == 24u && v <= 0.0) { return select(NAN, 0xff800000u, v == 0.0); }
    v = f(v);
    if (Y == 0u) { return bitcast<u32>(v); }
    return select(bitcast<u32>(i32(v)), 0x7fffffffu, v >= 2147483648.0);
  }
  let v = g(whole(word, i));
  return select(bitcast<u32>(v), u32(v != 0), Y == 4u);
}

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let first = ((group.x + group.y * groups.x) * WIDTH + local.x) * PER;
  if (first >= p.n) { return; }
  if (PER == 1u) {
    y[first] = result(first);
    return;
  }
  var word = 0u;
  for (var k = 0u; k < PER && first + k < p.n; k++) {
    word |= (result(first + k) & 255u) << (8u * k);
  }
  y[first / 4u] = word;
}
