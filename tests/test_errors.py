import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

import styleid
from styleid.errors import ImageError, OptionError

RUN = styleid.RunOptions(Path("out"))


@pytest.mark.parametrize("error", [OptionError("privacy", "wrong"), ImageError("https://a.b/c.png", "wrong")])
def test_errors_are_pickled_with_their_fields(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: styleid.RunOptions("out"), "out: 'out' is a text; a path is needed: pathlib.Path('out')."),
        (lambda: styleid.EvaluateOptions("out"), "out: 'out' is a text"),
        (lambda: styleid.CertifyOptions(Path("out"), key="my.key"), "key: 'my.key' is a text"),
        (lambda: styleid.anonymize_files("photos", RUN), "inputs: a list is needed, also for one folder: "),
        (lambda: styleid.anonymize_files(Path("photos"), RUN), "[pathlib.Path('photos')]"),
        (lambda: styleid.anonymize_files(["photos"], RUN), "inputs: 'photos' is a text"),
        (lambda: styleid.anonymize_dataset("coco", "coco", RUN), "source: 'coco' is a text"),
        (lambda: styleid.anonymize_video("a.mp4", styleid.VideoOptions(Path("b.mp4"))), "source: 'a.mp4' is a text"),
        (lambda: styleid.certify("in", Path("out"), styleid.CertifyOptions(Path("c"))), "originals: 'in' is a text"),
        (lambda: styleid.evaluate_folders("in", [Path("out")], styleid.EvaluateOptions(Path("r"))), "originals: 'in'"),
    ],
)
def test_texts_are_no_paths(call: Callable[[], object], says: str) -> None:
    with pytest.raises(OptionError) as caught:
        call()
    assert says in str(caught.value)
