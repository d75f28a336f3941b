"""Frames are processed in parallel, and results come in order."""

import threading
import time

import pytest

from styleid.runtime import cpu_threads, limited_threads
from styleid.video.ahead import ONE_BY_ONE, FramePool, frames_at_once


def slow_for_even(i: int) -> int:
    time.sleep(0.02 * (i % 2 == 0))
    return i * i


def test_results_keep_the_order_of_items():
    with FramePool(3) as pool:
        assert list(pool.in_order(slow_for_even, range(20))) == list(map(slow_for_even, range(20)))


def test_several_items_are_worked_on_at_once():
    both = threading.Barrier(2, timeout=10)
    with FramePool(2) as pool:
        assert len(list(pool.in_order(lambda _: both.wait(), range(4)))) == 4


def test_one_by_one_works_in_the_calling_thread():
    assert list(ONE_BY_ONE.in_order(lambda _: threading.current_thread(), range(2))) == [threading.current_thread()] * 2


def test_items_are_taken_only_a_few_ahead():
    taken = []
    with FramePool(2) as pool:
        results = pool.in_order(slow_for_even, (taken.append(i) or i for i in range(100)))
        next(results)
        assert len(taken) <= 4


@pytest.mark.parametrize("at_once", [1, 2])
def test_an_error_is_raised_in_place_of_the_result(at_once):
    def failing(i: int) -> int:
        if i == 3:
            raise ValueError("three")
        return i

    done = []
    with FramePool(at_once) as pool, pytest.raises(ValueError, match="three"):
        for one in pool.in_order(failing, range(9)):
            done.append(one)
    assert done == [0, 1, 2]


def test_work_may_wait_for_earlier_work():
    """In a scan, frames wait for the faces of the last key frame."""
    with FramePool(2) as pool:
        first: list[int] = []
        begun = threading.Event()

        def work(i: int) -> int:
            if i == 0:
                begun.set()
                time.sleep(0.05)
                first.append(0)
            assert begun.wait(10)
            return i

        assert list(pool.in_order(work, pool.in_order(lambda i: i, range(6)))) == list(range(6))
        assert first == [0]


def test_frames_at_once_follow_the_cores_of_the_process():
    assert 1 <= frames_at_once() <= 4
    with limited_threads(1):
        assert frames_at_once() == 1
        with limited_threads(7):
            assert cpu_threads() == 1
    assert frames_at_once() == min(4, cpu_threads())
