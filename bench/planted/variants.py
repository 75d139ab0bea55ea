"""The full model and what is left of it without one of its modules.

An ablation is trained anew, like the full model, up to the end of the phase in which its part has
been learned, and compared with the full model there.
"""

from dataclasses import dataclass
from typing import Any

from atft_hpo.config.schema import Config
from atft_hpo.config.toml import with_values
from atft_hpo.config.training_schema import PHASE_NAMES


@dataclass(frozen=True)
class Variant:
    """One way of building the model."""

    name: str
    without: tuple[str, ...] = ()
    """Modules of the phase table that stay off."""
    changes: tuple[tuple[str, Any], ...] = ()
    """Other configuration."""
    end: str = "adaptive_norm"
    """The last phase of an ablation."""
    part: str | None = None
    """The planted part that the missing module is there for."""
    least_loss: float | None = None
    """Share of that part that must be lost, for the module to have earned its place."""

    def config(self, base: Config, seed: int) -> Config:
        """`base` as this variant trains it."""
        values: dict[str, Any] = {**dict(self.changes), "seed": seed}
        for name in PHASE_NAMES:
            phase = getattr(base.phases, name)
            modules = [m for m in phase.modules if m not in self.without]
            values[f"phases.{name}.modules"] = modules
            if not self.is_full and PHASE_NAMES.index(name) > PHASE_NAMES.index(self.end):
                values[f"phases.{name}.epochs"] = 0
        return with_values(base, values)

    @property
    def is_full(self) -> bool:
        """Whether nothing is missing."""
        return not self.without and not self.changes


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("full"),
        Variant("no_fan", without=("fan",), part="e_commensurate", least_loss=0.8),
        Variant("dft_fan", changes=(("model.fan.kind", "dft"),), part="e_arbitrary"),
        Variant("no_san", without=("san",), part="c_drift"),
        Variant("no_graph", without=("graph",), end="gat", part="d_links", least_loss=0.9),
        Variant(
            "no_static", changes=(("model.without", ["static"]),), part="f_sector", least_loss=0.9
        ),
        Variant("no_lstm", changes=(("model.without", ["lstm"]),), part="b_memory"),
        Variant("no_attention", changes=(("model.without", ["attention"]),), part="b_memory"),
        Variant(
            "no_time", changes=(("model.without", ["lstm", "attention"]),), part="b_memory",
            least_loss=0.7,
        ),
    )
}  # fmt: skip
DEFAULT = tuple(name for name in VARIANTS if name not in ("no_lstm", "no_attention"))
"""What the CPU profile has time for: LSTM and attention are left out together, not each alone."""
