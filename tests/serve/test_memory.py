"""The service's threads share one heap."""

import os
import platform
import subprocess
import sys

import pytest

THREADS = 5
COUNT_HEAPS = f"""
import ctypes, sys, tempfile, threading
from styleid.serve.memory import share_one_heap
limited = share_one_heap()
together = threading.Barrier({THREADS})
def work():
    together.wait()
    held = bytearray(100_000)
    together.wait()
threads = [threading.Thread(target=work) for _ in range({THREADS})]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(limited, file.read().count(b"<heap nr="))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
@pytest.mark.parametrize(
    ("variables", "limited", "most"), [({}, True, 1), ({"MALLOC_ARENA_MAX": "3"}, False, 3)], ids=["limited", "left"]
)
def test_threads_share_one_heap_unless_the_environment_sets_a_limit(variables, limited, most) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | variables
    done = subprocess.run(
        [sys.executable, "-c", COUNT_HEAPS], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(limited), str(most)]
