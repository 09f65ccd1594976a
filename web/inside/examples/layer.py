# A feed-forward layer, timed kernel by kernel. Try another width, or tt.ops.silu.
width, hidden = 256, 1024


def weights(*shape):
    return np.random.randn(*shape).astype("float32") / shape[1] ** 0.5


g = tt.Graph()
x = g.input("x", (tt.Sym("rows", max=64), width))
up = g.constant("up", weights(hidden, width))
down = g.constant("down", weights(width, hidden))
g.output("y", tt.ops.add(x, tt.ops.linear(tt.ops.gelu(tt.ops.linear(x, up)), down)))
show(g)

session = await device.compile(g)
show(session.plan)
x = np.random.randn(16, width)
print("largest difference from numpy", abs((await session.run(x=x))["y"] - tt.evaluate(g, x=x)["y"]).max())
await session.profile(x=x)
