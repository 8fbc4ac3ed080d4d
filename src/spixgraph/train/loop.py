"""The training loop that node networks and the CNN share."""

import logging
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from spixgraph.arrays import Int64
from spixgraph.config.params import CnnTraining, NodeTraining
from spixgraph.errors import GateError
from spixgraph.evaluate.counts import scores
from spixgraph.train.resume import load_state, save_state
from spixgraph.train.schedule import end_by_patience, end_by_time, learning_rate

log = logging.getLogger(__name__)

MAX_GRADIENT = 1.0
"""Longest gradient of a step; longer ones are shortened to it."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What an epoch gave.

    Attributes
    ----------
    epoch : int
        From 1.
    loss : float
        Mean over the steps.
    macro_iou : float
        On the validation split, per pixel; mean over the classes that occur.
    iou_per_class : tuple of float
        NaN for a class that is neither in the truth nor in the prediction.
    learning_rate : float
        Of the last step.
    seconds : float
        Since the start of training, without the time between a kill and a resume.
    """

    epoch: int
    loss: float
    macro_iou: float
    iou_per_class: tuple[float, ...]
    learning_rate: float
    seconds: float


OnEpoch = Callable[[EpochRecord], None]


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A step that is still to be taken.

    Attributes
    ----------
    learner : int
        Number of the one that takes it.
    loss : callable
        Makes the loss, in any thread where the lesson has learners in threads.
    """

    learner: int
    loss: Callable[[], Tensor]


class Lesson(Protocol):
    """What is learned: the network, the loss of each step, the score of each epoch."""

    @property
    def net(self) -> nn.Module:
        """The network, on its device."""

    @property
    def learners(self) -> Sequence[nn.Module]:
        """Parts of `net` that share no weights and learn on their own; or `net` itself."""

    @property
    def in_threads(self) -> bool:
        """True if learners may take their steps side by side: losses draw no random numbers."""

    @property
    def n_steps(self) -> int:
        """Steps of an epoch, >= 1."""

    def steps(self, rng: np.random.Generator) -> Iterator[Step]:
        """Yield the `n_steps` steps of an epoch; what is random is drawn in this order."""

    def confusion(self) -> Int64:
        """Count (K, K) validation pixels, rows truth."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The end of a training; the network holds the weights of `best_epoch`."""

    best_epoch: int
    history: tuple[EpochRecord, ...]


def fit(
    lesson: Lesson,
    params: NodeTraining | CnnTraining,
    *,
    seed: int,
    fingerprint: str,
    resume_path: Path | None,
    on_epoch: OnEpoch | None,
) -> Fitted:
    """Train `lesson.net` and leave the weights of the best validation epoch in it.

    Parameters
    ----------
    lesson : Lesson
    params : NodeTraining or CnnTraining
        Epochs, patience, learning rate, weight decay, minutes.
    seed : int
        Each epoch draws from a generator of (seed, epoch), so that a resumed run needs no state
        of generators.
    fingerprint : str
        Hash of data and settings; a state with another one is not resumed.
    resume_path : Path or None
        Where the state is kept after every epoch. The caller removes it at the end.
    on_epoch : callable or None
        Called with each record in turn; after a resume, with those of the past too.

    Raises
    ------
    GateError
        If the loss is no longer finite.
    """
    run = _Run(lesson, params)
    if resume_path and (state := load_state(resume_path, fingerprint=fingerprint)):
        run.restore(state)
        log.info("resuming after epoch %d", run.epoch)
    tell = on_epoch or _tell_nobody
    for record in run.history:
        tell(record)
    while run.epoch < run.end:
        record = run.one_epoch(seed)
        if resume_path:
            save_state(resume_path, run.state(), fingerprint=fingerprint)
        tell(record)
    lesson.net.load_state_dict(run.best_weights)
    return Fitted(run.best_epoch, tuple(run.history))


def _tell_nobody(record: EpochRecord) -> None:
    """Stand in for a missing `on_epoch`."""


