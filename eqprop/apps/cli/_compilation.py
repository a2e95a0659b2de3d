"""What a command has compiled once, the next one reads from the user's cache."""

import os


def keep_compiled() -> None:
    """Turns on JAX's persistent compilation cache, in the user's cache folder.

    `JAX_COMPILATION_CACHE_DIR` names another folder, and
    `JAX_ENABLE_COMPILATION_CACHE=false` turns it off. Without the extra `data`, which
    knows where caches belong, there is none.
    """
    import jax

    from ...data._places import user_cache

    folder = user_cache()
    if folder is None or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    jax.config.update("jax_compilation_cache_dir", str(folder / "compiled"))
    # Most of what a small net needs compiles in less than JAX's default of a second,
    # and together these take longer than the large loop.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
