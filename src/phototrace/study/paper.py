"""What the paper reports (Sec. 5, Fig. 3, Tables 2 and 3), to stand beside a study's own figures.

Of Fig. 3 only the figures that the text gives are here. For trees on A+B for task C, Table 3 has
91.5 % and the text 91.2 %; the table's is taken.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Key:
    """One cell of figure or tables.

    Attributes:
        target: The task that is tested: A, B or C.
        way: "single", "transfer", "multitask", "longer" or "trees".
        features: Tasks that the features were trained on.
        depth: Share depth; "" where nothing is shared, and for trees.
    """

    target: str
    way: str
    features: str
    depth: str = ""


ACCURACY: dict[Key, float] = {
    Key("A", "single", "A"): 0.996,
    Key("B", "single", "B"): 0.975,
    Key("C", "single", "C"): 0.866,
    Key("A", "transfer", "B", "constr"): 0.998,
    Key("A", "transfer", "B", "fc2"): 0.976,
    Key("B", "transfer", "A", "constr"): 0.975,
    Key("B", "transfer", "A", "fc2"): 0.578,
    Key("A", "multitask", "A+B", "fc2"): 0.994,
    Key("B", "multitask", "A+B", "fc2"): 0.968,
    Key("C", "multitask", "A+B+C", "fc2"): 0.921,
    Key("A", "trees", "A"): 0.998,
    Key("A", "trees", "B"): 0.989,
    Key("A", "trees", "A+B"): 0.998,
    Key("B", "trees", "A"): 0.725,
    Key("B", "trees", "B"): 0.977,
    Key("B", "trees", "A+B"): 0.976,
    Key("C", "trees", "A"): 0.750,
    Key("C", "trees", "B"): 0.889,
    Key("C", "trees", "C"): 0.856,
    Key("C", "trees", "A+B"): 0.915,
    Key("C", "trees", "A+B+C"): 0.928,
}
"""Shares of patches classified correctly."""
