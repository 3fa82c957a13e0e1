"""Layers, losses, initializers, optimizers and schedules with the same bits everywhere."""

from samebits.nn import initializer, schedule
from samebits.nn.activation import gelu, glu, relu, sigmoid, silu, softmax, swiglu, tanh
from samebits.nn.adamw import Adam, AdamW
from samebits.nn.block import TransformerBlock
from samebits.nn.cache import CacheOverrunError, KeyValueCache
from samebits.nn.clipping import clip_gradient_norm
from samebits.nn.dense import Linear, linear
from samebits.nn.embeddings import Embedding, embedding
from samebits.nn.factory import OPTIMIZERS, build_optimizer, decay_groups, hidden_matrices
from samebits.nn.lion import Lion
from samebits.nn.loss import cross_entropy, mean_squared_error
from samebits.nn.mlp import MLP, SwiGLU
from samebits.nn.module import Module, parameter
from samebits.nn.multihead import MultiHeadAttention
from samebits.nn.muon import Muon
from samebits.nn.normalization import BatchNorm, LayerNorm, RMSNorm, batch_norm, layer_norm, rms_norm
from samebits.nn.optimizer import CombinedOptimizer, Optimizer
from samebits.nn.positions import LearnedPositions, Rotary, SinusoidalPositions
from samebits.nn.quantized import QuantizedEmbedding, QuantizedLinear
from samebits.nn.regularization import Dropout, dropout
from samebits.nn.scaled_dot_product import attention
from samebits.nn.sequential import GELU, ReLU, Sequential, Sigmoid, SiLU, Tanh
from samebits.nn.sgd import SGD

__all__ = [
    "GELU",
    "MLP",
    "OPTIMIZERS",
    "SGD",
    "Adam",
    "AdamW",
    "BatchNorm",
    "CacheOverrunError",
    "CombinedOptimizer",
    "Dropout",
    "Embedding",
    "KeyValueCache",
    "LayerNorm",
    "LearnedPositions",
    "Linear",
    "Lion",
    "Module",
    "MultiHeadAttention",
    "Muon",
    "Optimizer",
    "QuantizedEmbedding",
    "QuantizedLinear",
    "RMSNorm",
    "ReLU",
    "Rotary",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "SwiGLU",
    "Tanh",
    "TransformerBlock",
    "attention",
    "batch_norm",
    "build_optimizer",
    "clip_gradient_norm",
    "cross_entropy",
    "decay_groups",
    "dropout",
    "embedding",
    "gelu",
    "glu",
    "hidden_matrices",
    "initializer",
    "layer_norm",
    "linear",
    "mean_squared_error",
    "parameter",
    "relu",
    "rms_norm",
    "schedule",
    "sigmoid",
    "silu",
    "softmax",
    "swiglu",
    "tanh",
]
