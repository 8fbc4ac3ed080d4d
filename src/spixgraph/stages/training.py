"""Stage `train`: one network per model and seed, each in a process of its own."""

import logging
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from spixgraph.arrays import NOT_ANNOTATED
from spixgraph.config.params import ModelName
from spixgraph.files import read_json, sha256_tree, write_json
from spixgraph.resources import PeakMemory
from spixgraph.stages.graphs import load_graphs
from spixgraph.stages.prepare import Prepared, load_prepared
from spixgraph.stages.run import Run, alone, recipe_of
