"""Whether a cluster answers at an address is known within seconds, and told in one line."""

import socket
from collections.abc import Iterator

import pytest

from tokencollab.actors.runtimes import reachable
from tokencollab.actors.runtimes.reachable import check_address
from tokencollab.errors import UsageError


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of somebody who listens and says nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        yield server.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("127.0.0.1:1", "refused"),
        ("ray://127.0.0.1:1", "refused"),
        ("ray://127.0.0.1", "refused"),
        ("[::1]:1", ""),
        ("garbage", "no HOST:PORT"),
        ("127.0.0.1:", "no HOST:PORT"),
        ("127.0.0.1:99999", ""),
        ("127.0.0.1:-1", ""),
        ("", ""),
        ("name.invalid:6379", ""),
        ("a" * 300 + ":1", ""),
        ("é..:1", ""),
        ("http://127.0.0.1:8265", "answers jobs only"),
        ("https://127.0.0.1:8265", "answers jobs only"),
    ],
)
def test_an_address_at_which_nobody_answers_is_one_line(address: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_address(address)
    assert reason in str(caught.value)
    assert address in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_somebody_who_says_nothing_or_something_else_is_no_cluster(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reachable, "_LONGEST", 0.2)
    for address in (f"127.0.0.1:{silent}", f"ray://127.0.0.1:{silent}"):
        with pytest.raises(UsageError, match="does not answer"):
            check_address(address)


def test_a_name_that_is_looked_up_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    never = threading.Event()
    monkeypatch.setattr(reachable, "_LONGEST", -0.4)
    monkeypatch.setattr(reachable, "_probe", lambda address: never.wait())
    with pytest.raises(UsageError, match="does not answer"):
        check_address("slow.example:6379")
    never.set()