class _Run:
    """The state that moves from step to step."""

    def __init__(self, lesson: Lesson, params: NodeTraining | CnnTraining) -> None:
        self.lesson, self.params = lesson, params
        self.optimisers = [
            torch.optim.AdamW(
                learner.parameters(),
                lr=params.learning_rate,
                weight_decay=params.weight_decay,
                fused=True,  # a fifth of the time of one operation after the other
            )
            for learner in lesson.learners
        ]
        self.budget = params.max_minutes and 60 * params.max_minutes
        self.history: list[EpochRecord] = []
        self.best_epoch = 0
        self.best_weights: dict[str, Tensor] = {}
        self.progress = 0.0
        self.patient_end = self.end = params.epochs
        self.seconds = 0.0

    @property
    def epoch(self) -> int:
        return len(self.history)

    def one_epoch(self, seed: int) -> EpochRecord:
        """Train, score, keep the best, plan the end."""
        start = time.monotonic() - self.seconds
        rng = np.random.default_rng([seed, self.epoch])
        torch.manual_seed(int(rng.integers(2**63)))
        loss, rate = self._train(rng, start)
        result = scores(self.lesson.confusion())
        self.seconds = time.monotonic() - start
        record = EpochRecord(
            epoch=self.epoch + 1,
            loss=loss,
            macro_iou=result.macro_iou,
            iou_per_class=result.iou_per_class,
            learning_rate=rate,
            seconds=self.seconds,
        )
        self.history.append(record)
        self._keep_best(record)
        self._plan_end()
        return record

    def _train(self, rng: np.random.Generator, start: float) -> tuple[float, float]:
        """Walk the steps of one epoch; return the mean loss and the last rate."""
        self.lesson.net.train()
        made, rate = [], 0.0
        steps_left = (self.end - self.epoch) * self.lesson.n_steps
        with _Crew(len(self.optimisers) if self.lesson.in_threads else 1) as crew:
            for step in self.lesson.steps(rng):
                rate = learning_rate(self.progress, self.params.learning_rate)
                made.append(crew.take(step.learner, partial(self._take, step, rate)))
                self.progress += (1 - self.progress) / max(1, steps_left - len(made) + 1)
                if self.budget and time.monotonic() - start > self.budget:
                    break
        return math.fsum(loss.result() for loss in made) / len(made), rate

    def _take(self, step: Step, rate: float) -> float:
        """Take one step; return the loss before it."""
        optimiser = self.optimisers[step.learner]
        for group in optimiser.param_groups:
            group["lr"] = rate
        loss = step.loss()
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.lesson.learners[step.learner].parameters(), MAX_GRADIENT)
        optimiser.step()
        return self._finite(loss)

    def _finite(self, loss: Tensor) -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise GateError(
                f"the loss is {value} in epoch {self.epoch + 1}; "
                f"set a learning_rate below {self.params.learning_rate:g}"
            )
        return value

    def _keep_best(self, record: EpochRecord) -> None:
        """Keep the weights of the first epoch with the best score, off the GPU."""
        if not self.best_epoch or record.macro_iou > self.history[self.best_epoch - 1].macro_iou:
            self.best_epoch = record.epoch
            weights = self.lesson.net.state_dict()
            self.best_weights = {k: v.detach().to("cpu", copy=True) for k, v in weights.items()}

    def _plan_end(self) -> None:
        self.patient_end = end_by_patience(
            self.epoch,
            best_epoch=self.best_epoch,
            patience=self.params.patience,
            end=self.patient_end,
        )
        self.end = end_by_time(
            self.epoch, seconds=self.seconds, budget=self.budget, end=self.patient_end
        )

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as tensors and plain values."""
        return {
            "net": self.lesson.net.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "best_weights": self.best_weights,
            "best_epoch": self.best_epoch,
            "history": [asdict(record) for record in self.history],
            "progress": self.progress,
            "ends": (self.patient_end, self.end),
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a saved state."""
        self.lesson.net.load_state_dict(state["net"])
        for optimiser, kept in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        self.best_weights, self.best_epoch = state["best_weights"], state["best_epoch"]
        self.history = [EpochRecord(**record) for record in state["history"]]
        self.progress, self.seconds = state["progress"], state["seconds"]
        self.patient_end, self.end = state["ends"]


class _Crew:
    """Learners at work side by side, one core each; the steps of one are taken in their order."""

    def __init__(self, n_learners: int) -> None:
        n_threads = min(n_learners, os.cpu_count() or 1)
        threads = (torch.get_num_threads(),)  # of each step; the sums depend on it
        self._pool = (
            ThreadPoolExecutor(n_threads, "learner", torch.set_num_threads, threads)
            if n_threads > 1
            else None
        )
        self._last: dict[int, Future[float]] = {}

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=error is not None)

    def take(self, learner: int, step: Callable[[], float]) -> Future[float]:
        """Have `learner` take a step when its last one is done, whose error is raised here."""
        if learner in self._last:
            self._last[learner].result()
        if self._pool:
            done = self._pool.submit(step)
        else:
            done = Future()
            done.set_result(step())
        self._last[learner] = done
        return done
