"""How Lightning saves: atomically, and in a folder that may move."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from chaos_seg.training.checkpoints import write_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's own writer moves from the system's temporary folder, which is a copy, not a rename, across disks."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_checkpoint(checkpoint, Path(path))


class RunCheckpoint(ModelCheckpoint):
    """Keeps the best score when a run goes on in a folder that was moved: Lightning forgets it there."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        def moved(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        paths = {key: moved(state_dict[key]) for key in ("best_model_path", "kth_best_model_path", "last_model_path")}
        best = {moved(path): score for path, score in state_dict["best_k_models"].items()}
        super().load_state_dict({**state_dict, **paths, "best_k_models": best, "dirpath": self.dirpath})
