"""Stage `select`: the best graph model on the validation split within the stated limits."""

from typing import Any

from spixgraph.config.params import SelectSection
from spixgraph.errors import GateError, InputError
from spixgraph.evaluate.report import pooled_metrics
from spixgraph.files import read_json, write_json
from spixgraph.stages.evaluation import load_results, trained_models
from spixgraph.stages.run import Run


def select(run: Run) -> None:
    """Write which model goes on, and why in words.

    Raises
    ------
    InputError
        If no candidate was trained, or a limit on costs is set and the costs are not known here.
    GateError
        If no candidate keeps the limits; the message says which figure of each is above.
    """
    limits = run.params.select
    trained = [(m, s) for m, s in trained_models(run) if m in limits.candidates]
    if not trained:
        raise InputError(f"none of {limits.candidates} was trained; train one, or name others")
    candidates = [_candidate(run, model, seed) for model, seed in trained]
    faults = {_label(c): _faults(c, limits) for c in candidates}
    fit = [c for c in candidates if not faults[_label(c)]]
    if not fit:
        said = "; ".join(f"{name}: {', '.join(why)}" for name, why in faults.items())
        raise GateError(f"no candidate keeps the limits of `select` ({said}); raise a limit")
    best = max(fit, key=lambda c: (c["val_macro_iou"], -c["n_parameters"], _label(c)))
    reason = _reason(best, candidates, faults, limits)
    write_json(
        run.layout.selected,
        {
            "name": best["name"],
            "seed": best["seed"],
            "reason": reason,
            "candidates": [
                {key: c[key] for key in ("name", "seed", "n_parameters", "val_macro_iou")}
                for c in candidates
            ],
        },
    )


def _candidate(run: Run, model: str, seed: int) -> dict[str, Any]:
    n_parameters, results = load_results(run, model, seed, "val")
    score = pooled_metrics(results)["macro_iou"]
    cost_path = run.layout.cost("inference", f"{model}-seed{seed}")
    cost = read_json(cost_path)["val"] if cost_path.is_file() else None
    return {
        "name": model,
        "seed": seed,
        "n_parameters": n_parameters,
        "val_macro_iou": score if score is not None else 0.0,
        "cost": cost,
    }


def _faults(candidate: dict[str, Any], limits: SelectSection) -> list[str]:
    faults = []
    if limits.max_parameters is not None and candidate["n_parameters"] > limits.max_parameters:
        faults.append(f"{candidate['n_parameters']} parameters > {limits.max_parameters}")
    for field, limit in (
        ("bytes", limits.max_inference_bytes_per_megapixel),
        ("seconds", limits.max_inference_seconds_per_megapixel),
    ):
        if limit is None:
            continue
        value = _cost_per_megapixel(candidate, field)
        if value > limit:
            faults.append(f"{value:.3g} {field} per megapixel > {limit:g}")
    return faults


def _cost_per_megapixel(candidate: dict[str, Any], field: str) -> float:
    cost = candidate["cost"]
    if cost is None:
        raise InputError(
            f"`select` limits the {field} of inference, but the costs of {_label(candidate)} are "
            "not known in this workspace; run the evaluate stage here (dvc repro -f evaluate)"
        )
    if field == "seconds":
        return float(cost["seconds"] / cost["megapixels"])
    return float((cost["peak_rss_bytes"] - cost["baseline_rss_bytes"]) / cost["megapixels"])


def _reason(
    best: dict[str, Any],
    candidates: list[dict[str, Any]],
    faults: dict[str, list[str]],
    limits: SelectSection,
) -> str:
    others = [c for c in candidates if c is not best]
    sentence = f"highest validation macro IoU ({best['val_macro_iou']:.4f}){_limits(limits)}"
    for c in others:
        out = faults[_label(c)]
        note = f"out: {', '.join(out)}" if out else f"{c['val_macro_iou']:.4f}"
        sentence += f"; {_label(c)} {note}"
    return sentence


def _limits(limits: SelectSection) -> str:
    """Say which limits the selected model had to keep."""
    stated = (
        ("parameters", limits.max_parameters),
        ("bytes per megapixel", limits.max_inference_bytes_per_megapixel),
        ("seconds per megapixel", limits.max_inference_seconds_per_megapixel),
    )
    parts = [f"{value:,g} {unit}" for unit, value in stated if value is not None]
    return f" of those within {', '.join(parts)}" if parts else ""


def _label(candidate: dict[str, Any]) -> str:
    return f"{candidate['name']} seed {candidate['seed']}"
