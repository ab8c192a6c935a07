"""Files whose tests compile the same models run in one process, which traces those once: see ``traces``."""

from __future__ import annotations

from pathlib import Path

from xdist.scheduler import LoadFileScheduling

CLI = Path(__file__).parent / "cli"
TOGETHER = (
    ("fidelity/test_full_size", "device/test_graphs"),
    (
        *("fidelity/test_stream_speech", "fidelity/test_saved_speech", "fidelity/test_as_given"),
        *("fidelity/test_read_every", "fidelity/test_on_host", "fidelity/test_pipeline"),
    ),
    ("fidelity/test_sharded_plans", "device/test_shards"),
    ("fidelity/test_generate_speech", "fidelity/test_other_plans", "device/test_other_plans"),
    ("fidelity/test_vocoder", "fidelity/test_saved_vocoder"),
    (
        *("fidelity/test_ladder", "fidelity/test_readings", "compiler/test_explain", "compiler/test_fidelity"),
        *("compiler/test_neighbours",),
    ),
    ("device/test_first_wrong", "device/test_calls", "device/test_standin"),
    ("compiler/test_fitting", "fidelity/test_postnet_in_chunks"),
    ("compiler/test_page", "browser/test_report"),
    ("compiler/test_saving", "compiler/test_compiled", "compiler/test_parameters", "compiler/test_shown"),
    (
        *(f"cli/{file.stem}" for file in sorted(CLI.glob("test_*.py"))),
        *("fidelity/test_small_voice", "test_docs", "compiler/test_arguments"),
    ),
)
"""Files of tests/, the longest first. Of each group one trace or more was made in several."""
FIRST = {f"tests/{file}.py": f"tests/{files[0]}.py" for files in TOGETHER for file in files}


class Together(LoadFileScheduling):  # type: ignore[misc]
    """Hand out files as they are, but those of :data:`TOGETHER` as one."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        return FIRST.get(file, file)
