"""The entry of ``neufield``. It loads nothing by itself, so that Ctrl-C is answered from the first moment on."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import neufield


def main(arguments: list[str] | None = None) -> None:
    """Parse and carry out a command. What the user can mend ends in one sentence and exit code 2."""
    if (sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        print(f"neufield {neufield.__version__}")
        return
    with _nothing_to_lose():
        from neufield.apps.commands import parse
        from neufield.apps.standard_error import complain
        from neufield.core.errors import NeufieldError
        from neufield.core.memory import explain_exhaustion
    command = None
    try:
        with _nothing_to_lose():
            command = parse(arguments)
        run(command)
    except NeufieldError as error:
        complain(str(error))
        sys.exit(2)
    except (MemoryError, RuntimeError) as error:
        sentence = explain_exhaustion(error)
        if sentence is None:
            raise
        complain(sentence)
        sys.exit(2)
    except KeyboardInterrupt as stop:
        resumable = command is not None and "resume" in vars(command)
        complain(
            str(stop) or ("stopped; --resume goes on from the last save, if there was one" if resumable else "stopped")
        )
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)


def run(command: Any) -> None:
    """Carry out a parsed command."""
    with _nothing_to_lose():
        from neufield.apps.commands import function_of
        from neufield.apps.options import Limits
        from neufield.core.files import check_name
        from neufield.core.memory import budget_of, keep_freed_memory
        from neufield.core.processors import wait_asleep

        for value in vars(command).values():
            if isinstance(value, (str, Path)):
                check_name(value)
        keep_freed_memory()
        wait_asleep()  # before torch is loaded, by what is imported next
        carry_out = function_of(command)

        from neufield.apps.threads import use_threads
    limits = command if isinstance(command, Limits) else Limits()
    with budget_of(limits.memory_budget):
        use_threads(limits.threads)
        carry_out(command)


@contextlib.contextmanager
def _nothing_to_lose() -> Iterator[None]:
    """While modules are loaded, Ctrl-C ends the process there and then: not all of them survive an exception."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        os.write(2, b"neufield: stopped\n")
        os._exit(130)

    before = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    main()
