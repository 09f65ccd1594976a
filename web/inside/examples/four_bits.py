# What four bits leave of a weight. Try other groups (32, 64, 128), and tt.quant.q8gsw.
weight = np.random.default_rng(0).standard_normal((256, 512), np.float32)
packed, scales = tt.quant.q4gsw.quantize(weight, group=32)
found = tt.quant.compare(weight, packed, scales)
stored = packed.nbytes + scales.nbytes
print(f"{weight.nbytes:,} bytes became {stored:,}; relative error {found.relative_error:.2%}")
found
