"""Published implementations beside ours, one method a file of the method's name; their code is read where it lies.

A file has `REPOSITORY`, owner and name on GitHub, and `FILE` in it; `INPUTS`, how many it takes; and
`published(module, fusion)`, which builds the network of that file with the weights of our fusion and gives it with its
form: from what the obvious form of the method takes (`benchmarks/fusions/obvious`), without the fusion, to [B H].
`OPTIONS` are those of our fusion. `STANDS_IN` are modules that the file imports and that its network does not need, by
name with what they have; `IMPORTS_FROM` is the folder in the repository from which it imports by full name. `PADDED`
False says that it knows no padding, so that there is none. `NOTE` says what is not as the formula says, `AGREE` how far
its result may be off for that, and `GRADIENTS_AGREE` whether gradients are compared, too.
"""
