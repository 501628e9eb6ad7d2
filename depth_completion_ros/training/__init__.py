"""Training of the networks: recipes, batches, losses and the training loop. Only training commands need it."""
