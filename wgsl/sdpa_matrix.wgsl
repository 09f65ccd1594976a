// y = softmax(q · kᵀ · scale) · v for many query rows, by the GPU's matrix units: float16 products,
// float32 sums; q is scaled before it is rounded. Rows, strides and knobs are sdpa_tile's, without a
// mask; head_dim is a multiple of 16, 128 at most.
//
// A workgroup walks over the keys, KEYS at a time, through workgroup memory, whose rows are 16 bytes
// longer than needed, so that eight of them lie in different banks. Each of its subgroups of 32 owns
// 16 rows: q of these and the sums of y stay in matrices all the way. Elements of matrices cannot be
// told apart, so scores go through workgroup memory, too: two invocations own a row, each half of a
// tile's keys, and put the weights where they found the scores, two halves in a word.
//
// Weights are 2 to the power of a score less the row's reference, which is its maximum when its first
// keys come, and is moved only when a score passes it by more than MARGIN: float16 has room above, too.
// So sums of y are hardly ever rescaled, which takes a detour through workgroup memory.
//
// With head_dim 64 a tile of 32 keys is 16 products of a subgroup (two cycles of an SM's each) and 18
// loads of matrices (four cycles); of an invocation 16 scores, 8 instructions each, 6 loads and stores
// of these, 4 loads and 4 stores of k and v: some 200 instructions of a subgroup, of which an SM begins
// four a cycle. 18 KiB of workgroup memory. Tiles of 64 keys take 36 KiB and were slower: 76 TFLOP/s
// against 97 (one H100, 2048 rows). Matrices lie in registers only where every index is a literal, and
// are loaded fast only with literal offsets and strides: hence no loops over them.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

const D16: u32 = 4u;          // knob: head_dim / 16, 8 at most
const HALF: bool = false;     // knob: k and v hold f16 pairs, not f32
const LIVE: bool = false;     // knob: past is pos[0], not p.past
const CAUSAL: bool = false;   // knob: row s sees keys 0 … past + s, not all
const WINDOW: u32 = 0u;       // knob: with CAUSAL, keys a row sees at most; 0 for no limit
const SUBGROUPS: u32 = 4u;    // knob: of a workgroup, a multiple of BLOCKS
const AHEAD: bool = true;     // knob: load the next tile to registers while this one is used

struct Params {
  heads: u32,
  group: u32,  // query heads a K/V head serves
  S: u32,      // query rows
  keys: u32,   // there are in k
  past: u32,
  q_b: u32, q_h: u32, q_s: u32,  // strides of q and y, in vec4s
  k_b: u32, k_h: u32, k_s: u32,  // strides of k and v, in fours of elements
  scale: f32,
}

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> pos: array<i32>;  // any buffer without LIVE
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> p: Params;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

const LEAST = -3.4028234e38;
const MARGIN = 10.0;
const LOG2_E = 1.442695;
const LANES = 32u * SUBGROUPS;
const KEYS = 32u;                                      // of a tile
const BLOCKS = KEYS / 16u;                             // of 16 keys
const EIGHTS = 2u * D16;                               // of a row of q, k or v
const ROW = EIGHTS + 1u;                               // vec4s it takes
const FAR = EIGHTS - 2u;                               // where its last 16 columns begin
const C1 = min(2u, FAR);                               // and others do
const C2 = min(4u, FAR);
const C3 = min(6u, FAR);
const C4 = min(8u, FAR);
const C5 = min(10u, FAR);
const C6 = min(12u, FAR);
const C7 = min(14u, FAR);
const LOADS = (KEYS * EIGHTS + LANES - 1u) / LANES;    // of k and of v, of an invocation
const HALF_ROW = KEYS / 8u;                            // vec4s of half a row of scores
const S_ROW = 2u * HALF_ROW + 1u;

var<workgroup> k_tile: array<array<vec4<u32>, 16u * ROW>, BLOCKS>;
var<workgroup> v_tile: array<array<vec4<u32>, 16u * ROW>, BLOCKS>;
var<workgroup> s_tile: array<array<vec4<u32>, 16u * S_ROW>, SUBGROUPS>;
var<workgroup> moved: array<u32, SUBGROUPS>;  // some reference of the subgroup's

struct Queries { c0: Left, c1: Left, c2: Left, c3: Left, c4: Left, c5: Left, c6: Left, c7: Left, }
struct Sums {
  c0: Result, c1: Result, c2: Result, c3: Result, c4: Result, c5: Result, c6: Result, c7: Result,
}

fn halves(a: vec4<f32>, b: vec4<f32>) -> vec4<u32> {
  return vec4<u32>(pack2x16float(a.xy), pack2x16float(a.zw), pack2x16float(b.xy), pack2x16float(b.zw));
}

