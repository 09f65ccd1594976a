// y = f(x · dequantize(w)[N, K]ᵀ) for one row x[K]; w in 4- or 8-bit symmetric groups along K.
//
//   CHUNKS  x is what attention left in so many chunks, joined (ops/chunks.py says where what lies)
//   NORM  x is x · (OFFSET + norm) / √(mean(x²) + EPS) first
//   BIAS  + bias[N]
//   GLU   y[N/2] = act(v[n]) · v[n + N/2]
//   ADD   + add, as long as y
//
// An invocation owns four columns of w, side by side, or with GLU two and the two that go with them,
// and 16 bytes of each at a time: a slot. ACROSS invocations side by side own 4 · ACROSS columns and
// the same slots; DEEP of those share the columns' slots out; a workgroup has LANES invocations. Loads
// of w and of scales are on their way before anything waits, AHEAD slots of them while one is multiplied.
// x, PART slots of it at a time, comes through workgroup memory, where neighbours read neighbours.
// Everything that addresses depend on is a knob, so that they need no load.
//
// With DOTS a block of 32 elements of x becomes integers of 16 bits, as large as the block allows, in
// two bytes each, and four weights are multiplied with four bytes in one instruction: about a third of
// the instructions. Off by 1 / 65000 of a block's largest magnitude an element. Layouts: quant/.

enable subgroups;

const BITS: u32 = 4u;        // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const EVEN: bool = false;    // knob: N is even, N/2 too with GLU, so that scales are read two at a time
const NORM: bool = false;    // knob: normalize x
const BIAS: bool = false;    // knob: add bias
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const N: u32 = 4u;           // knob: columns
const K: u32 = 32u;          // knob: weights of a column
const GROUP: u32 = 32u;      // knob: weights to a scale, a multiple of 32
const CHUNKS: u32 = 0u;      // knob: 0 for a row; with a NORM none
const HEADS: u32 = 1u;       // knob: of queries, with CHUNKS
const KEYS: u32 = 64u;       // knob: keys of a chunk that lie side by side
const WINDOW: u32 = 0u;      // knob: keys a row sees at most; 0 for no limit
const LIVE: bool = false;    // knob: the position is pos[0], not PAST
const PAST: u32 = 0u;        // knob: the position
const EPS: f32 = 1e-6;       // knob: of the norm
const OFFSET: f32 = 0.0;     // knob: of the norm
const DOTS: bool = false;    // knob: x as integers, by packed dot products; else float32
const ACROSS: u32 = 4u;      // knob: invocations side by side along N, a power of two
const DEEP: u32 = 8u;        // knob: invocations along K, a power of two
const LANES: u32 = 64u;      // knob: invocations per workgroup, a multiple of ACROSS · DEEP and SUBGROUP
const SUBGROUP: u32 = 4u;    // knob: invocations a subgroup has at least, a power of two, 4 or more
const AHEAD: u32 = 1u;       // knob: slots on their way, a divisor of PART / DEEP
const PART: u32 = 8u;        // knob: slots of x in workgroup memory, a multiple of DEEP

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;  // any buffer without NORM
@group(0) @binding(2) var<storage, read> packed: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;        // any buffer without BIAS
@group(0) @binding(5) var<storage, read> add: array<f32>;         // any buffer without ADD
@group(0) @binding(6) var<storage, read> pos: array<i32>;         // any buffer without LIVE
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

const EIGHTS = 16u / BITS;   // eights of x that a slot is multiplied with
const VECS = select(2u, 1u, DOTS) * EIGHTS;  // and what they are in workgroup memory
const SLOTS = K * BITS / 128u;
const STEPS = PART / DEEP;   // slots of a part an invocation multiplies
const ROUNDS = (EIGHTS * PART + LANES - 1u) / LANES;
const PITCH = PART + 1u;     // one longer than needed: neighbours write to other banks, too
const UNIT = clamp(SUBGROUP, ACROSS, ACROSS * DEEP);  // invocations whose sums become one without memory
const UNITS = ACROSS * DEEP / UNIT;
const BLOCK = 4u;            // eights of x to a scale
const MOST = 32639.0;        // 127 · 256 + 127: what signed bytes, high and low, hold
const WIDTH = select(4u, 2u, GLU > 0u);  // elements of y an invocation's columns make
const WIDE = LANES / DEEP;   // fours of columns a workgroup owns
const LENGTH = select(N, N / 2u, GLU > 0u);  // of y

