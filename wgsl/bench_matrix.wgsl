// Products of 16 × 16 × 16 by the GPU's matrix units in registers, as many as it can: float16
// factors, float32 sums. Each of four subgroups has eight sums of its own, so that none waits for the
// one before it. Factors are 0.125 everywhere, which no compiler knows, as they come from memory: a
// round adds 16 / 64 = 0.25 to every element.

enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;

struct Params {
  rounds: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<uniform> p: Params;

alias Left = subgroup_matrix_left<f16, 16, 16>;
alias Right = subgroup_matrix_right<f16, 16, 16>;
alias Result = subgroup_matrix_result<f32, 16, 16>;

var<workgroup> factors: array<f16, 6u * 256u>;
var<workgroup> sums: array<f32, 1024>;

@compute @workgroup_size(128)
fn main(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32,
) {
  for (var i = local; i < 6u * 256u; i += 128u) { factors[i] = 0.125h; }
  workgroupBarrier();
  let top = subgroupMatrixLoad<Left, row_major>(&factors, 0u, 16u);
  let bottom = subgroupMatrixLoad<Left, row_major>(&factors, 256u, 16u);
  let first = subgroupMatrixLoad<Right, row_major>(&factors, 512u, 16u);
  let second = subgroupMatrixLoad<Right, row_major>(&factors, 768u, 16u);
  let third = subgroupMatrixLoad<Right, row_major>(&factors, 1024u, 16u);
  let fourth = subgroupMatrixLoad<Right, row_major>(&factors, 1280u, 16u);
  var a: Result;
  var b: Result;
  var c: Result;
  var d: Result;
  var e: Result;
  var f: Result;
  var g: Result;
  var h: Result;
  for (var round = 0u; round < p.rounds; round++) {
    a = subgroupMatrixMultiplyAccumulate(top, first, a);
    b = subgroupMatrixMultiplyAccumulate(top, second, b);
    c = subgroupMatrixMultiplyAccumulate(top, third, c);
    d = subgroupMatrixMultiplyAccumulate(top, fourth, d);
    e = subgroupMatrixMultiplyAccumulate(bottom, first, e);
    f = subgroupMatrixMultiplyAccumulate(bottom, second, f);
    g = subgroupMatrixMultiplyAccumulate(bottom, third, g);
    h = subgroupMatrixMultiplyAccumulate(bottom, fourth, h);
  }
  // A sum that is not kept might not be computed.
  keep(a, subgroup, local, group.x);
  keep(b, subgroup, local, group.x);
  keep(c, subgroup, local, group.x);
  keep(d, subgroup, local, group.x);
  keep(e, subgroup, local, group.x);
  keep(f, subgroup, local, group.x);
  keep(g, subgroup, local, group.x);
  keep(h, subgroup, local, group.x);
}

fn keep(sum: Result, subgroup: u32, local: u32, group: u32) {
  subgroupMatrixStore<row_major>(&sums, subgroup * 256u, sum, 16u);
  workgroupBarrier();
  for (var i = local; i < 1024u; i += 128u) { y[group * 1024u + i] = sums[i]; }
  workgroupBarrier();
}
