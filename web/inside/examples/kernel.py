# A kernel of your own: WGSL, and the op that runs it. Change the formula, in both places.
kernel = tt.Kernel.from_source(
    "wiggle",
    """
// y = x³ − x, element by element
struct Params { n: u32, }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if (at.x < p.n) {
    y[at.x] = x[at.x] * x[at.x] * x[at.x] - x[at.x];
  }
}
""",
)


def lower(target, y, x):
    n = tt.product(x.shape)
    return [tt.dispatch(kernel, (tt.ceildiv(n, 64), 1, 1), x=x, y=y, n=n)]


wiggle = tt.Op("wiggle", lambda x: x.spec, lambda x: x**3 - x, lower)

x = np.linspace(-2, 2, 9, dtype=np.float32)
y = await wiggle.on(device, x)
print("numpy agrees:", np.allclose(y, x**3 - x))
y
