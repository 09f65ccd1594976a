# A decoder's plan, without its weights: how many dispatches a token takes, and how much memory.
from tensortab.models import decoder
from tensortab.quant.recipe import Format, Recipe

config = decoder.Config(
    hidden=512, layers=8, heads=8, kv_heads=2, head_dim=64, intermediate=1536, vocab=32000,
    context=1024,
)
graph, weights = decoder.build(config, Recipe(Format("q4gsw")))
plan = device.plan(graph)
print(sum(slot.nbytes for slot in plan.slots if slot.role == "constant") / 1e6, "MB of weights")
show(graph)
plan
