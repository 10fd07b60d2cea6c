"""NIfTI pairs: the layouts, the labels, and the samples of the DICOM that they are copies of."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from chaos_seg.config import TrainConfig
from chaos_seg.data.augmentation import Augmentation
from chaos_seg.data.dataset import SliceDataset
from chaos_seg.data.preprocessing import Window
from chaos_seg.data.scan import Scan
from chaos_seg.data.sources import Source
from chaos_seg.data.sources.chaos import chaos
from chaos_seg.data.sources.nifti import nifti
from chaos_seg.data.store import StoredScan, decode, open_patients
from chaos_seg.errors import UserError
from chaos_seg.experiment import train
from chaos_seg.files import read_json
from chaos_seg.reporting.audit_report import audit_source

nib = pytest.importorskip("nibabel")


def write_pair(
    scan: Scan, image: Path, mask: Path, axes: str = "RAS", label: Callable[..., np.ndarray] = np.copy
) -> None:
    """A scan as two NIfTI files whose axes grow towards the letters of `axes`; `label` makes labels of its mask."""
    affine = np.eye(4)
    step = scan.origin_mm[1] - scan.origin_mm[0]
    affine[:3] = np.stack([scan.column_mm, scan.row_mm, step, scan.origin_mm[0]], axis=1)
    affine[:2] *= -1  # LPS to RAS
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(axes), (("L", "R"), ("P", "A"), ("I", "S")))
    )
    for path, plane_of in ((image, scan.hu), (mask, lambda rank: label(scan.mask(rank)))):
        path.parent.mkdir(parents=True, exist_ok=True)
        voxels = np.stack([plane_of(rank).T for rank in range(scan.slices)], axis=-1)
        nib.save(nib.Nifti1Image(voxels, affine).as_reoriented(turn), path)


@pytest.fixture(scope="module")
def scans(phantom_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[StoredScan]:
    return decode(tmp_path_factory.mktemp("store"), chaos(phantom_root).patients.values())[0]


@pytest.fixture
def raw(scans: list[StoredScan], tmp_path: Path) -> Path:
    """nnU-Net's raw layout of the phantom: liver is 1 above, 2 below its middle row."""
    for scan in scans:
        name = f"p_{scan.name}"
        write_pair(scan, tmp_path / f"imagesTr/{name}_0000.nii.gz", tmp_path / f"labelsTr/{name}.nii.gz", label=halves)
    return tmp_path


def halves(mask: np.ndarray) -> np.ndarray:
    return mask * (1 + (np.arange(len(mask)) >= len(mask) // 2).astype(np.uint8))[:, None]


def name_labels(root: Path, labels: object) -> None:
    (root / "dataset.json").write_text(json.dumps({"channel_names": {"0": "CT"}, "labels": labels}))


def opened(root: Path, store: Path, **options: object) -> list[StoredScan]:
    source: Source = nifti(root, **options)  # type: ignore[arg-type]
    return open_patients(store, source, source.labelled)


def expect_same(ours: list[StoredScan], dicom: list[StoredScan]) -> None:
    """Every training sample to the bit, and the same places."""
    steps = Augmentation({"rotation": {"degrees": 5}})
    one, other = (SliceDataset(both, Window(24, 0, 2800), steps, seed=3) for both in (ours, dicom))
    assert len(one) == len(other)
    for index in range(len(one)):
        for part in ("image", "mask"):
            assert (one[1, index][part] == other[1, index][part]).all()  # type: ignore[literal-required]
    for a, b in zip(ours, dicom, strict=True):
        for what in ("origin_mm", "row_mm", "column_mm"):
            assert getattr(a, what) == pytest.approx(getattr(b, what), abs=1e-3)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "LPI", "RAI", "ALS", "SRP", "IAL"])
def test_a_copy_gives_the_samples_of_its_dicom_whatever_its_axes(
    axes: str, scans: list[StoredScan], tmp_path: Path
) -> None:
    for scan in scans:
        write_pair(scan, tmp_path / f"imagesTr/{scan.name}.nii.gz", tmp_path / f"labelsTr/{scan.name}.nii.gz", axes)
    expect_same(opened(tmp_path, tmp_path / "store"), scans)


def test_a_copy_of_real_ct_by_another_program_gives_its_samples(real_root: Path, tmp_path: Path) -> None:
    sitk = pytest.importorskip("SimpleITK")
    (dicom,) = open_patients(tmp_path / "store", chaos(real_root), ["201"])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(real_root / "Train_Sets/CT/201/DICOM_anon")))
    image = reader.Execute()
    assert image.TransformIndexToPhysicalPoint((0, 0, 0))[2] == pytest.approx(
        dicom.origin_mm[-1, 2]
    )  # from the feet up
    mask = sitk.GetImageFromArray(np.stack([dicom.mask(rank) for rank in reversed(range(dicom.slices))]))
    mask.CopyInformation(image)
    for folder, what in (("imagesTr", image), ("labelsTr", mask)):
        (tmp_path / folder).mkdir()
        sitk.WriteImage(what, str(tmp_path / folder / f"201{'_0000' * (what is image)}.nii.gz"))
    expect_same(opened(tmp_path, tmp_path / "store"), [dicom])


