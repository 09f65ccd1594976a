// What attention does with a joined product qkv[B, S, heads + 2 · kv_heads, D] before it attends:
//
//   NORM  each head of q and k by itself: x · rsqrt(mean(x²) + eps) · (offset + weight)
//   TURN  each head of q and k by its position past + s: the pair (a, b) = (x[j], x[j + R/2]), j < R/2,
//         becomes (a · cos − b · sin, b · cos + a · sin); elements past R stay
//
// q goes to y[B, S, heads, D], k and v to the rows past + s of their caches [B, Smax, kv_heads, D].
// LANES invocations share a head; LANES = 1 has no barrier, which a GPU imitated on the CPU wants.

const NORM: bool = false;   // knob: normalize q and k
const TURN: bool = true;    // knob: turn q and k
const HALF: bool = false;   // knob: the caches hold f16 pairs, not f32
const LIVE: bool = true;    // knob: past is pos[0], not p.past
const LANES: u32 = 32u;     // knob: invocations a head, a power of two
const HEADS: u32 = 1u;      // knob: heads a workgroup

struct Params {
  count: u32,     // heads of qkv in all: B · S · (heads + 2 · kv_heads)
  S: u32,
  heads: u32,
  kv_heads: u32,
  D: u32,         // even
  R: u32,
  Smax: u32,
  past: u32,
  eps: f32,
  offset: f32,
}

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> turns: array<f32>;   // [positions, R]: cos, then sin
@group(0) @binding(2) var<storage, read> q_norm: array<f32>;  // [D]; any buffer without NORM
@group(0) @binding(3) var<storage, read> k_norm: array<f32>;
@group(0) @binding(4) var<storage, read> pos: array<i32>;     // any buffer without LIVE
@group(0) @binding(5) var<storage, read_write> y: array<vec2<f32>>;
@group(0) @binding(6) var<storage, read_write> k_cache: array<u32>;
@group(0) @binding(7) var<storage, read_write> v_cache: array<u32>;
@group(0) @binding(8) var<uniform> p: Params;

var<workgroup> partial: array<f32, LANES * HEADS>;

// The sum of v over a head's lanes.
fn head_sum(v: f32, lane: u32, first: u32) -> f32 {
  if (LANES == 1u) { return v; }
  partial[first + lane] = v;
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (lane < half) { partial[first + lane] += partial[first + lane + half]; }
  }
  workgroupBarrier();
  return partial[first];
}

// Element e of the head that begins at `start`, normed.
fn normed(start: u32, e: u32, is_q: bool, scale: f32) -> f32 {
  var v = qkv[start + e];
  if (NORM) { v *= scale * (p.offset + select(k_norm[e], q_norm[e], is_q)); }
  return v;
}

// The same turned.
fn turned(start: u32, e: u32, is_q: bool, scale: f32, position: u32) -> f32 {
  let v = normed(start, e, is_q, scale);
  if (!TURN || e >= p.R) { return v; }
  let half = p.R / 2u;
  let at = position * p.R + e % half;
  if (e < half) { return v * turns[at] - normed(start, e + half, is_q, scale) * turns[at + half]; }
  return v * turns[at] + normed(start, e - half, is_q, scale) * turns[at + half];
}

@compute @workgroup_size(LANES, HEADS)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let lane = local.x;
  let i = (group.x + group.y * groups.x) * HEADS + local.y;
  let start = min(i, p.count - 1u) * p.D;  // past the end: compute the last head, store nothing
  var scale = 1.0;
  if (NORM) {
    var squares = 0.0;
    for (var e = lane; e < p.D; e += LANES) { squares += qkv[start + e] * qkv[start + e]; }
    scale = inverseSqrt(head_sum(squares, lane, local.y * LANES) / f32(p.D) + p.eps);
  }
  if (i >= p.count) { return; }

  let all = p.heads + 2u * p.kv_heads;
  let head = i % all;
  let row = i / all;  // of B · S
  var past = p.past;
  if (LIVE) { past = u32(pos[0]); }
  let position = past + row % p.S;
  let is_q = head < p.heads;
  let is_v = head >= p.heads + p.kv_heads;
  let of_kv = head - p.heads - select(0u, p.kv_heads, is_v);
  let cached = ((row / p.S * p.Smax + position) * p.kv_heads + of_kv) * (p.D / 2u);
  for (var j = lane; j < p.D / 2u; j += LANES) {
    var v = vec2<f32>(qkv[start + 2u * j], qkv[start + 2u * j + 1u]);
    if (!is_v) {
      v = vec2<f32>(
        turned(start, 2u * j, is_q, scale, position),
        turned(start, 2u * j + 1u, is_q, scale, position));
    }
    if (is_q) {
      y[(row * p.heads + head) * (p.D / 2u) + j] = v;
    } else if (HALF) {
      let pair = pack2x16float(v);
      if (is_v) { v_cache[cached + j] = pair; } else { k_cache[cached + j] = pair; }
    } else {
      let pair = bitcast<vec2<u32>>(v);
      let at = 2u * (cached + j);
      if (is_v) {
        v_cache[at] = pair.x;
        v_cache[at + 1u] = pair.y;
      } else {
        k_cache[at] = pair.x;
        k_cache[at + 1u] = pair.y;
      }
    }
  }
}
