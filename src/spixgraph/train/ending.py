"""Why a training ended, for the record."""

from collections.abc import Sequence
from typing import Literal

from spixgraph.config.params import CnnTraining, NodeTraining
from spixgraph.train.loop import EpochRecord
from spixgraph.train.schedule import end_by_patience

Ending = Literal["patience", "epochs", "minutes"]


def ending_of(history: Sequence[EpochRecord], params: NodeTraining | CnnTraining) -> Ending:
    """Say what ended a training: validation no longer improved, or a limit was met.

    Parameters
    ----------
    history : sequence of EpochRecord
        Of all epochs, in order.
    params : NodeTraining or CnnTraining

    Returns
    -------
    {"patience", "epochs", "minutes"}
        Only "patience" says that the network had converged.
    """
    best, end = history[0], params.epochs
    for record in history:
        best = record if record.macro_iou > best.macro_iou else best
        end = end_by_patience(
            record.epoch, best_epoch=best.epoch, patience=params.patience, end=end
        )
    if len(history) < end:
        return "minutes"
    return "patience" if end < params.epochs else "epochs"