const D4 = K / (4u * HEADS);
const STRIDE = K / 4u + HEADS;  // vec4s of a chunk

var<workgroup> x_tile: array<vec4<u32>, VECS * PITCH>;  // [vec4 of a slot][slot]
var<workgroup> x_scale: array<f32, select(1u, EIGHTS * PART / BLOCK, DOTS)>;
var<workgroup> partial: array<f32, 4u * LANES / (UNIT / ACROSS)>;  // [unit][place in ACROSS][column]
var<workgroup> squares: array<f32, LANES / SUBGROUP>;
var<workgroup> shares: array<f32, max(CHUNKS * HEADS, 1u)>;  // [chunk][head]

struct Eight { a: vec4<f32>, b: vec4<f32>, }

// An eight of x, and of `norm`.
struct Loaded { x: Eight, norm: Eight, }

// 16 bytes of four columns, and the words that hold their scales.
struct Slot { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, scales: vec4<u32>, }

// What an invocation stages of x, all asked for at once; past the end, the last eight again.
fn fetch(part: u32, lane: u32) -> array<Loaded, ROUNDS> {
  var loaded = array<Loaded, ROUNDS>();
  for (var i = 0u; i < ROUNDS; i++) {
    let at = 2u * min(part * EIGHTS + lane + i * LANES, K / 8u - 1u);
    loaded[i].x = Eight(x[at], x[at + 1u]);
    if (NORM) { loaded[i].norm = Eight(norm[at], norm[at + 1u]); }
  }
  return loaded;
}

fn normed(v: Eight, norm: Eight) -> Eight {
  if (!NORM) { return v; }
  return Eight(v.a * (OFFSET + norm.a), v.b * (OFFSET + norm.b));
}

// The four columns of an invocation; past the edge, others again.
fn columns(quad: u32) -> vec4<u32> {
  var n = vec2<u32>(4u * quad, 4u * quad + 2u);
  if (GLU > 0u) { n = vec2<u32>(2u * quad, 2u * quad + N / 2u); }
  if (EVEN) {
    n = min(n, vec2<u32>(N - 2u));
    return vec4<u32>(n.x, n.x + 1u, n.y, n.y + 1u);
  }
  return min(vec4<u32>(n.x, n.x + 1u, n.y, n.y + 1u), vec4<u32>(N - 1u));
}

fn load(n: vec4<u32>, slot: u32) -> Slot {
  let at = n * SLOTS + slot;
  let s = n + slot * (128u / BITS) / GROUP * N;
  var words = vec4<u32>(0u);
  if (HALF && EVEN) {
    words = vec4<u32>(scales[s.x / 2u], scales[s.z / 2u], 0u, 0u);
  } else if (HALF) {
    words = vec4<u32>(scales[s.x / 2u], scales[s.y / 2u], scales[s.z / 2u], scales[s.w / 2u])
      >> (s % 2u * 16u);
  } else {
    words = vec4<u32>(scales[s.x], scales[s.y], scales[s.z], scales[s.w]);
  }
  return Slot(packed[at.x], packed[at.y], packed[at.z], packed[at.w], words);
}

fn scales_of(words: vec4<u32>) -> vec4<f32> {
  if (HALF && EVEN) { return vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)); }
  if (HALF) {
    return vec4<f32>(unpack2x16float(words.x).x, unpack2x16float(words.y).x,
      unpack2x16float(words.z).x, unpack2x16float(words.w).x);
  }
  return bitcast<vec4<f32>>(words);
}

// Four weights, each times the power of 2 at which its bits lie. The bits become the last ones of
// 2²³ + …, which needs no conversion and is exact.
fn unpack(word: u32) -> vec4<f32> {
  if (BITS == 4u) {
    let codes = vec4<u32>(word) & vec4<u32>(0xfu, 0xf0u, 0xf00u, 0xf000u);
    return bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
      - vec4<f32>(8388616.0, 8388736.0, 8390656.0, 8421376.0);
  }
  let w = word ^ 0x80808080u;  // two's complement to offset binary
  let codes = vec4<u32>(w, w, w >> 16u, w >> 16u) & vec4<u32>(0xffu, 0xff00u, 0xffu, 0xff00u);
  return bitcast<vec4<f32>>(codes | vec4<u32>(0x4b000000u))
    - vec4<f32>(8388736.0, 8421376.0, 8388736.0, 8421376.0);
}

