# What is left of a weight in four bits? Try group = 128, or a weight with an outlier.
group = 32
weight = np.random.randn(256, 512).astype("float32")

packed, scales = tt.quant.q4gsw.quantize(weight, group=group)
print("bytes", weight.nbytes, "->", packed.nbytes + scales.astype("float16").nbytes)

show(tt.quant.compare(weight, packed, scales))

g = tt.Graph()
x = g.input("x", (1, 512))
g.output("y", tt.ops.linear_q4gsw(x, g.constant("w", packed), g.constant("s", scales), group=group))
session = await device.compile(g)
x = np.random.randn(1, 512).astype("float32")
y = (await session.run(x=x))["y"]
print("relative error of a product", np.linalg.norm(y - x @ weight.T) / np.linalg.norm(y))
