"""The audit sample, and the bound that follows from the answers."""

import numpy as np
import pytest

from styleid.evaluate.certificate.examine import ExaminedPhoto, Region, RegionKind
from styleid.evaluate.certificate.sample import (
    CLEAN,
    COPIED,
    OTHER,
    RISKY,
    UNSURE,
    UNTOUCHED,
    Sample,
    choose_regions,
    draw_sample,
    judge,
)
from styleid.evaluate.outputs import Status

BOX = (0.0, 0.0, 10.0, 10.0)


def look(name: str, *kinds: RegionKind, status: Status = Status.MEASURED) -> ExaminedPhoto:
    return ExaminedPhoto(name, status, regions=[Region(name, kind, BOX, 1.0) for kind in kinds])


def looks(count: int, risky: int = 0) -> list[ExaminedPhoto]:
    return [look(f"{k:05d}.jpg", *([RegionKind.NEAR_MISS] if k < risky else [])) for k in range(count)]


def test_the_draw_depends_on_the_seed_alone():
    one, again, other = (draw_sample(looks(500, 50), 100, 20, seed, "h") for seed in (1, 1, 2))
    assert one == again
    assert one.identity == again.identity
    assert {q.photo for q in one.questions} != {q.photo for q in other.questions}
    assert one != other
    assert Sample.from_json(one.to_json()) == one


def test_photos_are_divided_by_risk():
    sample = draw_sample(looks(500, 50), 100, 20, 0, "h")
    whole = [q.stratum for q in sample.questions if q.region is None]
    assert (whole.count(RISKY), whole.count(OTHER)) == (10, 90)
    assert sample.sizes == {RISKY: 50, OTHER: 450, COPIED: 0}
    assert sum(q.region is not None for q in sample.questions) == 20
    assert [q.number for q in sample.questions] == list(range(120))


def test_copied_pictures_are_looked_at_but_make_no_share_smaller():
    maps = [ExaminedPhoto(f"map{k}", Status.MEASURED, copied=True) for k in range(900)]
    sample = draw_sample([*looks(100), *maps], 50, 0, 0, "h")
    assert sample.total == 100
    assert sample.sizes == {RISKY: 0, OTHER: 100, COPIED: 900}
    assert sum(q.stratum == COPIED for q in sample.questions) == 45
    assert judge(sample, answered(sample, {})).share >= 0.5


def test_every_photo_is_as_likely_as_any_other():
    drawn = np.zeros(60)
    for seed in range(400):
        for question in draw_sample(looks(60, 12), 20, 0, seed, "h").questions:
            drawn[int(question.photo[:5])] += 1
    assert drawn.min() > 400 / 3 * 0.6
    assert drawn.max() < 400 / 3 * 1.4


def test_hardly_changed_faces_come_first_and_no_kind_is_left_out():
    def regions(kind: RegionKind, count: int) -> list[Region]:
        return [Region(f"{kind}{k}", kind, BOX, k / 100) for k in range(count)]

    every = [region for kind in RegionKind for region in regions(kind, 30)]
    chosen = choose_regions(every, 40)
    kinds = [region.kind for region in chosen]
    assert kinds[:20] == [RegionKind.UNCHANGED] * 20
    assert set(kinds) == set(RegionKind)
    assert [region.risk for region in chosen[:20]] == sorted((region.risk for region in chosen[:20]), reverse=True)
    assert len(choose_regions(every[:5], 40)) == 5
    assert len(choose_regions(regions(RegionKind.UNCHANGED, 50), 40)) == 40


def answered(sample: Sample, bad: dict[str, str]) -> dict[int, str]:
    return {q.number: bad.get(q.photo, CLEAN) for q in sample.questions}


@pytest.mark.parametrize("answer", [UNTOUCHED, UNSURE])
def test_what_cannot_be_told_counts_as_missed(answer):
    sample = draw_sample(looks(1000), 200, 0, 0, "h")
    clean = judge(sample, answered(sample, {}))
    assert clean.share <= 0.015
    one = judge(sample, answered(sample, {sample.questions[0].photo: answer}))
    assert one.missed == 1
    assert one.at_most > clean.at_most


def test_a_question_without_an_answer_counts_as_missed():
    sample = draw_sample(looks(1000), 200, 0, 0, "h")
    answers = answered(sample, {})
    del answers[7]
    found = judge(sample, answers)
    assert (found.unanswered, found.missed, found.photos["no answer"]) == (1, 1, 1)
    assert found.at_most == judge(sample, answers | {7: UNTOUCHED}).at_most
    assert judge(sample, {}).share == 1.0


def test_photos_that_cannot_be_shown_count_as_missed_and_withheld_ones_do_not_count():
    seen = [*looks(50), *[look(f"x{k}", status=Status.UNREADABLE) for k in range(3)], look("y", status=Status.WITHHELD)]
    sample = draw_sample(seen, 200, 10, 0, "h")
    assert (sample.total, sample.uncertain) == (53, 3)
    found = judge(sample, answered(sample, {}))
    assert found.at_most == found.missed == 3


def test_a_part_that_shows_a_face_makes_its_photo_a_missed_one():
    sample = draw_sample(looks(1000, 100), 200, 50, 3, "h")
    parts = {q.photo for q in sample.questions if q.region is not None}
    whole = {q.photo for q in sample.questions if q.region is None}
    only_in_parts = sorted(parts - whole)[:8]
    found = judge(sample, answered(sample, dict.fromkeys(only_in_parts, UNTOUCHED)))
    assert found.missed == 8
    clean = judge(sample, answered(sample, {})).at_most
    assert clean < found.at_most <= clean + 8


def test_the_bound_covers_the_truth_when_parts_find_most_of_it():
    """Half of the missed photos are suspicious; people see what is in what they are shown."""
    rng, above, size, missed = np.random.default_rng(0), 0, 800, 24
    for run in range(300):
        bad = set(rng.permutation(size)[:missed])
        seen = [
            look(f"{k}", *([RegionKind.SECOND] if (k in bad and k % 2) or k % 17 == 0 else [])) for k in range(size)
        ]
        sample = draw_sample(seen, 100, 40, run, "h")
        found = judge(sample, answered(sample, {str(k): UNTOUCHED for k in bad}))
        above += found.at_most >= missed
    assert above / 300 >= 0.92


def test_frames_of_which_some_were_looked_at_stand_for_all():
    rng, above, total, missed = np.random.default_rng(1), 0, 5000, 100
    for run in range(300):
        bad = set(rng.permutation(total)[:missed])
        drawn = sorted(rng.permutation(total)[:600])
        seen = [look(str(k), *([RegionKind.NEAR_MISS] if k in bad else [])) for k in drawn]
        sample = draw_sample(seen, 200, 50, run, "h", total)
        found = judge(sample, answered(sample, {str(k): UNTOUCHED for k in bad}))
        assert found.total == total
        above += found.at_most >= missed
    assert above / 300 >= 0.92
