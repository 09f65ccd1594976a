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
// of w and of scales are on their way before anything waits, the next slot's while one is multiplied.
// x, PART slots of it at a time, comes through workgroup memory, where neighbours read neighbours.
// Everything that addresses depend on is a knob, so that they need no load. Subgroups of any size.
// Layouts: quant/.

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
const ACROSS: u32 = 4u;      // knob: invocations side by side along N, a power of two
const DEEP: u32 = 8u;        // knob: invocations along K, a power of two
const LANES: u32 = 64u;      // knob: invocations per workgroup, a multiple of ACROSS · DEEP
const PART: u32 = 8u;        // knob: slots of x in workgroup memory, a multiple of DEEP

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;  // any buffer without NORM
@group(0) @binding(2) var<storage, read> packed: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> scales: array<u32>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;        // any buffer without BIAS
@group(0) @binding(5) var<storage, read> add: array<f32>;         // any buffer without ADD
@group(0) @binding(6) var<storage, read> pos: array<i32>;         // any buffer without LIVE
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

const QUADS = 32u / BITS;    // vec4s of x that a slot is multiplied with
const SLOTS = K * BITS / 128u;
const STEPS = PART / DEEP;   // slots of a part an invocation multiplies
const ROUNDS = (QUADS * PART + LANES - 1u) / LANES;
const PITCH = PART + 1u;     // one longer than needed: neighbours write to other banks, too
const WIDTH = select(4u, 2u, GLU > 0u);  // elements of y an invocation's columns make
const WIDE = LANES / DEEP;   // fours of columns a workgroup owns
const LENGTH = select(N, N / 2u, GLU > 0u);  // of y

const D4 = K / (4u * HEADS);
const STRIDE = K / 4u + HEADS;  // vec4s of a chunk
const VECS = (K / 4u + LANES - 1u) / LANES;

var<workgroup> x_tile: array<vec4<f32>, QUADS * PITCH>;  // [vec4 of a slot][slot]
var<workgroup> partial: array<vec4<f32>, LANES>;         // a subgroup's sums
var<workgroup> squares: array<f32, LANES>;
var<workgroup> shares: array<f32, max(CHUNKS * HEADS, 1u)>;  // [chunk][head]

// 16 bytes of four columns, and the words that hold their scales.
struct Slot { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, scales: vec4<u32>, }

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

