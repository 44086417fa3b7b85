"""Every index keeps its seam's promises: what is written is found, by those who may see it, and never by halves."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_suite import INDEXES, entry, vector

from mainstay import testing
from mainstay.core.errors import StoreError
from mainstay.core.evidence import Viewer
from mainstay.core.seams import Index
from mainstay.parts.sources.indexed import Indexed
from mainstay.parts.stores.postings import Postings, best, summed
from mainstay.parts.stores.sqlite_index import SqliteIndex
from mainstay.parts.stores.vectors import Vectors

ANYBODY = Viewer()
NORWAY = "Customs may add a week to parcels for Norway."
RETURNS = "Send items back within thirty days of delivery."


@pytest.fixture(params=list(INDEXES))
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqliteIndex]:
    """Every index there is, empty."""
    made = INDEXES[request.param](tmp_path)
    yield made
    made.close()


def ids(index: Index, query: str, *, viewer: Viewer = ANYBODY, limit: int = 9, near: bytes = b"") -> list[str]:
    return [passage.id for passage in index.search(query, near, limit=limit, viewer=viewer)]


def test_what_is_written_is_found_and_shown(index: Index):
    """A passage comes back as it was written, and None is what there is not."""
    written = entry("shipping.md", NORWAY, heading=("Shipping", "Abroad"))
    index.write([written, entry("returns.md", RETURNS)])
    (found,) = index.search("How long may customs take to Norway?", b"", limit=3, viewer=ANYBODY)
    assert found.text == NORWAY and found.heading == ("Shipping", "Abroad") and 0 < found.score <= 1
    assert index.passage("shipping.md#0", viewer=ANYBODY) == written.passages[0]
    assert index.passage("shipping.md#1", viewer=ANYBODY) is None
    assert ids(index, "Do you sell tickets to the opera?") == []


def test_an_empty_index_answers_nothing(index: Index):
    """Knowledge that is still to be written is searched without an error, and has a version too."""
    assert ids(index, "customs") == [] and index.version and index.embedder == "" and index.digests() == {}


def test_a_document_takes_the_place_of_its_last_version(index: Index):
    """What was changed is found as it is now, what is gone is gone, and the rest stays."""
    index.write([entry("a.md", NORWAY, RETURNS), entry("b.md", "The warehouse opens at nine.")])
    index.write([entry("a.md", "Parcels to Sweden arrive in two days.", digest="new")])
    assert ids(index, "customs Norway week") == [] and ids(index, "items back thirty days") == []
    assert ids(index, "parcels Sweden two days") == ["a.md#0"]
    assert index.digests()["a.md"] == "new"
    index.write([], gone=["a.md", "never there.md"])
    assert list(index.digests()) == ["b.md"] and ids(index, "parcels Sweden two days") == []
    assert ids(index, "when does the warehouse open, at nine?") == ["b.md#0"]


def test_a_version_is_that_of_the_content(index: Index):
    """Answers are cached under it: the same content has the same version, whatever became of it in between."""
    first = index.version
    index.write([entry("a.md", NORWAY)])
    one = index.version
    index.write([entry("b.md", RETURNS)])
    two = index.version
    index.write([entry("b.md", RETURNS, tenants=("acme",))])
    assert len({first, one, two, index.version}) == 4
    index.write([], gone=["b.md"])
    assert index.version == one


def test_a_fault_in_the_middle_changes_nothing(index: Index):
    """A source that breaks off while it is written leaves the old index serving, whole."""
    index.write([entry("a.md", NORWAY)])
    before = index.version

    def breaking():
        yield entry("a.md", RETURNS)
        yield entry("b.md", RETURNS)
        raise OSError("the source is gone")

    with pytest.raises((OSError, StoreError)):
        index.write(breaking(), gone=["a.md"])
    assert index.version == before and ids(index, "customs Norway week") == ["a.md#0"] and list(index.digests()) == ["a.md"]


# Who sees what

TENANTS = ("acme", "beta")
ROLES = ("staff", "editor")
groups = st.tuples(st.sets(st.sampled_from(TENANTS)), st.sets(st.sampled_from(ROLES)))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(audiences=st.lists(groups, min_size=1, max_size=8), tenant=st.sampled_from(TENANTS), roles=st.sets(st.sampled_from(ROLES)))
def test_nothing_of_anothers_is_ever_found(audiences, tenant, roles):
    """By words or by vectors, all and only what a viewer may see comes back, and its limit is filled with it."""
    index = SqliteIndex(":memory:")
    viewer = Viewer(tenant=tenant, roles=tuple(sorted(roles)))
    index.write(
        [
            entry(f"{i}.md", f"Customs for Norway, note {i}.", vectors=[vector(1, i)], tenants=tuple(t), roles=tuple(r))
            for i, (t, r) in enumerate(audiences)
        ],
        embedder="e",
    )
    visible = {f"{i}.md#0" for i, (t, r) in enumerate(audiences) if (not t or tenant in t) and (not r or r & roles)}
    assert set(ids(index, "customs for Norway", viewer=viewer)) == visible
    assert set(ids(index, "customs for Norway", viewer=viewer, near=vector(1, 0))) == visible
    assert len(ids(index, "customs for Norway", viewer=viewer, limit=1, near=vector(1, 9))) == min(1, len(visible))
    for i in range(len(audiences)):
        assert (index.passage(f"{i}.md#0", viewer=viewer) is not None) is (f"{i}.md#0" in visible)
    index.close()


def test_hidden_documents_leave_no_trace(index: Index):
    """Order and scores are the same whether others have documents with the same words or none: nothing can be inferred."""
    mine = [entry(f"{i}.md", f"{NORWAY} {RETURNS} Number {i}.", "The opera is closed.", tenants=("acme",)) for i in range(5)]
    viewer = Viewer(tenant="acme")
    index.write(mine)
    question = (
        "customs parcels Norway week number 3 opera"  # no passage has all of it: its score is a share, by how rare words are
    )
    alone = index.search(question, b"", limit=9, viewer=viewer)
    index.write([entry(f"other{i}.md", "Customs customs Norway.", tenants=("beta",)) for i in range(200)])
    assert alone and alone[0].score < 1 and index.search(question, b"", limit=9, viewer=viewer) == alone
    assert len(ids(index, "customs Norway", viewer=Viewer(tenant="beta"))) == 9


# Vectors


def test_the_nearest_is_found_among_those_that_answer(index: Index):
    """Of passages with the same words the one whose vector is nearest comes first; without a vector words alone decide."""
    index.write([entry(f"{i}.md", NORWAY, vectors=[vector(i == 1, i == 2, i == 3)]) for i in range(1, 4)], embedder="e")
    assert ids(index, "customs Norway", near=vector(0, 0, 1))[0] == "3.md#0"
    assert ids(index, "customs Norway", near=vector(0, 1, 0))[0] == "2.md#0"
    assert ids(index, "customs Norway")[0] == "1.md#0"


def test_good_by_both_beats_best_by_one(index: Index):
    """Among many that have the words and many whose vectors are near, the one passage that has both is found, and is first."""
    words = [entry(f"words{i}.md", "Customs, customs, Norway.", vectors=[vector(-1, 0)]) for i in range(60)]
    near = [entry(f"near{i}.md", "Opera tickets sell here.", vectors=[vector(1, 0)]) for i in range(60)]
    both = entry("both.md", "Customs for parcels to Norway may take a week and some patience.", vectors=[vector(9, 1)])
    index.write([*words, both, *near], embedder="e")
    assert ids(index, "customs Norway", near=vector(1, 0), limit=1) == ["both.md#0"]


postings = st.builds(
    lambda weight, worth: Postings(weight, array("I", sorted(worth)).tobytes(), bytes(worth[number] for number in sorted(worth))),
    st.floats(0.01, 9),
    st.dictionaries(st.integers(1, 40), st.integers(1, 220), min_size=1),
)


@settings(max_examples=60, deadline=None)
@given(lists=st.lists(postings, max_size=5), wanted=st.integers(1, 20), held=st.integers(2, 60))
def test_words_count_the_same_beside_vectors(lists, wanted, held):
    """With numpy, words are added up as they are without it, beside vectors that say nothing, and where some have none."""
    vectors = Vectors([(1, number, vector(0, 0)) for number in range(1, held)], {1: held - 1})
    shares, near = vectors.likeness(vector(0, 0), [1]).joined(lists, words=wanted, near=wanted, both=wanted)
    sums = summed(lists)
    first = best(sums, wanted)
    assert list(shares)[: len(first)] == first
    assert shares == {number: sums.get(number, 0.0) / (max(sums.values(), default=0.0) or 1.0) for number in shares}
    assert near == {number: 0.0 for number in shares if number < held}


def test_a_near_vector_is_no_evidence(index: Index):
    """A passage that shares no word with a question is not taken for its answer, however near its vector is."""
    index.write([entry("a.md", NORWAY, vectors=[vector(1, 0)])], embedder="e")
    assert ids(index, "Do you sell tickets to the opera?", near=vector(1, 0)) == []


def test_vectors_of_two_embedders_never_meet(index: Index):
    """After a change of the embedder the old vectors are gone, and a vector of another length is said to be wrong."""
    index.write([entry("a.md", NORWAY, vectors=[vector(1, 0)])], embedder="one")
    with pytest.raises(StoreError, match="3 numbers"):
        ids(index, "customs Norway", near=vector(1, 0, 0))
    index.write([entry("b.md", NORWAY, vectors=[vector(1, 0, 0)])], embedder="two")
    assert index.embedder == "two" and ids(index, "customs Norway", near=vector(1, 0, 0))[0] == "b.md#0"


def test_a_vector_for_each_passage_or_none(index: Index):
    """An entry that has lost a vector is refused, and changes nothing."""
    with pytest.raises(StoreError, match="2 passages have 1 vectors"):
        index.write([entry("a.md", NORWAY, RETURNS, vectors=[vector(1)])], embedder="e")
    assert index.digests() == {}


# Languages


SPOKEN = {  # a passage, a question that it answers, and one that it does not
    "de": (
        "Pakete nach Norwegen brauchen wegen des Zolls eine Woche länger.",
        "Wie lange braucht ein Paket nach Norwegen?",
        "Wo ist die Oper?",
    ),
    "fr": (
        "Les colis pour la Norvège arrivent une semaine plus tard.",
        "Quand arrive un colis en Norvège ?",
        "Où est l'opéra ?",
    ),
    "zh": ("发往挪威的包裹因海关需要多一周时间。", "寄往挪威的包裹需要多久？", "歌剧院的门票多少钱？"),
    "ja": (
        "ノルウェー宛ての荷物は税関のため一週間長くかかります。",
        "ノルウェー宛ての荷物はどれくらいかかりますか？",
        "オペラの切符はいくらですか？",
    ),
    "th": ("พัสดุไปนอร์เวย์อาจใช้เวลานานขึ้นหนึ่งสัปดาห์เนื่องจากศุลกากร", "พัสดุไปนอร์เวย์ใช้เวลานานเท่าไหร่", "ตั๋วโอเปร่าราคาเท่าไหร่"),
    "ar": ("قد تستغرق الطرود المرسلة إلى النرويج أسبوعا إضافيا.", "كم تستغرق الطرود إلى النرويج؟", "أين دار الأوبرا؟"),
    "tr": ("Norveç'e giden paketler bir hafta daha sürebilir.", "Norveç'e paket ne kadar sürer?", "Opera bileti nerede?"),
    "hi": ("नॉर्वे के पार्सल एक सप्ताह अधिक ले सकते हैं।", "नॉर्वे के पार्सल को कितने सप्ताह?", "ओपेरा के टिकट कहाँ हैं?"),
    "vi": ("Bưu kiện gửi đi Na Uy có thể mất thêm một tuần.", "Bưu kiện gửi đi Na Uy mất bao lâu?", "Vé xem nhạc kịch ở đâu?"),
}


@pytest.mark.parametrize("language", SPOKEN)
def test_each_language_is_found_and_refused_in_its_own_way(index: Index, language: str):
    """Inflected, without spaces, or with marks: the passage is found beside another one, and what is not there is not."""
    text, question, unknown = SPOKEN[language]
    index.write([entry("a.md", text), entry("b.md", RETURNS)])
    assert ids(index, question) == ["a.md#0"]
    assert ids(index, unknown) == []


# Processes and threads


def _write_for_ever(path: Path, ready: object) -> None:
    index = SqliteIndex(path)
    for n in range(1, 10_000):
        index.write([entry(f"{i}.md", f"Customs for Norway, edition {n}.", digest=str(n)) for i in range(20)])
        ready.set()  # type: ignore[attr-defined]


def test_another_process_sees_all_of_a_write_or_nothing_and_a_killed_one_leaves_it_whole(tmp_path: Path):
    """A reader beside a writer in another process finds one edition only, notices the next, and survives the writer's kill -9."""
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    path = tmp_path / "index.db"
    writer = context.Process(target=_write_for_ever, args=(path, ready))
    writer.start()
    index = None
    try:
        assert ready.wait(60)
        index = SqliteIndex(path)
        versions, until = set(), time.monotonic() + 20
        while len(versions) < 3 and time.monotonic() < until:
            found = index.search("customs for Norway, edition", b"", limit=20, viewer=ANYBODY)
            assert len({passage.text for passage in found}) == 1 and len(found) == 20
            versions.add(index.version)
        assert len(versions) >= 3
        os.kill(writer.pid or 0, signal.SIGKILL)
        writer.join(20)
        digests = set(index.digests().values())
        assert len(digests) == 1
        index.write([entry("0.md", RETURNS)])
        assert ids(index, "items back within thirty days") == ["0.md#0"]
    finally:
        writer.kill()
        writer.join(20)
        if index is not None:
            index.close()


def test_threads_search_while_one_writes(index: Index):
    """Searches in several threads neither fail nor wait for each other's end while documents change."""
    index.write([entry("a.md", NORWAY)])
    failed: list[BaseException] = []

    def search() -> None:
        try:
            for _ in range(30):
                assert ids(index, "customs Norway week")[:1] == ["a.md#0"]
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=search) for _ in range(4)]
    for thread in threads:
        thread.start()
    for n in range(20):
        index.write([entry("b.md", f"{RETURNS} {n}")])
    for thread in threads:
        thread.join(60)
    assert not failed


# The source over it


async def test_the_source_keeps_the_seams_promises(index: Index):
    """Odd questions, limits and scores: the same checks that a stranger's source has to pass."""
    index.write([entry("a.md", NORWAY, heading=("Shipping",)), entry("b.md", RETURNS), entry("empty.md")])
    await testing.check_source(
        Indexed(name="help", index=index),
        finds=["how long does customs take to Norway?", "send items back within thirty days"],
        misses=["zebra", "do you sell tickets to the opera?"],
        shows=True,
    )
