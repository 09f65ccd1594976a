# A kernel of your own, beside its definition in numpy. A mistake in it is told with its line.
WGSL = """
// y = x³ − x
struct Params { n: u32, }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
  if (id.x < p.n) { y[id.x] = x[id.x] * x[id.x] * x[id.x] - x[id.x]; }
}
"""
kernel = tt.Kernel.from_source("wiggle", WGSL)


def lower(target, y, x):
    n = tt.product(x.shape)
    return [tt.dispatch(kernel, (tt.ceildiv(n, 64), 1, 1), x=x, y=y, n=n)]


wiggle = tt.Op("wiggle", lambda x: x.spec, lambda x: x**3 - x, lower)
x = np.linspace(-2, 2, 9, dtype="float32")
print(await wiggle.on(device, x))
print(x**3 - x)
