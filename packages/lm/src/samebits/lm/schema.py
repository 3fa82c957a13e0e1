"""Schema of configurations: the type, default, meaning and limits of every setting, written once.

    steps: Annotated[int, Setting("Number of optimizer steps.", least=1)] = 2000

Error messages, the comments of a written file and the tables of the documentation are made from it. Which settings there are is
left to `config`.
"""

import dataclasses
import difflib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from samebits.core.records import shown

__all__ = ["ConfigError", "Setting", "check", "from_values", "settings", "table", "toml_lines"]

Config = TypeVar("Config")

_KINDS = {int: "an integer", float: "a number", bool: "true or false", str: "a string"}
_RENAMED = {"flavour": "architecture", "micro_batches": "shards"}


class ConfigError(ValueError):
    """A setting is unknown, has the wrong type, or is out of its limits.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> try:
        ...     ModelConfig(layers=0)
        ... except ConfigError as error:
        ...     print(error)
        layers must be at least 1, got 0
    """


@dataclass(frozen=True)
class Setting:
    """The meaning of a setting and the values it may have."""

    meaning: str
    choices: tuple[str, ...] = ()
    """The strings it may be; any if empty."""
    least: float = -math.inf
    """The smallest number it may be."""
    above: float = -math.inf
    """It must be larger than this."""
    below: float = math.inf
    """It must be smaller than this."""
    optimizers: tuple[str, ...] = ()
    """The optimizers that have it; all if empty."""
    only_changed: bool = False
    """Whether it is written only where it differs from its default: so a file of a configuration without it stays the same."""

    def allows(self, value: Any) -> bool:
        """Whether a value of the right type is within the limits."""
        if isinstance(value, str):
            return not self.choices or value in self.choices
        return math.isfinite(value) and value >= self.least and self.above < value < self.below

    @property
    def limits(self) -> str:
        """The limits in words, to follow "must be"; empty if there are none.

        Example:
            >>> Setting("Dropout probability.", least=0, below=1).limits
            'at least 0 and below 1'
        """
        if self.choices:
            return _any_of(self.choices)
        words = (("at least", self.least), ("above", self.above), ("below", self.below))
        return " and ".join(f"{word} {limit}" for word, limit in words if math.isfinite(limit))


def settings(config: type[Any]) -> dict[str, tuple[type, Any, Setting]]:
    """The type, the default and the `Setting` of every annotated field, by name.

    Example:
        >>> from samebits.lm import ModelConfig
        >>> kind, default, setting = settings(ModelConfig)["layers"]
        >>> kind.__name__, default, setting.meaning
        ('int', 4, 'Number of transformer blocks.')
    """
    hints = get_type_hints(config, include_extras=True)
    annotated = {f.name: (get_args(hints[f.name]), f.default) for f in dataclasses.fields(config) if _is_setting(hints[f.name])}
    return {
        name: (str if get_origin(parts[0]) is Literal else parts[0], default, parts[1])
        for name, (parts, default) in annotated.items()
    }


def table(config: type[Any]) -> str:
    """The settings as a Markdown table."""
    rows = ["| setting | default | meaning | limits |", "| --- | --- | --- | --- |"]
    for name, (_, default, setting) in settings(config).items():
        only = f"for {_any_of(setting.optimizers)}" if setting.optimizers else ""
        limits = "; ".join(part for part in (setting.limits, only) if part)
        rows.append(f"| `{name}` | `{_toml(default)}` | {setting.meaning} | {limits} |")
    return "\n".join(rows)


def check(config: Any) -> None:
    """Refuse values of the wrong type or out of their limits; convert NumPy scalars, and integers where a float is meant.

    Raises:
        ConfigError: A value is refused, or differs from the default though the optimizer has no such setting.
    """
    changed = []
    for name, (kind, default, setting) in settings(type(config)).items():
        given = getattr(config, name)
        value: Any = given.item() if isinstance(given, np.generic) else given
        if type(value) is int and abs(value) >= 2**63:
            raise ConfigError(f"{name} must be below 2^63, as in TOML, got an integer of {value.bit_length()} bits")
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise ConfigError(f"{name} must be {_KINDS[kind]}, got {shown(value)}")
        if not setting.allows(value):
            finite = " and finite" if isinstance(value, float) and not math.isfinite(value) else ""
            raise ConfigError(f"{name} must be {setting.limits}{finite}, got {shown(value)}")
        object.__setattr__(config, name, value)  # only here, while the frozen object is made
        if value != default:
            changed.append(name)
    _refuse_inapplicable(config, changed)


def from_values(config: type[Config], values: Mapping[str, Any], *, where: str = "") -> Config:
    """A configuration from the values of a TOML table.

    Args:
        config: The dataclass to make.
        values: The values by name; what is missing has its default.
        where: Follows the name of an unknown setting in the error message.

    Raises:
        ConfigError: A name is unknown, a value is refused, or the optimizer has no such setting.
    """
    known = [f.name for f in dataclasses.fields(config)]  # type: ignore[arg-type]
    for name in values:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"the settings are {', '.join(known)}"
            if name in _RENAMED:
                hint = f"it is now called {_RENAMED[name]!r}"
            raise ConfigError(f"unknown setting {shown(name)}{where}: {hint}")
    made = config(**values)
    _refuse_inapplicable(made, values)
    return made


def toml_lines(config: Any) -> list[str]:
    """The lines of a TOML table with the settings that apply, each under a comment with its meaning."""
    return [
        line
        for name, (_, default, setting) in settings(type(config)).items()
        if _applies(config, setting) and not (setting.only_changed and getattr(config, name) == default)
        for line in (f"# {setting.meaning}", f"{name} = {_toml(getattr(config, name))}", "")
    ]


def _is_setting(hint: Any) -> bool:
    return get_origin(hint) is Annotated and isinstance(get_args(hint)[1], Setting)


def _applies(config: Any, setting: Setting) -> bool:
    return not setting.optimizers or getattr(config, "optimizer", "") in setting.optimizers


def _refuse_inapplicable(config: Any, names: Iterable[str]) -> None:
    """Refuse settings that the chosen optimizer does not have."""
    known = settings(type(config))
    for name in names:
        if name in known and not _applies(config, known[name][2]):
            own = [other for other, (_, _, setting) in known.items() if setting.optimizers and _applies(config, setting)]
            optimizer = getattr(config, "optimizer", "")
            raise ConfigError(f'{name} is not a setting of the optimizer "{optimizer}", which has {", ".join(own)}')


def _any_of(choices: tuple[str, ...]) -> str:
    *first, last = map(json.dumps, choices)
    return f"{', '.join(first)} or {last}" if first else last


def _toml(value: Any) -> str:
    """A value as TOML: strings have the escapes of JSON and that of DEL, numbers are written as by Python."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)
