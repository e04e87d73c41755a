"""`gateway backup`: a backup of a gateway that goes on, and whether one is whole."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from gateway.backup import sums
from gateway.backup.make import Made, make
from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.errors import CommandError


def backup(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder, on another disk.")],
    *,
    dated: Annotated[
        bool, typer.Option("--dated", help="Make it in DIR, in a folder named after this moment.")
    ] = False,
    with_keys: Annotated[
        bool,
        typer.Option(
            "--with-keys",
            help="Also copy keys/. What is destroyed on its day can then be read as long as this backup exists.",
        ),
    ] = False,
    verify: Annotated[
        bool, typer.Option("--verify", help="Make nothing: compare the backup in DIR with its list.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Back up database, sealed files, configuration and log, while the gateway goes on.

    `sha256sum --check SHA256SUMS` compares a backup without the gateway.
    """
    if verify:
        _verify(folder, as_json=as_json)
        return
    if dated:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise CommandError(f"{folder}: {exc.strerror}") from exc
        folder = folder / f"gateway-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}"
    with opened(context.obj) as gateway, screen.progress("sealed files") as progress:
        made = make(gateway, folder, with_keys=with_keys, actor=actor(), progress=progress)
    if as_json:
        screen.print_json(_json(made))
    else:
        _show(made)
    if made.missing:
        raise typer.Exit(1)


def _verify(folder: Path, *, as_json: bool) -> None:
    about = sums.about(folder)
    with screen.progress("files") as progress:
        problems = sums.verify(folder, progress)
    if as_json:
        screen.print_json({"ok": not problems, "made_at": about.made_at, "problems": problems})
    elif not problems:
        screen.done(
            f"The backup of {about.made_at} is whole: {screen.counted(about.files, 'file')}, "
            f"{screen.size(about.bytes)}"
        )
    else:
        screen.err.print(
            f"[bold red]✗[/] The backup is not whole: {screen.counted(len(problems), 'problem')}"
        )
        for problem in problems:
            screen.err.print(f"  {escape(problem)}", soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _show(made: Made) -> None:
    about = made.about
    screen.done(
        f"{escape(str(made.folder))}: {screen.counted(about.files, 'file')}, {screen.size(about.bytes)}, "
        f"of which {screen.counted(about.blobs, 'sealed file')}"
    )
    if made.purged:
        screen.out.print(f"  {screen.counted(made.purged, 'sealed file')} went meanwhile, as was due.")
    if about.with_keys:
        screen.err.print(
            "[bold yellow]![/] It holds keys/: whatever is destroyed from now on can still be read with it. Destroy it "
            "before the first day after which something must be gone, or the certificates are not true."
        )
    for name in made.missing:
        screen.err.print(
            f"[bold red]✗[/] data/vault/{name} is missing, and still needed: gateway ledger check",
            soft_wrap=True,
        )


def _json(made: Made) -> dict[str, object]:
    return {
        "folder": str(made.folder),
        "made_at": made.about.made_at,
        "files": made.about.files,
        "blobs": made.about.blobs,
        "bytes": made.about.bytes,
        "with_keys": made.about.with_keys,
        "purged": made.purged,
        "missing": list(made.missing),
        "sha256": made.sha256,
    }
