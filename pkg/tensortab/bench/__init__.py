"""`tensortab bench`: what a GPU can do, and how much of it kernels and whole models get.

job.py        what is to be measured, in sections
sections.py   runs one, in a tab or natively; every row is told as it is found
floor.py      copy bandwidth, an empty dispatch, peaks: what all else is a fraction of
kernels.py    4-bit linears of one row and of many
attention.py  over caches, of one row and of many
model.py      whole models of random weights: a prompt, and the tokens after it
costs.py      bytes and FLOPs of a graph's dispatches, where they can be told
clock.py      how long a session takes by the GPU's clock
probes.py     kernels of the bench's own, and random weights made on the GPU
shapes.py     the sizes of real models
record.py     outside: the JSON, written anew with every row
table.py      outside: the same as tables
"""
