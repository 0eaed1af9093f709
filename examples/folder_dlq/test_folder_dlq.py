from folder_dlq import FolderDLQ
from missive.conformance import DLQConformance, DLQHarness


class FolderHarness(DLQHarness):
    dlq_cls = FolderDLQ
    persistent = True

    def open(self) -> FolderDLQ:
        return FolderDLQ(self.folder / "letters")


class TestFolderDLQ(DLQConformance):
    harness = FolderHarness
