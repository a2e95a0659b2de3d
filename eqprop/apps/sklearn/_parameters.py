"""Parameters that are Modules, whose own fields scikit-learn can search."""

import abc
import dataclasses
from collections.abc import Iterator
from typing import Any

import equinox as eqx
from sklearn.base import BaseEstimator

from ...training._registry import did_you_mean


class AbstractNestedParameters(BaseEstimator, abc.ABC):
    """An estimator some of whose parameters are Modules.

    The fields of a Module are parameters too, as those of an estimator in a pipeline
    are: `nudging__beta`, `solver__stop__atol`.
    """

    @abc.abstractmethod
    def _parts(self) -> dict[str, eqx.Module]:
        """The parameters that are Modules, by name; for `None` what it stands for."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name.

        **Arguments:**

        - `deep`: whether to list the fields of Modules too, as `nudging__beta`.
        """
        params = super().get_params(deep=False)
        if deep:
            for name, part in self._parts().items():
                # Whatever was passed is kept as it is; `fit` is what refuses it.
                if isinstance(part, eqx.Module):
                    params.update(_fields(name, part))
        return params

    def set_params(self, **params: Any) -> "AbstractNestedParameters":
        """Sets parameters, also fields of Modules: `set_params(nudging__beta=0.1)`.

        **Returns:**

        The estimator itself.

        **Raises:**

        - `ValueError`: there is no such parameter or field, or a Module refuses the
            value.
        """
        parts = self._parts()
        inner = {name for name in params if name.partition("__")[0] in parts}
        inner = {name for name in inner if "__" in name}
        # Whole parts first, whatever the order: then fields of the new ones.
        super().set_params(**{k: v for k, v in params.items() if k not in inner})
        for name in sorted(inner):
            first, _, path = name.partition("__")
            part = self._parts()[first]
            setattr(self, first, _replaced(part, path, params[name], name))
        return self


def _fields(name: str, part: eqx.Module) -> Iterator[tuple[str, Any]]:
    for field in dataclasses.fields(part):
        value = getattr(part, field.name)
        yield f"{name}__{field.name}", value
        if isinstance(value, eqx.Module):
            yield from _fields(f"{name}__{field.name}", value)


def _replaced(part: Any, path: str, value: Any, whole: str) -> eqx.Module:
    name, _, rest = path.partition("__")
    if not isinstance(part, eqx.Module):
        raise ValueError(
            f"`{whole}`: {part!r} has no fields. Set "
            f"`{whole.removesuffix('__' + path)}` to an object of eqprop first."
        )
    known = [field.name for field in dataclasses.fields(part)]
    if name not in known:
        raise ValueError(
            f"`{whole}`: a `{type(part).__name__}` has no field `{name}`."
            f"{did_you_mean(name, known)} Its fields are: {', '.join(known) or 'none'}."
        )
    if rest:
        value = _replaced(getattr(part, name), rest, value, whole)
    return dataclasses.replace(part, **{name: value})
