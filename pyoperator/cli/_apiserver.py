"""``pyoperator apiserver``."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(help="Run the embedded Kubernetes API server until SIGINT or SIGTERM.")
@click.option("--bind-address", default="127.0.0.1:0", show_default=True, help="HOST:PORT; port 0 takes a free one.")
@click.option("--kubeconfig-out", type=_FILE, help="Write the kubeconfig here; never over somebody else's.")
@click.option(
    "--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep everything here; in memory without it."
)
@click.option("--fsync", is_flag=True, help="With --data-dir: wait for the disk at each commit.")
@click.option("--simulate-workloads", is_flag=True, help="Let StatefulSets, Deployments and pods run on paper.")
@click.option("--audit-log", type=_FILE, help="Append one JSON line per request.")
@click.option("--token-file", type=_FILE, help='Users: TOKEN,NAME,UID[,"GROUPS"] lines, read again when they change.')
@click.option("--name", "names", multiple=True, help="A further host name or address for the certificate.")
@click.option("--insecure", is_flag=True, help="Plain HTTP on loopback; everybody is administrator.")
def apiserver(
    *,
    bind_address: str,
    kubeconfig_out: Path | None,
    data_dir: Path | None,
    fsync: bool,
    simulate_workloads: bool,
    audit_log: Path | None,
    token_file: Path | None,
    names: tuple[str, ...],
    insecure: bool,
) -> None:
    with _trusting_nobody(os.environ):
        from pyoperator.apiserver.http import EmbeddedServer, EmbeddedServerError

    server = EmbeddedServer(
        bind_address,
        data_dir=data_dir,
        fsync=fsync,
        kubeconfig_out=kubeconfig_out.absolute() if kubeconfig_out is not None else None,
        audit_log=audit_log,
        token_file=token_file,
        simulate_workloads=simulate_workloads,
        insecure=insecure,
        names=names,
    )
    if insecure:
        click.echo("WARNING: --insecure: no encryption, and every process on this machine is administrator", err=True)
    try:
        with asyncio.Runner() as runner:
            runner.run(_serve(server))
    except EmbeddedServerError as error:
        _fail(str(error))


async def _serve(server: object) -> None:
    from pyoperator.apiserver.http import EmbeddedServer

    if not isinstance(server, EmbeddedServer):
        raise TypeError("an EmbeddedServer is served here")
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # Before anything is started: a signal during the start is a graceful stop, too.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    # What has been loaded by now lives as long as the process: without it a full collection takes half the time, in
    # which nobody is served.
    gc.freeze()
    async with server:
        click.echo(f"kubeconfig: {server.kubeconfig}")
        sys.stdout.flush()
        await stop.wait()


@contextmanager
def _trusting_nobody(environ: MutableMapping[str, str]) -> Iterator[None]:
    """Let OpenSSL find no certificate authorities meanwhile.

    aiohttp reads the system's, twice, when it is imported: 80 ms for connections to others, of which a server makes none.
    """
    nowhere = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
    before = {name: environ.get(name) for name in nowhere}
    environ.update(nowhere)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del environ[name]
            else:
                environ[name] = value


def _fail(message: str) -> NoReturn:
    click.echo(f"pyoperator apiserver: {message}", err=True)
    raise SystemExit(2)
