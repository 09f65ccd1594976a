# The language model that is loaded in the other view. What does it expect, how surprised is it?
text = "def add(a, b):\n    return a + "
ids = model.tokenizer.encode(text)
logits = await model.logits(ids)

shares = np.exp(logits[-1] - logits[-1].max())
shares /= shares.sum()
for token in shares.argsort()[::-1][:8]:
    print(f"{shares[token]:6.1%}  {model.tokenizer.decode([int(token)])!r}")

print("perplexity of this file's first line:", await model.perplexity("# The language model that is"))
