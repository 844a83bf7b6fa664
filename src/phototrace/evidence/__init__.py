"""From scores to what may be said, and how surely."""