// Eight elements of k, of v and of q · scale; `at` counts fours of them, and is even.
fn k_at(at: u32) -> vec4<u32> {
  if (HALF) { return k[at / 2u]; }
  return halves(bitcast<vec4<f32>>(k[at]), bitcast<vec4<f32>>(k[at + 1u]));
}

fn v_at(at: u32) -> vec4<u32> {
  if (HALF) { return v[at / 2u]; }
  return halves(bitcast<vec4<f32>>(v[at]), bitcast<vec4<f32>>(v[at + 1u]));
}

fn q_at(at: u32) -> vec4<u32> {
  let most = vec4<f32>(65504.0);
  let by = p.scale * LOG2_E;
  return halves(clamp(q[at] * by, -most, most), clamp(q[at + 1u] * by, -most, most));
}

// Where row r of K/V head `shared_by` begins in q and y.
fn row_at(r: u32, b: u32, shared_by: u32) -> u32 {
  return b * p.q_b + (shared_by * p.group + r % p.group) * p.q_h + r / p.group * p.q_s;
}

// How many keys the query row at position s sees.
fn seen(s: u32, past: u32) -> u32 {
  if (CAUSAL) { return min(past + s + 1u, p.keys); }
  return p.keys;
}

// How many of the first keys the query row at position s does not see.
fn unseen(s: u32, past: u32) -> u32 {
  if (WINDOW == 0u) { return 0u; }
  return past + s + 1u - min(past + s + 1u, WINDOW);
}

// The subgroup's rows of q, from a block of k_tile.
fn take(rows: ptr<function, Queries>, block: u32) {
  (*rows).c0 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], 0u, ROW);
  (*rows).c1 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], C1, ROW);
  (*rows).c2 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], C2, ROW);
  (*rows).c3 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], C3, ROW);
  (*rows).c4 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], C4, ROW);
  (*rows).c5 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], C5, ROW);
  (*rows).c6 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], C6, ROW);
  (*rows).c7 = subgroupMatrixLoad<Left, row_major>(&k_tile[block], C7, ROW);
}

fn add(a: Left, b: Right, sum: Result) -> Result {
  return subgroupMatrixMultiplyAccumulate(a, b, sum);
}

// Of the subgroup's rows and a block of keys.
fn scores(rows: ptr<function, Queries>, block: u32) -> Result {
  var s: Result;
  s = add((*rows).c0, subgroupMatrixLoad<Right, col_major>(&k_tile[block], 0u, ROW), s);
  if (D16 > 1u) { s = add((*rows).c1, subgroupMatrixLoad<Right, col_major>(&k_tile[block], C1, ROW), s); }
  if (D16 > 2u) { s = add((*rows).c2, subgroupMatrixLoad<Right, col_major>(&k_tile[block], C2, ROW), s); }
  if (D16 > 3u) { s = add((*rows).c3, subgroupMatrixLoad<Right, col_major>(&k_tile[block], C3, ROW), s); }
  if (D16 > 4u) { s = add((*rows).c4, subgroupMatrixLoad<Right, col_major>(&k_tile[block], C4, ROW), s); }
  if (D16 > 5u) { s = add((*rows).c5, subgroupMatrixLoad<Right, col_major>(&k_tile[block], C5, ROW), s); }
  if (D16 > 6u) { s = add((*rows).c6, subgroupMatrixLoad<Right, col_major>(&k_tile[block], C6, ROW), s); }
  if (D16 > 7u) { s = add((*rows).c7, subgroupMatrixLoad<Right, col_major>(&k_tile[block], C7, ROW), s); }
  return s;
}

// Sums of y += weights · a block of v.
fn weigh(o: ptr<function, Sums>, w: Left, block: u32) {
  (*o).c0 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], 0u, ROW), (*o).c0);
  if (D16 > 1u) { (*o).c1 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], C1, ROW), (*o).c1); }
  if (D16 > 2u) { (*o).c2 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], C2, ROW), (*o).c2); }
  if (D16 > 3u) { (*o).c3 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], C3, ROW), (*o).c3); }
  if (D16 > 4u) { (*o).c4 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], C4, ROW), (*o).c4); }
  if (D16 > 5u) { (*o).c5 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], C5, ROW), (*o).c5); }
  if (D16 > 6u) { (*o).c6 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], C6, ROW), (*o).c6); }
  if (D16 > 7u) { (*o).c7 = add(w, subgroupMatrixLoad<Right, row_major>(&v_tile[block], C7, ROW), (*o).c7); }
}

