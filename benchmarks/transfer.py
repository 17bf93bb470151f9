"""What a transfer costs: ``python -m benchmarks.transfer [--visits N] [--lesions N]``.

One site with all visits, which is the most that a bundle can hold of a trial; a bundle of a trial with many
sites is a part of it.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

from mesems_mri.config import Access
from mesems_mri.transfer.archive import write_archive
from mesems_mri.transfer.send import send
from mesems_mri.transfer.verify import verify_bundle
from tests.small_study import SmallStudy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=1000)
    parser.add_argument("--lesions", type=int, default=40, help="T2 lesions of every visit")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        study = SmallStudy(Path(folder) / "study", t2_lesions=arguments.lesions)
        for number in range(arguments.visits):
            study.add(f"sub-{number // 7:04}", f"ses-w{4 * (number % 7):02}")
        study.finish()
        inbox, archive = Path(folder) / "inbox", Path(folder) / "bundle.tar"
        inbox.mkdir()
        print("| step | s | MB |\n|---|---|---|")
        start = time.perf_counter()
        (bundle,) = study.build()
        size = sum(path.stat().st_size for path in bundle.iterdir())
        _say("build, sign, verify", start, size)
        start = time.perf_counter()
        with archive.open("wb") as stream:
            write_archive(bundle, stream)
        _say("archive", start, archive.stat().st_size)
        start = time.perf_counter()
        manifest = verify_bundle(archive, study.public_key)
        _say("verify the archive", start, archive.stat().st_size)
        start = time.perf_counter()
        send(study.out_dir, Access(destination=str(inbox)), lambda _: None)
        _say("send to a folder", start, archive.stat().st_size)
        rows = {entry.name: entry.rows for entry in manifest.files}
        counts = [f"{rows[name]} rows of {name}" for name in ("visit_metrics.csv", "lesions.csv", "nv.csv")]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"\n{', '.join(counts)}; peak memory {peak:.0f} MiB, making the study included")


def _say(step: str, start: float, size: int) -> None:
    print(f"| {step} | {time.perf_counter() - start:.2f} | {size / 1e6:.1f} |")


if __name__ == "__main__":
    main()
