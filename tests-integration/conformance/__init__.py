"""The adapters and DLQs of this repository, judged by the conformance kit."""