// Each row of `sum` times the factor of the invocations that own it. Others wait at its barriers.
fn rescale(sum: Result, subgroup: u32, at: u32, factor: f32) -> Result {
  subgroupMatrixStore<row_major>(&s_tile[subgroup], 0u, sum, S_ROW);
  workgroupBarrier();
  for (var i = 0u; i < 2u; i++) {
    s_tile[subgroup][at + i] = bitcast<vec4<u32>>(bitcast<vec4<f32>>(s_tile[subgroup][at + i]) * factor);
  }
  workgroupBarrier();
  let scaled = subgroupMatrixLoad<Result, row_major>(&s_tile[subgroup], 0u, S_ROW);
  workgroupBarrier();
  return scaled;
}

fn rescale_all(sums: ptr<function, Sums>, subgroup: u32, at: u32, factor: f32) {
  (*sums).c0 = rescale((*sums).c0, subgroup, at, factor);
  if (D16 > 1u) { (*sums).c1 = rescale((*sums).c1, subgroup, at, factor); }
  if (D16 > 2u) { (*sums).c2 = rescale((*sums).c2, subgroup, at, factor); }
  if (D16 > 3u) { (*sums).c3 = rescale((*sums).c3, subgroup, at, factor); }
  if (D16 > 4u) { (*sums).c4 = rescale((*sums).c4, subgroup, at, factor); }
  if (D16 > 5u) { (*sums).c5 = rescale((*sums).c5, subgroup, at, factor); }
  if (D16 > 6u) { (*sums).c6 = rescale((*sums).c6, subgroup, at, factor); }
  if (D16 > 7u) { (*sums).c7 = rescale((*sums).c7, subgroup, at, factor); }
}

// Eight columns of a row, where there is one, to y.
fn drain(sum: Result, subgroup: u32, at: u32, factor: f32, to: u32, there: bool) {
  subgroupMatrixStore<row_major>(&s_tile[subgroup], 0u, sum, S_ROW);
  workgroupBarrier();
  if (there) {
    y[to] = bitcast<vec4<f32>>(s_tile[subgroup][at]) * factor;
    y[to + 1u] = bitcast<vec4<f32>>(s_tile[subgroup][at + 1u]) * factor;
  }
  workgroupBarrier();
}

