"""Four small apps with background tasks, rewritten from public documentation.

=============== ======================================================== ============================================
`tutorial`      FastAPI, "Background Tasks", with the dependency         tasks of a dependency and of a path operation
`mail`          fastapi-mail, "Sending email as background task"         an ``async def`` method, queued in a router
`signup`        Starlette, "Background Tasks"                            tasks given to a ``Response``
`mounted`       FastAPI, "Sub Applications" and "Background Tasks"       a ``def`` task of a mounted app
=============== ======================================================== ============================================

They do not use fastbg. Each has two scripts: one that passes and one that must fail.
"""
