"""A runtime by its name."""

from tokencollab.actors.runtimes.base import Runtime


def make_runtime(choice: Runtime | str) -> Runtime:
    """``local``: threads of this process; ``ray``: actors of a cluster; or one that is there already."""
    if choice == "local":
        from tokencollab.actors.runtimes.threads import LocalRuntime  # noqa: PLC0415

        return LocalRuntime()
    if choice == "ray":
        from tokencollab.actors.runtimes.ray_actors import RayRuntime  # noqa: PLC0415

        return RayRuntime()
    assert not isinstance(choice, str)
    return choice
