"""TOML in, TOML out. Errors name the file, the key, what was found and the nearest valid key."""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError

from atft_hpo.config.schema import Config
from atft_hpo.config.search_schema import Choices, FloatRange, IntRange
from atft_hpo.errors import ConfigError

_DOMAINS: dict[str, type[BaseModel]] = {
    "float": FloatRange,
    "int": IntRange,
    "categorical": Choices,
}


def load_config(path: Path) -> Config:
    """The configuration in `path`.

    Raises:
        ConfigError: the file is absent, not TOML, or has a wrong key or value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read ({error.strerror}); give an existing TOML file"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; give a TOML file") from error
    return parse_config(text, str(path))


def parse_config(text: str, source: str = "configuration") -> Config:
    """The configuration in TOML `text`; `source` names it in errors."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{source}: not valid TOML: {error}") from error
    return build_config(values, source)


def build_config(values: Mapping[str, Any], source: str = "configuration") -> Config:
    """The configuration from nested `values`, checked.

    Raises:
        ConfigError: one line that names each wrong key or value.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(_sentence(dict(e)) for e in error.errors())
        raise ConfigError(f"{source}: {problems}") from error


def dump_config(config: Config) -> str:
    """TOML that `parse_config` reads back as an equal configuration."""
    return tomli_w.dumps(config.model_dump(mode="json", exclude_none=True))


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy with dotted keys replaced, checked as a whole.

    Raises:
        ConfigError: a key is unknown or a value is not valid.
    """
    tree = config.model_dump(mode="json", exclude_none=True)
    for key, value in values.items():
        *parents, last = key.split(".")
        node = tree
        for part in parents:
            node = node.setdefault(part, {})
            if not isinstance(node, dict):
                raise ConfigError(f"unknown key {key!r}: {part!r} is a value, not a section")
        node[last] = value
    return build_config(tree, "configuration with " + ", ".join(values))


def nearest(key: str, valid: list[str], kind: str = "valid keys") -> str:
    """A hint naming the nearest of `valid`, or all of them under the name `kind`."""
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"{kind}: {', '.join(sorted(valid))}"


def section_at(path: tuple[str, ...]) -> type[BaseModel] | None:
    """The section model at a dotted path of `Config`; None when the path is no section."""
    model: type[BaseModel] = Config
    for part in path:
        info = model.model_fields.get(part)
        found = _section_type(info.annotation) if info else None
        if found is None:
            return None
        model = found
    return model


def _section_type(annotation: Any) -> type[BaseModel] | None:
    is_union = get_origin(annotation) in (Union, UnionType)
    for candidate in get_args(annotation) if is_union else (annotation,):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def _sentence(error: dict[str, Any]) -> str:
    location = tuple(str(part) for part in error["loc"])
    key = ".".join(location)
    in_space = location[:2] == ("search", "space")
    if error["type"] == "extra_forbidden":
        section = _DOMAINS.get(location[-2]) if in_space else section_at(location[:-1])
        hint = nearest(location[-1], list(section.model_fields)) if section else "remove it"
        return f"unknown key {key!r}: {hint}"
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "union_tag_not_found" and in_space:
        return f"{key}: has no type (float, int or categorical); write a dotted key in quotes"
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "value_error":
        return f"{key}: {message}" if key else message
    return f"{key} = {error['input']!r}: {message}"
