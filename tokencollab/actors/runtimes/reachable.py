"""Whether a Ray cluster answers at an address, told within seconds.

Ray itself tries for minutes, and then ends the process that asked.
"""

import os
import socket
import threading
from time import monotonic

from tokencollab.errors import UsageError

START_ONE = (
    "start one: export RAY_AUTH_MODE=token; ray get-auth-token --generate > /dev/null; "
    "ray start --head --disable-usage-stats"
)
_LONGEST = 9.0  # seconds for everything: a cluster that is busy takes a moment, and nobody waits a quarter of a minute
_CLIENT_PORT = 10001  # of ray://, where none is given
_CHECK = "/ray.rpc.NodeInfoGcsService/CheckAlive"


def check_address(address: str, named: str = "RAY_ADDRESS=") -> None:
    """Whether a Ray cluster answers at ``address`` (HOST:PORT or ray://HOST:PORT).

    Raises UsageError: none does; one line with ``named`` before the address.
    """
    if address.startswith("http"):
        raise UsageError(
            f"RAY_ADDRESS is {address}, which answers jobs only: unset it, or give the cluster's HOST:PORT"
        )
    found: list[str] = []
    probe = threading.Thread(target=lambda: found.append(_probe(address)), name="tokencollab-probe", daemon=True)
    probe.start()
    probe.join(_LONGEST + 0.5)  # to look up a name has no limit of its own
    reason = found[0] if found else "it does not answer"
    if reason:
        raise UsageError(f"no Ray cluster answers at {named}{address} ({reason}); {START_ONE}")


def _probe(address: str) -> str:
    """What is wrong with the address; "" where nothing is."""
    is_client = address.startswith("ray://")
    where = address.removeprefix("ray://").partition("/")[0]
    until = monotonic() + _LONGEST
    host, colon, port = where.rpartition(":")
    if is_client and not (colon and port.isdecimal()):
        host, port = where, str(_CLIENT_PORT)
    try:
        number = int(port)
        socket.create_connection((host.strip("[]"), number), timeout=_LONGEST).close()
    except TimeoutError:
        return "it does not answer"
    except (OSError, ValueError, OverflowError) as error:
        return getattr(error, "strerror", None) or "it is no HOST:PORT"
    if os.environ.get("RAY_USE_TLS", "0") == "1":
        return ""
    return _says(f"{host}:{number}", is_client, until)


def _says(target: str, is_client: bool, until: float) -> str:
    """What is wrong with the server there; "" where nothing is, or it wants a token: Ray tells of that."""
    import grpc  # noqa: PLC0415 - comes with ray, and takes its time

    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=max(0.1, until - monotonic()))
            if not is_client:
                channel.unary_unary(_CHECK)(b"", timeout=max(0.1, until - monotonic()))
        except grpc.FutureTimeoutError:
            return "it does not answer"
        except grpc.RpcError as error:
            match error.code():
                case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.DEADLINE_EXCEEDED:
                    return "it does not answer"
                case grpc.StatusCode.UNIMPLEMENTED:
                    return "something else answers there"
    return ""
