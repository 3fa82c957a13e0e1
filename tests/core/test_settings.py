"""A setting holds for its block, in whatever order and wherever blocks end."""

import asyncio
import contextvars
import gc
import threading
from collections.abc import AsyncIterator, Iterator

from hypothesis import given
from hypothesis import strategies as st

from samebits.core import current, numerics
from samebits.core.settings import Setting


def fast() -> Iterator[str]:
    with numerics("fast"):
        yield current().name
        yield current().name


def test_generators_closed_in_any_order_leave_the_caller_as_it_was() -> None:
    first, second = fast(), fast()
    assert next(first) == next(second) == "fast"
    first.close()
    assert current().name == "fast"
    second.close()
    assert current().name == "exact"


def test_a_block_that_ends_while_a_generator_is_suspended_ends() -> None:
    with numerics("fast"):
        inner = _exact()
        assert next(inner) == "exact"
    inner.close()
    assert current().name == "exact"
    with numerics("exact"):
        generator = fast()
        next(generator)
    assert current().name == "fast"  # the generator's block has not ended
    assert list(generator) == ["fast"]
    assert current().name == "exact"


def _exact() -> Iterator[str]:
    with numerics("exact"):
        yield current().name


def test_a_generator_that_is_closed_in_another_thread_or_context_leaves_nothing() -> None:
    generator = fast()
    next(generator)
    thread = threading.Thread(target=generator.close)
    thread.start()
    thread.join()
    assert current().name == "exact"
    generator = fast()
    contextvars.copy_context().run(next, generator)
    assert current().name == "exact"
    generator.close()
    assert current().name == "exact"


def test_a_generator_that_the_garbage_collector_closes_leaves_nothing() -> None:
    generator = fast()
    next(generator)
    cycle = [generator]
    cycle.append(cycle)  # type: ignore[arg-type]
    del generator, cycle
    gc.collect()
    assert current().name == "exact"


def test_an_asynchronous_generator_that_the_loop_closes_leaves_nothing() -> None:
    async def tokens() -> AsyncIterator[str]:
        with numerics("fast"):
            yield current().name
            yield current().name

    async def main() -> str:
        generator = tokens()
        async for name in generator:
            assert name == "fast"
            break
        await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
        return current().name

    assert asyncio.run(main()) == "exact"


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=40))
def test_the_last_choice_whose_block_has_not_ended_holds(steps: list[tuple[bool, int]]) -> None:
    setting, blocks, number = Setting("number", 0), [], 0
    for begins, which in steps:
        if begins or not blocks:
            number += 1
            blocks.append((number, setting.set(number)))
        else:
            setting.reset(blocks.pop(which % len(blocks))[1])
        assert setting.get() == (blocks[-1][0] if blocks else 0)


def test_blocks_that_have_ended_are_not_kept() -> None:
    setting = Setting("number", 0)
    choice = setting.set(1)
    for number in range(2, 100):
        following = setting.set(number)
        setting.reset(choice)
        choice = following
    depth, seen = 0, choice
    while seen.outer is not None:
        depth, seen = depth + 1, seen.outer
    assert depth <= 2
