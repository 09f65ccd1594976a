// float32 products and sums in registers, as many as the GPU can: a = a · by + plus, over and over.
// by = 0.5 and plus = 0.25 lead every a to 0.5, so y[i], the sum of the 32 of an invocation, to 16.
// 16 · UNROLL vec4s are multiplied and added a round: 64 · UNROLL · 2 operations.

const WIDTH: u32 = 256u;  // knob: invocations per workgroup
const UNROLL: u32 = 4u;   // knob: times in a round's body

struct Params {
  rounds: u32,
  by: f32,
  plus: f32,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
) {
  let i = group.x * WIDTH + local;
  let by = vec4<f32>(p.by);
  let plus = vec4<f32>(p.plus);
  let v = vec4<f32>(0.0, 1.0, 2.0, 3.0) + f32(local);
  var a = v;
  var b = v + 4.0;
  var c = v + 8.0;
  var d = v + 12.0;
  var e = v + 16.0;
  var f = v + 20.0;
  var g = v + 24.0;
  var h = v + 28.0;
  for (var round = 0u; round < p.rounds; round++) {
    for (var again = 0u; again < UNROLL; again++) {
      a = fma(a, by, plus);
      b = fma(b, by, plus);
      c = fma(c, by, plus);
      d = fma(d, by, plus);
      e = fma(e, by, plus);
      f = fma(f, by, plus);
      g = fma(g, by, plus);
      h = fma(h, by, plus);
    }
  }
  y[i] = dot(a + b + c + d + e + f + g + h, vec4<f32>(1.0));
}
