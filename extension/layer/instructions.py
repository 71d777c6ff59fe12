"""Counts the instructions of the built x86-64 layer: instructions.py [BINARY] [--update].

    extension/layer/build x86_64
    python3 extension/layer/instructions.py             compares with instructions.toml
    python3 extension/layer/instructions.py --update    writes instructions.toml

Runs the extension under valgrind, with a Runtime API and a Secrets Manager that give fixed answers. The
figures do not depend on the machine: the layer has the same bytes everywhere, musl selects no function
by the CPU, and valgrind emulates a fixed CPU. The seeds of hash maps and the timers vary, so that three
runs differ by about 0.1 %. Each figure is their median.

Needs Python 3.11 and valgrind. If valgrind is missing, the count is skipped; with CI=true it fails.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
from pathlib import Path

FIGURES = Path(__file__).with_suffix(".toml")
BINARY = "target/x86_64-unknown-linux-musl/layer/sidekey-extension"

RUNS = 3
PERCENT_MAX = 3
# The first reads are not counted, because buffers grow to their final size in them.
WARMING, COUNTED = 100, 500
# Under valgrind, the extension waits for the next request after less than this time.
PAUSE_SECONDS = 0.002
# The timeout of a run. A run takes one or two seconds.
SECONDS_MAX = 120

NAME, TOKEN = "app/db", "session-token-of-the-count"
ARN = f"arn:aws:secretsmanager:eu-north-1:123456789012:secret:{NAME}-AbC123"
REGISTERED = b'{"functionName":"f","accountId":"123456789012"}'
SHUTDOWN = b'{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":1}'
SECRET = (
    f'{{"ARN":"{ARN}","Name":"{NAME}","VersionId":"a1b2c3d4-5678-90ab-cdef-EXAMPLE11111",'
    '"SecretString":"{\\"username\\":\\"app\\",\\"password\\":\\"of the count\\"}",'
    '"VersionStages":["AWSCURRENT"],"CreatedDate":1760000000.0}'
).encode()

READS = {
    "read": (
        f"GET /secretsmanager/get?secretId={NAME} HTTP/1.1\r\nhost: localhost\r\n"
        f"x-aws-parameters-secrets-token: {TOKEN}\r\n\r\n"
    ).encode(),
    "aws_api_read": (
        "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/x-amz-json-1.1\r\n"
        "x-amz-target: secretsmanager.GetSecretValue\r\n"
        f"x-amz-security-token: {TOKEN}\r\ncontent-length: 21\r\n\r\n"
        f'{{"SecretId":"{NAME}"}}'
    ).encode(),
}


def main(arguments: list[str]) -> None:
    binary, *_ = [path for path in arguments if path != "--update"] + [BINARY]
    missing = missing_tool()
    if missing:
        print(f"skipped: instructions are not counted: {missing}")
        sys.exit(os.environ.get("CI") == "true")
    counted = {"start": median(lambda: count(binary, READS["read"], 1))}
    for figure, request in READS.items():
        counted[figure] = median(lambda request=request: count_read(binary, request))
    counted["new_connection_read"] = median(
        lambda: count_read(binary, READS["read"], is_connection_new=True)
    )
    if "--update" in arguments:
        write(counted)
    expected = tomllib.loads(FIGURES.read_text())
    wrong = False
    for figure, instructions in counted.items():
        percent = 100 * (instructions - expected[figure]) / expected[figure]
        print(f"{figure}: {instructions} instructions, {percent:+.2f} % against {expected[figure]}")
        wrong |= abs(percent) > PERCENT_MAX
    if wrong:
        sys.exit(
            f"a figure differs by more than {PERCENT_MAX} %. If the change is intended, update "
            f"{FIGURES.name} and say why in the commit: "
            "python3 extension/layer/instructions.py --update"
        )


def missing_tool() -> str | None:
    """Returns why this machine cannot count the instructions, or None if it can."""
    if os.uname().machine != "x86_64":
        return "the figures are for x86-64 machines"
    if shutil.which("valgrind") is None:
        return "valgrind is missing (Debian: valgrind)"
    if " avx2 " not in Path("/proc/cpuinfo").read_text().replace("\n", " "):
        return "the CPU lacks AVX2, so valgrind emulates another CPU than that of the figures"
    return None


def median(sample) -> int:
    """Returns the median of some samples, and prints their spread."""
    samples = sorted(sample() for _ in range(RUNS))
    middle = statistics.median(samples)
    print(f"{RUNS} runs: {samples}, spread {100 * (samples[-1] - samples[0]) / middle:.3f} %")
    return int(middle)


def count_read(binary: str, request: bytes, is_connection_new: bool = False) -> int:
    """Returns the instructions of one read: the difference between a long and a short run."""
    short, long = [
        count(binary, request, reads, is_connection_new) for reads in (WARMING, WARMING + COUNTED)
    ]
    return (long - short) // COUNTED


def count(binary: str, request: bytes, reads: int, is_connection_new: bool = False) -> int:
    """Returns the instructions of one run: the start, the reads and the shutdown."""
    lambda_api = socket.create_server(("127.0.0.1", 0))
    upstream = socket.create_server(("127.0.0.1", 0))
    with lambda_api, upstream, tempfile.TemporaryDirectory() as folder:
        port = free_port()
        is_ready, is_read = threading.Event(), threading.Event()
        serve(upstream, lambda _: answer(SECRET))
        serve(lambda_api, lambda head: lifecycle(head, is_ready, is_read))
        totals = Path(folder, "callgrind")
        running = subprocess.Popen(
            [shutil.which("valgrind"), "--tool=callgrind", "-q", f"--callgrind-out-file={totals}", binary],
            # The complete environment. Variables of the caller would change the count.
            env={
                "AWS_ACCESS_KEY_ID": "ASIACOUNT00000000000",
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{lambda_api.getsockname()[1]}",
                "AWS_REGION": "eu-north-1",
                "AWS_SECRET_ACCESS_KEY": "of-the-count",
                "AWS_SESSION_TOKEN": TOKEN,
                "SIDEKEY_ENDPOINT": f"http://127.0.0.1:{upstream.getsockname()[1]}",
                "SIDEKEY_LOG": "error",
                "SIDEKEY_PORT": str(port),
                "SIDEKEY_SECRETS": NAME,
                # Long enough that no refresh runs between reads.
                "SIDEKEY_TTL": "24h",
            },
            stdin=subprocess.DEVNULL,
        )
        try:
            if not is_ready.wait(SECONDS_MAX):
                sys.exit(f"the extension was not ready after {SECONDS_MAX} seconds")
            read(port, request, reads, is_connection_new)
            is_read.set()
            status = running.wait(SECONDS_MAX)
        finally:
            running.kill()
            running.wait()
        if status != 0:
            sys.exit(f"the extension ended with exit code {status}")
        return next(
            int(line.split()[1])
            for line in totals.read_text().splitlines()
            if line.startswith("summary:")
        )


def read(port: int, request: bytes, reads: int, is_connection_new: bool) -> None:
    """Makes the reads one after the other, each on a new connection or all on the same connection."""
    connections, reads_each = (reads, 1) if is_connection_new else (1, reads)
    for _ in range(connections):
        with socket.create_connection(("127.0.0.1", port), timeout=SECONDS_MAX) as stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(reads_each):
                stream.sendall(request)
                head, body = message(stream)
                if not head.startswith(b"HTTP/1.1 200 ") or b"of the count" not in body:
                    sys.exit(f"a read got an unexpected answer: {head} {body}")
                # The pause lets the extension wait for the next request before it arrives. Otherwise
                # the speed of the machine changes the count.
                time.sleep(PAUSE_SECONDS)


def lifecycle(head: bytes, is_ready: threading.Event, is_read: threading.Event) -> bytes:
    """Answers like the Runtime API, with the shutdown event after the last read."""
    if b"/register " in head:
        return answer(REGISTERED, "lambda-extension-identifier: i\r\n")
    is_ready.set()
    is_read.wait(SECONDS_MAX)
    return answer(SHUTDOWN)


def answer(body: bytes, header: str = "") -> bytes:
    lines = f"{header}content-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode() + body


def serve(listener: socket.socket, answer_to) -> None:
    """Serves each connection in a thread, and sends each answer in one write."""

    def converse(stream: socket.socket) -> None:
        with stream:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while received := message(stream):
                stream.sendall(answer_to(received[0]))

    def accept() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:  # The listener was closed.
                return
            threading.Thread(target=converse, args=(stream,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def message(stream: socket.socket) -> tuple[bytes, bytes] | None:
    """Returns the head and the body of the next message, or None at the end of the connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        try:
            more = stream.recv(65_536)
        except ConnectionResetError:
            return None
        if not more:
            return None
        received += more
    head, body = received.split(b"\r\n\r\n", 1)
    lengths = [
        int(line.split(b":")[1])
        for line in head.lower().split(b"\r\n")
        if line.startswith(b"content-length:")
    ]
    while len(body) < sum(lengths):
        body += stream.recv(65_536)
    return head, body


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def write(counted: dict[str, int]) -> None:
    head = FIGURES.read_text().split("\n\n")[0] if FIGURES.exists() else "# Instructions."
    lines = [f"{figure} = {instructions}" for figure, instructions in counted.items()]
    FIGURES.write_text(head + "\n\n" + "\n".join(lines) + "\n")
    print(f"wrote {FIGURES}")


if __name__ == "__main__":
    main(sys.argv[1:])
