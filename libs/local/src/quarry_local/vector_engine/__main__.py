"""`python -m quarry_local.vector_engine --path DIR --port N`."""

import logging
import sys
from pathlib import Path

import click
import uvloop

from quarry_common.errors import QuarryError
from quarry_common.settings import load
from quarry_local.vector_engine.optimisation.settings import OptimiserSettings
from quarry_local.vector_engine.server import Listen, serve


@click.command()
@click.option(
    "--path", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the data."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port", type=click.IntRange(1, 65535), default=6333, show_default=True, help="Port to listen on."
)
@click.option(
    "--max-body-mb", type=click.IntRange(1, 1024), default=32, show_default=True, help="Largest request body."
)
@click.option(
    "--log-level",
    type=click.Choice(["DEBUG", "INFO", "WARNING", "ERROR"]),
    default="INFO",
    show_default=True,
    help="What is logged to standard error.",
)
def main(path: Path, host: str, port: int, max_body_mb: int, log_level: str) -> None:
    """Serve a folder of vectors behind the part of Qdrant's REST API that Quarry uses."""
    logging.basicConfig(level=log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        settings = load(OptimiserSettings)
        uvloop.run(serve(path, Listen(host, port, max_body_mb * 1024 * 1024), settings))
    except QuarryError as error:
        click.echo(f"vector engine: {error.data.detail}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
