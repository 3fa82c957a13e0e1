"""Metrics: what the server counts and measures, as the text that Prometheus reads."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from samebits.lm.engine import Engine

__all__ = ["Metrics"]


class Metrics(Collector):
    """The metrics of one server.

    Example:
        >>> metrics = Metrics()
        >>> metrics.written.inc()
        >>> b"samebits_written_tokens_total 1.0" in metrics.text()
        True
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter("samebits_requests", "Requests that were answered.", ("endpoint", "status"), registry=registry)
        self.written = Counter("samebits_written_tokens", "Tokens that were written.", registry=registry)
        self.first_token_seconds = Histogram(
            "samebits_first_token_seconds",
            "Seconds from a request to the first token of a text.",
            registry=registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self.token_seconds = Histogram(
            "samebits_token_seconds",
            "Seconds from a token of a text to the next.",
            registry=registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
        )
        self._prompt = Counter("samebits_prompt_tokens", "Tokens of prompts.", registry=registry)
        self._cached = Counter("samebits_cached_tokens", "Tokens of prompts that the cache had.", registry=registry)
        self._engine: Engine | None = None
        registry.register(self)

    def read(self, tokens: int, cached: int) -> None:
        """Count the tokens of a prompt, of which the cache had some."""
        self._prompt.inc(tokens)
        self._cached.inc(cached)

    def watch(self, engine: Engine) -> None:
        """Show the numbers of an engine, too."""
        self._engine = engine

    def collect(self) -> Iterator[Metric]:
        """The numbers of the engine, for the registry."""
        if engine := self._engine:
            yield GaugeMetricFamily("samebits_running_texts", "Texts in work.", engine.running)
            yield GaugeMetricFamily("samebits_waiting_texts", "Texts that wait for a slot.", engine.waiting)
            yield CounterMetricFamily("samebits_drafted_tokens", "Tokens that were guessed.", engine.drafted)
            yield CounterMetricFamily("samebits_accepted_tokens", "Guessed tokens that were chosen.", engine.accepted)

    def text(self) -> bytes:
        """All metrics, in the text format of Prometheus 0.0.4."""
        return generate_latest(self._registry)
