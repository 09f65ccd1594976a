# The program that is open: what its file says, and the graphs that are built from it.
from tensortab.pte.build import build

assert program, "open a program in Programs first"
print(program.describe())

for method in program.methods.values():
    for delegate in method.delegates:
        for sizes, (_, held) in delegate.sessions.items():  # compiled for each of its sizes
            graph = build(delegate.name, delegate.prefix, delegate.blob, sizes).graph
            session = await device.compile(graph, share=held)  # its weights, not copies
            show(graph)
            show(session.plan)
