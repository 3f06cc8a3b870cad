# SPDX-License-Identifier: MIT
"""The contenders: a table, and how each of their programs is configured and started."""

import json
import resource
import shutil
from dataclasses import dataclass

from lib import lab

CONNECTIONS_MAX = 8400
PIPES_MAX = 1024
HAPROXY_FILES_RESERVED = 256
NGINX_CONNECTIONS_MAX = 2 * CONNECTIONS_MAX + 8400  # a worker's, with a listener for each app
NGINX_MODULES = "/usr/lib/nginx/modules"
HTTP_PORT = 9900  # shunt's own: /readyz


@dataclass(frozen=True)
class App:
    name: str
    port: int
    targets: tuple  # of "address:port"


@dataclass(frozen=True)
class Contender:
    name: str
    program: str = ""  # none: packets are forwarded
    engine: str = ""
    workers: int = 0  # 0: as many as --workers says


CONTENDERS = {c.name: c for c in (
    Contender("direct"),
    Contender("haproxy", "haproxy"),
    Contender("nginx", "nginx"),
    Contender("shunt-auto", "shunt", "auto"),
    Contender("shunt-copy", "shunt", "copy"),
    Contender("shunt-splice", "shunt", "splice"),
    Contender("shunt-sockmap", "shunt", "sockmap"),
    Contender("shunt-wire", "shunt", "wire"),
    Contender("haproxy/1", "haproxy", workers=1),
    Contender("nginx/1", "nginx", workers=1),
    Contender("shunt-auto/1", "shunt", "auto", workers=1),
)}
MAIN = ("direct", "haproxy", "nginx", "shunt-auto")
ENGINES = ("shunt-copy", "shunt-splice", "shunt-sockmap", "shunt-wire")
ONE_WORKER = ("haproxy/1", "nginx/1", "shunt-auto/1")


def reference(name):
    """Whom a contender is compared to: HAProxy with as many workers."""
    return "haproxy/1" if name.endswith("/1") else "haproxy"


def haproxy_connections(n_apps):
    """HAProxy ends at once if it were to need more open files than it may have."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1] - n_apps - 2 * PIPES_MAX - HAPROXY_FILES_RESERVED
    return min(CONNECTIONS_MAX, files // 2)


def haproxy_command(running, directory):
    sections = []
    for app in running.apps:
        servers = "\n".join(f"  server {i} {target}" for i, target in enumerate(app.targets))
        sections.append(f"listen {app.name}\n  bind {running.way.proxy_ip}:{app.port}\n{servers}\n")
    config = directory / "haproxy.cfg"
    config.write_text(f"""global
  nbthread {running.workers}
  maxconn {haproxy_connections(len(running.apps))}
  maxpipes {PIPES_MAX}
  tune.pipesize 1048576
  tune.bufsize 65536
defaults
  mode tcp
  option splice-auto
  maxconn {CONNECTIONS_MAX}
  timeout connect 5s
  timeout client 1h
  timeout server 1h
{"".join(sections)}""", encoding="ascii")
    return ["haproxy", "-db", "-f", config]


def nginx_command(running, directory):
    parts = []
    for app in running.apps:
        servers = " ".join(f"server {target};" for target in app.targets)
        parts.append(f"  upstream {app.name} {{ {servers} }}\n"
                     f"  server {{ listen {running.way.proxy_ip}:{app.port} reuseport; "
                     f"proxy_pass {app.name}; }}\n")
    config = directory / "nginx.conf"
    config.write_text(f"""load_module {NGINX_MODULES}/ngx_stream_module.so;
daemon off;
worker_processes {running.workers};
pid {directory}/nginx.pid;
error_log {directory}/nginx.log crit;
events {{ worker_connections {NGINX_CONNECTIONS_MAX}; }}
stream {{
  proxy_buffer_size 64k;
  proxy_timeout 1h;
{"".join(parts)}}}
""", encoding="ascii")
    return ["nginx", "-p", directory, "-e", directory / "nginx.log", "-c", config]


def shunt_command(running, directory):
    config = directory / "shunt.json"
    config.write_text(json.dumps(shunt_config(running, directory / "shunt.sock")), encoding="ascii")
    return [running.build / "shunt", "run", "-c", config, "--engine", running.contender.engine,
            "--workers", running.workers, "--log-level", "warning"]


def shunt_config(running, admin_socket):
    # No pins: a daemon of the host may have some.
    return {"Log": {"Access": False}, "Wire": {"Pins": ""},
            "Admin": {"Socket": str(admin_socket), "Http": HTTP_PORT},
            "Apps": [{"Name": app.name, "Listen": [running.way.proxy_ip], "Ports": [app.port],
                      "Targets": list(app.targets)} for app in running.apps]}


COMMANDS = {"haproxy": haproxy_command, "nginx": nginx_command, "shunt": shunt_command}


class Running:
    """A contender that runs on a way, for as long as the stack does."""

    def __init__(self, contender, way, apps, args):
        self.contender, self.way, self.apps = contender, way, apps
        self.name = contender.name
        self.build = args.build
        self.workers = contender.workers or args.workers
        self.process = None

    @property
    def ip(self):
        """Where its clients connect to."""
        return self.way.proxy_ip if self.contender.program else self.way.backend_ip

    def start(self, stack, directory, prefix=()):
        """Until it is ready. The prefix is a command that starts a command."""
        if not self.contender.program:
            return
        self.prepare(directory, prefix)(stack)
        # shunt listens for clients before it has tried its engines; its HTTP port is opened after that.
        ready = {HTTP_PORT} if self.contender.program == "shunt" else set()
        lab.wait_for_ports(self.process, {app.port for app in self.apps} | ready)

    def prepare(self, directory, prefix=()):
        """Writes its configuration, and makes a function that starts it."""
        directory.mkdir(exist_ok=True)
        command = COMMANDS[self.contender.program](self, directory)
        if not shutil.which(str(command[0])):
            raise lab.Failed(f"{command[0]} is not installed")

        def begin(stack):
            log = stack.enter_context((directory / "log").open("w+", encoding="utf-8"))
            self.process = lab.start(stack, self.way.netns, [*prefix, *command], log)
            self.process.name = self.contender.program
        return begin
