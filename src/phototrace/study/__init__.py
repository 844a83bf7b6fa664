"""The paper's experiments as a plan of runs: Fig. 3, Tables 2 and 3, and what they say."""
