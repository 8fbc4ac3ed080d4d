"""Stage `evaluate`: masks, scores and costs of all trained networks, added to their MLflow runs."""

from pipelines._stage import stage
from spixgraph.stages.evaluation import evaluate
from spixgraph.stages.reporting import track_evaluation
from spixgraph.stages.run import Run


def evaluate_and_track(run: Run) -> None:
    """Evaluate, then tell MLflow."""
    evaluate(run)
    track_evaluation(run)


if __name__ == "__main__":
    stage(evaluate_and_track)
