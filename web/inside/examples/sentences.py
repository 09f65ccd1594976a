# The sentence model: its graph, and what sentences have in common.
assert encoder, "load the sentence model first: choose it above"
show(encoder.session.graph)

sentences = [
    "The bank raised its interest rates.",
    "Loans have become more expensive.",
    "A cat slept on the bonnet of the car.",
]
vectors = await encoder.embed(sentences)
print("cosines:")
np.round(vectors @ vectors.T, 3)
