// y[b, d] = Σ_s x[b, s, d] · mask[b, s] / max(Σ_s mask[b, s], 1). One invocation per element of y.

const WIDTH: u32 = 64u;   // knob: invocations per workgroup

struct Params {
  B: u32,
  S: u32,
  D: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> mask: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(WIDTH)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) groups: vec3<u32>,
  @builtin(local_invocation_id) local: vec3<u32>,
) {
  let i = (group.x + group.y * groups.x) * WIDTH + local.x;
  if (i >= p.B * p.D) { return; }
  let b = i / p.D;
  let d = i % p.D;
  var sum = 0.0;
  var weight = 0.0;
  for (var s = 0u; s < p.S; s++) {
    let m = mask[b * p.S + s];
    sum += m * x[(b * p.S + s) * p.D + d];
    weight += m;
  }
  y[i] = sum / max(weight, 1.0);
}
