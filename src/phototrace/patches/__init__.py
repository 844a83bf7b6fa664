"""From photos to labelled blocks: cutting, manipulating, storing."""
