from phototrace.photos.grouping import connected, joined


def test_groups_and_their_members_stand_in_ascending_order() -> None:
    pairs = [(9, 0), (5, 40), (7, 5), (40, 33), (9, 9), (2, 9)]
    groups = joined(41, pairs)
    assert [group for group in groups if len(group) > 1] == [[0, 2, 9], [5, 7, 33, 40]]
    assert [group[0] for group in groups] == [n for n in range(41) if n not in (2, 7, 9, 33, 40)]
    assert joined(0, []) == []


def test_any_shared_key_joins_but_an_empty_one() -> None:
    items = [("a", "", 0), ("b", "x", 1), ("a", "", 2), ("", "x", 3), ("", "", 4), ("x", "", 5)]
    groups = connected(items, lambda item: item[:2])
    assert [[number for *_, number in group] for group in groups] == [[0, 2], [1, 3], [4], [5]]
