"""Train: losses, data set, and the loop over stages and epochs."""
