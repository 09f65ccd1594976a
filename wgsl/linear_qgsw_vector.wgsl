// y = f(x · dequantize(w)[N, K]ᵀ) for one row x[K]; w in 4- or 8-bit symmetric groups along K.
//
//   CHUNKS  x is what attention left in so many chunks, joined (ops/chunks.py says where what lies)
//   NORM  x is x · (OFFSET + norm) / √(mean(x²) + EPS) first
//   BIAS  + bias[N]
//   GLU   y[N/2] = act(v[n]) · v[n + N/2]
//   ADD   + add, as long as y
//
// The LANES invocations of a workgroup share K: each owns eight elements of x, side by side, or
// STEPS times eight. The workgroup walks through TILES tiles of eight columns, with GLU every other
// one of those that go with them; neighbours read neighbours of a column, and what is multiplied next
// is on its way. Of one step x stays in registers; of more, it is read again for each tile. Sums meet
// in a subgroup, which deals the columns out while it adds, and then in workgroup memory: there is one
// barrier. Everything that addresses depend on is a knob, so that they need no load.
//
// With DOTS a block of 32 elements of x becomes integers of 16 bits, as large as the block allows, in
// two bytes each, and four weights are multiplied with four bytes in one instruction: less than half
// of the instructions. Off by 1 / 65000 of a block's largest magnitude an element. Layouts: quant/.

enable subgroups;

const BITS: u32 = 4u;        // knob: 4 (offset binary, low nibble first) | 8 (two's complement)
const HALF: bool = false;    // knob: scales are f16 pairs, not f32
const NORM: bool = false;    // knob: normalize x
const BIAS: bool = false;    // knob: add bias
const ADD: bool = false;     // knob: add `add`
const GLU: u32 = 0u;         // knob: 0 none | 1 silu | 2 gelu by tanh
const N: u32 = 4u;           // knob: columns
const WHOLE: bool = false;   // knob: N is a multiple of 8, of 16 with GLU, so that tiles are whole
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
const TILES: u32 = 1u;       // knob: of eight columns a workgroup owns; an even number with GLU
const LANES: u32 = 64u;      // knob: invocations per workgroup, a multiple of SUBGROUP
const SUBGROUP: u32 = 4u;    // knob: invocations a subgroup has at least, a power of two, 4 or more

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> norm: array<vec4<f32>>;  // any buffer without NORM
@group(0) @binding(2) var<storage, read> packed: array<u32>;
@group(0) @binding(3) var<storage, read> scales: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;        // any buffer without BIAS
@group(0) @binding(5) var<storage, read> add: array<f32>;         // any buffer without ADD
@group(0) @binding(6) var<storage, read> pos: array<i32>;         // any buffer without LIVE
@group(0) @binding(7) var<storage, read_write> y: array<f32>;

const EIGHTS = K / 8u;
const STEPS = (EIGHTS + LANES - 1u) / LANES;
const TURNS = TILES * STEPS; // a turn is a step of a tile
const WORDS = BITS / 4u;     // of eight weights
const HALVES = select(1u, 2u, GLU > 0u);
const LENGTH = N / HALVES;   // of y
const OWN = 8u * TILES / HALVES;  // elements of y a workgroup makes
const UNITS = LANES / SUBGROUP;
const APART = max(SUBGROUP / 8u, 1u);      // lanes that have the same columns once they are dealt out
const LEFT = 8u / min(SUBGROUP, 8u);       // columns of a lane then
const BLOCK = 4u;            // eights of x to a scale
const MOST = 32639.0;        // 127 · 256 + 127: what signed bytes, high and low, hold

const D4 = K / (4u * HEADS);
const STRIDE = K / 4u + HEADS;  // vec4s of a chunk

var<workgroup> partial: array<f32, UNITS * TILES * 8u>;  // [unit][tile][column]
var<workgroup> squares: array<f32, UNITS>;
var<workgroup> shares: array<f32, max(CHUNKS * HEADS, 1u)>;  // [chunk][head]

struct Eight { a: vec4<f32>, b: vec4<f32>, }

// Eight elements of x, and of `norm`.
struct Row { x: Eight, norm: Eight, }

// Eight elements of x as they are multiplied: integers in `a`, or floats.
struct Factors { a: vec4<u32>, b: vec4<u32>, scale: f32, }

// Eight weights of eight columns, and the words that hold their scales.
struct Tile { codes: array<vec2<u32>, 8>, scales: array<vec4<u32>, 2>, }

// Which eight of x, and of a column, a lane has; past the end, the last again.
fn eight_of(turn: u32, lane: u32) -> u32 { return min(lane + turn % STEPS * LANES, EIGHTS - 1u); }

