"""Functions of the user's, found by name: `package.module:function` or `folder/file.py:function`.

A name and not an object: workers are fresh processes, a run that goes on later is another one, and
both find the same function again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from policysearch.errors import InvalidValueError, unknown_name

_depth = 0


def is_importing() -> bool:
    """Whether a user's file is being imported: what starts a run then would start it for ever."""
    return _depth > 0


def find_function(name: str) -> Callable[..., Any]:
    """Imports a function by its name.

    Args:
      name: `package.module:function`, looked for in the working directory too, or
        `folder/file.py:function`.

    Raises:
      InvalidValueError: When there is no such module, file or function, or the import fails.
    """
    place, colon, attribute = name.rpartition(":")
    if not colon or not place or not attribute:
        raise InvalidValueError(
            "A function is named as `package.module:function` or `file.py:function`, "
            f"got {name!r}."
        )
    is_file = place.endswith(".py")
    module = _from_file(Path(place), name) if is_file else _from_import(place, name)
    function = getattr(module, attribute, None)
    if function is None:
        known = [k for k, v in vars(module).items() if callable(v) and not k.startswith("_")]
        raise InvalidValueError(unknown_name("function", attribute, known, place))
    if not callable(function):
        raise InvalidValueError(f"'{name}' must be a function, got {type(function).__name__}.")
    found: Callable[..., Any] = function
    return found


def name_of(function: Callable[..., Any]) -> str:
    """The name under which `find_function` finds a function in another process.

    Raises:
      InvalidValueError: When it has none: lambdas, nested functions, notebooks.
    """
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    name = getattr(function, "__qualname__", type(function).__name__)
    if module is None or getattr(module, name, None) is not function:
        raise InvalidValueError(
            f"A worker process cannot find the function '{name}': it must stand at the top level "
            "of a module or a script, under its own name."
        )
    if module.__name__ != "__main__":
        return f"{module.__name__}:{name}"
    path = getattr(module, "__file__", None)
    if path is None or not path.endswith(".py"):
        raise InvalidValueError(
            f"A worker process cannot find the function '{name}': it was typed into a session. "
            "Write it into a file and import it."
        )
    return f"{os.path.abspath(path)}:{name}"


def source_digest(function: Callable[..., Any]) -> str:
    """Digest of the file that a function stands in; empty where there is none."""
    with contextlib.suppress(OSError, TypeError):
        path = inspect.getsourcefile(inspect.unwrap(function))
        return hashlib.sha256(Path(path or "").read_bytes()).hexdigest()[:16]
    return ""


@contextlib.contextmanager
def importable(folder: str | os.PathLike[str] | None = None) -> Iterator[None]:
    """Lets modules of a folder, by default the working directory, be imported."""
    here = os.path.abspath(folder or os.getcwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        if here in sys.path:
            sys.path.remove(here)


@contextlib.contextmanager
def _importing(what: str, folder: Path | None = None) -> Iterator[None]:
    """Turns whatever an import raises into an error that names it."""
    global _depth
    _depth += 1
    try:
        with importable(folder):
            yield
    except InvalidValueError:
        raise
    except Exception as error:
        raise InvalidValueError(
            f"{what} failed to import: {type(error).__name__}: {error}."
        ) from error
    finally:
        _depth -= 1


def _from_import(module_name: str, name: str) -> ModuleType:
    with _importing(f"Module '{module_name}'"):
        try:
            return importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            whose = (
                "" if module_name.startswith(str(error.name)) else f", needed by {module_name},"
            )
            raise InvalidValueError(
                f"Module '{error.name}'{whose} was not found ('{name}'). Run from the folder that "
                "holds it, or install it."
            ) from error


def _from_file(path: Path, name: str) -> ModuleType:
    whole = path.resolve()
    main = sys.modules.get("__main__")
    if main is not None and Path(getattr(main, "__file__", None) or "").resolve() == whole:
        return main  # the script that runs: importing it would run it again
    if not whole.is_file():
        raise InvalidValueError(f"File '{path}' does not exist ('{name}').")
    module_name = f"policysearch_user_{hashlib.sha256(str(whole).encode()).hexdigest()[:12]}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, whole)
    if spec is None or spec.loader is None:
        raise InvalidValueError(f"File '{path}' cannot be imported ('{name}').")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module
    try:
        with _importing(f"File '{path}'", whole.parent):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    return module
