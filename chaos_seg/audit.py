"""Audit a CHAOS tree, on the terminal, as JSON and as a page: python -m chaos_seg.audit data.root=/path/to/CHAOS"""

from chaos_seg.command_help import answer_help

if __name__ == "__main__":
    answer_help("audit")  # before the imports that take seconds

import sys
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from chaos_seg.command_line import hydra_command
from chaos_seg.config import AuditConfig, checked
from chaos_seg.reporting.audit_report import audit_source


@hydra_command("audit")
def main(cfg: DictConfig) -> None:
    config = checked(AuditConfig, cfg)
    data, runs = config.data, None if config.runs is None else Path(config.runs)
    source = data.open()
    folder = Path(HydraConfig.get().runtime.output_dir)
    if audit_source(source, Path(data.store), lambda: data.divided(source), folder, runs):
        sys.exit(1)


if __name__ == "__main__":
    main()