fn fetch(turn: u32, lane: u32) -> Row {
  let at = 2u * eight_of(turn, lane);
  var row = Row();
  if (CHUNKS == 0u) { row.x = Eight(x[at], x[at + 1u]); }
  if (NORM) { row.norm = Eight(norm[at], norm[at + 1u]); }
  return row;
}

// Column i of a tile; past the edge, others again.
fn column(tile: u32, i: u32, first: u32) -> u32 {
  let n = first + tile / HALVES * 8u;
  let column = select(min(n + i, LENGTH - 1u), min(n, LENGTH - 8u) + i, WHOLE);
  return column + tile % HALVES * LENGTH;
}

fn scale_at(i: u32) -> f32 {
  if (HALF) { return unpack2x16float(scales[i / 8u][i / 2u % 4u])[i % 2u]; }
  return bitcast<f32>(scales[i / 4u][i % 4u]);
}

// The weights that a lane multiplies in a turn.
fn load(turn: u32, first: u32, lane: u32) -> Tile {
  let eight = eight_of(turn, lane);
  var tile = Tile();
  for (var i = 0u; i < 8u; i++) {
    let at = (column(turn / STEPS, i, first) * EIGHTS + eight) * WORDS;
    tile.codes[i].x = packed[at];
    if (BITS == 8u) { tile.codes[i].y = packed[at + 1u]; }
  }
  let row = eight * 8u / GROUP * N;
  if (!WHOLE) {
    for (var i = 0u; i < 8u; i++) {
      tile.scales[i / 4u][i % 4u] = bitcast<u32>(scale_at(row + column(turn / STEPS, i, first)));
    }
    return tile;
  }
  let at = row + column(turn / STEPS, 0u, first);
  if (HALF) {
    tile.scales[0] = scales[at / 8u];
  } else {
    tile.scales[0] = scales[at / 4u];
    tile.scales[1] = scales[at / 4u + 1u];
  }
  return tile;
}

