"""`gateway publish`: now, whatever the schedule says."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from gateway.cli import screen
from gateway.cli.opened import actor, opened
from gateway.errors import ConfigError
from gateway.pipeline.context import Context
from gateway.pipeline.publish import Published
from gateway.pipeline.worker import publish_now
from gateway.settings import Settings


def publish(
    context: typer.Context,
    *,
    municipality: Annotated[
        list[str], typer.Option(metavar="GM1731", help="A municipality; give several by repeating it.")
    ] = [],  # noqa: B006  # typer's way to say none
    everyone: Annotated[bool, typer.Option("--all", help="Every municipality that is served.")] = False,
) -> None:
    """Publish what is new or changed now, whatever `when` and `settle_s` say."""
    with opened(context.obj) as gateway:
        pipeline = gateway.pipeline()
        codes = _chosen(pipeline, municipality, everyone=everyone)
        with screen.err.status("Publishing …"):
            done = publish_now(pipeline, codes, actor=actor(), origin="cli")
        gateway.wake()
    if done:
        _show(gateway.settings, done)
    else:
        screen.done(
            f"Nothing new or changed in {screen.counted(len(codes), 'municipality', 'municipalities')}"
        )


def _chosen(pipeline: Context, codes: list[str], *, everyone: bool) -> list[str]:
    """The municipalities that are meant.

    Raises:
        ConfigError: none or too much is named, or one that nobody serves.
    """
    if everyone == bool(codes):
        raise ConfigError("say which: gateway publish --municipality GM1731, or --all")
    for code in codes:
        if code not in pipeline.policies:
            raise ConfigError(f"{code} is no municipality of this gateway; see: gateway municipality list")
        if pipeline.server_of(code) is None:
            raise ConfigError(
                f"no partner serves {code}, so nothing can be published to it: "
                f"gateway partner add ID --role municipality --serves {code} --key FILE.pub"
            )
    served = [code for code in sorted(pipeline.policies) if pipeline.server_of(code)]
    if everyone and not served:
        raise ConfigError(
            "no partner serves a municipality yet: gateway partner add ID --role municipality …"
        )
    return served if everyone else list(dict.fromkeys(codes))


def _show(settings: Settings, published: list[Published]) -> None:
    shown = screen.table("code", "municipality", "to")
    for name in ("meldingen", "signals"):
        shown.add_column(name, justify="right")
    shown.add_column("in the outbox", overflow="fold")
    for each in published:
        shown.add_row(
            each.municipality,
            escape(settings.policies[each.municipality].name),
            each.partner_id,
            f"{each.meldingen:,}",
            f"{each.signals:,}",
            "\n".join(each.files),
        )
    screen.out.print(shown)
