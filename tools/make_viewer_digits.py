"""Makes the trained network that `eqprop view` opens on: of `eqprop train digits` the
recipe and the last weights, without what only going on with the training needs.

    python tools/make_viewer_digits.py
"""

import shutil
from pathlib import Path

import equinox as eqx

from eqprop import fit, training


FOLDER = Path(__file__).parent.parent / "eqprop" / "apps" / "viewer" / "digits"


def main() -> None:
    recipe = training.build(training.read_preset("digits"))
    run = fit(
        recipe.model(),
        recipe.data(),
        recipe.method,
        recipe.optimizer,
        **recipe.training,
    )
    shutil.rmtree(FOLDER, ignore_errors=True)
    directory = training.RunDirectory.create(FOLDER)
    directory.write_config(recipe.table)
    weights = {"model": eqx.filter(run.model, eqx.is_array)}
    directory.save("trained", weights, {}, best=False)


if __name__ == "__main__":
    main()
