"""`gateway export-keyset`: what opens one received file without the gateway."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.errors import CommandError
from gateway.pipeline.keyset import export
from gateway.vault.durable import create_file


def export_keyset(
    context: typer.Context,
    *,
    delivery: Annotated[str, typer.Option(metavar="ID", help="As `gateway deliveries list` shows it.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="A new file; yours only (0600).")],
) -> None:
    """Write the key of one received file as a keyset of Tink, which opens its sealed file. The audit log tells who did.

    It is never printed. Whoever has it and a copy of the sealed file can read that, also after the day on which the
    gateway destroys its own key: destroy it when it has served.
    """
    with opened(context.obj) as gateway:
        if out.exists() or not out.parent.is_dir():
            raise CommandError(f"{out}: name a new file in a folder that is there; nothing was exported")
        exported = export(gateway.pipeline(), delivery, actor=actor())
        try:
            create_file(out, exported.keyset.encode(), mode=0o600)
        except OSError as exc:
            raise CommandError(f"{out}: {exc.strerror}; nothing was exported") from exc
        blob = gateway.home.vault / exported.blob
    screen.done(f"The keyset of {delivery}: {escape(str(out))} (0600)")
    screen.out.print(f"  sealed file      {escape(str(blob))}", soft_wrap=True)
    screen.out.print(f"  associated data  {exported.associated.hex()}", soft_wrap=True)
    screen.out.print(
        "  With both, Tink's streaming AEAD opens it: docs/vault-format.md, Opening a file with Tink"
    )
    screen.out.print("[yellow]![/] Destroy it when it has served: it opens every copy of the sealed file.")
