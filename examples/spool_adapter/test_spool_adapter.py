from missive import RawMessage
from missive.conformance import AdapterConformance, AdapterHarness
from spool_adapter import SpoolAdapter, publish


class SpoolHarness(AdapterHarness):
    adapter_cls = SpoolAdapter
    max_deliveries = True
    patience = 30.0
    url = "spool:/var/spool/orders?retry_after=2"

    @property
    def spool(self):
        return self.folder / "spool"

    def start(self):
        self.spool.mkdir()

    def make_adapter(self, processor, message_cls=RawMessage, **options):
        given = {"retry_after": 0.2, "lease": 5.0, **options}
        return SpoolAdapter(message_cls, processor, self.spool, **given)

    def missing_adapter(self, processor, **options):
        return SpoolAdapter(RawMessage, processor, self.folder / "nowhere", **options)

    def publish(self, body, *, headers=None, source=None):
        publish(self.spool, body)
        return True

    def remaining(self):
        return len(list(self.spool.iterdir()))


class TestSpoolAdapter(AdapterConformance):
    harness = SpoolHarness
