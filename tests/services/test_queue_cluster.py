"""The settings for several machines, as documented, on a cluster of three real servers on loopback."""

import signal
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from nats.js import JetStreamContext

from fastbg.services.broker import find_program
from tests.services.test_worker import IMPATIENT, events, serving, worker
from tests.support.documentation import blocks, page
from tests.support.processes import wait_for, wait_until
from tests.support.queues import free_ports, query_broker
from tests.support.servers import fastbg_serve, fetch


class Cluster:
    """Three servers with the documented configuration, and what clients need to reach them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(folder / "ca.pem")
        certificate = self.authority.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_pem.write_to_path(folder / "server.key")
        certificate.cert_chain_pems[0].write_to_path(folder / "server.pem")
        ports = free_ports(6)
        self.ports, self.routes = ports[:3], ports[3:]
        self.addresses = ",".join(f"tls://shop:secret@127.0.0.1:{port}" for port in self.ports)
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        (text,) = blocks(page("queue"), "conf")
        for number, (port, route) in enumerate(zip(self.ports, self.routes, strict=True), 1):
            own = {
                "server_name: one": f"server_name: n{number}",
                "listen: 0.0.0.0:4222": f"listen: 127.0.0.1:{port}",
                "listen: 0.0.0.0:6222": f"listen: 127.0.0.1:{route}",
                "/var/lib/nats": str(self.folder / f"store{number}"),
                "/etc/nats": str(self.folder),
                '"nats://one:6222", "nats://two:6222", "nats://three:6222"': ", ".join(
                    f'"nats://127.0.0.1:{port}"' for port in self.routes
                ),
            }
            settings = text
            for given, ours in own.items():
                assert given in settings
                settings = settings.replace(given, ours)
            (self.folder / f"n{number}.conf").write_text(settings)
            with (self.folder / f"n{number}.log").open("wb") as log:
                self.processes.append(
                    subprocess.Popen([find_program(), "-c", self.folder / f"n{number}.conf"], stdout=log, stderr=log)
                )
        for number in (1, 2, 3):
            wait_for(self.folder / f"n{number}.log", rb"JetStream cluster (new )?metadata leader")

    def stop(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    def stream(self) -> Any:
        """Return the cluster's information about the example's stream."""

        async def info(js: JetStreamContext) -> Any:
            return await js.stream_info("fastbg")

        return query_broker(self.addresses, info, tls=ssl.create_default_context(cafile=str(self.folder / "ca.pem")))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@pytest.mark.long
def test_tasks_survive_the_loss_of_a_cluster_server(cluster: Cluster, tmp_path: Path) -> None:
    variables = {
        "FASTBG_BROKER": cluster.addresses,
        "FASTBG_BROKER_REPLICAS": "3",
        "FASTBG_BROKER_CONFIRM": "5",  # seconds until a message that the killed server did not confirm is sent again
        "SSL_CERT_FILE": str(tmp_path / "ca.pem"),
        **IMPATIENT,  # a task whose end only the killed server knew may be delivered again
    }
    with (
        serving(tmp_path, "--work", "0", **variables) as url,
        worker(tmp_path, "--work", "0", **variables),
    ):
        for number in range(3):
            send(url, number)
        stream = cluster.stream()
        assert (stream.config.num_replicas, len(stream.cluster.replicas)) == (3, 2)
        leader = int(stream.cluster.leader[1:]) - 1
        cluster.processes[leader].send_signal(signal.SIGKILL)
        for number in range(3, 6):
            send(url, number)
        wait_until(lambda: len({event["request"] for event in events(tmp_path, "task_finished")}) == 6)
    lines = (tmp_path / ".fastbg" / "log.txt").read_text().splitlines()
    assert sorted(lines) == [f"message to {number}@example.com" for number in range(6)]


def send(url: str, number: int) -> None:
    """Repeat the request, with the same id, until the broker has the task: the response is 503 during an election."""
    path = f"{url}/send-notification/{number}@example.com"
    wait_until(lambda: fetch("POST", path, headers={"X-Request-ID": f"r{number}"}).status_code == 200)


@pytest.mark.parametrize(
    "variables",
    [{"SSL_CERT_FILE": "/nowhere.pem"}, {"FASTBG_BROKER": "wrong password"}],
    ids=["unknown authority", "wrong password"],
)
def test_response_is_503_with_wrong_settings(variables: dict[str, str], cluster: Cluster, tmp_path: Path) -> None:
    right = {"FASTBG_BROKER": cluster.addresses, "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    wrong = right | variables
    if "FASTBG_BROKER" in variables:
        wrong["FASTBG_BROKER"] = cluster.addresses.replace("secret", "guessed")
    with fastbg_serve("--engine", "queue", cwd=tmp_path, **wrong) as url:
        assert fetch("POST", f"{url}/background_tasks?framework=F").status_code == 503
