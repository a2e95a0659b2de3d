"""What every test runs under: float64, no silent promotion, one CPU, fixed seeds."""

import os
import signal
from pathlib import Path


# Read when JAX is first imported. `JAX_PLATFORMS=cuda pytest -m device` overrides it.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# The commands turn JAX's compilation cache on, for the whole process. Of one with
# thousands of programs, as this is, JAX 0.10 has crashed while storing another.
os.environ.setdefault("JAX_ENABLE_COMPILATION_CACHE", "false")

import jax
import pytest
from hypothesis import settings


jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Most of the time goes into compiling programs that run once. Commands, pages and
# tutorials run in processes of their own, fully optimized, as a user's do.
jax.config.update("jax_disable_most_optimizations", True)

# A shell's background job ignores SIGINT, and so would the commands that tests start
# and interrupt: they'd never end.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadline: the first example of a test pays for its compilation. Derandomized:
# a failure seen once is a failure seen by everyone.
settings.register_profile("eqprop", deadline=None, derandomize=True, database=None)
settings.load_profile("eqprop")

REPOSITORY = Path(__file__).resolve().parent.parent


# They take longest. Begun first, none of them is what a worker is left waiting for.
_LONGEST = (
    *("test_reproduce_command", "test_docs", "test_tutorials", "test_viewer_page"),
    *("test_plots_runs", "test_bench_command"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in _LONGEST)
    marked = [item for item in items if item.get_closest_marker("device") is not None]
    # Asking for the backend starts it, so only if a test wants to know.
    if marked and jax.default_backend() == "cpu":
        reason = "needs an accelerator; JAX has only a CPU here"
        for item in marked:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The folder of the real MNIST files, or a skip where there is none."""
    named = os.environ.get("EQPROP_TEST_MNIST")
    folder = Path(named) if named else REPOSITORY.parent / "shared" / "data" / "mnist"
    if folder.is_dir():
        return folder
    if named:
        pytest.fail(f"EQPROP_TEST_MNIST={named} is not a folder.")
    pytest.skip("no MNIST here; point EQPROP_TEST_MNIST at a folder of its IDX files")


@pytest.fixture(scope="module")
def optimized():
    """Programs as a user's process compiles them: for what trains for long, or is held
    against another process."""
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
    jax.clear_caches()


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Every compiled program holds a dozen memory maps, of which Linux allows a process
    65,530: past that the compiler aborts. Forgotten in time, they are given back."""
    yield
    if _memory_maps() > 20_000:
        jax.clear_caches()


def _memory_maps() -> int:
    try:
        return Path("/proc/self/maps").read_bytes().count(b"\n")
    except OSError:
        return 0  # not Linux