// Products with 16 bytes of a column, summed by the place of the weights' bits.
fn multiply(w: vec4<u32>, v: array<vec4<f32>, QUADS>) -> vec4<f32> {
  if (BITS == 8u) {
    return unpack(w.x) * v[0] + unpack(w.y) * v[1] + unpack(w.z) * v[2] + unpack(w.w) * v[3];
  }
  return unpack(w.x) * v[0] + unpack(w.x >> 16u) * v[1] + unpack(w.y) * v[2]
    + unpack(w.y >> 16u) * v[3] + unpack(w.z) * v[QUADS - 4u] + unpack(w.z >> 16u) * v[QUADS - 3u]
    + unpack(w.w) * v[QUADS - 2u] + unpack(w.w >> 16u) * v[QUADS - 1u];
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
  var sums = array<vec4<f32>, VECS>();
  for (var c = 0u; c < live; c += 4u) {
    for (var i = 0u; i < VECS; i++) {
      let at = min(lane + i * LANES, K / 4u - 1u);
      for (var u = 0u; u < 4u; u++) {
        let value = x[min(c + u, CHUNKS - 1u) * STRIDE + at];
        let share = shares[min(c + u, CHUNKS - 1u) * HEADS + at / D4];
        sums[i] += select(vec4<f32>(0.0), share * value, c + u < live);  // a dead chunk may hold NaN
      }
    }
  }
  for (var i = 0u; i < VECS; i++) {
    let at = lane + i * LANES;
    if (at < K / 4u) { x_tile[at % QUADS * PITCH + at / QUADS] = sums[i]; }
  }
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

  var next = load(n, min(depth, SLOTS - 1u));
  // What the element of y that this invocation stores is added to: a load that may take its time.
  var more = 0.0;
  if (ADD && lane < WIDTH * WIDE) { more = add[min(first * WIDTH + lane, LENGTH - 1u)]; }
  var a = vec4<f32>(0.0);
  var b = vec4<f32>(0.0);
  var c = vec4<f32>(0.0);
  var d = vec4<f32>(0.0);
  var square = vec4<f32>(0.0);
  if (CHUNKS > 0u) { join(lane); }
  for (var part = 0u; part < SLOTS; part += PART) {
    if (part > 0u) { workgroupBarrier(); }
    if (CHUNKS == 0u) {  // all loads first: one after the other they would wait for each other
      var loaded = array<vec4<f32>, ROUNDS>();
      for (var i = 0u; i < ROUNDS; i++) {
        loaded[i] = x[min(part * QUADS + lane + i * LANES, K / 4u - 1u)];
      }
      if (NORM) {
        for (var i = 0u; i < ROUNDS; i++) {
          let j = lane + i * LANES;
          let at = min(part * QUADS + j, K / 4u - 1u);
          if (j < QUADS * PART && part * QUADS + j < K / 4u) { square += loaded[i] * loaded[i]; }
          loaded[i] *= OFFSET + norm[at];
        }
      }
      for (var i = 0u; i < ROUNDS; i++) {
        let j = lane + i * LANES;
        if (j < QUADS * PART) { x_tile[j % QUADS * PITCH + j / QUADS] = loaded[i]; }
      }
    }
    workgroupBarrier();
    for (var i = 0u; i < STEPS; i++) {
      let held = depth + i * DEEP;  // of the slots in workgroup memory
      let words = next;
      if (part + (i + 1u) * DEEP < SLOTS) { next = load(n, min(part + held + DEEP, SLOTS - 1u)); }
      if (part + held < SLOTS) {
        var v = array<vec4<f32>, QUADS>();
        for (var j = 0u; j < QUADS; j++) { v[j] = x_tile[j * PITCH + held]; }
        let scale = scales_of(words.scales);
        a += multiply(words.a, v) * scale.x;
        b += multiply(words.b, v) * scale.y;
        c += multiply(words.c, v) * scale.z;
        d += multiply(words.d, v) * scale.w;
      }
    }
  }
  let one = powers();
  var sum = vec4<f32>(dot(a, one), dot(b, one), dot(c, one), dot(d, one));
  var sum_of_squares = dot(square, vec4<f32>(1.0));

  // Invocations of a subgroup are neighbours in a workgroup of one dimension.
  let size = u32(subgroupAdd(1.0));
  let whole = clamp(size, ACROSS, ACROSS * DEEP);  // neighbours whose sums of a column become one
  for (var i = ACROSS; i < whole; i *= 2u) { sum += subgroupShuffleXor(sum, i); }
  if (lane % whole < ACROSS) { partial[lane / whole * ACROSS + lane % ACROSS] = sum; }
  if (NORM) {
    sum_of_squares = subgroupAdd(sum_of_squares);
    if (lane % size == 0u) { squares[lane / size] = sum_of_squares; }
  }
  workgroupBarrier();

  // An invocation per element of y.
  for (var i = lane; i < WIDTH * WIDE; i += LANES) {
    let at = first * WIDTH + i;
    if (at >= LENGTH) { break; }
    let pieces = ACROSS * DEEP / whole;
    let quad = i / WIDTH;
    var v = vec4<f32>(0.0);
    for (var j = 0u; j < pieces; j++) {
      v += partial[(quad / ACROSS * pieces + j) * ACROSS + quad % ACROSS];
    }
    if (NORM) {
      var total = 0.0;
      for (var j = 0u; j < LANES / size; j++) { total += squares[j]; }
      v *= inverseSqrt(total / f32(K) + EPS);
    }
    var result = v[i % WIDTH];
    if (BIAS) { result += bias[at]; }
    if (GLU > 0u) {
      var up = v[i % WIDTH + 2u];
      if (BIAS) { up += bias[at + N / 2u]; }
      result = activate(result) * up;
    }
    if (ADD) { result += more; }
    if (ADD && i + LANES < WIDTH * WIDE) { more = add[min(at + LANES, LENGTH - 1u)]; }
    y[at] = result;
  }
}