@pytest.mark.parametrize(
    ("image", "mask", "patterns"),
    [
        ("imagesTr/{}_0000.nii.gz", "labelsTr/{}.nii.gz", {}),
        ("imagesTr/{}.nii.gz", "labelsTr/{}.nii.gz", {}),
        ("Training Batch 1/volume-{}.nii", "Training Batch 1/segmentation-{}.nii", {}),
        ("{}/ct.nii.gz", "{}/deep/in/liver.nii", {"images": "*/ct.nii", "masks": "*/**/liver.nii.gz"}),
    ],
)
def test_layouts_and_patterns(
    image: str, mask: str, patterns: dict[str, str], scans: list[StoredScan], tmp_path: Path
) -> None:
    for name, scan in zip(("10", "a[b]", "9"), scans, strict=False):
        write_pair(scan, tmp_path / image.format(name), tmp_path / mask.format(name))
    (tmp_path / image.format("9")).with_name("._9.nii.gz").write_bytes(b"of macOS")
    source = nifti(tmp_path, **patterns)  # type: ignore[arg-type]
    assert [*source.patients] == source.labelled == ["9", "10", "a[b]"]
    (nine,) = open_patients(tmp_path / "store", source, ["9"])
    assert nine.liver_pixels == scans[2].liver_pixels


def test_labels_by_value_and_by_name_and_each_choice_is_stored_for_itself(raw: Path, scans: list[StoredScan]) -> None:
    store = raw / "store"
    both, upper = opened(raw, store, labels=[1, 2]), opened(raw, store, labels=[1])
    for scan, all_of_it, half in zip(scans, both, upper, strict=True):
        for rank in range(scan.slices):
            assert (all_of_it.mask(rank) == scan.mask(rank)).all()
            assert (half.mask(rank) == (halves(scan.mask(rank)) == 1)).all()
    assert sum(upper[0].liver_pixels or ()) < sum(both[0].liver_pixels or ())
    assert opened(raw, store, labels=[2, 1])[0].content == both[0].content
    assert both[0].meta.mask_encodings == ["label 1 2 of 1 2"]
    for named in ({"background": 0, "liver": [1, 2], "cancer": 2}, {"0": "background", "1": "liver", "2": "cancer"}):
        name_labels(raw, named)
        assert opened(raw, store, labels=["liver", "cancer"])[0].content == both[0].content
        assert opened(raw, store, labels=["1"])[0].content == upper[0].content
    name_labels(raw, {"background": 0, "liver": 1})
    assert opened(raw, store)[0].content == upper[0].content


@pytest.mark.parametrize(
    ("named", "labels", "sentence"),
    [
        (None, None, r"p_1\.nii\.gz: expected one value beside 0, found 1 2; choose .* data\.source\.labels=\[1\]"),
        (None, [1, 7], r"labels: expected labels of the organ, found 7 in none of the masks, which have 1 2; correct"),
        (None, [0], r"labels: expected labels from 1 to 65535, found 0; correct it"),
        (None, ["liver"], r"labels: expected labels from 1 to 65535, found liver"),
        (None, [], r"labels=\[\]: expected at least one label"),
        ({"0": "background", "1": "liver", "2": "cancer"}, None, r"choice among .* \(1 liver, 2 cancer\), found none"),
        ({"background": 0, "liver": 1}, [2], r"among those of dataset\.json \(1 liver\), found 2"),
        ({"background": 0, "liver": 3}, None, r"found 3 in none of the masks, which have 1 2"),
        (["liver"], [1], r"dataset\.json: expected labels by name, .*; mend or remove it"),
    ],
)
def test_a_choice_of_labels_that_the_masks_do_not_have_is_refused(
    raw: Path, named: object, labels: list[int | str] | None, sentence: str
) -> None:
    if named is not None:
        name_labels(raw, named)
    with pytest.raises(UserError, match=sentence):
        opened(raw, raw / "store", labels=labels)


def test_the_audit_refuses_an_absent_label_too(raw: Path) -> None:
    source = nifti(raw, labels=[3])
    with pytest.raises(UserError, match="found 3 in none"):
        audit_source(source, raw / "store", lambda: pytest.fail("no split"), raw)


def test_files_that_do_not_pair_are_refused(raw: Path) -> None:
    (raw / "imagesTr/p_1_0000.nii.gz").rename(raw / "imagesTr/q_0000.nii.gz")
    with pytest.raises(
        UserError, match=r"no label map for q_0000\.nii\.gz and no image for p_1\.nii\.gz; complete"
    ) as error:
        nifti(raw)
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"expected one file of 'p_2', found .*p_2\.nii too; remove one"):
        (raw / "labelsTr/p_2.nii").write_bytes(b"")
        nifti(raw)
    with pytest.raises(UserError, match=r"expected images and label maps in imagesTr/\*_0000\.nii\.gz with labelsTr"):
        nifti(raw / "imagesTr")
    with pytest.raises(UserError, match=r"data\.source\.images: expected a pattern beside data\.source\.masks"):
        nifti(raw, masks="labelsTr/*.nii.gz")
    with pytest.raises(UserError, match=r"ct\.nii: expected a \* where the patient's name stands"):
        nifti(raw, images="**/ct.nii", masks="*.nii")
    with pytest.raises(UserError, match=r"data\.root=None: expected the folder of the NIfTI pairs, found none"):
        nifti(None)


