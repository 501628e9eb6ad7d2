"""Training steps, and the state that is needed to resume a training."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ConfigurationError
from ..networks import create
from ..networks.completion_network import CompletionNetwork
from ..networks.weights import load_weights, read_metadata, weights_hash
from .batches import Batches, TrainingBatch
from .discriminator import Adversary
from .losses import ADVERSARIAL, Comparison, evaluate_losses
from .recipe import Recipe

_MIN_RATE = 1e-3  # share of the peak learning rate


@dataclass(frozen=True)
class Budget:
    """Length of a training, either in minutes or in steps."""

    minutes: float | None = None
    steps: int | None = None

    def progress(self, step: int, elapsed_s: float) -> float:
        """Return the completed share of the training, 0..1, after a number of steps and seconds."""
        done = step / self.steps if self.steps else elapsed_s / (60 * (self.minutes or math.inf))
        return min(1.0, done)


def schedule(progress: float, warm_up: float, decay: float) -> float:
    """Return the learning rate as a share of its peak: linear warm-up, constant, linear decay.

    A training can be extended while its learning rate is still constant. Hu et al., MiniCPM, 2024, section 4
    (warm-up, stable, decay).

    Args:
        progress: Completed share of the training, 0..1.
        warm_up: Share of the training with a rising learning rate.
        decay: Share of the training with a falling learning rate.
    """
    return max(_MIN_RATE, min(1.0, progress / warm_up, (1 - progress) / decay))


class Trainer:
    """A network, the average of its weights, its optimiser and its batches.

    Args:
        recipe: The recipe.
        batches: The batches.
        device: Device of the training.
        base: Base network, see ``create``.
        build: Builds the network; None = the network of the recipe.
        workers: Number of worker processes, see ``Batches.from_step``.

    Attributes:
        network: The network whose weights are trained.
        ema: The network with the exponential moving average of the weights, in evaluation mode. It is validated and
            saved.
        step: Number of completed steps.
        elapsed_s: Duration of the training [s], set by the training loop.
        best_score: Lowest validation score, set by the session.
        origin: Description of the initial weights.
    """

    origin = "random weights"

    def __init__(
        self,
        recipe: Recipe,
        batches: Batches,
        device: torch.device,
        base: CompletionNetwork | None = None,
        build: Callable[[], CompletionNetwork] | None = None,
        workers: int = 0,
    ):
        torch.manual_seed(recipe.seed)
        self.recipe = recipe
        self.device = device
        self.step = 0
        self.elapsed_s = 0.0
        self.best_score = math.inf
        network = build() if build else create(recipe.network, recipe.size, base)
        self.network = network.to(device).train()
        self.network = self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.network).eval().requires_grad_(False)
        self._batches = batches
        self._workers = workers
        self._upcoming: Iterator[TrainingBatch] | None = None
        self._adversary = Adversary(recipe.learning_rate, device) if ADVERSARIAL in recipe.losses else None
        self._parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        self._optimiser = torch.optim.AdamW(
            _parameter_groups(self._parameters, recipe.weight_decay), recipe.learning_rate, fused=True
        )
        self._in_bfloat16 = recipe.precision == "bfloat16" or (recipe.precision == "auto" and has_bfloat16(device))
        compiled = recipe.compile and device.type == "cuda"
        self._forward: Any = (
            torch.compile(self.network.predict_with_prefill) if compiled else self.network.predict_with_prefill
        )

    def begin_with(self, weights: Path) -> None:
        """Load initial weights from a file that was written by an earlier training of the same network.

        Raises:
            ConfigurationError: If the file contains other weights. The message says how to fix it.
        """
        start = load_weights(weights).network
        found, wanted = (_description(network) for network in (start, self.network))
        if found != wanted:
            raise ConfigurationError(
                f"{weights} contains weights of {found}, not of {wanted}: give other weights, or omit --start"
            )
        for network in (self.network, self.ema):
            network.load_state_dict(start.state_dict())
        metadata = read_metadata(weights)
        earlier = (f"{name} {metadata[name]}" for name in ("steps", "minutes", "device") if name in metadata)
        self.origin = ", ".join([f"weights {weights_hash(start)}", *earlier])

    def train_step(self, progress: float) -> dict[str, Tensor]:
        """Train on one batch with the learning rate at ``progress``, 0..1.

        Returns:
            Each loss without its weight, the weighted ``total``, the ``gradient_norm`` and the loss of the
            discriminator, if there is one. The numbers stay on the device; reading one waits for the device.
        """
        recipe, batch = self.recipe, self._next_batch()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._in_bfloat16):
            image = batch.image.contiguous(memory_format=torch.channels_last)
            depth, log_b, start = self._forward(image, batch.depth, batch.scale)
        comparison = Comparison(depth, log_b, batch.target, batch.weight, batch.scale, start)
        losses = evaluate_losses(recipe.losses, comparison)
        if self._adversary:
            losses[ADVERSARIAL] = self._adversary.loss(comparison)
        total = torch.stack([recipe.losses[name] * loss for name, loss in losses.items()]).sum()

        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate(progress)
        self._optimiser.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self._parameters, recipe.clip_norm)
        # An overflow must not destroy the weights: without a finite gradient, only the momentum changes them.
        finite = norm.isfinite()
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad = torch.where(finite, parameter.grad, 0)
        self._optimiser.step()
        self.step += 1
        self._update_average()
        losses |= {"total": total, "gradient_norm": norm}
        if self._adversary:
            losses["discriminator"] = self._adversary.train_step(comparison, self.learning_rate(progress))
        return {name: loss.detach() for name, loss in losses.items()}

    def _next_batch(self) -> TrainingBatch:
        if self._upcoming is None:
            self._upcoming = self._batches.from_step(self.step, self._workers)
        return next(self._upcoming)

    def learning_rate(self, progress: float) -> float:
        """Return the learning rate at ``progress``, 0..1."""
        return self.recipe.learning_rate * schedule(progress, self.recipe.warm_up, self.recipe.decay)

    def state(self) -> dict[str, Any]:
        """Return the state that the next step depends on, for a checkpoint."""
        return {
            "recipe": self.recipe.hash(),
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "best_score": self.best_score,
            "origin": self.origin,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "adversary": self._adversary.state() if self._adversary else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a state.

        Raises:
            ConfigurationError: If the state belongs to another recipe.
        """
        if state["recipe"] != self.recipe.hash():
            raise ConfigurationError(
                f"the checkpoint was made with another recipe ({state['recipe']}, not {self.recipe.hash()}): resume "
                "with the same recipe, or start a new training in another --out"
            )
        self.step, self.elapsed_s, self.best_score = state["step"], state["elapsed_s"], state["best_score"]
        self.origin = state["origin"]
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        self._optimiser.load_state_dict(state["optimiser"])
        self._upcoming = None
        if self._adversary:
            self._adversary.restore(state["adversary"])

    @torch.no_grad()
    def _update_average(self) -> None:
        """Update the average of the weights; faster in the first steps, because the initial weights are random."""
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        average, present = self.ema.state_dict(), self.network.state_dict()
        floating = [name for name, value in average.items() if value.is_floating_point()]
        torch._foreach_lerp_([average[n] for n in floating], [present[n] for n in floating], 1 - decay)
        for name in average.keys() - set(floating):
            average[name].copy_(present[name])


def has_bfloat16(device: torch.device) -> bool:
    """Return whether a device supports bfloat16 in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported()


def _description(network: CompletionNetwork) -> str:
    """Describe which weights fit a network: "nlspn-small after planes-small 1a2b3c4d5e6f7081"."""
    name, base = f"{network.name}-{network.size}", network.base
    return name if base is None else f"{name} after {base.name}-{base.size} {weights_hash(base)}"


def _parameter_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups: convolutions and matrices with weight decay, biases and norms without."""
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
