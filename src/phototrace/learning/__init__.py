"""The paper's learning: network, recipe, one training loop, and the run it leaves."""