def change(path: Path, mend: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> None:
    image = nib.load(path)
    nib.save(nib.Nifti1Image(*mend(np.asarray(image.dataobj), image.affine.copy())), path)


def moved(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    affine[0, 3] += 1
    return voxels, affine


@pytest.mark.parametrize(
    ("mend", "sentence"),
    [
        (
            moved,
            r"p_1\.nii\.gz: expected the geometry of p_1_0000\.nii\.gz, 32 x 32 x 7 vox.*; found 32 x 32 x 7 ",
        ),
        (
            lambda voxels, affine: (voxels[:-1], affine),
            r"expected the geometry .*32 x 32 x 7.*; found 31 x 32 x 7 ",
        ),
        (lambda voxels, affine: (voxels, affine * [[1], [1], [-1], [1]]), "expected the geometry of"),
        (lambda voxels, affine: (voxels * np.float32(0.3), affine), r"whole numbers .*found 0 to 0\.[36] in slice"),
        (lambda voxels, affine: (voxels - np.int16(1), affine), r"whole numbers .*found -1 to"),
        (
            lambda voxels, affine: (np.where(voxels, np.nan, 0).astype("f4"), affine),
            r"whole numbers .*found nan to",
        ),
    ],
)
def test_a_mask_that_does_not_fit_its_image_is_refused_and_leaves_nothing(
    raw: Path, mend: Callable[..., tuple[np.ndarray, np.ndarray]], sentence: str
) -> None:
    change(raw / "labelsTr/p_1.nii.gz", mend)
    with pytest.raises(UserError, match=sentence):
        source = nifti(raw, labels=[1, 2])
        open_patients(raw / "store", source, ["p_1"])
    assert not [*(raw / "store" / "volumes").iterdir()] and not (raw / "store" / "seen").exists()


def test_a_damaged_pair_is_refused(raw: Path) -> None:
    path = raw / "imagesTr/p_1_0000.nii.gz"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"p_1_0000\.nii\.gz: expected a NIfTI volume, found a damaged one"):
        opened(raw, raw / "store", labels=[1, 2])


def test_hu_beyond_their_range_are_clipped_and_floats_rounded(raw: Path, scans: list[StoredScan]) -> None:
    def mend(voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        voxels = voxels.astype(np.float32) + np.float32(0.4)
        voxels[0, 0] = 9000.2
        return voxels, affine

    change(raw / "imagesTr/p_1_0000.nii.gz", mend)
    scan = opened(raw, raw / "store", labels=[1, 2])[0]
    clipped = np.count_nonzero(scan.hu(0) != scans[0].hu(0))
    assert clipped == 1 and scan.hu(0).max() == 3071
    assert max(header.hu_max for header in scan.headers()) == 9000


def test_what_dataset_json_says_is_no_ct_is_taken_for_mr(raw: Path) -> None:
    change(raw / "imagesTr/p_1_0000.nii.gz", lambda voxels, affine: (voxels + np.int16(5000), affine))
    for said, modality, brightest in (("CT", "CT", 3071), ("MRI", "MR", 5000 - 100)):
        content = {"modality": {"0": said}, "labels": {"0": "background", "1": "liver"}}
        (raw / "dataset.json").write_text(json.dumps(content))
        scan = opened(raw, raw / "store")[0]
        assert scan.modality == modality and scan.hu(3).max() >= brightest


def test_a_run_from_nifti(configure: Callable[..., TrainConfig], raw: Path, tmp_path: Path) -> None:
    given = ("data=nifti", f"data.root={raw}", "data.source.labels=[1,2]", "data/split=kfold", "data.split.folds=4")
    summary = train(configure(*given, "epochs=1"), tmp_path / "run")
    sides = read_json(tmp_path / "run" / "split.json")
    assert sorted(patient for side in sides.values() for patient in side) == ["p_1", "p_2", "p_3", "p_4"]
    assert {"train", "val", "test"} <= summary["averages"]["volume_dice"].keys()


def test_the_command_line(raw: Path, finish: Callable[..., tuple[int, str, str]]) -> None:
    patterns = ["data.source.images=imagesTr/*_0000.nii", "data.source.masks=labelsTr/*.nii", "data.store=store"]
    given = ["data=nifti", f"data.root={raw}", *patterns]
    status, out, _ = finish(["prepare", *given, "data.source.labels=[1,2]"], raw)  # there is nothing to download
    assert status == 0 and "label 1 2 of 1 2" in out and f"train data=nifti data.root={raw}" in out
    status, _, err = finish(["audit", *given, "data.source.labels=[1,7]"], raw)
    assert status == 1 and err.strip().splitlines()[-1].startswith("data.source.labels: expected labels of the organ")
    assert "Traceback" not in err
