"""Training of the networks: recipes, batches, losses, the loop. Only ``depth-completion train`` needs it."""
