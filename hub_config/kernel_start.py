"""What a kernel runs when it starts (``PYTHONSTARTUP``): it beats while a cell runs, and prints notices."""


def _begin() -> None:
    try:
        shell = get_ipython()  # type: ignore[name-defined]  # there in a kernel
        from ailab_kernel.ground.activity import follow
    except (NameError, ImportError):
        return
    follow(shell)


_begin()
del _begin
