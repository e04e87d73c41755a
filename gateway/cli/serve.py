"""`gateway serve`: the daemon."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway import supervisor
from gateway.cli.check import check_keys
from gateway.cli.opened import actor, opened


def serve(
    context: typer.Context,
    *,
    host: Annotated[
        str | None, typer.Option(metavar="H", help="Where to listen, instead of the configured address.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65_535, metavar="N", help="Instead of the configured one; 0: a free one."),
    ] = None,
    accept_loss: Annotated[
        bool,
        typer.Option(
            "--accept-loss", help="Once, after log/ was lost: begin a new audit log that names the old one."
        ),
    ] = False,
) -> None:
    """Run the gateway until SIGTERM or Ctrl-C; what is under way is finished first.

    When it is ready, data/run/gateway.json holds `port`, `pid` and `host_key`, and `legacy_port` if there is one.
    """
    with opened(context.obj, level="INFO") as gateway:
        check_keys(gateway.home, gateway.keyring, gateway.clock.now())
        if accept_loss:
            gateway.begin_log_again(actor())
        gateway.check_log()
        supervisor.serve(gateway, host=host, port=port)
