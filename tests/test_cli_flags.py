"""Fields of the configuration on the command line, in the environment and in files."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from eqprop._presets import read_preset
from eqprop.apps.cli._configure import configure
from eqprop.apps.cli._flags import environment_table, parse_value, split_flags
from eqprop.training._recipe import resolve


@pytest.mark.parametrize(
    "tokens, rest, table",
    [
        (["train", "--seed", "3"], ["train", "--seed", "3"], {}),
        (["--a.b", "0.2", "x"], ["x"], {"a": {"b": 0.2}}),
        (["--a.b=0.2", "--out=d.e"], ["--out=d.e"], {"a": {"b": 0.2}}),
        (["--a.b", "-0.2"], [], {"a": {"b": -0.2}}),
        (["--a.b", "[0.1, 2]", "--a.c=x=y"], [], {"a": {"b": [0.1, 2], "c": "x=y"}}),
        (["--a.max-steps", "3"], [], {"a": {"max_steps": 3}}),
        (["--a.b", "1", "--a.b", "2"], [], {"a": {"b": 2}}),
        (
            ["--a.b.type", "Euler", "--a.b.c", "1"],
            [],
            {"a": {"b": {"type": "Euler", "c": 1}}},
        ),
        (["x", "--", "--a.b", "1"], ["x", "--", "--a.b", "1"], {}),
    ],
)
def test_dotted_flags_leave_the_others_alone(
    tokens: list[str], rest: list[str], table: dict[str, Any]
):
    assert split_flags(tokens) == (rest, table)


@pytest.mark.parametrize(
    "tokens, message",
    [
        (["--a.b"], "`--a.b` needs a value"),
        (["--a.b", "--json"], "`--a.b` needs a value"),
        (["--a.b", "1", "--a.b.c", "2"], "`--a.b.c` sets a field of `b`"),
        (["--a.b.c", "1", "--a.b", "2"], "`--a.b` is set to 2, but fields"),
        (["--a.", "1"], "names no field"),
    ],
)
def test_flags_that_contradict_are_refused(tokens: list[str], message: str):
    with pytest.raises(ValueError, match=message):
        split_flags(tokens)


@pytest.mark.parametrize(
    "text, value",
    [
        ("3", 3),
        ("1e-3", 1e-3),
        (".5", 0.5),
        ("true", True),
        ("[784, 10]", [784, 10]),
        ('"3"', "3"),
        ("Euler", "Euler"),
        ("", ""),
        ('{type = "Euler"}', {"type": "Euler"}),
        # One value, whatever it says.
        ("1\nother = 2", "1\nother = 2"),
    ],
)
def test_values_are_toml_or_strings(text: str, value: Any):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


def test_variables_name_fields():
    environ = {
        "EQPROP_TRAINING__EPOCHS": "3",
        "EQPROP_METHOD__NUDGING__BETA": "0.1",
        "EQPROP_METHOD__SOLVER__MAX_STEPS": "7",
        # Not configuration.
        "EQPROP_DATA": "/somewhere",
        "EQPROP_TEST_MNIST": "/elsewhere",
        "HOME": "/",
    }
    assert environment_table(environ) == {
        "training": {"epochs": 3},
        "method": {"nudging": {"beta": 0.1}, "solver": {"max_steps": 7}},
    }


def test_a_variable_with_one_underscore_is_refused():
    with pytest.raises(ValueError, match="Write EQPROP_TRAINING__EPOCHS"):
        environment_table({"EQPROP_TRAINING_EPOCHS": "3"})


def epochs_of(**layers: Any) -> int:
    arguments = {"preset": None, "file": None, "flags": {}, "environ": {}} | layers
    return configure(**arguments)["training"]["epochs"]


def test_later_layers_win(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text("[training]\nepochs = 91\n")
    environ = {"EQPROP_TRAINING__EPOCHS": "92"}
    flags = {"training": {"epochs": 93}}
    assert epochs_of(preset="scellier2017/net1") == 25
    assert epochs_of(preset="scellier2017/net1", file=file) == 91
    assert epochs_of(file=file, environ=environ) == 92
    assert epochs_of(file=file, environ=environ, flags=flags) == 93
    assert epochs_of(preset="mnist", flags=flags) == 93


def test_a_type_in_a_higher_layer_replaces_the_whole_table(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('[method.solver]\ntype = "Euler"\nstep_size = 0.25\n')
    arguments: dict[str, Any] = {"preset": None, "file": file, "environ": {}}
    kept = configure(**arguments, flags={"method": {"solver": {"max_steps": 4}}})
    euler = {"type": "Euler", "step_size": 0.25, "max_steps": 4, "certify": 1e-3}
    assert kept["method"]["solver"] == euler
    other = {"method": {"solver": {"type": "FixedPoint"}}}
    dropped = configure(**arguments, flags=other)["method"]["solver"]
    assert "step_size" not in dropped
    # FixedPoint's own default, not the 4 or 10 of a layer below.
    assert dropped["max_steps"] == 100


def test_a_whole_recipe_stands_alone(tmp_path: Path):
    net1 = resolve(read_preset("scellier2017/net1"))
    lines = (Path("eqprop/training/presets") / "scellier2017" / "net1.toml").parts
    source = Path(__file__).resolve().parent.parent.joinpath(*lines)
    file = tmp_path / "mine.toml"
    file.write_bytes(source.read_bytes())
    alone = configure(None, file, {}, {})
    assert alone == net1 | {"preset": "mine"}
    # Beside a preset it is a layer: what it doesn't say comes from there.
    beside = configure("digits", file, {}, {})
    assert beside["preset"] == "digits"
    assert beside["method"] == net1["method"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("[training]\nepoch = 3\n", r"mine\.toml: `training.epoch` is unknown"),
        ("[training\n", r"mine\.toml is not valid TOML"),
        ("epochs = 3\n", r"mine\.toml: `epochs` is no part of a recipe"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, text: str, message: str):
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        configure(None, file, {}, {})


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="`--config` is .*nope.toml"):
        configure(None, tmp_path / "nope.toml", {}, {})


def test_the_environment_is_named():
    with pytest.raises(ValueError, match="environment: `training.epoch` is unknown"):
        configure(None, None, {}, {"EQPROP_TRAINING__EPOCH": "3"})


def test_presets_are_plain_toml():
    assert read_preset("digits")["data"] == tomllib.loads('type = "digits"')
