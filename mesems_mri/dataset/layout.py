"""Names of everything below the output folder."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """Names of all products below the output folder.

    Parameters
    ----------
    out_dir : Path
        Output folder; a relative one is resolved against the working directory.
    """

    out_dir: Path

    def work(self, participant_id: str, session_id: str) -> Path:
        """Return the folder of a visit's intermediate files, hidden from BIDS tools."""
        return self.out_dir / ".mesems" / participant_id / session_id

    def record(self, participant_id: str, session_id: str, step: str) -> Path:
        """Return the record that a step leaves of a visit."""
        return self.work(participant_id, session_id) / f"{step}.json"

    def product(self, participant_id: str, session_id: str, name: str) -> Path:
        """Return an image or transform of a visit, e.g. ``space-subject_desc-T2_dseg.nii.gz``."""
        return self.out_dir / participant_id / session_id / "anat" / f"{participant_id}_{session_id}_{name}"

    def metrics(self, participant_id: str, session_id: str) -> Path:
        """Return the visit record."""
        return self.out_dir / participant_id / session_id / f"{participant_id}_{session_id}_metrics.json"

    def candidates(self, participant_id: str, session_id: str) -> Path:
        """Return the table of the candidates of a visit."""
        return self.metrics(participant_id, session_id).with_name(
            f"{participant_id}_{session_id}_candidates.tsv"
        )

    def log(self, participant_id: str, session_id: str) -> Path:
        """Return the log of a visit: messages of every step, earlier attempts included."""
        return self.out_dir / "logs" / participant_id / f"{session_id}.log"

    def benchmarks(self, step: str) -> list[Path]:
        """List the benchmark files of a step at each visit, written by Snakemake."""
        return sorted(self.out_dir.glob(f"logs/sub-*/ses-*/{step}.benchmark.tsv"))

    @property
    def workflow_log(self) -> Path:
        """Log of Snakemake."""
        return self.out_dir / "logs" / "snakemake.log"

    @property
    def provenance(self) -> Path:
        """History of the runs: the only record with times and paths."""
        return self.out_dir / "provenance.json"

    @property
    def run_lock(self) -> Path:
        """Run lock, which names its holder; there during a run only."""
        return self.out_dir / ".mesems" / "run.lock"

    @property
    def cleaned(self) -> Path:
        """List of the visits whose intermediate images were removed; there once that has been done."""
        return self.out_dir / ".mesems" / "cleaned.json"

    @property
    def transfer(self) -> Path:
        """Bundles for central analysis and the receipts for them; hidden, so that BIDS tools pass it by.

        It is apart from the intermediate files, since bundles that were sent cannot be computed again.
        """
        return self.out_dir / ".transfer"

    @property
    def reading(self) -> Path:
        """Reads that were published and what the reading keeps; hidden, so that BIDS tools pass it by.

        It is apart from the intermediate files, since what a reader decided cannot be computed again.
        """
        return self.out_dir / ".review"

    def read(self, participant_id: str, session_id: str) -> Path:
        """Return the published read of a visit, which stands in the tables."""
        return self.reading / participant_id / session_id / "read.json"

    def read_version(self, participant_id: str, session_id: str, version: int) -> Path:
        """Return a version of a locked read."""
        return self.read(participant_id, session_id).with_name(f"v{version:03}.json")

    @property
    def transfer_outcome(self) -> Path:
        """Outcome of the transfer at the end of the last run that was asked for one."""
        return self.out_dir / ".mesems" / "transfer.json"

    @property
    def expected(self) -> Path:
        """Visits of the raw data set at the last run."""
        return self.out_dir / ".mesems" / "visits.json"

    def page(self, participant_id: str, session_id: str) -> Path:
        """Return the page of a visit."""
        return self.metrics(participant_id, session_id).with_name(f"{participant_id}_{session_id}.html")

    def viewer(self, participant_id: str, session_id: str, name: str) -> Path:
        """Return a file for a viewer; the folder is hidden, so that BIDS tools pass it by."""
        return self.out_dir / participant_id / session_id / ".viewer" / name

    def ledger(self, participant_id: str) -> Path:
        """Return the lesion ledger of a participant."""
        return self.out_dir / participant_id / f"{participant_id}_lesions.tsv"

    def anchor(self, participant_id: str) -> Path:
        """Return the record of the anchor visit, which defines subject space."""
        return self.out_dir / participant_id / f"{participant_id}_anchor.json"

    def participant_page(self, participant_id: str) -> Path:
        """Return the page of a participant."""
        return self.out_dir / participant_id / f"{participant_id}.html"

    def study_page(self) -> Path:
        """Return the page of the study."""
        return self.out_dir / "index.html"

    def site_quality(self) -> Path:
        """Return the table of the image quality of all visits, the comparison of the pages."""
        return self.out_dir / ".mesems" / "site_quality.tsv"
