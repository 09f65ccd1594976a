# The Python that builds the language model's graph, over the weights that are loaded.
# Change what a layer does, and look at what the model then expects.
from dataclasses import replace

from tensortab.models import decoder

assert model, "load the language model first, with the button above"
print(model.config, "\n")

config = replace(model.config, activation="silu")  # try "gelu_tanh", or scale=0.5
graph, weights = decoder.build(
    config, model.scorer.recipe, rows=tt.Sym("rows", max=32), scores=True
)
show(graph)

session = await device.compile(graph, share=model.prompt)  # its weights, not copies
ids = model.tokenizer.encode("def fibonacci(n):\n    if n < 2:\n        return")
session.truncate(pos=0)
logits = (await session.run(ids=[ids]))["logits"][-1]
for token in np.argsort(-logits)[:5]:
    print(f"{logits[token]:7.2f}  {model.tokenizer.decode([token])!r}")
