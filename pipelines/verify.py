"""Stage `verify`: what the bundle must prove before anybody registers it."""

from pipelines._stage import stage
from spixgraph.stages.bundles import verify
from spixgraph.stages.reporting import write_report
from spixgraph.stages.run import Run


def verify_and_report(run: Run) -> None:
    """Prove the bundle, then write the report, which is no output of DVC since it holds times."""
    verify(run)
    write_report(run)


if __name__ == "__main__":
    stage(verify_and_report)
