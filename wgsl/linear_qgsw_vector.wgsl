// y = f(x · dequantize(w)[N, K]ᵀ) for one row x[K]; w in 4- or 8-bit symmetric groups along K.
//
//   CHUNKS  x is what attention left in so many chunks, joined (ops/chunks.py says where what lies)
//   NORM  x is x · (OFFSET + norm) / √(mean(x²) + EPS) first
//   BIAS  + bias[N]
//   GLU   y[N/2] = act(v[n]) · v[n + N/2]
//   ADD   + add, as long as y
//
// DEEP invocations, a gang, share 4 columns of w at a time, side by side, or with GLU two and the two
// that go with them: a tile, TILES of them one after the other. An invocation has the same HOLD slots of
// all of them, 16 bytes of a column each, so that its part of x stays in registers: it gets there through
// workgroup memory, PART slots at a time, as neighbours must read neighbours. Loads of the next tile are
// on their way while one is multiplied. Everything that addresses depend on is a knob, so that they need
// no load. Subgroups of any size. Layouts: quant/.

enable subgroups;

const BITS: u32 = 4u;        // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const EVEN: bool = false;    // knob: N is even, so that scales are read two at a time
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
const DEEP: u32 = 32u;       // knob: invocations along K, a multiple of 32; a power of two if subgroups are larger
const HOLD: u32 = 1u;        // knob: slots of an invocation, DEEP apart
const LANES: u32 = 64u;      // knob: invocations per workgroup, a multiple of DEEP
const TILES: u32 = 1u;       // knob: tiles of a gang
const PART: u32 = 8u;        // knob: slots of x in workgroup memory

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
const PITCH = PART + 1u;     // one longer than needed: neighbours write to other banks, too
const WIDTH = select(4u, 2u, GLU > 0u);  // elements of y a tile makes
const LENGTH = select(N, N / 2u, GLU > 0u);  // of y
const GANGS = LANES / DEEP;
const ALL = (LENGTH + WIDTH - 1u) / WIDTH;  // tiles there are
const D4 = K / (4u * HEADS);
const STRIDE = K / 4u + HEADS;  // vec4s of a chunk
const VECS = (K / 4u + LANES - 1u) / LANES;

var<workgroup> x_tile: array<vec4<f32>, QUADS * PITCH>;  // [vec4 of a slot][slot]
var<workgroup> partial: array<vec4<f32>, TILES * LANES>; // [tile][subgroup]
var<workgroup> squares: array<f32, LANES>;
var<workgroup> shares: array<f32, max(CHUNKS * HEADS, 1u)>;  // [chunk][head]

// 16 bytes of four columns, and the words that hold their scales.
struct Slot { a: vec4<u32>, b: vec4<u32>, c: vec4<u32>, d: vec4<u32>, scales: vec4<u32>, }

// The four columns of a tile; past the edge, others again.
fn columns(tile: u32) -> vec4<u32> {
  var n = vec2<u32>(4u * tile, 4u * tile + 2u);
  if (GLU > 0u) { n = vec2<u32>(2u * tile, 2u * tile + N / 2u); }
  if (EVEN) {
    n = min(n, vec2<u32>(N - 2u));
    return vec4<u32>(n.x, n.x + 1u, n.y, n.y + 1u);
  }
  return min(vec4<u32>(n.x, n.x + 1u, n.y, n.y + 1u), vec4<u32>(N - 1u));
}

