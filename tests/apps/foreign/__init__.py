"""Four small public apps with background tasks, typed anew from what their documentation says that they do.

=============== ======================================================== ============================================
`tutorial`      FastAPI, "Background Tasks", with the dependency         tasks of a dependency and of a path operation
`mail`          fastapi-mail, "Sending email as background task"         an ``async def`` method, queued in a router
`signup`        Starlette, "Background Tasks"                            tasks given to a ``Response``
`mounted`       FastAPI, "Sub Applications" and "Background Tasks"       a ``def`` task of a mounted app
=============== ======================================================== ============================================

None of them knows of fastbg. Beside each are two scripts, one that passes and one that has to fail.
"""
