"""Ctrl-C while a run trains: the step ends, the state is saved, and nothing is lost."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

from neufield.fitting import FitState

INTERRUPTED = "interrupted"  # in FitState.stopped, never in a state's file


@contextlib.contextmanager
def saved_on_ctrl_c(state: FitState, save: Callable[[FitState], object]) -> Iterator[Callable[[FitState], None]]:
    """Yield a hook for the ``fit`` of ``state``, which the first Ctrl-C ends after its step; ``save`` is called then.

    The second Ctrl-C ends it at once, with what was saved before. Raises KeyboardInterrupt, with a sentence, at the end
    of the block. Only the main thread hears of Ctrl-C: in others nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda _: None
        return
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        state.stopped = state.stopped or INTERRUPTED
        with contextlib.suppress(OSError):  # nobody listens
            os.write(2, b"\nneufield: stopping after this step\n")

    def look(state: FitState) -> None:
        if asked:
            state.stopped = state.stopped or INTERRUPTED

    before = signal.signal(signal.SIGINT, note)
    try:
        yield look
    finally:
        signal.signal(signal.SIGINT, before)
    if state.stopped == INTERRUPTED:
        state.stopped = ""
        save(state)
    if asked:
        raise KeyboardInterrupt(f"stopped at step {state.step}, which is saved; --resume and the same --out go on")
