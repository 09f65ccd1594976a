// scalar += by: moves a live scalar on between the steps of one submission. One invocation.

struct Params {
  by: i32,
}

@group(0) @binding(0) var<storage, read_write> scalar: array<i32>;
@group(0) @binding(1) var<uniform> p: Params;

@compute @workgroup_size(1)
fn main() {
  scalar[0] += p.by;
}
