"""The most obvious fast PyTorch form of each fusion's mathematics, one method a file of the method's name.

A file has `obvious(fusion, inputs)`, [B H]: `inputs` are [B D] each for a fusion of vectors or outputs, and pairs of
[B T D] and masks [B T] for one of tokens. `OPTIONS`, where a file has them, are those with which the fusion is built
beside its width. `WHY` says what it leaves out, where the
fusion does more than it.
"""
