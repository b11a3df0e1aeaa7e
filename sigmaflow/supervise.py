"""supervisord, one for each stack: starts the programs, restarts what dies, keeps one log a program."""

from __future__ import annotations

import hashlib
import http.client
import os
import subprocess
import tempfile
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

import psutil

from sigmaflow.errors import Failed
from sigmaflow.programs import MARKER, Program, base_environment
from sigmaflow.settings import Settings


def socket_path(settings: Settings) -> Path:
    """Where supervisord listens: in the data directory, or the temporary one where that path is too long."""
    path = settings.data_dir / "supervisor" / "socket"
    if len(str(path)) < 90:  # the kernel's limit is 107, and supervisord adds a process id
        return path
    digest = hashlib.sha256(str(settings.data_dir).encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"sigmaflow-{digest}.socket"


def write_config(settings: Settings, programs: list[Program]) -> Path:
    """Write supervisord.conf; a percent sign would be read as a format."""
    home = settings.data_dir / "supervisor"
    socket = socket_path(settings)
    sections = [
        f"""[supervisord]
logfile={settings.log_dir}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={home}/supervisord.pid
childlogdir={settings.log_dir}
nodaemon=false
identifier=sigmaflow

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl=unix://{socket}
"""
    ]
    for program in programs:
        sections.append(
            f"""[program:{program.name}]
command={settings.data_dir}/bin/{program.name}
directory={settings.root}
autostart={str(program.autostart).lower()}
autorestart=true
startsecs=2
startretries=8
stopsignal=TERM
stopwaitsecs={program.stop_wait_s}
stopasgroup=true
killasgroup=true
redirect_stderr=true
stdout_logfile={settings.log_dir}/{program.name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""
        )
    file = home / "supervisord.conf"
    file.write_text("\n".join(sections).replace("%", "%%"))
    return file


def server(settings: Settings) -> Any:
    """The supervisor's remote interface."""
    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(None, None, serverurl=f"unix://{socket_path(settings)}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor


def is_running(settings: Settings) -> bool:
    """Whether this stack's supervisor answers."""
    try:
        return bool(server(settings).getState()["statecode"] == 1)
    except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
        return False


def launch(settings: Settings, config: Path) -> None:
    """Start supervisord, which starts the programs.

    Raises UserError when it does not answer within 20 seconds.
    """
    socket_path(settings).unlink(missing_ok=True)  # left over by a kill -9
    environment = {**os.environ, **base_environment(settings), MARKER: str(settings.data_dir)}
    subprocess.run(
        [str(settings.python), "-m", "supervisor.supervisord", "-c", str(config)],
        check=False, env=environment, cwd=settings.root, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=(settings.log_dir / "supervisord.err").open("w"),
    )
    deadline = time.monotonic() + 20
    while not is_running(settings):
        if time.monotonic() > deadline:
            found = (settings.log_dir / "supervisord.err").read_text().strip().splitlines()[-1:] or ["it is silent"]
            raise Failed("start", "supervisord must answer", found[0], f"read {settings.log_dir}/supervisord.log")
        time.sleep(0.1)


def states(settings: Settings) -> dict[str, dict[str, Any]]:
    """Each program's state as supervisord sees it: statename, pid, spawnerr."""
    return {info["name"]: info for info in server(settings).getAllProcessInfo()}


def start_program(settings: Settings, name: str) -> None:
    """Start one program; fine when it runs already."""
    from supervisor.xmlrpc import Faults

    try:
        server(settings).startProcess(name, True)
    except xmlrpc.client.Fault as fault:
        if fault.faultCode != Faults.ALREADY_STARTED:
            raise Failed(
                "start", f"{name} must start", fault.faultString, f"read {settings.log_dir}/{name}.log"
            ) from None


def stop_program(settings: Settings, name: str) -> None:
    """Stop one program; fine when it does not run."""
    try:
        server(settings).stopProcess(name, True)
    except xmlrpc.client.Fault:
        pass


def shut_down(settings: Settings) -> None:
    """Stop every program, then the supervisor, and wait until it is gone."""
    pid_file = settings.data_dir / "supervisor" / "supervisord.pid"
    try:
        pid = int(pid_file.read_text())
    except (FileNotFoundError, ValueError):
        pid = 0
    try:
        server(settings).stopAllProcesses(True)
        server(settings).shutdown()
    except (OSError, http.client.HTTPException, xmlrpc.client.Fault):
        pass
    deadline = time.monotonic() + 60
    while pid and psutil.pid_exists(pid) and time.monotonic() < deadline:
        time.sleep(0.1)


def processes(settings: Settings) -> list[psutil.Process]:
    """Every living process of this stack, found by the marker in its environment."""
    mine = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARKER) == str(settings.data_dir) and process.status() != psutil.STATUS_ZOMBIE:
                mine.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [process for process in mine if process.pid != os.getpid()]


def sweep(settings: Settings) -> int:
    """End what outlived its supervisor (Python workers do); returns how many there were."""
    left = processes(settings)
    for process in left:
        _signal(process.terminate)
    _, stubborn = psutil.wait_procs(left, timeout=5)
    for process in stubborn:
        _signal(process.kill)
    psutil.wait_procs(stubborn, timeout=5)
    return len(left)


def _signal(send: Any) -> None:
    try:
        send()
    except psutil.NoSuchProcess:
        pass
