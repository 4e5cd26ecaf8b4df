"""The trials of a search as a table of their resolved parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ablate.analysis.association import association, mean_ranks
from ablate.analysis.bounds import MOST_OBJECTIVES
from ablate.analysis.columns import PARAM, flat_param
from ablate.analysis.features import written_domains
from ablate.analysis.objective_choice import objective_place
from ablate.analysis.parameter_column import ParameterColumn, parameter_column
from ablate.analysis.pareto import ParetoInfo, pareto_info
from ablate.errors import NothingToDrawError, ParameterError
from ablate.ledger.record import StudyRecord
from ablate.study.keys import find_key, meant_keys

if TYPE_CHECKING:
    import pandas as pd

Domains = Mapping[str, Mapping[str, Any]]
"""Key -> its domain, as it is written in a space."""
Values = NDArray[np.float64]
Choose = Callable[[Sequence[ParameterColumn], Values], list[str]]
"""Parameters that differ between trials, and the trials' values in the objective -> keys."""


@dataclass(frozen=True)
class ParametersInfo(ParetoInfo):
    """The complete trials of a search, and some of its parameters, flat.

    A subset is one parameter, a mix has one a part (`ablate.analysis.columns.flat_param`).

    Attributes:
        columns: the parameters that are shown, in order, one value a point each.
        keys: flat ones of all parameters, shown or not.
        objective: place in `objectives` of the one that trials are compared by.
        shown: places in `objectives` of those that are shown, at most `MOST_OBJECTIVES`.
    """

    columns: tuple[ParameterColumn, ...]
    keys: tuple[str, ...]
    objective: int
    shown: tuple[int, ...]

    def frame(self) -> pd.DataFrame:
        """One row a complete trial.

        Columns:
            number: int64; loss_terms: text; on_front: bool.
            one an objective, float64.
            `param.<key>`, one a parameter shown: float64 where it is numeric, else text; missing
                where a condition left it out.
        """
        import pandas as pd

        table = super().frame()
        of_params = {
            PARAM + column.key: pd.Series(
                column.values, dtype="string" if column.kind == "categorical" else "float64"
            )
            for column in self.columns
        }
        return pd.concat([table, pd.DataFrame(of_params, index=table.index)], axis=1)


def parameters_info(
    record: StudyRecord,
    figure: str,
    *,
    choose: Choose,
    limit: int,
    least: int = 1,
    params: Sequence[str] = (),
    objective: str = "",
) -> ParametersInfo:
    """The parameters that a figure shows.

    Args:
        figure: its name, for messages.
        choose: takes the parameters that are shown where none is named, as `most_telling` does.
        limit: parameters that may be named.
        least: parameters without which there is no figure.
        params: keys, or their last parts, in the order in which they are shown (`find_params`).
        objective: a metric, whole or short; empty: the second objective, and all are shown
            (of many the first).

    Raises:
        NothingToDrawError: if the study has fewer parameters than `least`.
        ParameterError: if a name is unknown, or too many or too few are named.
    """
    pareto = pareto_info(record)
    place = objective_place(objective, pareto.objectives)
    domains = dict(written_domains(record.study.space))
    columns = _columns(record, pareto, domains)
    if len(columns) < least:
        needed = "a parameter that is searched" if least == 1 else f"{least} parameters"
        raise NothingToDrawError(
            f"study {record.name}: figure {figure} needs {needed}, got "
            f"{', '.join(columns) or 'none'}. Search one more in its space."
        )
    if params:
        chosen = find_params(params, list(columns))
        if not least <= len(chosen) <= limit:
            range_text = str(least) if least == limit else f"{least} to {limit}"
            raise ParameterError(
                f"--params: figure {figure} takes {range_text} of them, got {len(chosen)}: "
                f"{', '.join(chosen)}. Name {'more' if len(chosen) < least else 'fewer'}."
            )
    else:
        differ = [column for column in columns.values() if len(set(column.values) - {None}) > 1]
        if len(differ) < least:
            differ += [column for column in columns.values() if column not in differ]
        values = np.array([point.values[place] for point in pareto.points], dtype=float)
        chosen = choose(differ, values)
    return ParametersInfo(
        **vars(pareto),
        columns=tuple(columns[key] for key in chosen),
        keys=tuple(columns),
        objective=place,
        shown=(place,) if objective else tuple(range(min(len(pareto.objectives), MOST_OBJECTIVES))),
    )


def most_telling(most: int) -> Choose:
    """A choice of the parameters that sort the trials best (`ablate.analysis.association`).

    Args:
        most: of them, at most; equally good ones in the order of the space.
    """

    def choose(columns: Sequence[ParameterColumn], values: Values) -> list[str]:
        ranks = mean_ranks(values)
        told = {column.key: association(column, ranks) for column in columns}
        return sorted(told, key=lambda key: -told[key])[:most]

    return choose


def find_params(names: Sequence[str], keys: Sequence[str]) -> list[str]:
    """The parameters that a person means, each once.

    Args:
        names: each a key, or its last parts where no other ends so; or what several keys have
            before their last dot, for all of them: `augment.mix`, `fma`.
        keys: there are.

    Raises:
        ParameterError: if a name is none of them, or the end of several.
    """
    found: dict[str, None] = {}
    for name in names:
        found |= dict.fromkeys(_meant(name.removeprefix(PARAM), keys))
    return list(found)


def _meant(name: str, keys: Sequence[str]) -> list[str]:
    inside = [key for key in keys if name and f".{key}".rpartition(".")[0].endswith(f".{name}")]
    if not meant_keys(name, keys) and len({key.rpartition(".")[0] for key in inside}) == 1:
        return inside
    return [find_key(name, keys, where="--params", what="parameters of the study")]


def _columns(
    record: StudyRecord, pareto: ParetoInfo, domains: Domains
) -> dict[str, ParameterColumn]:
    """Every parameter by its flat key: of the space in its order, then what else rows have."""
    base_of: dict[str, str] = {}
    flat: dict[int, dict[str, Any]] = {}
    for row in record.rows:
        of_row = flat[row.number] = {}
        for base, value in row.params.items():
            parts = flat_param(base, value)
            of_row |= parts
            base_of |= dict.fromkeys(parts, base)
    named = set(base_of.values())
    base_of |= {key: key for key in domains if key not in named and "simplex" not in domains[key]}
    order = list(domains)
    unknown = len(order)
    bases = sorted(
        base_of.items(),
        key=lambda pair: (order.index(pair[1]), "") if pair[1] in domains else (unknown, pair[0]),
    )
    rows = [flat[point.number] for point in pareto.points]
    return {key: parameter_column(key, base, rows, domains.get(base, {})) for key, base in bases}