fn powers() -> vec4<f32> {
  if (BITS == 4u) { return vec4<f32>(1.0, 1.0 / 16.0, 1.0 / 256.0, 1.0 / 4096.0); }
  return vec4<f32>(1.0, 1.0 / 256.0, 1.0, 1.0 / 256.0);
}

fn floats(v: vec4<u32>) -> vec4<f32> { return bitcast<vec4<f32>>(v); }

// The product with 16 bytes of a column, before scales.
fn multiply(w: vec4<u32>, v: array<vec4<u32>, VECS>) -> f32 {
  if (DOTS) { return dots(w, v); }
  var sum = vec4<f32>(0.0);
  for (var i = 0u; i < EIGHTS; i++) {
    var pair = vec2<u32>(w[i], w[i] >> 16u);
    if (BITS == 8u) { pair = vec2<u32>(w[2u * i % 4u], w[(2u * i + 1u) % 4u]); }
    sum += unpack(pair.x) * floats(v[2u * i % VECS]) + unpack(pair.y) * floats(v[(2u * i + 1u) % VECS]);
  }
  return dot(sum, powers());
}

// The same in integers. Weights of four bits become the high ones of bytes: 16 times too large.
fn dots(w: vec4<u32>, v: array<vec4<u32>, VECS>) -> f32 {
  var high = 0i;
  var low = 0i;
  for (var i = 0u; i < EIGHTS; i++) {
    var pair = (vec2<u32>(w[i] << 4u, w[i]) & vec2<u32>(0xf0f0f0f0u)) ^ vec2<u32>(0x80808080u);
    if (BITS == 8u) { pair = vec2<u32>(w[2u * i % 4u], w[(2u * i + 1u) % 4u]); }
    high += dot4I8Packed(pair.x, v[i].x) + dot4I8Packed(pair.y, v[i].y);
    low += dot4I8Packed(pair.x, v[i].z) + dot4I8Packed(pair.y, v[i].w);
  }
  return f32(256 * high + low);
}

// Of two words the halves in which rounding left an integer: of the first the low half.
fn halves(a: u32, b: u32) -> u32 { return (a & 0xffffu) | (b << 16u); }

// Eight i of a part of x goes to workgroup memory. All lanes call this together.
fn stage(i: u32, v: Eight) {
  let slot = i / EIGHTS;
  let at = i % EIGHTS * (VECS / EIGHTS) * PITCH + slot;
  if (!DOTS) {
    if (slot < PART) {
      x_tile[at] = bitcast<vec4<u32>>(v.a);
      x_tile[at + PITCH] = bitcast<vec4<u32>>(v.b);
    }
    return;
  }
  // As integers magnitudes compare as they do as floats, and a NaN is the greatest.
  let both = max(
    bitcast<vec4<u32>>(v.a) & vec4<u32>(0x7fffffffu), bitcast<vec4<u32>>(v.b) & vec4<u32>(0x7fffffffu));
  var most = max(max(both.x, both.y), max(both.z, both.w));
  for (var j = 1u; j < BLOCK; j *= 2u) { most = max(most, subgroupShuffleXor(most, j)); }
  let largest = bitcast<f32>(most);
  let factor = select(0.0, MOST / largest, largest > 1e-30);
  // Added to 1.5 · 2²³ a number is rounded and lies in the last bits; 128 more, and the high byte is
  // right when the low one, 128 too large then, counts from −128.
  let a = bitcast<vec4<u32>>(v.a * factor + 12583040.0);
  let b = bitcast<vec4<u32>>(v.b * factor + 12583040.0);
  // Four elements' halves, as two words, for each of the two words that are multiplied with them.
  var first = vec2<u32>(halves(a.x, b.x), halves(a.y, b.y));
  var second = vec2<u32>(halves(a.z, b.z), halves(a.w, b.w));
  if (BITS == 8u) {
    first = vec2<u32>(halves(a.x, a.z), halves(b.x, b.z));
    second = vec2<u32>(halves(a.y, a.w), halves(b.y, b.w));
  }
  let even = vec2<u32>(0x00ff00ffu);
  let high = ((first >> vec2<u32>(8u)) & even) | (second & ~even);
  let low = ((first & even) | ((second << vec2<u32>(8u)) & ~even)) ^ vec2<u32>(0x80808080u);
  if (slot < PART) {
    x_tile[at] = vec4<u32>(high, low);
    if (i % BLOCK == 0u) { x_scale[i / BLOCK] = largest / (MOST * select(1.0, 16.0, BITS == 4u)); }
  }
}

