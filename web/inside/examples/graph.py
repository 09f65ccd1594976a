# A small network: two linear layers with a gelu between them.
# Change a size, add a layer or an op (tt.ops.silu, tt.ops.softmax, …), and run it again.
rows = tt.Sym("rows", max=64)  # any number of rows up to 64
random = np.random.default_rng(0)

g = tt.Graph()
x = g.input("x", (rows, 128))
w1 = g.constant("w1", random.standard_normal((256, 128), np.float32) / 12)
w2 = g.constant("w2", random.standard_normal((10, 256), np.float32) / 16)
g.output("y", tt.ops.linear(tt.ops.gelu(tt.ops.linear(x, w1)), w2))
show(g)

session = await device.compile(g)
show(session.plan)

data = random.standard_normal((3, 128), np.float32)
out = await session.run(x=data)
wanted = tt.evaluate(g, x=data)
print("largest difference from numpy:", np.abs(out["y"] - wanted["y"]).max())
out["y"]
