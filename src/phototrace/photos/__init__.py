"""Photos as evidence: read them, name them, hash them, group and split them."""
