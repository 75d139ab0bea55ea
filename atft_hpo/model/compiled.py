"""Parts of a model compiled by torch.compile (`runtime.compile`).

    compile_parts(model)        # in place; each part when it first runs

The LSTM is left as it is, being the library's, and so is the interpolation, whose sparse products a
compiler does not take. Of the decomposed features' networks the reference is compiled; where
Triton's kernels are faster than that, a model computes those (see `decomposed`), and compiles the
reference for the comparison only.
"""

import shutil

import torch

from atft_hpo.errors import ConfigError
from atft_hpo.model.atft import ATFT

CPP_COMPILERS = ("g++", "clang++", "c++")


def compile_parts(model: ATFT) -> None:
    """Compile the parts that are many small passes over memory; parameters keep their names.

    Raises:
        ConfigError: the machine has no C++ compiler.
    """
    if not any(map(shutil.which, CPP_COMPILERS)):
        raise ConfigError(
            f"runtime.compile = true needs a C++ compiler, and none of {list(CPP_COMPILERS)} "
            "is on the path; install g++ or set it to false"
        )
    networks = model.selection.fan_networks
    networks.run = torch.compile(networks.run, dynamic=True)
    networks.pull = torch.compile(networks.pull, dynamic=True)
    model.dft = torch.compile(model.dft, dynamic=True)
    parts = (model.selection.weigh, model.enrichment, model.attention, model.feed_forward)
    for part in (*parts, *model.graph.layers):
        if part is not None:
            part.compile(dynamic=True)
