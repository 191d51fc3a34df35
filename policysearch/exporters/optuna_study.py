"""A run as a study of Optuna: for its dashboard, its plots, and whatever else reads studies.

The ledger stays the truth; a study is made from it and can be made again. Exporting into a study
of the same run adds the trials that are not there yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from policysearch.config import SearchConfig, read_config
from policysearch.errors import (
    InvalidValueError,
    MissingDependencyError,
    RunError,
    UnknownNameError,
)
from policysearch.ledger import read_ledger, valid_records
from policysearch.ops.registry import OPS_VERSIONS
from policysearch.policy_json import policy_from_dict
from policysearch.samplers.optuna_trials import distributions_of, frozen_trial
from policysearch.space import SearchSpace
from policysearch.space_yaml import DEFAULT_SPACE, load_space
from policysearch.trial import Outcome, Suggestion, Trial

#: Where a study says which run it was made from, and a trial which record.
_RUN, _RECORD = "policysearch:run", "policysearch:record"
#: Channels of the images that a space may have been restricted to.
_CHANNELS = (1, 2, 3)


def export_study(run: Path, storage: str, name: str | None = None) -> tuple[str, int, int]:
    """Writes the trials of a run into a study.

    Args:
      run: Run directory of a search.
      storage: What Optuna takes, such as `sqlite:///study.db` or `postgresql://host/database`; a
        file `study.db`, or `study.journal` for a journal.
      name: Of the study; `None` takes that of the directory.

    Returns:
      Name of the study, trials added, trials in it.

    Raises:
      InvalidValueError: When the run is no search, or the study is not of this run.
      RunError: When the storage cannot be reached or written.
    """
    exporter = StudyExporter(run)
    named = name or run.resolve().name
    try:
        with opened_storage(storage) as opened:
            study = exporter.open(opened, named)
            added = exporter.update(study)
            n = len(study.get_trials(deepcopy=False))
    except (sqlalchemy.exc.SQLAlchemyError, optuna.exceptions.OptunaError, OSError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise RunError(f"The storage {_shown(storage)} cannot be written: {reason}") from error
    return named, added, n


class StudyExporter:
    """Copies the trials of a run into a study, as often as one likes: each once.

    Args:
      run: Run directory of a search.

    Raises:
      InvalidValueError: When it is the run of a comparison, or its space has changed since.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        config = read_config(run / "config.yaml")
        if config.policies:
            raise InvalidValueError(f"'{run}' is a comparison: it holds no trials of a search.")
        self._header = read_ledger(run / "ledger.jsonl")[0]
        self._space = _space_of(self._header, config)
        self._distributions = distributions_of(self._space)

    def open(self, storage: BaseStorage, name: str) -> optuna.Study:
        """The study of this run in a storage, made when it is not there.

        Raises:
          InvalidValueError: When a study of that name holds something else.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        text = json.dumps(self._header, sort_keys=True)
        identity = hashlib.sha256(text.encode()).hexdigest()[:16]
        study = optuna.create_study(
            storage=storage, study_name=name, direction="minimize", load_if_exists=True
        )
        known = study.user_attrs.get(_RUN)
        is_minimized = study.direction == optuna.study.StudyDirection.MINIMIZE
        if known is None and is_minimized and not study.get_trials(deepcopy=False):
            study.set_user_attr(_RUN, identity)
            for key in ("dataset", "space", "seed", "sampler", "versions", "at"):
                study.set_user_attr(key, self._header.get(key))
        elif known != identity:
            raise InvalidValueError(
                f"The study '{name}' was not made from the run '{self._run}', so it was left as "
                "it is. Give another --name."
            )
        return study

    def update(self, study: optuna.Study) -> int:
        """Adds the trials that the study does not hold yet, by number; returns how many."""
        known = {t.user_attrs.get(_RECORD) for t in study.get_trials(deepcopy=False)}
        records = valid_records(read_ledger(self._run / "ledger.jsonl"), "trial")
        fresh = [r for r in records if _identity(r) not in known]
        for record in sorted(fresh, key=lambda r: int(r["number"])):
            study.add_trial(self._frozen(record))
        return len(fresh)

    def _frozen(self, record: Mapping[str, Any]) -> FrozenTrial:
        params, state = record.get("params"), record.get("sampler_state", {})
        if params is None:
            policy = policy_from_dict(record["policy"]).policy
        else:
            policy = self._space.decode(params)
        outcome = Outcome.from_dict(record)
        suggestion = Suggestion(policy, record["origin"], params, state)
        shared: dict[str, BaseDistribution] = {} if params is None else self._distributions
        frozen = frozen_trial(Trial(record["number"], suggestion, outcome), shared)
        # Optuna's times are local and without a zone.
        frozen.datetime_complete = (
            datetime.fromisoformat(record["at"]).astimezone().replace(tzinfo=None)
        )
        frozen.datetime_start = frozen.datetime_complete - timedelta(seconds=outcome.seconds)
        attributes = {
            _RECORD: _identity(record),
            "number": record["number"],
            "origin": record["origin"],
            "policy": policy.digest(),
            "seconds": outcome.seconds,
            "attempts": outcome.attempts,
        }
        if outcome.failure is not None:
            attributes |= {"failure": outcome.failure, "message": outcome.message}
        for key, value in attributes.items():
            frozen.set_user_attr(key, value)
        return frozen


def _identity(record: Mapping[str, Any]) -> str:
    """A trial that was tried again has a record of its own."""
    return f"{record['number']} {record['at']}"


def _space_of(header: Mapping[str, Any], config: SearchConfig) -> SearchSpace:
    """The space of a run, which its images may have restricted."""
    name = config.space or DEFAULT_SPACE
    for modality in OPS_VERSIONS:
        with contextlib.suppress(UnknownNameError):  # not every kind of data has every space
            space = load_space(name, modality).gentler(config.range_share)
            for n_channels, is_deep in itertools.product(_CHANNELS, (False, True)):
                with contextlib.suppress(InvalidValueError):  # no op is left
                    restricted = space.restricted_to(n_channels, is_deep=is_deep)
                    if restricted.digest() == header.get("space"):
                        return restricted
    raise InvalidValueError(
        f"The space '{name}' is not what it was when the run was made, so its parameters "
        "cannot be told. Restore it."
    )


#: How the name of a file with an SQLite database ends.
_DATABASES = (".db", ".sqlite", ".sqlite3")


@contextlib.contextmanager
def opened_storage(text: str) -> Iterator[BaseStorage]:
    """A storage from a URL or the name of a file; its connections are closed afterwards.

    Raises:
      InvalidValueError: For what is no URL that Optuna knows.
      MissingDependencyError: When the database needs a Python package that is not there.
    """
    if "://" not in text and Path(text).suffix in {".journal", ".log"}:
        yield JournalStorage(JournalFileBackend(text))
        return
    if "://" not in text and Path(text).suffix not in _DATABASES:
        raise InvalidValueError(
            f"`--storage` must be a URL, or a file that ends in {', '.join(_DATABASES)} (SQLite), "
            f".journal or .log (Optuna's journal), got {text!r}."
        )
    storage = _database(text if "://" in text else f"sqlite:///{text}")
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _database(url: str) -> RDBStorage:
    try:
        if sqlalchemy.engine.make_url(url).get_backend_name() != "sqlite":
            return RDBStorage(url)
        storage = RDBStorage(url, engine_kwargs={"connect_args": {"timeout": 60}})
    except (sqlalchemy.exc.ArgumentError, sqlalchemy.exc.NoSuchModuleError) as error:
        raise InvalidValueError(
            f"`--storage` must be a URL such as sqlite:///study.db or postgresql://host/database, "
            f"or a file study.db or study.journal, got {_shown(url)}."
        ) from error
    except ImportError as error:
        raise MissingDependencyError(
            f"The storage {_shown(url)} needs the Python package of its database: {error}. "
            "For PostgreSQL: pip install 'psycopg[binary]', and postgresql+psycopg://..."
        ) from error
    # A study can be made again: SQLite need not wait for the disk after each of its trials.
    sqlalchemy.event.listen(storage.engine, "connect", _do_not_sync)
    storage.engine.dispose()
    return storage


def _do_not_sync(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous=OFF")


def _shown(storage: str) -> str:
    """The storage without its password."""
    try:
        shown = sqlalchemy.engine.make_url(storage).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        shown = storage
    return f"'{shown}'"