@compute @workgroup_size(32 * SUBGROUPS)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(num_workgroups) workgroups: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let kv_heads = p.heads / p.group;
  let b = workgroup.x / kv_heads;
  let head = workgroup.x % kv_heads;
  let last = p.S * p.group - 1u;  // row; past an edge: the last row or key again, for nobody
  let r0 = (workgroups.y - 1u - workgroup.y) * (16u * SUBGROUPS);  // those that see most keys go first
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  let start = unseen(r0 / p.group, past);
  let end = seen(min(r0 + 16u * SUBGROUPS - 1u, last) / p.group, past);
  let all_see = seen(r0 / p.group, past);
  let all_from = unseen(min(r0 + 16u * SUBGROUPS - 1u, last) / p.group, past);

  var rows: Queries;
  for (var i = 0u; i < SUBGROUPS / BLOCKS; i++) {
    for (var j = 0u; j < LOADS; j++) {
      let at = local + j * LANES;
      if (at < KEYS * EIGHTS) {
        let begin = row_at(min(r0 + i * KEYS + at / EIGHTS, last), b, head);
        k_tile[at / EIGHTS / 16u][at / EIGHTS % 16u * ROW + at % EIGHTS] = q_at(begin + at % EIGHTS * 2u);
      }
    }
    workgroupBarrier();
    if (subgroup / BLOCKS == i) { take(&rows, subgroup % BLOCKS); }
    workgroupBarrier();
  }

  let half = lane / 16u % 2u;
  let r = r0 + subgroup * 16u + lane % 16u;
  let s = min(r, last) / p.group;
  let own_start = unseen(s, past);
  let own_end = seen(s, past);
  let own = lane % 16u * S_ROW;  // where the row lies in s_tile

  var sums: Sums;
  var reference = LEAST;
  var sum = 0.0;  // of half of the weights
  var k_part = array<vec4<u32>, LOADS>();
  var v_part = array<vec4<u32>, LOADS>();
  let origin = b * p.k_b + head * p.k_h;
  for (var k0 = start; k0 < end; k0 += KEYS) {
    if (!AHEAD || k0 == start) {
      for (var i = 0u; i < LOADS; i++) {
        let at = local + i * LANES;
        let part = origin + min(k0 + at / EIGHTS, end - 1u) * p.k_s + at % EIGHTS * 2u;
        k_part[i] = k_at(part);
        v_part[i] = v_at(part);
      }
    }
    for (var i = 0u; i < LOADS; i++) {
      let at = local + i * LANES;
      if (at < KEYS * EIGHTS) {
        k_tile[at / EIGHTS / 16u][at / EIGHTS % 16u * ROW + at % EIGHTS] = k_part[i];
        v_tile[at / EIGHTS / 16u][at / EIGHTS % 16u * ROW + at % EIGHTS] = v_part[i];
      }
    }
    workgroupBarrier();
    if (AHEAD) {
      for (var i = 0u; i < LOADS; i++) {
        let at = local + i * LANES;
        let part = origin + min(k0 + KEYS + at / EIGHTS, end - 1u) * p.k_s + at % EIGHTS * 2u;
        k_part[i] = k_at(part);
        v_part[i] = v_at(part);
      }
    }
    subgroupMatrixStore<row_major>(&s_tile[subgroup], 0u, scores(&rows, 0u), S_ROW);
    subgroupMatrixStore<row_major>(&s_tile[subgroup], HALF_ROW, scores(&rows, 1u), S_ROW);
    workgroupBarrier();

    let edge = k0 < all_from || k0 + KEYS > all_see;
    var score = array<vec4<f32>, HALF_ROW>();
    var most = vec4<f32>(LEAST);
    for (var i = 0u; i < HALF_ROW; i++) {
      score[i] = bitcast<vec4<f32>>(s_tile[subgroup][own + half * HALF_ROW + i]);
      if (edge) {
        let key = k0 + half * (KEYS / 2u) + 4u * i + vec4<u32>(0u, 1u, 2u, 3u);
        let sees = (key < vec4<u32>(own_end)) & (key >= vec4<u32>(own_start));
        score[i] = select(vec4<f32>(LEAST), score[i], sees);
      }
      most = max(most, score[i]);
    }
    var largest = max(max(most.x, most.y), max(most.z, most.w));
    largest = max(largest, subgroupShuffleXor(largest, 16u));
    let passed = reference > LEAST && largest > reference + MARGIN;
    let old = reference;
    if (passed || old == LEAST) { reference = largest; }
    let some_passed = subgroupAny(passed);
    if (lane == 0u) { moved[subgroup] = u32(some_passed); }
    let all_moved = workgroupUniformLoad(&moved);
    var some = 0u;
    for (var i = 0u; i < SUBGROUPS; i++) { some |= all_moved[i]; }
    if (some > 0u) {
      let factor = exp2(old - reference);
      rescale_all(&sums, subgroup, own + 2u * half, factor);
      sum *= factor;
    }
    for (var i = 0u; i < HALF_ROW / 2u; i++) {
      var a = exp2(score[2u * i] - reference);
      var c = exp2(score[2u * i + 1u] - reference);
      if (edge) {
        a = select(vec4<f32>(0.0), a, score[2u * i] > vec4<f32>(LEAST));
        c = select(vec4<f32>(0.0), c, score[2u * i + 1u] > vec4<f32>(LEAST));
      }
      sum += dot(a + c, vec4<f32>(1.0));
      s_tile[subgroup][own + half * HALF_ROW + i] = halves(a, c);
    }
    workgroupBarrier();
    weigh(&sums, subgroupMatrixLoad<Left, row_major>(&s_tile[subgroup], 0u, S_ROW), 0u);
    weigh(&sums, subgroupMatrixLoad<Left, row_major>(&s_tile[subgroup], HALF_ROW, S_ROW), 1u);
    workgroupBarrier();
  }

  let total = sum + subgroupShuffleXor(sum, 16u);
  let norm = select(0.0, 1.0 / total, total > 0.0);
  let to = row_at(min(r, last), b, head) + 2u * half;
  let at = own + 2u * half;
  drain(sums.c0, subgroup, at, norm, to, r <= last);
  if (D16 > 1u) { drain(sums.c1, subgroup, at, norm, to + 4u, r <= last); }
  if (D16 > 2u) { drain(sums.c2, subgroup, at, norm, to + 8u, r <= last); }
  if (D16 > 3u) { drain(sums.c3, subgroup, at, norm, to + 12u, r <= last); }
  if (D16 > 4u) { drain(sums.c4, subgroup, at, norm, to + 16u, r <= last); }
  if (D16 > 5u) { drain(sums.c5, subgroup, at, norm, to + 20u, r <= last); }
  if (D16 > 6u) { drain(sums.c6, subgroup, at, norm, to + 24u, r <= last); }
  if (D16 > 7u) { drain(sums.c7, subgroup, at, norm, to + 28u, r <= last); }
}
