import pickle

import pytest

from styleid.errors import ImageError, OptionError


@pytest.mark.parametrize("error", [OptionError("privacy", "wrong"), ImageError("https://a.b/c.png", "wrong")])
def test_errors_are_pickled_with_their_fields(error: Exception) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