fn scale_of(tile: Tile, i: u32) -> f32 {
  if (HALF && WHOLE) { return unpack2x16float(tile.scales[0][i / 2u])[i % 2u]; }
  return bitcast<f32>(tile.scales[i / 4u][i % 4u]);
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

// Of two words the halves in which rounding left an integer: of the first the low half.
fn halves(a: u32, b: u32) -> u32 { return (a & 0xffffu) | (b << 16u); }

// What eight weights are multiplied with. All lanes call this together.
fn factors(v: Eight) -> Factors {
  if (!DOTS) {
    return Factors(bitcast<vec4<u32>>(v.a * powers()), bitcast<vec4<u32>>(v.b * powers()), 1.0);
  }
  // As integers magnitudes compare as they do as floats, and a NaN is the greatest.
  let both = max(
    bitcast<vec4<u32>>(v.a) & vec4<u32>(0x7fffffffu), bitcast<vec4<u32>>(v.b) & vec4<u32>(0x7fffffffu));
  var most = max(max(both.x, both.y), max(both.z, both.w));
  for (var i = 1u; i < BLOCK; i *= 2u) { most = max(most, subgroupShuffleXor(most, i)); }
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
  let unit = MOST * select(1.0, 16.0, BITS == 4u);  // of `dots`, too
  return Factors(vec4<u32>(high, low), vec4<u32>(0u), largest / unit);
}

// The product with eight weights, before scales.
fn multiply(w: vec2<u32>, v: Factors) -> f32 {
  if (DOTS) { return dots(w, v.a); }
  let upper = select(w.y, w.x >> 16u, BITS == 4u);
  return dot(unpack(w.x), bitcast<vec4<f32>>(v.a)) + dot(unpack(upper), bitcast<vec4<f32>>(v.b));
}

// The same in integers. Weights of four bits become the high ones of bytes: 16 times too large.
fn dots(w: vec2<u32>, v: vec4<u32>) -> f32 {
  var pair = w;
  if (BITS == 4u) {
    pair = (vec2<u32>(w.x << 4u, w.x) & vec2<u32>(0xf0f0f0f0u)) ^ vec2<u32>(0x80808080u);
  }
  let high = dot4I8Packed(pair.x, v.x) + dot4I8Packed(pair.y, v.y);
  let low = dot4I8Packed(pair.x, v.z) + dot4I8Packed(pair.y, v.w);
  return f32(256 * high + low);
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

// An eight of the chunks joined, four of them at a time.
fn join(eight: u32, live: u32) -> Eight {
  var sum = Eight();
  for (var c = 0u; c < live; c += 4u) {
    for (var u = 0u; u < 4u; u++) {
      let chunk = min(c + u, CHUNKS - 1u);
      let start = chunk * STRIDE + 2u * eight;
      let value = Eight(x[start], x[start + 1u]);
      let share = shares[chunk * HEADS + 2u * eight / D4];
      if (c + u < live) {  // a dead chunk may hold NaN
        sum.a += share * value.a;
        sum.b += share * value.b;
      }
    }
  }
  return sum;
}

// Half of the columns that a lane still has the sums of go to another, i away, and as many come.
fn deal(sums: ptr<function, array<f32, 8>>, half: u32, i: u32, lane: u32) {
  let on = (lane & i) > 0u;
  for (var j = 0u; j < half; j++) {
    let low = (*sums)[j];
    let high = (*sums)[(j + half) % 8u];
    (*sums)[j] = select(low, high, on) + subgroupShuffleXor(select(high, low, on), i);
  }
}

// A tile's sums over the subgroup, into workgroup memory.
fn keep(sums: ptr<function, array<f32, 8>>, tile: u32, lane: u32) {
  deal(sums, 4u, SUBGROUP / 2u, lane);
  deal(sums, 2u, SUBGROUP / 4u, lane);
  if (SUBGROUP > 4u) { deal(sums, 1u, SUBGROUP / 8u, lane); }
  for (var i = SUBGROUP / 16u; i > 0u; i /= 2u) {
    (*sums)[0] += subgroupShuffleXor((*sums)[0], i);
  }
  if (lane % APART > 0u) { return; }
  let at = (lane / SUBGROUP * TILES + tile) * 8u + lane % SUBGROUP / APART * LEFT;
  for (var j = 0u; j < LEFT; j++) { partial[at + j] = (*sums)[j]; }
}

// A column's sum over all subgroups.
fn kept(tile: u32, column: u32) -> f32 {
  var sum = 0.0;
  for (var unit = 0u; unit < UNITS; unit++) { sum += partial[(unit * TILES + tile) * 8u + column]; }
  return sum;
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let first = (workgroup.x + workgroup.y * workgroups.x) * OWN;

  // What is waited for first is asked for first: x, the first of w, and what is added last.
  var row = fetch(0u, lane);
  var next = load(0u, first, lane);
  var more = 0.0;
  if (ADD && lane < OWN) { more = add[min(first + lane, LENGTH - 1u)]; }
  var live = 0u;
  if (CHUNKS > 0u) {
    live = share_out(lane);
    workgroupBarrier();
  }

  var v = Factors();
  var square = vec4<f32>(0.0);
  var sums = array<f32, 8>();
  for (var turn = 0u; turn < TURNS; turn++) {
    if (turn == 0u || STEPS > 1u) {
      var own = row.x;
      if (CHUNKS > 0u) { own = join(eight_of(turn, lane), live); }
      if (lane + turn % STEPS * LANES >= EIGHTS) { own = Eight(); }
      if (NORM) {
        if (turn < STEPS) { square += own.a * own.a + own.b * own.b; }
        own = Eight(own.a * (OFFSET + row.norm.a), own.b * (OFFSET + row.norm.b));
      }
      v = factors(own);
    }
    let now = next;
    if (turn + 1u < TURNS) {
      next = load(turn + 1u, first, lane);
      if (STEPS > 1u) { row = fetch(turn + 1u, lane); }
    }
    for (var i = 0u; i < 8u; i++) {
      sums[i] += multiply(now.codes[i], v) * (scale_of(now, i) * v.scale);
    }
    if (turn % STEPS == STEPS - 1u) {
      keep(&sums, turn / STEPS, lane);
      sums = array<f32, 8>();
    }
  }
  if (NORM) {
    var total = dot(square, vec4<f32>(1.0));
    for (var i = 1u; i < SUBGROUP; i *= 2u) { total += subgroupShuffleXor(total, i); }
    if (lane % SUBGROUP == 0u) { squares[lane / SUBGROUP] = total; }
  }
  workgroupBarrier();

  // An invocation per element of y.
  for (var i = lane; i < OWN; i += LANES) {
    let at = first + i;
    if (at >= LENGTH) { break; }
    var result = kept(i / 8u * HALVES, i % 8u);
    var up = 0.0;
    if (GLU > 0u) { up = kept(i / 8u * HALVES + 1u, i % 8u); }
    if (NORM) {
      var total = 0.0;
      for (var unit = 0u; unit < UNITS; unit++) { total += squares[unit]; }
      let scale = inverseSqrt(total / f32(K) + EPS);
      result *= scale;
      up *= scale;
    }
    if (BIAS) { result += bias[at]; }
    if (GLU > 0u) {
      if (BIAS) { up += bias[at + LENGTH]; }
      result = activate(result) * up;
    }
    if (ADD) { result += more; }
    if (ADD && i + LANES < OWN) { more = add[min(at + LANES, LENGTH - 1u)]; }
    y[at] = result;
  }
}
