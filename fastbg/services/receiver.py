"""Taskiq's receiver, which a signal also ends while its broker cannot be reached."""

import asyncio

from taskiq.receiver import Receiver as TaskiqReceiver


class Receiver(TaskiqReceiver):
    """Ends the attempt to connect when the worker shall finish. Taskiq would ask only after it."""

    async def listen(self, finish_event: asyncio.Event) -> None:
        if self.run_startup:
            starting, finishing = (
                asyncio.ensure_future(self.broker.startup()),
                asyncio.ensure_future(finish_event.wait()),
            )
            try:
                await asyncio.wait({starting, finishing}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                finishing.cancel()
            if not starting.done():
                starting.cancel()
                return
            await starting
            self.run_startup = False
        await super().listen(finish_event)
