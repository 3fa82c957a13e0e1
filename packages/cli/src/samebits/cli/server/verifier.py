"""The verifier: receipts are verified in a thread of their own, one after the other, beside the engine's."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from samebits.cli.server.fields import RequestError
from samebits.cli.server.served import Served
from samebits.lm.receipts import Receipt
from samebits.lm.verification import Verification, verify_text

__all__ = ["Verifier"]

WAITING = 8
"""The largest number of receipts that are verified or wait."""


class _CanceledError(Exception):
    """Nobody waits for the verification."""


class Verifier:
    """Verifies receipts of one model; it belongs to the event loop.

    Args:
        served: The model.
        timeout: The largest number of seconds of a verification.
    """

    def __init__(self, served: Served, timeout: float) -> None:
        self._served, self._timeout, self._load = served, timeout, 0
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="verifier")

    async def verify(self, receipt: Receipt, *, sample: float, seed: int) -> Verification:
        """What `verify_text` finds; it ends when this is canceled.

        Raises:
            RequestError: So many receipts wait that this one cannot, it takes too long, or the model cannot compute it.
        """
        if self._load >= WAITING:
            raise RequestError(
                "too many receipts wait to be verified; try again in a moment", status=429, code="rate_limit_exceeded"
            )
        canceled = threading.Event()

        def go_on(_: int, __: int) -> None:
            if canceled.is_set():
                raise _CanceledError

        opened = self._served.opened
        check = partial(verify_text, receipt, opened.model, opened.tokenizer, model_digest=self._served.digest)
        self._load += 1
        try:
            async with asyncio.timeout(self._timeout):
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._executor, partial(check, sample=sample, seed=seed, progress=go_on))
        except TimeoutError:
            message = f"the verification took more than {self._timeout:g} seconds"
            raise RequestError(message, status=504, code="timeout") from None
        except FloatingPointError as error:
            raise RequestError(str(error), param="receipt") from None
        finally:
            self._load -= 1
            canceled.set()
