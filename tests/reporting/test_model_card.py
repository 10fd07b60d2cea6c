"""The model card: Hugging Face's sections, filled from the run."""

import re
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from jinja2 import Template

from chaos_seg.evaluation.statistics import mean_interval
from chaos_seg.files import read_csv, read_json
from chaos_seg.training.checkpoints import model_hash

SECTIONS = """Model Details|Model Description|Model Sources|Uses|Direct Use|Downstream Use|Out-of-Scope Use
Bias, Risks, and Limitations|Recommendations|How to Get Started with the Model|Training Details|Training Data
Training Procedure|Preprocessing|Training Hyperparameters|Speeds, Sizes, Times|Evaluation
Testing Data, Factors & Metrics|Testing Data|Factors|Metrics|Results|Summary|Model Examination|Environmental Impact
Technical Specifications|Model Architecture and Objective|Compute Infrastructure|Hardware|Software|Files|Citation
Glossary|More Information|Model Card Authors|Model Card Contact""".replace("\n", "|").split("|")


def test_every_section_is_there_and_none_is_empty(shared: Path) -> None:
    card = (shared / "README.md").read_text()
    assert re.findall(r"^##+ (.+)$", card, re.MULTILINE) == SECTIONS
    parts = re.split(r"^##+ .+$", card, flags=re.MULTILINE)
    empty = [name for name, part in zip(SECTIONS, parts[1:], strict=True) if not part.strip()]
    assert set(empty) <= {"Model Details", "Uses", "Training Details", "Training Procedure", "Evaluation"} | {
        *("Testing Data, Factors & Metrics", "Technical Specifications", "Compute Infrastructure"),
        "Model Sources",
    }
    assert "- **Contact:** a@b.c <x>\n" in card and "- **Developed by:** Not stated.\n" in card


def test_numbers_are_those_of_the_run(shared: Path) -> None:
    card, run = (shared / "README.md").read_text(), shared.parent / "run"
    header = yaml.safe_load(card.split("---")[1])
    rows = read_csv(run / "per_patient.csv")
    train = [float(row["volume_dice"]) for row in rows if row["side"] == "train"]
    test = next(float(row["volume_dice"]) for row in rows if row["side"] == "test")
    assert header["license"] == "cc-by-4.0" and header["library_name"] == "chaos_seg"
    assert header["model-index"][0]["results"][0]["metrics"][0]["value"] == round(test, 3)
    assert f"| Train data | Volume Dice | {mean_interval(train).value:.3f} | – | 2 |\n" in card  # none of two patients
    assert f"| Test data | Volume Dice | {test:.3f} | – | 1 |\n" in card
    manifest = read_json(run / "manifest.json")
    assert "SYNTHETIC phantom" in card and f"SHA-256 {model_hash(run / 'checkpoints' / 'best.ckpt')}, epoch" in card
    assert f"{manifest['data']['fingerprint']}\n" in card and "train data 2, validation data 1, test data 1" in card
    assert "- **Finetuned from model:** none; its weights were drawn at random\n" in card
    assert "- **loss.name:** bce\n" in card and "augmentation: rotation." in card
    assert "pixels of 11.56 to 11.56 mm" in card and f"torch {manifest['versions']['torch']}" in card


@pytest.mark.parametrize(("begun", "photographs"), [(False, False), (False, True), (True, False), (True, True)])
def test_what_a_model_began_with_is_named_whatever_came_between(begun: bool, photographs: bool) -> None:
    template = files("chaos_seg.reporting").joinpath("templates/model_card.md").read_text()
    (line,) = [line for line in template.splitlines() if "Finetuned from model" in line]
    init = {"sha256": "abc", "numbers": 3, "of": 4} if begun else None
    said = Template(line).render(manifest={"init": init}, model={"network": {"pretrained": photographs}})
    assert ("SHA-256 abc, of which 3 of 4 numbers were taken" in said) == begun
    assert ("weights for ImageNet" in said and "Apache License 2.0" in said) == photographs
    assert ("drawn at random" in said) == (not begun and not photographs)
