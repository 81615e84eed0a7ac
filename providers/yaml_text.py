"""YAML as people mean it: version 1.2's scalars.

PyYAML reads version 1.1, in which `on` and `no` are booleans, 0600 is 384, 1:30 is 90 and
2024-07-18 is a date. Here only `true` and `false` are booleans, a number is decimal unless it
begins with 0x or 0o, and everything else is text. So is every key.
Source: YAML 1.2.2, section 10.3, the core schema.
"""

import re
from collections.abc import Hashable
from typing import Any, Final

import yaml
from typing_extensions import override
from yaml.nodes import MappingNode, ScalarNode

_TAG: Final = "tag:yaml.org,2002:"
MERGE_KEY: Final = "<<"

_SCALARS: Final = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", MERGE_KEY, "<"),
)


class Loader(yaml.SafeLoader):
    """A safe loader of these scalars."""

    @override
    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        if isinstance(node, MappingNode):
            for key, _ in node.value:
                if isinstance(key, ScalarNode) and key.tag != f"{_TAG}merge":
                    key.tag = f"{_TAG}str"
        return super().construct_mapping(node, deep)

    def whole(self, node: ScalarNode) -> int:
        """A whole number: decimal, however many zeros it begins with."""
        text = str(node.value)
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))


# None of the base class, which knows those of version 1.1.
Loader.yaml_implicit_resolvers = {}
for _name, _pattern, _first in _SCALARS:
    Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), list(_first))
Loader.add_constructor(f"{_TAG}int", Loader.whole)


def load_yaml(text: str) -> Any:
    """What a text of one document holds. Raises yaml.YAMLError."""
    loader = Loader(text)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def reason(error: OSError | UnicodeDecodeError) -> str:
    """Why a file cannot be read, in a few words."""
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return f"byte {error.start + 1} is not UTF-8 text"
