"""Each function that `styleid` exports has an example in its docstring, and the examples run."""

import doctest
import inspect
from pathlib import Path

import pytest

import styleid
from tests.api.conftest import EXAMPLES
from tests.lab.synthetic import synthetic_pack, write_pack

WITHOUT = {
    "describe_installation": "its result differs between machines",
    "list_tokens": "the example of add_token calls it",
    "load_bundle": "the example of rank_units calls it",
    "remove_token": "the example of add_token calls it",
    "run_service": "it returns when it is interrupted",
}
SLOW = ("check_installation", "rank_bundle", "rank_units", "anonymize_video", "anonymize_live")
FUNCTIONS = sorted(name for name in styleid.__all__ if inspect.isfunction(getattr(styleid, name)))


def run(function: str) -> None:
    source = getattr(styleid, function)
    (example,) = [one for one in doctest.DocTestFinder(recurse=False).find(source, function) if one.examples]
    told: list[str] = []
    done = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=told.append)
    assert done.failed == 0, "".join(told)
    assert done.attempted > 1


@pytest.fixture
def prepared(folder: Path, request: pytest.FixtureRequest) -> None:
    """What an example needs of the examples that come before it."""
    name = request.getfixturevalue("function")
    if name in ("evaluate_folders", "certify", "verify_certificate"):
        styleid.anonymize_files([Path("photos")], styleid.RunOptions(Path("anonymised")),
                                styleid.AnonymizeOptions(seed=7))  # fmt: skip
    if name == "verify_certificate":
        run("certify")
    if name in ("anonymize_video", "anonymize_live"):
        pytest.importorskip("av", reason="videos are read with PyAV: pip install 'styleid[video]'")
        (folder / "people.mp4").write_bytes((EXAMPLES / "people.mp4").read_bytes())


@pytest.mark.parametrize(
    "function",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in FUNCTIONS if name not in WITHOUT],
)
@pytest.mark.usefixtures("prepared")
def test_the_example_runs(function: str) -> None:
    run(function)


def test_the_example_of_training_runs(tmp_path, monkeypatch) -> None:
    pytest.importorskip("torch", reason="trainings need torch: pip install 'styleid[lab]'")
    monkeypatch.chdir(tmp_path)
    write_pack(synthetic_pack(96, inner_px=40), tmp_path / "pack.npz")
    run("train_network")


def test_every_command_has_its_function() -> None:
    assert set(FUNCTIONS) >= {
        "anonymize_bytes", "anonymize_dataset", "anonymize_files", "anonymize_shards", "anonymize_video", "certify",
        "check_installation", "evaluate_folders", "new_key", "new_signing_key", "rank_bundle", "run_service",
        "verify_bundle", "verify_certificate",
    }  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_arguments_and_results_are_documented(name: str) -> None:
    """The reference is made of docstrings: each names every argument, and what is returned."""
    value = getattr(styleid, name)
    text, signature = inspect.getdoc(value) or "", inspect.signature(value)
    missing = [argument for argument in signature.parameters if f"    {argument}: " not in text]
    if signature.return_annotation not in ("None", None) and not any(word in text for word in ("Returns:", "Yields:")):
        missing.append("Returns")
    assert missing == []
