from chaos_seg.data.audit.findings import Finding, named_slices, row


def test_slices_are_named_from_1_in_stretches_of_which_five_are_enough() -> None:
    assert named_slices([7], 78) == "slice 8 of 78"
    assert named_slices([2, 3, 4, 8], 78) == "slices 3 to 5, 9 of 78"
    assert named_slices(range(0, 14, 2), 20) == "slices 1, 3, 5, 7, 9 and 2 more stretches of 20"


def test_numbers_and_patients_stand_in_a_row() -> None:
    assert row([0.742188, 1, 100000.0]) == "(0.7422, 1, 1e+05)"
    assert Finding("error", "leak", ("1", "2"), "").patient == "1, 2"
