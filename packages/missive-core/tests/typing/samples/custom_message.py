"""A message class of the user's own, and an adapter of the user's own."""

from __future__ import annotations

from collections.abc import Callable

import missive


class Reading(missive.Message):
    @property
    def celsius(self) -> float:
        return float(self.raw_data)


processor: missive.Processor[Reading] = missive.Processor()


def is_frost(reading: Reading) -> bool:
    return reading.celsius < 0


@processor.handle_for(is_frost)
def warn(reading: Reading, ctx: missive.HandlingContext[Reading]) -> None:
    ctx.state.celsius = reading.celsius
    ctx.ack()


class ListAdapter(missive.Adapter[missive.M]):
    def __init__(
        self,
        message_cls: Callable[[bytes], missive.M],
        processor: missive.Processor[missive.M],
        bodies: list[bytes],
    ) -> None:
        super().__init__(processor)
        self.message_cls = message_cls
        self.bodies = bodies

    def ack(self, message: missive.M) -> None:
        self.bodies.remove(message.raw_data)

    def nack(self, message: missive.M) -> None:
        pass

    def run(self) -> list[missive.Outcome]:
        with self.processor.context(self.message_cls, self) as ctx:
            return [ctx.deliver(body) for body in self.bodies]


outcomes = ListAdapter(Reading, processor, [b"-1.5"]).run()
