"""fastbg shows, proves and tests when FastAPI background tasks really run.

Where things are:

=========================================== ============================================================================
`cli`                                       the command line; a module for each command: `demo`, `tail`, `serving`,
                                            `worker`, `replay` (``fastbg report``)
`script`, `reader`, `checks`, `values`      a script: TOML in, its `faults` in words out (`validation`, `toml_lines`,
                                            `schema`); `catalogue`: the built-in ones
`authoring`, `drafting`, `sample_request`   a first script for an app, of its `operations` and of `samples` for the
                                            schemas of its `openapi` document (`toml_writer`)
`runner`                                    sends what a script says (`plan`, `client`, `body`) to a `backend`: a
                                            `server` (`launch`, `child`), `mail`, a queue (`services`, `broker`)
`observer`                                  brings together what client, files and journal say of each request:
                                            `follow` reads both, `attribution` knows whose a text is
`timeline`, `tasks`, `judge`,               what was seen of a request, the verdict, and what was expected otherwise:
`expectations`                              pure, no file, no socket, no clock
`results`, `report`                         the result of a run, and all ways to show it
`uvicorn_versions`                          what differs between versions of uvicorn
`recorder`, `hooks`, `journal`, `rotation`  inside of the server: what it sees of requests and tasks, and where it
                                            writes that down; `queue_recorder`: the same in a worker
`events`                                    what the witnesses say, and a line of the journal
`history`                                   what a finished journal tells
`pytest_plugin`, `testing`                  a real server for the tests of others
`example`                                   what is demonstrated: ordinary FastAPI code that knows nothing of fastbg
=========================================== ============================================================================

`timeline`, `tasks` and `judge` import nothing but `events`, `values` and each other; `recorder`, `client`, `follow` and
`server` do not know each other; `report` knows results only; only `runner` and what it is made of knows them all.
"""

__version__ = "0.1.0"
