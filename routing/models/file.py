"""A router model as bytes: a zip of one JSON document and of arrays of numbers.

The same bytes are a file on disk and the `body` of a row of `router_models`. Reading them can
run no code: there is no pickle, arrays of objects are refused, and what they may unpack to is
limited. Equal models give equal bytes.
"""

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np

from core.errors import InputError
from routing.models.choice import ChoiceModel
from routing.models.intent import IntentModel
from routing.models.state import Array, Model, State

FORMATS: Final[Mapping[str, int]] = MappingProxyType({"choice": 2, "intent": 2})
"""By kind what is written. Older ones can be read. 2 of choice: may read vectors of texts. 2 of
intents: knows how far a vector lies from those of the examples; its threshold counts on that."""
MOST_BYTES: Final = 2 << 30  # unpacked

_HEAD = "model.json"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold

Stored: TypeAlias = ChoiceModel | IntentModel

# By the task a model was trained for: how it is built again.
KINDS: Final[Mapping[str, Callable[[State], Stored]]] = MappingProxyType(
    {"choice": ChoiceModel.from_state, "intent": IntentModel.from_state}
)


def dump(model: Model) -> bytes:
    """The model as bytes, to be kept anywhere."""
    state = model.state()
    head = {"format": FORMATS[model.kind], "kind": model.kind, "fields": state.fields}
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as archive:
        archive.writestr(zipfile.ZipInfo(_HEAD, _EPOCH), json.dumps(head, sort_keys=True))
        for name, array in sorted(state.arrays.items()):
            with archive.open(zipfile.ZipInfo(f"{name}.npy", _EPOCH), "w") as entry:
                np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
    return held.getvalue()


def load(body: bytes) -> Stored:
    """The model of these bytes, its encoder not yet at work. Raises InputError for bytes that are
    none that we know."""
    try:
        with zipfile.ZipFile(io.BytesIO(body)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > MOST_BYTES:
                raise InputError(f"The router model unpacks to more than {MOST_BYTES >> 30} GiB.")
            head = json.loads(archive.read(_HEAD))
            arrays = {
                name.removesuffix(".npy"): _array(archive, name)
                for name in archive.namelist()
                if name.endswith(".npy")
            }
    except (zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise InputError(
            f"This is no router model, or a damaged one ({error}). "
            "`batchyard router train` writes them."
        ) from error
    return _build(head, arrays)


def load_choice(body: bytes) -> ChoiceModel:
    """The model of these bytes, which has to be one that chooses. Raises InputError."""
    model = load(body)
    if not isinstance(model, ChoiceModel):
        raise InputError(f"The model is one for {model.kind}, where one for choice is needed.")
    return model


def _array(archive: zipfile.ZipFile, name: str) -> Array:
    with archive.open(name) as entry:
        array: Array = np.lib.format.read_array(entry, allow_pickle=False)
    return array


def _build(head: Any, arrays: Mapping[str, Array]) -> Stored:
    form, kind = head.get("format"), head.get("kind")
    if kind not in KINDS or form not in range(1, FORMATS[kind] + 1):
        read = ", ".join(f"{name} up to {newest}" for name, newest in FORMATS.items())
        raise InputError(
            f"A router model of format {form}, kind {kind!r}: this batchyard reads the formats of "
            f"{read}. Train it again, or use the batchyard that wrote it."
        )
    try:
        return KINDS[head["kind"]](State(head["fields"], arrays))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise InputError(f"The router model lacks a part ({error!r}). Train it again.") from error
