# SPDX-License-Identifier: MIT
"""What the contenders lead to: the servers in the backends' namespace, unmodified programs among them."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

from lib import lab

HTTP_BODY_BYTES = 1024
REDIS_VALUE_BYTES = 64
PGBENCH_SCALE = 1  # 100,000 accounts


@dataclass(frozen=True)
class Service:
    name: str
    port: int
    needs: tuple  # the programs of server and client
    command: Callable  # (service, directory, args) -> its command
    prepare: Callable = None  # once it listens


def echo_command(service, _directory, args):
    return [args.build / "shunt-load", "echo", f"0.0.0.0:{service.port}", "-t", args.workers]


def iperf_command(service, _directory, _args):
    return ["iperf3", "-s", "-4", "-p", service.port]


def redis_command(service, directory, _args):
    return ["redis-server", "--port", service.port, "--protected-mode", "no", "--save", "",
            "--dir", directory]


def redis_prepare(service):
    lab.run(*lab.in_netns(lab.BACKEND, "redis-benchmark", "-p", service.port, "-t", "set", "-n", 1,
                          "-d", REDIS_VALUE_BYTES))


def http_command(service, directory, args):
    (directory / "index.html").write_text("x" * HTTP_BODY_BYTES, encoding="ascii")
    directory.chmod(0o755)  # its workers are not root
    config = directory / "nginx.conf"
    config.write_text(f"""daemon off;
worker_processes {args.workers};
pid {directory}/nginx.pid;
error_log {directory}/nginx.log;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  server {{ listen {service.port} reuseport; root {directory}; }}
}}
""", encoding="ascii")
    return ["nginx", "-p", directory, "-e", directory / "nginx.log", "-c", config]


def postgres_bin():
    """Debian keeps the server's programs out of PATH, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


def as_postgres(*command):
    """PostgreSQL refuses to run as root."""
    return ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups",
            "--pdeathsig", "TERM", *command]


def postgres_command(service, directory, _args):
    programs = postgres_bin()
    if not programs:
        raise lab.Failed("PostgreSQL's server is not installed")
    shutil.chown(directory, "postgres", "postgres")
    data = directory / "data"
    lab.run(*as_postgres(programs / "initdb", "-D", data, "-U", "bench", "-A", "trust", "--no-sync"))
    with (data / "pg_hba.conf").open("a", encoding="ascii") as hba:
        hba.write("host all all 10.0.0.0/8 trust\n")
    options = {"listen_addresses": "*", "port": service.port, "unix_socket_directories": directory,
               "fsync": "off"}
    return as_postgres(programs / "postgres", "-D", data,
                       *(word for key, value in options.items() for word in ("-c", f"{key}={value}")))


def postgres_prepare(service):
    for _ in range(50):  # it listens before it has started up
        try:
            lab.run(*lab.in_netns(lab.BACKEND, "pgbench", "-q", "-i", "-s", PGBENCH_SCALE, "-U", "bench",
                                  "-h", "127.0.0.1", "-p", service.port, "postgres"))
            return
        except lab.Failed as error:
            if "starting up" not in str(error):
                raise
    raise lab.Failed("PostgreSQL does not start up")


SERVICES = {s.name: s for s in (
    Service("echo", 7000, (), echo_command),
    Service("iperf", 7001, ("iperf3",), iperf_command),
    Service("redis", 7002, ("redis-server", "redis-benchmark"), redis_command, redis_prepare),
    Service("postgres", 7003, ("pgbench", "setpriv"), postgres_command, postgres_prepare),
    Service("http", 7004, ("nginx", "wrk"), http_command),
)}


def start(stack, service, directory, args):
    for program in service.needs:
        if not shutil.which(program):
            raise lab.Failed(f"{program} is not installed")
    directory.mkdir()
    log = stack.enter_context((directory.parent / f"{directory.name}.log").open("w+", encoding="utf-8"))
    process = lab.start(stack, lab.BACKEND, service.command(service, directory, args), log)
    lab.wait_for_ports(process, {service.port})
    if service.prepare:
        service.prepare(service)