fn load_slot(n: vec4<u32>, i: u32) -> Slot {
  let slot = min(i, SLOTS - 1u);
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

fn load_tile(tile: u32, depth: u32) -> array<Slot, HOLD> {
  let n = columns(tile);
  var found = array<Slot, HOLD>();
  for (var h = 0u; h < HOLD; h++) { found[h] = load_slot(n, depth + h * DEEP); }
  return found;
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
  let depth = lane % DEEP;
  let first = (workgroup.x + workgroup.y * workgroups.x) * (GANGS * TILES);
  let own = first + lane / DEEP;
  var next = load_tile(own, depth);
  // What the first element of y that this invocation stores is added to: a load that may take its time.
  var more = 0.0;
  if (ADD && lane < WIDTH * GANGS * TILES) { more = add[min(first * WIDTH + lane, LENGTH - 1u)]; }

  var v = array<array<vec4<f32>, QUADS>, HOLD>();
  var square = vec4<f32>(0.0);
  if (CHUNKS > 0u) { join(lane); }
  for (var part = 0u; part < SLOTS; part += PART) {
    if (part > 0u) { workgroupBarrier(); }
    for (var i = 0u; i < (QUADS * PART + LANES - 1u) / LANES; i++) {
      let j = lane + i * LANES;
      let at = part * QUADS + j;
      if (CHUNKS == 0u && j < QUADS * PART && at < K / 4u) {
        var w = x[at];
        if (NORM) {
          square += w * w;
          w *= OFFSET + norm[at];
        }
        x_tile[j % QUADS * PITCH + j / QUADS] = w;
      }
    }
    workgroupBarrier();
    for (var h = 0u; h < HOLD; h++) {
      let held = depth + h * DEEP - part;  // beyond any part where the slot comes before this one
      if (held < PART && held + part < SLOTS) {
        for (var j = 0u; j < QUADS; j++) { v[h][j] = x_tile[j * PITCH + held]; }
      }
    }
  }

  // Invocations of a subgroup are neighbours in a workgroup of one dimension.
  let size = u32(subgroupAdd(1.0));
  let whole = min(size, DEEP);  // neighbours whose sums become one
  let one = powers();
  // A number of turns that no compiler knows: unrolled they would not fit in a cache of instructions.
  let turns = min(TILES, (ALL + GANGS - 1u - min(first, ALL)) / GANGS);
  for (var t = 0u; t < turns; t++) {
    let words = next;
    if (t + 1u < turns) { next = load_tile(own + (t + 1u) * GANGS, depth); }
    var sum = vec4<f32>(0.0);
    for (var h = 0u; h < HOLD; h++) {
      sum += scales_of(words[h].scales) * vec4<f32>(
        dot(multiply(words[h].a, v[h]), one), dot(multiply(words[h].b, v[h]), one),
        dot(multiply(words[h].c, v[h]), one), dot(multiply(words[h].d, v[h]), one));
    }
    for (var i = 1u; i < whole; i *= 2u) { sum += subgroupShuffleXor(sum, i); }
    if (lane % whole == 0u) { partial[t * LANES + lane / whole] = sum; }
  }
  if (NORM) {
    let sum_of_squares = subgroupAdd(dot(square, vec4<f32>(1.0)));
    if (lane % size == 0u) { squares[lane / size] = sum_of_squares; }
  }
  workgroupBarrier();

  // An invocation per element of y.
  for (var i = lane; i < WIDTH * GANGS * TILES; i += LANES) {
    let at = first * WIDTH + i;
    if (at >= LENGTH) { break; }
    let tile = i / WIDTH;
    let pieces = DEEP / whole;
    var sum = vec4<f32>(0.0);
    for (var j = 0u; j < pieces; j++) {
      sum += partial[tile / GANGS * LANES + tile % GANGS * pieces + j];
    }
    if (NORM) {
      var total = 0.0;
      for (var j = 0u; j < LANES / size; j++) { total += squares[j]; }
      sum *= inverseSqrt(total / f32(K) + EPS);
    }
    var result = sum[i % WIDTH];
    if (BIAS) { result += bias[at]; }
    if (GLU > 0u) {
      var up = sum[i % WIDTH + 2u];
      if (BIAS) { up += bias[at + N / 2u]; }
      result = activate(result) * up;
    }
    if (ADD) { result += more; }
    if (ADD && i + LANES < WIDTH * GANGS * TILES) { more = add[min(at + LANES, LENGTH - 1u)]; }
    y[at] = result;
  }
}