fn activate(v: f32) -> f32 {
  if (GLU == 1u) { return v / (1.0 + exp(-max(v, -80.0))); }
  return 0.5 * v * (1.0 + tanh(clamp(0.79788456 * (v + 0.044715 * v * v * v), -10.0, 10.0)));
}

// How many chunks there are, and what share of the sum each has, by head.
fn share_out(lane: u32) -> u32 {
  var past = PAST;
  if (LIVE) { past = u32(pos[0]); }
  let seen = select(past + 1u, min(past + 1u, WINDOW), WINDOW > 0u);
  let live = min((seen - 1u) / KEYS + 1u, CHUNKS);
  for (var head = lane; head < HEADS; head += LANES) {
    var stats = array<vec2<f32>, max(CHUNKS, 1u)>();  // the greatest score, Σ exp(score − greatest)
    for (var c = 0u; c < CHUNKS; c++) {
      stats[c] = select(vec2<f32>(-3.4028234e38, 0.0), x[c * STRIDE + K / 4u + head].xy, c < live);
    }
    var most = stats[0].x;
    for (var c = 1u; c < CHUNKS; c++) { most = max(most, stats[c].x); }
    var total = 0.0;
    for (var c = 0u; c < CHUNKS; c++) { total += exp(stats[c].x - most) * stats[c].y; }
    for (var c = 0u; c < CHUNKS; c++) { shares[c * HEADS + head] = exp(stats[c].x - most) / total; }
  }
  return live;
}

// The chunks joined, into workgroup memory, four chunks at a time.
fn join(lane: u32) {
  let live = share_out(lane);
  workgroupBarrier();
  var sums = array<Eight, ROUNDS>();
  for (var c = 0u; c < live; c += 4u) {
    for (var i = 0u; i < ROUNDS; i++) {
      let at = min(lane + i * LANES, K / 8u - 1u);
      for (var u = 0u; u < 4u; u++) {
        let start = min(c + u, CHUNKS - 1u) * STRIDE + 2u * at;
        let value = Eight(x[start], x[start + 1u]);
        let share = shares[min(c + u, CHUNKS - 1u) * HEADS + 2u * at / D4];
        if (c + u < live) {  // a dead chunk may hold NaN
          sums[i].a += share * value.a;
          sums[i].b += share * value.b;
        }
      }
    }
  }
  for (var i = 0u; i < ROUNDS; i++) { stage(lane + i * LANES, sums[i]); }
}

// The sums of a unit's invocations, into workgroup memory. Where there are four of each place, each of
// them soon adds up one column only.
fn keep(sums: vec4<f32>, lane: u32) {
  let at = 4u * (lane / UNIT * ACROSS + lane % ACROSS);
  let turn = lane / ACROSS % 4u;
  if (UNIT >= 4u * ACROSS) {
    let is_odd = turn % 2u == 1u;
    let pair = select(sums.xy, sums.zw, is_odd)
      + subgroupShuffleXor(select(sums.zw, sums.xy, is_odd), ACROSS);
    var sum = select(pair.x, pair.y, turn > 1u)
      + subgroupShuffleXor(select(pair.y, pair.x, turn > 1u), 2u * ACROSS);
    for (var i = 4u * ACROSS; i < UNIT; i *= 2u) { sum += subgroupShuffleXor(sum, i); }
    if (lane % UNIT < 4u * ACROSS) { partial[at + turn % 2u * 2u + turn / 2u] = sum; }
    return;
  }
  var sum = sums;
  for (var i = ACROSS; i < UNIT; i *= 2u) { sum += subgroupShuffleXor(sum, i); }
  if (lane % UNIT < ACROSS) {
    for (var i = 0u; i < 4u; i++) { partial[at + i] = sum[i]; }
  }
}

