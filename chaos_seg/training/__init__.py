"""From a data set to a checkpoint: losses, optimisers, the LightningModule and its callbacks. Never tables or masks."""
