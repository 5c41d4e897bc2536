"""Tables that are told: how fast a polled table and a dropped file become feeds, whole at first."""

from __future__ import annotations

import csv
from pathlib import Path

import psycopg

from ops.bench import subject
from ops.bench.figure import Figures
from ops.bench.growth import Drained, Growth, drain
from ops.bench.scale import Scale
from ops.bench.stage import Stage


def measure_polled(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`polled_rows_per_second`: a table of the bench's own database, asked through SQLAlchemy."""
    subject.create(stage.dsn, scale.told_rows)
    with psycopg.connect(stage.dsn, autocommit=True) as connection:
        connection.execute("CREATE INDEX ON subject (changed_at)")
    address = stage.dsn.replace("postgresql://", "postgresql+psycopg://")
    for run in range(1, scale.runs + 1):
        stage.say(f"polled, run {run} of {scale.runs}: {scale.told_rows:,} rows")
        options = {"updated_column": "changed_at", "time_zone": "UTC"}
        feed = stage.onboard_agency(f"polled{run}", kind="polled", address=address, options=options)
        drained = _stated(stage, feed, scale.told_rows)
        figures.note("polled_rows_per_second", drained.per_second, others=drained.others)


def measure_files(stage: Stage, figures: Figures, scale: Scale) -> None:
    """`files_rows_per_second`: one CSV file with the same rows."""
    subject.create(stage.dsn, scale.told_rows)
    for run in range(1, scale.runs + 1):
        stage.say(f"files, run {run} of {scale.runs}: {scale.told_rows:,} rows")
        folder = stage.directory / "drops" / f"files{run}"
        folder.mkdir(parents=True)
        _drop(stage.dsn, folder)
        feed = stage.onboard_agency(f"files{run}", kind="files", address=str(folder), table="files.subject")
        drained = _stated(stage, feed, scale.told_rows)
        figures.note("files_rows_per_second", drained.per_second, others=drained.others)


def _stated(stage: Stage, feed: str, rows: int) -> Drained:
    try:
        stage.settle()
        with stage.hop("capture", "--source", f"{feed.partition('.')[0]}.main") as running:
            drained = drain(stage.console, feed, Growth(stage.kafka, [feed]), rows, running)
    finally:
        stage.forget(feed)
    stage.say(f"  {feed}: {drained}")
    return drained


def _drop(dsn: str, folder: Path) -> None:
    """The table as a file, renamed at the end, as departments do."""
    coming = folder / ".coming"
    with psycopg.connect(dsn) as connection, coming.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(subject.COLUMNS)
        writer.writerows(connection.execute("SELECT * FROM subject ORDER BY id"))  # its columns are in that order
    coming.rename(folder / "subject_1.csv")