// A column's sum over all units.
fn kept(start: u32, column: u32) -> f32 {
  var sum = 0.0;
  for (var j = 0u; j < UNITS; j++) { sum += partial[4u * (start + j * ACROSS) + column]; }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let depth = lane / ACROSS % DEEP;
  let first = (workgroup.x + workgroup.y * workgroups.x) * WIDE;
  let n = columns(first + lane / (ACROSS * DEEP) * ACROSS + lane % ACROSS);

  // What is waited for first is asked for first: x, the next slots of w, and what is added last.
  var loaded = array<Loaded, ROUNDS>();
  if (CHUNKS == 0u) { loaded = fetch(0u, lane); }
  var next = array<Slot, AHEAD>();
  for (var i = 0u; i < AHEAD; i++) { next[i] = load(n, min(depth + i * DEEP, SLOTS - 1u)); }
  var more = 0.0;
  if (ADD && lane < WIDTH * WIDE) { more = add[min(first * WIDTH + lane, LENGTH - 1u)]; }
  var sum = vec4<f32>(0.0);
  var square = vec4<f32>(0.0);
  if (CHUNKS > 0u) { join(lane); }
  for (var part = 0u; part < SLOTS; part += PART) {
    if (part > 0u) { workgroupBarrier(); }
    if (CHUNKS == 0u) {
      if (part > 0u) { loaded = fetch(part, lane); }
      for (var i = 0u; i < ROUNDS; i++) {
        let j = lane + i * LANES;
        let v = loaded[i].x;
        if (NORM && j < EIGHTS * PART && part * EIGHTS + j < K / 8u) {
          square += v.a * v.a + v.b * v.b;
        }
        stage(j, normed(v, loaded[i].norm));
      }
    }
    workgroupBarrier();
    for (var i = 0u; i < STEPS; i += AHEAD) {
      for (var j = 0u; j < AHEAD; j++) {
        let held = depth + (i + j) * DEEP;  // of the slots in workgroup memory
        let words = next[j];
        if (part + (i + j + AHEAD) * DEEP < SLOTS) {
          next[j] = load(n, min(part + held + AHEAD * DEEP, SLOTS - 1u));
        }
        if (part + held < SLOTS) {
          var v = array<vec4<u32>, VECS>();
          for (var e = 0u; e < VECS; e++) { v[e] = x_tile[e * PITCH + held]; }
          var scale = scales_of(words.scales);
          if (DOTS) { scale *= x_scale[held * EIGHTS / BLOCK]; }
          sum += scale * vec4<f32>(
            multiply(words.a, v), multiply(words.b, v), multiply(words.c, v), multiply(words.d, v));
        }
      }
    }
  }
  keep(sum, lane);
  if (NORM) {
    var total = dot(square, vec4<f32>(1.0));
    for (var i = 1u; i < SUBGROUP; i *= 2u) { total += subgroupShuffleXor(total, i); }
    if (lane % SUBGROUP == 0u) { squares[lane / SUBGROUP] = total; }
  }
  workgroupBarrier();

  // An invocation per element of y.
  for (var i = lane; i < WIDTH * WIDE; i += LANES) {
    let at = first * WIDTH + i;
    if (at >= LENGTH) { break; }
    let quad = i / WIDTH;
    let start = quad / ACROSS * UNITS * ACROSS + quad % ACROSS;
    var result = kept(start, i % WIDTH);
    var up = 0.0;
    if (GLU > 0u) { up = kept(start, i % WIDTH + 2u); }
    if (NORM) {
      var total = 0.0;
      for (var j = 0u; j < LANES / SUBGROUP; j++) { total += squares[j]; }
      let scale = inverseSqrt(total / f32(K) + EPS);
      result *= scale;
      up *= scale;
    }
    if (BIAS) { result += bias[at]; }
    if (GLU > 0u) {
      if (BIAS) { up += bias[at + N / 2u]; }
      result = activate(result) * up;
    }
    if (ADD) { result += more; }
    if (ADD && i + LANES < WIDTH * WIDE) { more = add[min(at + LANES, LENGTH - 1u)]; }
    y[at] = result;
  }
}
