"""Every reader, every way to spoil a file: neither a traceback, nor a hang, nor memory, nor a word of a library.

    python tests/fuzz/fuzz.py --cases 10000 --workers 2 --keep /tmp/found

Each case is decided by the seed and its number. A case may take 5 s of a processor's time, and 1.5 times the memory of
its reader with the good input; it ends in success or in one NeufieldError of one line.
"""

import argparse
import collections
import dataclasses
import multiprocessing
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutations import MUTATIONS, NEEDS_PLACE
from seeds import Seed, make_seeds
from worker import serve

SECONDS = 5.0  # of processor time
_ASLEEP = 60.0  # seconds that pass: of waiting for something, on a machine with other work
_MEMORY = 1.5
_FINE = ("read", "refused")


@dataclasses.dataclass
class Case:
    """What was tried, and, once it was, what came of it."""

    number: int
    seed: Seed
    mutation: str
    folder: Path
    verdict: str = ""
    words: str = ""
    before: int = 0  # kB
    more: int = 0


class Worker:
    """A process that reads, and the case that it is at."""

    def __init__(self, root: Path, index: int) -> None:
        self.root, self.index = root, index
        self.case: Case | None = None
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process: BaseProcess = context.Process(
            target=serve, args=(theirs, str(self.root / f"stderr{self.index}")), daemon=True
        )
        self.process.start()
        theirs.close()
        self.pipe.recv()

    def take(self, case: Case) -> None:
        """Begin with ``case``."""
        self.case, self.begun, self.cpu = case, time.monotonic(), _cpu_seconds(self.process)
        self.pipe.send((case.seed.reader, str(case.folder), str(case.folder / case.seed.file)))

    def finished(self) -> Case | None:
        """The case, once it has a verdict; who hangs is ended."""
        case = self.case
        assert case is not None
        if self.pipe.poll():
            try:
                case.verdict, case.words, case.before, case.more = self.pipe.recv()
            except EOFError:
                self.process.join()
                case.verdict, case.words = "crash", f"the process ended with {self.process.exitcode}"
                self._start()
        elif _cpu_seconds(self.process) - self.cpu > SECONDS or time.monotonic() - self.begun > _ASLEEP:
            case.verdict, case.words = "hang", f"more than {SECONDS:g} s"
            self.stop()
            self._start()
        else:
            return None
        self.case = None
        return case

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.join()


def cases(seeds: list[Seed], count: int, seed: int, root: Path) -> Iterator[Case]:
    """The good inputs, then ``count`` spoilt ones: every pair of input and mutation in turn."""
    for number, good in enumerate(seeds):
        yield Case(-1 - number, good, "none", _copied(good, root / f"good{number}", None))
    pairs = [(good, mutation) for good in seeds for mutation in MUTATIONS]
    random.Random(seed).shuffle(pairs)
    number = made = 0
    while made < count:
        good, mutation = pairs[number % len(pairs)]
        rng = random.Random(f"{seed}/{number}")
        number += 1
        data = (good.folder / good.file).read_bytes()
        place = (root / "forged.safetensors",) if mutation in NEEDS_PLACE else ()
        spoilt = MUTATIONS[mutation](data, rng, *place)
        if spoilt is not None and spoilt != data:
            made += 1
            yield Case(number - 1, good, mutation, _copied(good, root / f"case{number}", spoilt))


def fuzz(
    count: int, seed: int = 0, workers: int = 1, seconds: float = float("inf"), keep: Path | None = None
) -> list[Case]:
    """All cases that were tried within ``seconds``, each with its verdict."""
    tried: list[Case] = []
    good: dict[str, Case] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        coming = cases(make_seeds(root / "seeds"), count, seed, root)
        crew = [Worker(root, index) for index in range(workers)]
        end = time.monotonic() + seconds
        idle, more = list(crew), True
        while more or len(idle) < len(crew):
            while idle and more:
                case = next(coming, None) if time.monotonic() < end else None
                more = case is not None
                if case is not None:
                    idle.pop().take(case)
            busy = [worker for worker in crew if worker.case is not None]
            wait([worker.pipe for worker in busy], timeout=0.5)
            for worker in busy:
                case = worker.finished()
                if case is not None:
                    idle.append(worker)
                    _judge(case, good)
                    tried.append(case)
                    _put_away(case, keep)
        for worker in crew:
            worker.stop()
    return tried


def bad(tried: list[Case]) -> list[Case]:
    """Those that were not answered as they should be; of the good inputs, also those that were refused."""
    return [case for case in tried if case.verdict not in _FINE or (case.mutation == "none" and case.verdict != "read")]


def report(tried: list[Case]) -> str:
    """Two tables: by kind of input, by mutation; and a line for each fault, where it arose."""
    lines = []
    for of in (lambda case: case.seed.name, lambda case: case.mutation):
        table: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
        for case in tried:
            table[of(case)][case.verdict] += 1
        lines += [f"{name:40} {', '.join(f'{v} {n}' for v, n in sorted(row.items()))}" for name, row in table.items()]
        lines.append("")
    faults = collections.Counter((c.verdict, _where(c)) for c in bad(tried))
    lines += [f"{count:4} x {verdict}: {where}" for (verdict, where), count in faults.most_common()]
    return "\n".join(lines)


def _judge(case: Case, good: dict[str, Case]) -> None:
    """Call too much memory so: of the process as it was before the good input, of which ``good`` is told."""
    if case.mutation == "none":
        good[case.seed.name] = case
    like = good.get(case.seed.name, case)
    if case.verdict in _FINE and like.before + case.more > _MEMORY * (like.before + like.more):
        case.verdict, case.words = "memory", f"{case.more} kB more, the good input {like.more} kB; {case.words}"


def _where(case: Case) -> str:
    """The last line of ours in a traceback, or the words."""
    ours = [
        line.strip() for line in case.words.splitlines() if "/neufield/" in line and line.strip().startswith("File")
    ]
    last = case.words.strip().splitlines()[-1].replace(f"{case.folder}/", "")[:160] if case.words.strip() else ""
    place = ours[-1].rpartition("/neufield/")[2] if ours else case.seed.name
    return f"{place}: {last}"


def _copied(good: Seed, folder: Path, spoilt: bytes | None) -> Path:
    shutil.copytree(good.folder, folder)
    if spoilt is not None:
        (folder / good.file).write_bytes(spoilt)
    return folder


def _put_away(case: Case, keep: Path | None) -> None:
    if keep is not None and bad([case]):
        target = keep / f"{case.number}_{case.seed.reader}_{case.mutation}"
        shutil.copytree(case.folder, target, dirs_exist_ok=True)
        (target / "said.txt").write_text(
            f"{case.seed.name}, {case.mutation}: {case.verdict}\n{case.words}", errors="replace"
        )
    shutil.rmtree(case.folder)


def _cpu_seconds(process: BaseProcess) -> float:
    try:
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / 100  # user and system, in hundredths


def main() -> None:
    """Try, print, and end with 1 where something was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--keep", type=Path, help="a folder for what was found")
    options = parser.parse_args()
    begun = time.monotonic()
    tried = fuzz(options.cases, options.seed, options.workers, options.seconds, options.keep)
    print(report(tried))
    print(
        f"\n{len(tried)} inputs in {time.monotonic() - begun:.0f} s; {len(bad(tried))} not answered as they should be"
    )
    sys.exit(bool(bad(tried)))


if __name__ == "__main__":
    main()
