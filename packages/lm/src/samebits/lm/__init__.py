"""Small language models: trained, saved, resumed and evaluated with the same bits everywhere."""

from samebits.lm.checkpoint import Checkpoint, CheckpointError
from samebits.lm.config import ModelConfig, TrainConfig
from samebits.lm.evaluation import Evaluation, byte_lengths, evaluate
from samebits.lm.generation import Token, generate, generate_batch, generate_tokens
from samebits.lm.interruption import Interrupted
from samebits.lm.model import LanguageModel, flops_per_token, load_model, parameter_count
from samebits.lm.model_parts import PretrainedError
from samebits.lm.optimization import learning_rate
from samebits.lm.pretrained import Pretrained, load_pretrained
from samebits.lm.run import open_run, start
from samebits.lm.sampling import Sampling
from samebits.lm.schema import ConfigError
from samebits.lm.training import Callback, Trainer, TrainingError

__all__ = [
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "ConfigError",
    "Evaluation",
    "Interrupted",
    "LanguageModel",
    "ModelConfig",
    "Pretrained",
    "PretrainedError",
    "Sampling",
    "Token",
    "TrainConfig",
    "Trainer",
    "TrainingError",
    "byte_lengths",
    "evaluate",
    "flops_per_token",
    "generate",
    "generate_batch",
    "generate_tokens",
    "learning_rate",
    "load_model",
    "load_pretrained",
    "open_run",
    "parameter_count",
    "start",
]
