"""How processes that serve for long look for garbage."""

import gc

_YOUNG, _MIDDLE, _OLD = gc.get_threshold()


def settle() -> None:
    """To be called when all is loaded: that stays, and is not searched any more.

    What comes with the first requests (addresses, serializers, texts) stays as well, so all of it
    is searched ten times as rarely as Python does: it took milliseconds of every twentieth answer.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, _MIDDLE, 10 * _OLD)
