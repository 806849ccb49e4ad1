"""The table `server` of a script: how the app is served."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Text = Annotated[str, StringConstraints(min_length=1)]


class UvicornOptions(BaseModel):
    """Options of uvicorn with the same names; also those that are not listed here, which uvicorn itself checks."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    app_dir: Annotated[
        Text | None,
        Field(description="The folder to import the app from, relative to `folder`. Default: `folder`, or its `src`."),
    ] = None
    factory: Annotated[bool, Field(description="The app is a function that returns the app.")] = False
    env_file: Annotated[
        Text | None, Field(description="A file with environment variables for the app, relative to `folder`.")
    ] = None
    log_level: Annotated[
        Literal["critical", "error", "warning", "info", "debug", "trace"],
        Field(description="The level of uvicorn's messages in server.log."),
    ] = "info"
    root_path: Annotated[str, Field(description="The path below which a proxy serves the app.")] = ""
    proxy_headers: Annotated[
        bool, Field(description="Take the client's address from X-Forwarded-For, if the proxy is trusted.")
    ] = True
    uds: Annotated[
        Text | None, Field(description="Listen on this Unix socket, relative to `folder`, not on a port.")
    ] = None
    ssl_certfile: Annotated[Text | None, Field(description="The certificate, relative to `folder`, for HTTPS.")] = None
    ssl_keyfile: Annotated[
        Text | None, Field(description="The key of the certificate, relative to `folder`, if it is in another file.")
    ] = None
    timeout_graceful_shutdown: Annotated[
        int | None,
        Field(ge=0, description="Timeout in seconds for running requests and tasks at shutdown. Default: no limit."),
    ] = None
    timeout_keep_alive: Annotated[int, Field(ge=0, description="Seconds after which an idle connection is closed.")] = 5
    loop: Annotated[Literal["auto", "asyncio", "uvloop"], Field(description="The event loop.")] = "auto"
    http: Annotated[Literal["auto", "h11", "httptools"], Field(description="The HTTP implementation.")] = "auto"
