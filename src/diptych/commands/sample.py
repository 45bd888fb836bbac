"""The sample site: ``diptych sample serve`` and ``diptych sample write DIR``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(help="A small news site made from a seed, to try everything on.", no_args_is_help=True)
Documents = Annotated[int, typer.Option(min=1, help="how many documents")]
Seed = Annotated[int, typer.Option(help="the site is a function of this")]


@app.command("serve")
def serve(
    documents: Documents = 24,
    seed: Seed = 0,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8700,
) -> None:
    """Serve the site on the loopback interface until interrupted."""
    from diptych.sample import Server, Site

    with Server(Site(documents, seed), port) as server:
        typer.echo(f"the sample site of {documents} documents is at {server.url}; Ctrl-C ends it")
        try:
            server.wait()
        except KeyboardInterrupt:
            typer.echo("ended")


@app.command("write")
def write(
    folder: Path,
    documents: Documents = 24,
    seed: Seed = 0,
    static: Annotated[bool, typer.Option(help="also the site's pages as static files")] = False,
) -> None:
    """Write the site as a folder of documents and images, with the truth about them."""
    from diptych.sample import Site
    from diptych.sample import write as write_site

    done = write_site(Site(documents, seed), folder, static=static)
    typer.echo(f"wrote {done.documents} documents and {done.images} images ({done.bytes:,} bytes) to {folder}")
